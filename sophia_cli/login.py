"""`sophia login` and `sophia logout`: proving to a provider who you are, from a terminal."""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING

from sophia_cli import interrupts
from sophia_cli.asker import TerminalAsker
from sophia_cli.console import Console
from sophia_cli.exits import OK, Quit, usage_error
from sophia_cli.opening import Notices, as_quit, opened, require_store
from sophia_core.commands import CommandError
from sophia_core.qr import half_blocks, hashes
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from backend_client.device import DeviceCode
    from sophia_core.runtime import Runtime

KEY_MAX = 16 << 10
LINK = "\x1b]8;;{0}\x1b\\{0}\x1b]8;;\x1b\\"


def execute(args: argparse.Namespace, console: Console) -> int:
    """Signs in or out. Raises Quit."""
    loaded = load_settings()
    if args.leave:
        return interrupts.run(lambda: logout(args, loaded, console), console)
    return interrupts.run(lambda: login(args, loaded, console), console)


async def login(args: argparse.Namespace, loaded: Loaded, console: Console, descriptor: int = 0) -> int:
    """Signs in, or keeps the key that stdin holds; returns the exit code. Raises Quit."""
    key = await _key(console, descriptor) if args.with_token else None
    async with opened(loaded, console, [Notices(console)]) as runtime:
        require_store(runtime)
        runtime.login.guide = TerminalGuide(console, ascii_only=loaded.settings.screen.ascii_only)
        try:
            console.out(f"{await _signed_in(args, runtime, key)}\n")
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None
    return OK


async def logout(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    """Signs out; returns the exit code. Raises Quit."""
    async with opened(loaded, console, [Notices(console)], create=False) as runtime:
        require_store(runtime)
        try:
            console.out(f"{await runtime.run('auth.logout', args.provider)}\n")
        except CommandError as error:
            raise as_quit(error, runtime.vault) from None
    return OK


async def _signed_in(args: argparse.Namespace, runtime: Runtime, key: str | None) -> object:
    if key is None:
        return await runtime.run("auth.login", args.provider, args.how)
    from backend_client.auth import Secret

    said = await runtime.login.keep_key(args.provider, Secret(key))
    runtime.auditor.note("auth.key_kept", args.provider)
    return said


async def _key(console: Console, descriptor: int) -> str:
    """The key on stdin; asked for, unseen, where that is a terminal. Raises Quit."""
    if console.interactive:
        key = await TerminalAsker(console).ask_secret("API key", confirm=False) or ""
    else:
        key = _read(descriptor)
    if not key.strip():
        raise usage_error("there is no key on stdin", "Pipe it in: `sophia login PROVIDER --with-token < key.txt`.")
    return key


def _read(descriptor: int) -> str:
    data = bytearray()
    try:
        while len(data) <= KEY_MAX and (block := os.read(descriptor, KEY_MAX)):
            data += block
    except OSError as error:
        raise Quit(2, f"stdin cannot be read: {error.strerror}") from None
    if len(data) > KEY_MAX:
        raise usage_error("stdin holds more than a key", "Pipe in the key and nothing else.")
    return data.decode("utf-8", "replace")


class TerminalGuide:
    """Leads a person through a sign-in on stderr."""

    def __init__(self, console: Console, *, ascii_only: bool = False) -> None:
        self._console = console
        encoding = console.err_stream.encoding.lower().replace("-", "")
        self._blocks = encoding == "utf8" and not ascii_only

    async def show_code(self, provider: str, code: DeviceCode) -> None:
        """Shows the address, the code, and a picture of the address for a phone's camera."""
        ends = time.strftime("%H:%M", time.localtime(time.time() + code.life_s))
        self._console.err(f"To sign in to {provider}, open this address on any machine and type the code:\n\n    ")
        self._link(code.address)
        self._console.err(f"\n    {code.code}\n\n")
        self._picture(code.whole_address or code.address)
        self._console.err(f"Only do so if you started this yourself. Waiting until {ends}; Ctrl-C gives up.\n")

    async def open_page(self, provider: str, address: str) -> None:
        """Opens the address, and shows it in case that does not work."""
        from sophia_core.login import open_browser

        self._console.err(f"Your browser opens to sign in to {provider}. If it does not, open this there:\n\n    ")
        self._link(address)
        self._console.err("\n\nWaiting for it; Ctrl-C gives up.\n")
        await open_browser(address)

    async def ask_address(self, provider: str, address: str) -> str | None:
        """Shows the address and takes the one that the browser ended at; None where nobody can be asked."""
        self._console.err(f"To sign in to {provider}, open this address in any browser:\n\n    ")
        self._link(address)
        self._console.err("\n\nAt the end it cannot show a page; that is meant to be. Its address is what is needed.\n")
        if not self._console.interactive:
            return None
        return await TerminalAsker(self._console).ask_secret("Paste that address here (unseen)", confirm=False)

    def _link(self, address: str) -> None:
        """An address to click on, where the terminal knows of such things; it has been checked to be plain text."""
        self._console.err_raw(LINK.format(address) if self._console.look.rewrites else address)

    def _picture(self, address: str) -> None:
        if not self._console.err_stream.terminal:
            return
        lines = half_blocks(address, colours=self._console.look.colours) if self._blocks else hashes(address)
        columns, rows = self._room()
        if lines and lines.width <= columns and len(lines.lines) <= rows:
            self._console.err_raw("".join(f"{line}\n" for line in lines.lines) + "\n")

    def _room(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._console.err_stream.descriptor)
        except OSError:
            return 80, 24
        # One that does not know its size says nought.
        return size.columns or 80, size.lines or 24
