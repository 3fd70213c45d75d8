"""Backups of the store: made, listed, proven, and put back."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from local_store.errors import NeedsPassphrase, StoreError, WrongKey
from sophia_core.commands import CommandError, command
from sophia_core.events import Bus, SessionChanged, SessionsChanged
from sophia_core.present import when
from sophia_core.state import Current
from sophia_core.vault import NobodyToAsk, Vault

if TYPE_CHECKING:
    from local_store import Store, StorePaths
    from local_store.backup import BackupInfo
    from local_store.keys import Credentials
    from local_store.restore import Restored, Verified

Progress = Callable[[int, int], object]
T = TypeVar("T")
TRIES: Final = 3
RECOVERY_CHARACTERS: Final = 56
DISTRIBUTION: Final = "sophia-workstation"
HOW_TO_UNLOCK: Final = "Set SOPHIA_PASSPHRASE to its passphrase, or run this in a terminal to be asked."


@dataclass(frozen=True, slots=True)
class Made:
    """A new backup, and the old ones that went for it."""

    info: BackupInfo
    deleted: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class BackupRow:
    """A backup as the list shows it."""

    made_at: int
    sessions: int
    messages: int
    bytes: int
    opens_with: tuple[str, ...]
    path: str
    problem: str = ""


class Backups:
    """The commands about backups. `paths` is where the store of the vault lies."""

    def __init__(
        self,
        vault: Vault,
        bus: Bus,
        current: Current,
        paths: StorePaths,
        *,
        passphrase: str | None = None,
        allow_keyring: bool = True,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._vault, self._bus, self._current, self._paths = vault, bus, current, paths
        self._passphrase, self._allow_keyring, self._busy = passphrase, allow_keyring, busy

    @property
    def folder(self) -> Path:
        """Where backups go when nobody says where."""
        return self._paths.root.parent / "backups"

    async def make(self, to: str | None = None, keep: int | None = None, progress: Progress | None = None) -> Made:
        """Makes a backup in a folder or as a new file; deletes older ones if told how many to keep.

        Raises CommandError or StoreError.
        """
        from local_store.retention import Keep

        if keep is not None and keep < 1:
            raise CommandError("At least one backup has to be kept.", "Leave `keep` out to delete none.")
        store = await self._vault.get()
        target = await asyncio.to_thread(self._target, to)
        info = await store.backups.make(target, app=_version(), progress=progress)
        deleted = [] if keep is None else await store.backups.prune(info.path.parent, Keep(keep, keep, keep))
        await _note(store, "backup.made", info.path, bytes=str(info.bytes), deleted=str(len(deleted)))
        return Made(info, tuple(deleted))

    def _target(self, to: str | None) -> Path:
        from local_store.files import private_folder

        if to is None:
            private_folder(self.folder)
            return self.folder
        target = _path(to)
        if to.endswith(os.sep):
            private_folder(target)
        return target

    async def verify(self, file: str, progress: Progress | None = None) -> Verified:
        """Opens a backup and reads all of it. Raises StoreError."""
        from local_store.keys import Credentials
        from local_store.restore import verify_backup

        path, given = _path(file), Credentials(self._passphrase, None, self._allow_keyring)
        found, _ = await self.unlocking(lambda each: verify_backup(path, self._paths, each, progress=progress), given)
        return found

    async def restore(self, file: str, progress: Progress | None = None) -> Restored:
        """Puts a backup in the place of the store and opens it. Raises CommandError or StoreError."""
        from local_store.keys import Credentials
        from local_store.restore import restore_backup, verify_backup

        self._refuse(file)
        path = _path(file)
        given = Credentials(self._passphrase, None, self._allow_keyring)
        if was_open := self._vault.store is not None:
            # Proven before the store is closed: whoever mistypes is not locked out of what they have. What is asked
            # meanwhile waits: it would be written to the store that is moved aside.
            await self._end_what_runs()
            with self._vault.held():
                _, given = await self.unlocking(
                    lambda each: verify_backup(path, self._paths, each, progress=progress), given
                )
                await self._vault.hand_over()
        restored = None
        try:
            restored, given = await self.unlocking(
                lambda each: restore_backup(path, self._paths, each, progress=progress), given
            )
        finally:
            if restored is not None:
                self._current.session_id = None  # whatever waits begins a session of its own
            if restored is not None or was_open:
                await self.reopen_store(given)
        await self._tell(restored)
        return restored

    def _refuse(self, file: str) -> None:
        """Raises CommandError while the store cannot be exchanged."""
        if self._busy():
            raise CommandError("An answer is arriving just now.", "Wait for it, or stop it.")
        if self._vault.unwritten:
            raise CommandError("The store has yet to take what was said last.", f"Quit, then: sophia restore {file!r}")

    async def close_store(self) -> None:
        """Ends what is running and closes the store, to exchange its files."""
        await self._end_what_runs()
        await self._vault.hand_over()

    async def _end_what_runs(self) -> None:
        for end in self._vault.before_lock:
            await end()

    async def reopen_store(self, given: Credentials) -> None:
        """Opens what is there now, with what opened it before."""
        if given.passphrase or given.recovery_key:
            await self._vault.unlock(given.passphrase, given.recovery_key)
        else:
            await self._vault.open(create=False)

    async def _tell(self, restored: Restored) -> None:
        if (store := self._vault.store) is not None:
            info = restored.info
            aside = str(restored.aside or "")
            await _note(store, "backup.restored", info.path, made_at=str(info.made_at), aside=aside)
        self._bus.publish(SessionChanged(self._current.session_id))
        self._bus.publish(SessionsChanged())

    async def unlocking(
        self, attempt: Callable[[Credentials], Awaitable[T]], given: Credentials, what: str = "the backup"
    ) -> tuple[T, Credentials]:
        """Tries with what is given, then with what a person types; returns also what it was done with."""
        for _ in range(TRIES):
            try:
                return await attempt(given), given
            except (NeedsPassphrase, WrongKey) as error:
                given = await self._typed_instead(given, error, what)
        return await attempt(given), given

    async def _typed_instead(self, given: Credentials, error: StoreError, what: str) -> Credentials:
        title = f"{error.message}. Passphrase or recovery key of {what}"
        typed = await self._vault.asker.ask_secret(title, confirm=False)
        if not typed:
            if isinstance(self._vault.asker, NobodyToAsk):
                error.hint = HOW_TO_UNLOCK
            raise error
        if len(re.sub(r"[\s-]", "", typed)) == RECOVERY_CHARACTERS:
            return replace(given, passphrase=None, recovery_key=typed)
        return replace(given, passphrase=typed, recovery_key=None)

    async def rows(self, folder: str | None = None) -> builtins.list[BackupRow]:
        """The backups in a folder, or in the usual one and those made before the schema changed; newest first."""
        from local_store.backup import list_backups, migrations_folder

        chosen = [self.folder, migrations_folder(self._paths)] if folder is None else [_path(folder)]
        found = [each for path in chosen for each in await asyncio.to_thread(list_backups, path)]
        return sorted(map(_row, found), key=lambda row: row.made_at, reverse=True)

    @command("backup.now", slash="backup")
    async def backup_now(self, to: str | None = None, *, keep: int | None = None) -> str:
        """Back the store up into one encrypted file; `keep` deletes all but the newest and one a day and week."""
        work = self._vault.work.run("The backup", lambda tell: self.make(to, keep, tell))
        return "\n".join(told_of_made(await _typed(work)))

    @command("backup.list")
    async def backup_list(self, folder: str | None = None) -> builtins.list[BackupRow]:
        """List the backups there are, newest first."""
        return await _typed(self.rows(folder))

    @command("backup.verify")
    async def backup_verify(self, file: str) -> str:
        """Open a backup in a private place and read all of it."""
        work = self._vault.work.run("The look into the backup", lambda tell: self.verify(file, tell))
        return "\n".join(told_of_verified(await _typed(work)))

    async def _readable(self, file: str) -> str:
        from local_store.backup import read_info

        self._refuse(file)
        info = await _typed(asyncio.to_thread(read_info, _path(file)))
        return f"{_content(info)}, as of {when(info.made_at)}"

    @command("backup.restore", dangerous=True, check=_readable)
    async def backup_restore(self, file: str) -> str:
        """Put a backup in the place of the store; the present store is moved aside."""
        work = self._vault.work.run("The restoring", lambda tell: self.restore(file, tell))
        return "\n".join(told_of_restored(await _typed(work)))


async def _note(store: Store, kind: str, path: Path, **detail: str) -> None:
    # The backup is made, or back: a full disk now is no reason to say that it is not.
    with contextlib.suppress(StoreError):
        await store.audit.append(kind, str(path), detail)


async def _typed(work: Awaitable[T]) -> T:
    try:
        return await work
    except StoreError as error:
        raise CommandError(str(error), error.hint) from None


def _path(typed: str) -> Path:
    return Path(typed).expanduser().absolute()


def told_of_made(made: Made) -> builtins.list[str]:
    """What a person is told about a new backup, the file first."""
    lines = [f"Backed up {_content(made.info)}: {made.info.path}", *weakness(made.info)]
    if made.deleted:
        lines.append(f"Deleted {_many(len(made.deleted), 'older backup')}.")
    return lines


def told_of_verified(found: Verified) -> builtins.list[str]:
    """What a person is told about a backup that is sound."""
    lines = [f"Sound: {_content(found.info)}, as of {when(found.info.made_at)}; opened by its {found.opened_by} slot."]
    if not found.own_keys:
        lines = [f"Sound: {_content(found.info)}, as of {when(found.info.made_at)}."]
        lines.append("But only the key file of the present store opened it: what you gave does not open it alone.")
    return [*lines, *_lost(found.attachments_lost), *weakness(found.info)]


def told_of_restored(done: Restored) -> builtins.list[str]:
    """What a person is told about what came back."""
    lines = [f"Restored {_content(done.info)}, as of {when(done.info.made_at)}."]
    if done.aside:
        lines.append(f"The store that was here is kept: {done.aside}. Delete it when nothing is missing.")
    if done.own_keys:
        lines.append(f"It opens as it did then: {', '.join(done.info.opens_with)}.")
    if done.waiting:
        was = "question waits" if done.waiting == 1 else "questions wait"
        lines.append(f"{done.waiting} {was} in its outbox, and may have been answered since: /outbox lists them.")
    return [*lines, *_lost(done.attachments_lost)]


def _lost(attachments: int) -> builtins.list[str]:
    if not attachments:
        return []
    was = "1 attachment was" if attachments == 1 else f"{attachments:,} attachments were"
    return [f"{was} missing or damaged already when it was made; `sophia store check` names what is lost."]


def weakness(info: BackupInfo) -> builtins.list[str]:
    """A warning when a backup is worth nothing without this machine."""
    if info.portable:
        return []
    what = "this machine's keyring" if "keyring" in info.opens_with else "the key file of this device, which is weak"
    fix = "`sophia keys passphrase` or `sophia keys recovery` changes that; then back up again."
    return [f"It opens only with {what}: lost with the machine. {fix}"]


def _content(info: BackupInfo) -> str:
    return f"{_many(info.sessions, 'session')} with {_many(info.messages, 'message')}"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _row(found: BackupInfo | StoreError) -> BackupRow:
    if isinstance(found, StoreError):
        return BackupRow(0, 0, 0, 0, (), str(found.path), found.message)
    return BackupRow(found.made_at, found.sessions, found.messages, found.bytes, found.opens_with, str(found.path))


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return ""
