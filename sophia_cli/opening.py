"""Opens SOPHIA for one shell command: settings, listeners, and a store that may have to be unlocked or done without."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sophia_cli.asker import TerminalAsker
from sophia_cli.console import Console
from sophia_cli.exits import FAILED, STORE, USAGE, Quit
from sophia_core.commands import BadArguments, CommandError, NeedsConfirmation, UnknownCommand
from sophia_core.events import Event, Listener, Notice

if TYPE_CHECKING:
    from backend_client.transport import Transport
    from sophia_core.runtime import Runtime
    from sophia_core.settings import Loaded
    from sophia_core.vault import Vault

TRIES = 3
RECOVERY_CHARACTERS = 56


class Notices:
    """Tells on stderr what the core has to say: trouble always, the rest where somebody watches."""

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        self._console = console
        self._chatty = verbose or console.err_stream.terminal

    def __call__(self, event: Event) -> None:
        if isinstance(event, Notice) and (self._chatty or event.level != "info"):
            self._console.say(event.text, event.hint)


@asynccontextmanager
async def opened(
    loaded: Loaded,
    console: Console,
    listeners: Iterable[Listener],
    *,
    create: bool = True,
    transport: Transport | None = None,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Runtime]:
    """A started runtime whose listeners hear everything from the first event on; closed whatever happens.

    A locked store is unlocked where there is a person to ask. Whether it is open is for the caller to see.
    """
    from sophia_core.chat.turn import to_the_end
    from sophia_core.runtime import Runtime

    runtime = Runtime(loaded, transport=transport, env=env)
    if console.interactive:
        runtime.vault.asker = TerminalAsker(console)
    for listener in listeners:
        runtime.bus.subscribe(listener)
    try:
        await runtime.start(create=create)
        if runtime.vault.state == "locked" and console.interactive:
            await _unlock(runtime.vault, console)
        yield runtime
    finally:
        # A signal that comes now, or a reader that has gone, must not cut this short.
        await to_the_end(runtime.close())


async def _unlock(vault: Vault, console: Console) -> None:
    for _ in range(TRIES):
        console.say(vault.detail)
        typed = await vault.asker.ask_secret("Passphrase or recovery key (Enter: leave it locked)", confirm=False)
        if typed is None:
            return
        is_key = len(re.sub(r"[\s-]", "", typed)) == RECOVERY_CHARACTERS
        if await vault.unlock(*((None, typed) if is_key else (typed, None))):
            return


def require_store(runtime: Runtime) -> None:
    """Raises Quit, with the reason, when the store is not open."""
    vault = runtime.vault
    if vault.store is None:
        raise Quit(STORE, vault.detail or "the store is not open", unlock_hint(vault))


def unlock_hint(vault: Vault) -> str:
    """What a person can do about a store that is not open."""
    if vault.state == "locked":
        return "Set SOPHIA_PASSPHRASE to its passphrase, or run this in a terminal to be asked."
    return vault.hint or "`sophia init` makes a store; `sophia doctor` tells more."


def store_exists(loaded: Loaded) -> bool:
    """Whether a store was made here before."""
    from local_store import StorePaths

    paths = StorePaths(loaded.paths.store_dir, loaded.paths.device_dir)
    return paths.keys.exists() or paths.database.exists()


@contextmanager
def without_store(loaded: Loaded) -> Iterator[Loaded]:
    """The same settings with a store of its own that is deleted at the end; the real one is not even looked at.

    Raises Quit when there is no folder for it.
    """
    memory = Path("/dev/shm")  # noqa: S108 - memory, where there is one; the folder made in it is private
    try:
        temporary = TemporaryDirectory(prefix="sophia-unsaved-", dir=memory if memory.is_dir() else None)
    except OSError as error:
        raise Quit(STORE, f"there is no place to work in: {error}", "Set TMPDIR to a folder you can write.") from None
    with temporary as folder:
        paths = replace(loaded.paths, store_dir=Path(folder, "store"), device_dir=Path(folder, "device"))
        yield replace(loaded, paths=paths, settings=loaded.settings.model_copy(update={"passphrase": None}))


def as_quit(error: CommandError, vault: Vault) -> Quit:
    """How a command that could not run ends the program."""
    if isinstance(error, UnknownCommand | BadArguments | NeedsConfirmation):
        return Quit(USAGE, str(error), error.hint)
    if vault.store is None:
        return Quit(STORE, str(error), unlock_hint(vault))
    return Quit(FAILED, str(error), error.hint)
