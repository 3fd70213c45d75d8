"""The commands that let conversations leave and come in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from local_store.errors import NotFound, StoreError
from sophia_core.commands import CommandError, command
from sophia_core.events import Bus, SessionsChanged
from sophia_core.state import Current
from sophia_core.vault import Vault

if TYPE_CHECKING:
    from local_store import Session, Store
    from local_store.imports import ImportReport
    from sophia_core.exchange.contents import LeftOut
    from sophia_core.exchange.report import Imported

Format = Literal["md", "json", "html"]
Source = Literal["auto", "chatgpt", "claude", "open-webui", "llm", "oterm", "sophia"]
Progress = Callable[[int, int], object]
T = TypeVar("T")
SUFFIXES: Final[dict[str, Format]] = {".md": "md", ".markdown": "md", ".json": "json", ".html": "html", ".htm": "html"}
ALL: Final = "all"
WRITTEN_AT_ONCE: Final = 256 * 1024
"""Characters that are gathered before the file is written to."""
NAME_CHARACTERS: Final = 60
NO_FILE: Final = "No file was left."
SO_FAR: Final = "What has come in stays; importing the same file again adds the rest, and nothing twice."


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written."""

    path: Path
    sessions: int
    format: Format
    left_out: str = ""
    """Which attachments it only names, as a sentence."""


class Exchange:
    """Exports and imports."""

    def __init__(self, vault: Vault, bus: Bus, current: Current) -> None:
        self._vault, self._bus, self._current = vault, bus, current

    async def chosen(self, session: str | None) -> list[str]:
        """The ids of one session (None: the open one, else the one used last) or of "all". Raises CommandError."""
        store = await self._vault.get()
        if session == ALL:
            return await store.bulk.session_ids()
        return [(await self._one(store, session or self._current.session_id)).id]

    async def _one(self, store: Store, wanted: str | None) -> Session:
        if wanted is None:
            if (latest := await store.sessions.latest()) is None:
                raise CommandError("There is no session to export.", "Ask something first.")
            return latest
        try:
            return await store.sessions.get(wanted)
        except NotFound as error:
            hint = error.hint or "`sophia sessions` lists them."
            raise CommandError(f"There is no session {wanted!r}.", hint) from None

    async def pieces(
        self,
        session_ids: Sequence[str],
        format: Format,
        *,
        ascii_only: bool = False,
        progress: Progress | None = None,
        left_out: LeftOut | None = None,
    ) -> AsyncIterator[str]:
        """The sessions as text, piece by piece; one that is deleted meanwhile is left out. Noted in the audit log.

        `left_out` counts the attachments that are only named.
        """
        from local_store.ids import now_ms
        from sophia_core.exchange import html, json_format, markdown
        from sophia_core.exchange.contents import LeftOut

        missing = left_out or LeftOut()

        store = await self._vault.get()
        ids = _counted(session_ids, progress)
        if format == "json":
            found = json_format.write(store.bulk, store.blobs, ids, now_ms(), missing, ascii_only=ascii_only)
        elif format == "html":
            title = "SOPHIA sessions" if len(session_ids) > 1 else await _title(store, session_ids)
            found = html.write(store.bulk, store.blobs, ids, missing, title)
        else:
            found = markdown.write(store.bulk, ids)
        subject = session_ids[0] if len(session_ids) == 1 else ALL
        await _note(store, "session.export", subject, format=format, sessions=str(len(session_ids)))
        async for piece in found:
            yield piece

    async def export_to(
        self, path: Path, session_ids: Sequence[str], format: Format, progress: Progress | None = None
    ) -> Exported:
        """Writes a new private file; none is left when that fails. Raises CommandError."""
        from sophia_core.exchange.contents import LeftOut

        file, left_out = await asyncio.to_thread(_NewFile, path), LeftOut()
        try:
            async for block in _gathered(self.pieces(session_ids, format, progress=progress, left_out=left_out)):
                await asyncio.to_thread(file.write, block)
            await asyncio.to_thread(file.settle)
        except BaseException:
            file.discard()
            raise
        return Exported(path, len(session_ids), format, left_out.told())

    async def bring_in(
        self, path: Path, source: Source = "auto", *, dry_run: bool = False, progress: Progress | None = None
    ) -> Imported:
        """Imports a file. What came before a cancellation stays; a second import adds the rest. Raises CommandError."""
        from sophia_core.exchange.items import BadFile
        from sophia_core.exchange.reading import NAMES, Reading
        from sophia_core.exchange.report import Imported

        store = await self._vault.get()
        reading = Reading(path, None if source == "auto" else source)
        if not await asyncio.to_thread(path.is_file):
            raise CommandError(f"There is no file {str(path)!r}.", "Name the export itself: a .zip, .json or .db file.")

        def tell(_: ImportReport) -> None:
            if progress is not None and reading.progress is not None:
                progress(reading.progress.done, reading.progress.total)

        try:
            report = await store.bulk.add(reading, progress=tell, dry_run=dry_run)
        except BadFile as error:
            hint = (
                "Known are the exports of ChatGPT, Claude, Open WebUI and SOPHIA, and the databases of llm and oterm."
            )
            raise CommandError(f"{path.name} cannot be imported: {error}.", hint) from None
        finally:
            await asyncio.to_thread(reading.close)
            if not dry_run:
                self._bus.publish(SessionsChanged())
        kind = NAMES[reading.kind] if reading.kind else ""
        if not dry_run:
            told = {"sessions": str(report.added), "messages": str(report.messages), "skipped": str(report.skipped)}
            await _note(store, "session.import", kind, **told)
        return Imported(kind, report, dry_run, reading.problem)

    @command("session.export", slash="export")
    async def export(self, session: str | None = None, *, to: str | None = None, format: Format | None = None) -> str:
        """Write a session, or "all", to a new file as Markdown, JSON or HTML."""
        ids = await _typed(self.chosen(session))
        chosen = format_of(format, to)
        store = await self._vault.get()
        name = "sophia-sessions" if session == ALL else file_name(await _title(store, ids), ids[0])
        path = typed_path(to or f"{name}.{chosen}")
        work = self._vault.work.run("The export", lambda tell: self.export_to(path, ids, chosen, tell), stopped=NO_FILE)
        done = await _typed(work)
        said = f"Exported {done.sessions:,} session{'s' if done.sessions != 1 else ''} to {done.path}"
        return f"{said}\n{done.left_out}" if done.left_out else said

    @command("session.import", slash="import")
    async def import_file(self, file: str, *, source: Source = "auto", dry_run: bool = False) -> str:
        """Import conversations of ChatGPT, Claude, Open WebUI, llm, oterm or SOPHIA from a file."""
        from sophia_core.exchange.report import told

        path = typed_path(file)
        work = self._vault.work.run(
            "The import",
            lambda tell: self.bring_in(path, source, dry_run=dry_run, progress=tell),
            stopped=SO_FAR,
        )
        return "\n".join(told(await _typed(work)))


def format_of(format: Format | None, to: str | None) -> Format:
    """The format that was asked for, or the one that the file's name asks for; else Markdown."""
    return format or SUFFIXES.get(Path(to or "").suffix.lower(), "md")


def typed_path(typed: str) -> Path:
    """A path as somebody typed it."""
    return Path(typed).expanduser().absolute()


def file_name(title: str, session_id: str) -> str:
    """A name for a session's file: its title as far as names may hold it, and the end of its id."""
    words = re.sub(r"[^\w]+", "-", title, flags=re.UNICODE).strip("-_")[:NAME_CHARACTERS].strip("-_")
    return f"{words or 'session'}-{session_id[-6:]}".lower()


def _counted(ids: Sequence[str], progress: Progress | None) -> Iterator[str]:
    """The ids one by one, telling how many were taken."""
    for number, each in enumerate(ids):
        if progress is not None:
            progress(number, len(ids))
        yield each


async def _title(store: Store, session_ids: Sequence[str]) -> str:
    return (await store.sessions.get(session_ids[0])).title if session_ids else ""


async def _gathered(pieces: AsyncIterator[str]) -> AsyncIterator[bytes]:
    waiting: list[str] = []
    size = 0
    async for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= WRITTEN_AT_ONCE:
            yield "".join(waiting).encode("utf-8", "replace")
            waiting, size = [], 0
    yield "".join(waiting).encode("utf-8", "replace")


class _NewFile:
    """A file that was not there before and only its owner reads. Raises CommandError when it cannot be made or grow."""

    def __init__(self, path: Path) -> None:
        self._path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._file = open(os.open(path, flags, 0o600), "wb")  # noqa: SIM115 - closed by settle or discard
        except FileExistsError:
            raise CommandError(f"{str(path)!r} exists already.", "Name another file, or remove this one.") from None
        except OSError as error:
            raise CommandError(f"{str(path)!r} cannot be written: {error.strerror}.", "Name another file.") from None

    def write(self, block: bytes) -> None:
        with self._typed():
            self._file.write(block)

    def settle(self) -> None:
        """Bring everything to the disk and close the file."""
        with self._typed():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def discard(self) -> None:
        """Leave no file."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        with contextlib.suppress(OSError):
            self._file.close()

    @contextlib.contextmanager
    def _typed(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"{str(self._path)!r} cannot be written: {error.strerror}."
            raise CommandError(reason, "Free some space, or name another file.") from None


async def _note(store: Store, kind: str, subject: str, **detail: str) -> None:
    # What was exported or imported is so, even if the log takes no more now.
    with contextlib.suppress(StoreError):
        await store.audit.append(kind, subject, detail)


async def _typed(work: Awaitable[T]) -> T:
    try:
        return await work
    except StoreError as error:
        raise CommandError(str(error), error.hint) from None
