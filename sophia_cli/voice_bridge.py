"""`sophia voice bridge | join | ssh`: the sound of one machine for SOPHIA on another."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from sophia_cli import interrupts
from sophia_cli.console import Console
from sophia_cli.exits import FAILED, OK, Quit
from sophia_core.paths import resolve_paths
from sophia_core.settings import load_settings
from sophia_core.voice.bridge import ssh
from sophia_core.voice.bridge.joining import join
from sophia_core.voice.bridge.places import private_folder, write_private
from sophia_core.voice.bridge.server import Bridge, BridgeState
from sophia_core.voice.bridge.wire import new_token
from sophia_core.voice.ports import AudioTrouble

PORT: Final = 8767
"""What the one-liner names; another where the settings or an option say so."""
AGAIN_S: Final = (2.0, 4.0, 8.0, 15.0)


def execute(args: argparse.Namespace, console: Console) -> int:
    """Does what the arguments say. Raises Quit."""
    work = {"bridge": bridge, "join": joined, "ssh": over_ssh}[args.action]
    return interrupts.run(lambda: work(args, console), console)


async def bridge(args: argparse.Namespace, console: Console) -> int:
    """Serves the devices of this machine until it is interrupted, or until whoever reads our stdout has gone."""
    port = args.port or load_settings().settings.voice.bridge_port or PORT
    piped = not console.out_stream.terminal
    with _raised():
        async with _served(args.microphone, port, None if args.quiet else console) as (server, token, port):
            if piped:
                # Never into a file: a pipe is how `sophia voice join` at the other end of `ssh` gets to know it.
                return await _hand_over(f"{token} {server.name}\n")
            with _token_file(token) as file:
                console.out(f"{_how(port, file)}\n")
                await asyncio.Event().wait()
    return OK


async def joined(args: argparse.Namespace, console: Console) -> int:
    """Lets SOPHIA here find the bridge whose token stdin brings, until stdin ends."""
    if console.stdin_terminal:
        raise Quit(FAILED, "the token comes from stdin, never typed", f"On the other machine: {_one_line(PORT)}")
    with _raised():
        said = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(said)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(os.dup(0), "rb"))
        folder = resolve_paths().control_dir / "voice"
        await join(folder, said, lambda line: console.out_raw(f"{line}\n"), str(args.at) if args.at else None)
    return OK


async def over_ssh(args: argparse.Namespace, console: Console) -> int:
    """Shows SOPHIA on another machine with the sound of this one; comes back after a lost connection."""
    with _raised():
        far = ssh.Far(args.host, args.port, tuple(args.option), args.program)
        line = ssh.within_shell(args.command) if args.command else ssh.shell_line(far, args.words)
        async with _served(args.microphone, 0, None) as (server, token, port):
            for pause_s in (*AGAIN_S, *AGAIN_S[-1:] * 4):
                async with ssh.carried(far, port, token, server.name) as control:
                    code = await ssh.visit(far, control, line)
                if code != ssh.LOST:
                    return code
                console.say("the connection was lost; SOPHIA calls again", "Ctrl-C gives up.")
                await asyncio.sleep(pause_s)
    return ssh.LOST


@asynccontextmanager
async def _served(microphone: bool, port: int, console: Console | None) -> AsyncIterator[tuple[Bridge, str, int]]:
    """The bridge, its token and its port. Raises AudioTrouble."""
    from sophia_core.voice.devices import LocalDevices

    devices, token = LocalDevices(), new_token()
    server = Bridge(devices, token, microphone=microphone, on_state=Teller(console))
    devices.on_notice = server.notice
    try:
        yield server, token, await server.open(port)
    finally:
        await server.close()
        await devices.close()


class Teller:
    """Says on stderr who comes, and always when the microphone is opened."""

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._last = BridgeState()

    def __call__(self, state: BridgeState) -> None:
        last, self._last = self._last, state
        if self._console is None:
            return
        if state.guests != last.guests:
            self._console.err(f"{state.guests or 'No'} guest{'s' * (state.guests != 1)} at the bridge\n")
        if state.listening != last.listening:
            self._console.err(f"The microphone is {'OPEN' if state.listening else 'closed'}\n")


async def _hand_over(line: str) -> int:
    """Writes the token into our stdout, a pipe, and returns once nobody reads that any more."""
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()

    class Reader(asyncio.BaseProtocol):
        def connection_lost(self, error: Exception | None) -> None:
            gone.set()

    try:
        transport, _ = await loop.connect_write_pipe(Reader, os.fdopen(os.dup(1), "wb"))
    except ValueError:
        hint = f"Pipe it: {_one_line(PORT)}"
        raise Quit(FAILED, "a token is not written into a file", hint) from None
    transport.write(line.encode())
    try:
        await gone.wait()
    finally:
        if not gone.is_set():
            transport.abort()
    return OK


@contextlib.contextmanager
def _token_file(token: str) -> Iterator[Path]:
    folder = resolve_paths().control_dir / "voice"
    private_folder(folder)
    path = folder / f"token-{os.getpid()}"
    write_private(path, f"{token}\n")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _raised() -> Iterator[None]:
    try:
        yield
    except AudioTrouble as error:
        raise Quit(FAILED, error.message, error.hint) from None
    except OSError as error:
        raise Quit(FAILED, f"{error.strerror or error}", "Look at the folder that SOPHIA_HOME names.") from None


def _how(port: int, file: Path) -> str:
    return (
        f"The microphone and loudspeaker of this machine are served on port {port} of it, until Ctrl-C.\n"
        f"The token is in {file}.\n\n"
        f"All in one:          sophia voice ssh HOST\n"
        f"With your own ssh:   {_one_line(port)}"
    )


def _one_line(port: int) -> str:
    return f"sophia voice bridge --port {port} | ssh -R {port}:127.0.0.1:{port} HOST sophia voice join {port}"
