"""The store as the app sees it: opening, locked, open, or not saving; and the commands for its keys.

Locking forgets the keys. What is running ends first and is kept; then the store is closed, and only what a person types
opens it again.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from local_store.errors import Damaged, Locked, NotFound, StoreError, WrongKey, WrongState
from sophia_core.commands import CommandError, command
from sophia_core.events import Bus, KeysChanged, Notice, StoreState, StoreStateChanged
from sophia_core.long_work import LongWork
from sophia_core.standing import Standing

if TYPE_CHECKING:
    from local_store import CheckResult, SlotChange, SlotInfo, Store, StorePaths

RETRY_SECONDS = 2.0
RECOVERY_CHARACTERS = 56
TYPED = frozenset({"passphrase", "recovery"})


class Asker(Protocol):
    """How a front end asks a person for something that must not be on a command line."""

    async def ask_secret(self, title: str, *, confirm: bool) -> str | None:
        """What was typed, None when the person gave up. With `confirm` it is typed twice."""

    async def show_recovery_key(self, key: str) -> str | None:
        """Shows the key once; returns what the person typed back of it, None when they gave up."""


class NobodyToAsk:
    """For scripts: there is no person."""

    async def ask_secret(self, title: str, *, confirm: bool) -> str | None:
        return None

    async def show_recovery_key(self, key: str) -> str | None:
        return None


class Vault:
    """Opens the store in the background and hands it to whoever waits for it."""

    def __init__(
        self,
        paths: StorePaths,
        bus: Bus,
        *,
        passphrase: str | None = None,
        allow_keyring: bool = True,
        allow_network_folder: bool = False,
    ) -> None:
        self._paths, self._bus, self._allow_keyring = paths, bus, allow_keyring
        self._allow_network_folder = allow_network_folder
        self._standing = Standing(bus)
        self._passphrase = passphrase
        self.handed: bytes | None = None
        """What opens the store in a process that was begun by one that has it open; forgotten with its first use."""
        self.asker: Asker = NobodyToAsk()
        self.store: Store | None = None
        self.state: StoreState = "opening"
        self.detail, self.hint = "", ""
        self.recovered = 0
        """Answers that a crash cut short, found when the store was opened."""
        self._settled = asyncio.Event()
        self._temporary: Path | None = None
        self._kept: list[Callable[[], Coroutine[None, None, object]]] = []
        self._retrying: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._locked_on_purpose = False
        self.unwritten_yet: list[Callable[[], Awaitable[object]]] = []
        """What writes down, while the store still takes everything, what only the screen knows."""
        self.before_lock: list[Callable[[], Awaitable[object]]] = []
        """What has to end, and to be written, before the store is closed by `lock`."""
        self.damaged = False
        """Whether pages of the store turned out to be damaged when it was opened; a salvage may get around them."""
        self.work = LongWork(bus)

    async def open(self, *, create: bool = True, recovery_key: str | None = None) -> None:
        """Opens or makes the store; how it went is in `state`. Never raises for a store that cannot be opened."""
        from local_store import KeyPolicy, open_store

        handed, self.handed = self.handed, None
        try:
            store = await open_store(
                self._paths,
                policy=KeyPolicy(allow_network_folder=self._allow_network_folder),
                passphrase=self._passphrase,
                recovery_key=recovery_key,
                allow_keyring=self._allow_keyring,
                create=create,
                typed_only=self._locked_on_purpose,
                handed=handed,
            )
        except (Locked, WrongKey) as error:
            self._settle("locked", str(error), error.hint)
        except StoreError as error:
            self.damaged = isinstance(error, Damaged)
            self._settle("failed", str(error), error.hint)
        else:
            await self._opened(store)

    async def _opened(self, store: Store) -> None:
        self.store, self._locked_on_purpose, self._passphrase = store, False, None
        trouble = await self._recover(store)
        recovered = self.recovered
        self._settle("open")
        self.damaged = isinstance(trouble, Damaged)
        if trouble:
            self._bus.publish(StoreStateChanged("full", str(trouble), trouble.hint))
        await self._standing.tell(store)
        if store.read_only and not store.outdated:
            self._watching = asyncio.create_task(self._until_writable(store), name="store-writable")
        await self._publish_keys()
        if recovered:
            text = f"{recovered} answer{'s were' if recovered > 1 else ' was'} interrupted when SOPHIA last stopped."
            self._bus.publish(Notice("warning", text, "What had arrived is kept: /continue goes on with it."))

    async def _until_writable(self, store: Store) -> None:
        """Says so when a store that is only read can be written after all."""
        await self._standing.until_writable(store, RETRY_SECONDS)
        await self._recover(store)
        self._bus.publish(StoreStateChanged(self.state, "The store can be written again."))

    async def _stop_watching(self) -> None:
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])

    async def _recover(self, store: Store) -> StoreError | None:
        """Marks what a crash cut short; a store that can only be read is better than none."""
        try:
            self.recovered = await store.turns.recover()
        except StoreError as error:
            return error
        return None

    async def open_unsaved(self) -> None:
        """Goes on with a store that is deleted at the end: encrypted, with a key nobody keeps."""
        from local_store import StorePaths, open_store

        self._temporary = await asyncio.to_thread(_private_folder)
        paths = StorePaths(self._temporary / "store", self._temporary / "device")
        self.store = await open_store(paths, allow_keyring=False)
        self._settle("unsaved", self.detail, self.hint)

    def _settle(self, state: StoreState, detail: str = "", hint: str = "") -> None:
        self.state, self.detail, self.hint = state, detail, hint
        self._settled.set()
        self._bus.publish(StoreStateChanged(state, detail, hint))

    async def settled(self) -> None:
        """Waits until it is known whether the store opens."""
        await self._settled.wait()

    async def get(self) -> Store:
        """The store, as soon as it is open. Raises CommandError when it is locked or cannot be opened."""
        await self.settled()
        if self.store is None:
            if self.state == "locked":
                raise CommandError("The store is locked.", "Unlock it with your passphrase: /unlock")
            raise CommandError(f"The store cannot be opened: {self.detail}", self.hint or "Run `sophia doctor`.")
        return self.store

    async def unlock(self, passphrase: str | None = None, recovery_key: str | None = None) -> bool:
        """Tries a passphrase or a recovery key; True when the store is open now."""
        if self.store is None:
            self._passphrase = passphrase
            await self.open(create=False, recovery_key=recovery_key)
        return self.store is not None

    def cannot_lock(self) -> str | None:
        """Why the store cannot be locked now; None when it can."""
        if self.store is None or self.state in ("unsaved", "opening"):
            return "it is locked already" if self.state == "locked" else "nothing is saved"
        if not any(slot.kind in TYPED for slot in self.store.keys.slots()):
            return "nothing would be asked to open it again; /passphrase sets a passphrase"
        return None

    async def lock(self) -> None:
        """Ends what is running, keeps what has arrived, closes the store and forgets its keys. Raises CommandError."""
        if reason := self.cannot_lock():
            raise CommandError(f"The store cannot be locked: {reason}.")
        for write in self.unwritten_yet:
            await write()
        store, before = self.store, self.state
        # Nothing new begins from here on; what has begun holds on to the store itself.
        self.store, self.state = None, "locked"
        for end in self.before_lock:
            await end()
        await self.write_kept()
        if self._kept or store is None:
            self.store, self.state = store, before
            raise CommandError(
                f"The store cannot be locked: {len(self._kept)} answers are not saved yet.", "Free some disk space."
            )
        self._locked_on_purpose = True
        await self._stop_watching()
        await store.close()
        self._settle("locked", "The store was locked.", "Type its passphrase.")

    @property
    def unwritten(self) -> int:
        """How many answers the store has refused so far and not taken since."""
        return len(self._kept)

    def keep(self, save: Callable[[], Coroutine[None, None, object]]) -> None:
        """Takes a write the store refused and tries it again until it succeeds."""
        self._kept.append(save)
        if self._retrying is None or self._retrying.done():
            self._retrying = asyncio.create_task(self._retry(), name="store-retry")

    async def _retry(self) -> None:
        while self._kept:
            await asyncio.sleep(RETRY_SECONDS)
            await self.write_kept()

    async def write_kept(self) -> None:
        """Tries once to write what the store refused, in order, up to the first that it refuses again."""
        async with self._writing:
            if not self._kept:
                return
            while self._kept:
                try:
                    await self._kept[0]()
                except (NotFound, WrongState):
                    pass  # its session was deleted meanwhile: there is nothing left to write to
                except StoreError:
                    return
                del self._kept[0]
        self._bus.publish(StoreStateChanged(self.state, "Everything is saved again."))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Whoever asks for the store from now on waits until it is opened again, or until this fails."""
        self._settled.clear()
        try:
            yield
        except BaseException:
            self._settled.set()
            raise

    async def hand_over(self) -> None:
        """Closes the store, so that its files can be exchanged; whoever needs it waits until it is opened again."""
        self._settled.clear()
        self.state = "opening"
        self._bus.publish(StoreStateChanged("opening"))
        await self.close()

    async def close(self) -> None:
        """Closes the store, after one last try to write what it refused; removes an unsaved one."""
        if self._retrying:
            # What it is writing just now is over before the last try: nothing is written twice, and nothing left out.
            async with self._writing:
                self._retrying.cancel()
            await asyncio.wait([self._retrying])
        await self._stop_watching()
        if self.store is not None:
            await self.write_kept()
            await self.store.close()
            self.store = None
        if self._temporary:
            await asyncio.to_thread(shutil.rmtree, self._temporary, ignore_errors=True)

    async def _publish_keys(self) -> None:
        if self.store is not None and self.state == "open":
            keys = self.store.keys
            weak = keys.standing() == "weak"
            self._bus.publish(KeysChanged(weak=weak, recovery_confirmed=keys.recovery_confirmed()))

    @command("store.lock", slash="lock", enabled=cannot_lock)
    async def lock_command(self) -> None:
        """Lock the store and clear the screen; the passphrase opens it again."""
        await self.lock()

    @command("keys.unlock", slash="unlock", enabled=lambda self: None if self.state == "locked" else "it is not locked")
    async def unlock_command(self) -> None:
        """Unlock the store with its passphrase or its recovery key."""
        typed = await self.asker.ask_secret("Passphrase or recovery key of the store", confirm=False)
        if typed and not await self.unlock(*_either(typed)):
            raise CommandError(self.detail, self.hint)

    @command("keys.recover", enabled=lambda self: None if self.state == "locked" else "it is not locked")
    async def recover(self) -> str:
        """Open the store with its recovery key and set a new passphrase."""
        typed = await self.asker.ask_secret("Recovery key of the store", confirm=False)
        if not typed:
            raise CommandError("No recovery key was given; nothing changed.", self._how_to_be_asked())
        if not await self.unlock(recovery_key=typed):
            raise CommandError(self.detail, self.hint)
        return await self.set_passphrase()

    def _how_to_be_asked(self) -> str:
        return "Run it in a terminal to be asked." if isinstance(self.asker, NobodyToAsk) else ""

    @command("keys.list")
    async def list_slots(self) -> list[SlotInfo]:
        """List what unlocks the store."""
        return list((await self.get()).keys.slots())

    @command("keys.passphrase", slash="passphrase")
    async def set_passphrase(self) -> str:
        """Protect the store with a passphrase; it replaces this device's weak key."""
        store = await self.get()
        passphrase = await self.asker.ask_secret("New passphrase for the store", confirm=True)
        if not passphrase:
            raise CommandError("No passphrase was given; nothing changed.", self._how_to_be_asked())
        with _as_command():
            await self._changed(await store.keys.add_passphrase(passphrase))
        return "The store asks for this passphrase from now on."

    @command("keys.keyring")
    async def add_keyring(self) -> str:
        """Let this machine's keyring open the store; it replaces this device's weak key."""
        store = await self.get()
        with _as_command():
            await self._changed(await store.keys.add_keyring())
        return "The keyring of this machine opens the store from now on."

    @command("keys.agent")
    async def add_agent(self, key: str = "") -> str:
        """Let an Ed25519 key in the ssh-agent open the store: its fingerprint, comment or public line."""
        store = await self.get()
        with _as_command():
            done = await store.keys.add_ssh_agent(key)
            await self._changed(done)
        return f"The ssh-agent opens the store from now on: {done.added.label if done.added else ''}"

    async def _removable(self, slot: str) -> str:
        store = await self.get()
        with _as_command():
            gone = await store.keys.removable(slot)
        return f"{gone.kind} ({gone.label})"

    @command("keys.remove", dangerous=True, check=_removable)
    async def remove_slot(self, slot: str) -> str:
        """Remove a way to unlock the store, by the beginning of its id or by its kind."""
        store = await self.get()
        with _as_command():
            done = await store.keys.remove(slot)
            await self._changed(done)
        return f"Removed: {', '.join(f'{gone.kind} ({gone.label})' for gone in done.removed)}."

    @command("keys.rotate", slash="rotate")
    async def rotate(self) -> str:
        """Exchange the store's keys: old copies of the key file open nothing that is written from now on."""
        store = await self.get()
        with _as_command():
            done = await self.work.run("The exchange of the keys", lambda tell: store.keys.rotate(tell))
        return f"The store has new keys, its {done.epoch}. data key; every way to unlock it goes on working."

    @command("keys.recovery", slash="recovery")
    async def recovery(self) -> str:
        """Show a recovery key once; write it down, it opens the store when all else is lost."""
        store = await self.get()
        key = store.keys.new_recovery_key()
        typed = await self.asker.show_recovery_key(key)
        if not typed:
            raise CommandError("The recovery key was not confirmed and is not valid.", "Run it again to get another.")
        with _as_command():
            await self._changed(await store.keys.confirm_recovery_key(typed))
        return "The recovery key works from now on. Keep it apart from this machine."

    async def _changed(self, done: SlotChange) -> None:
        await self._publish_keys()
        if done.leftover:
            self._bus.publish(Notice("warning", f"Could not delete {done.leftover}", "It opens nothing any more."))
        if done.rotate:
            hint = "Give the store new keys: /rotate, or `sophia keys rotate`."
            self._bus.publish(Notice("warning", f"{done.rotate[:1].upper()}{done.rotate[1:]}.", hint))

    @command("store.check")
    async def check(self, full: bool = False) -> list[CheckResult]:
        """Check that the store is sound."""
        return list(await (await self.get()).check(full=full))

    async def _put_back(self, reason: str = "") -> str:
        if (found := (await self.get()).rolled_back) is None:
            raise CommandError("There is nothing to accept: this is the newest state of the store.")
        return found.detail

    @command("store.accept", dangerous=True, check=_put_back)
    async def accept(self, reason: str = "") -> str:
        """Go on from an earlier state of the store that was put back on purpose."""
        store = await self.get()
        with _as_command():
            accepted = await store.accept_state(reason)
        if accepted is None:
            return "There was nothing to accept: this is the newest state of the store."
        self._bus.publish(StoreStateChanged(self.state, "This state of the store was accepted."))
        return "This state of the store counts from now on; what had been missing is kept in the audit log."

    @command("store.unsaved", enabled=lambda self: None if self.store is None else "the store is open", palette=True)
    async def go_unsaved(self) -> str:
        """Go on without saving: everything said is forgotten at the end."""
        await self.open_unsaved()
        return "Nothing is saved until SOPHIA is started again."


@contextmanager
def _as_command() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise CommandError(str(error), error.hint) from None


def _either(typed: str) -> tuple[str | None, str | None]:
    """What was typed as (passphrase, recovery key)."""
    is_key = len("".join(typed.replace("-", "").split())) == RECOVERY_CHARACTERS
    return (None, typed) if is_key else (typed, None)


def _private_folder() -> Path:
    """A folder only we can read, in memory where the system has such a place."""
    memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder of its own in it
    return Path(tempfile.mkdtemp(prefix="sophia-unsaved-", dir=memory if memory.is_dir() else None))
