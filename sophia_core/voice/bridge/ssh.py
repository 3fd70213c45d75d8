"""`sophia voice ssh`: SOPHIA on another machine, with the microphone and loudspeaker of this one, in one command.

The first SSH connection carries the token to `sophia voice join` there, through its stdin, and is kept; over it go the
bridge (a socket that only its owner can open, else a port) and the terminal. So a person signs in once. When this
process ends, in whatever way, the stdin there ends too, and with it all traces of the bridge.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sophia_core.sanitize import one_line
from sophia_core.voice.bridge.joining import parse_marked
from sophia_core.voice.ports import AudioTrouble

SIGN_IN_S: Final = 180.0
"""A person may have to type a password."""
FORWARD_S: Final = 20.0
END_S: Final = 3.0
MOST_LINES: Final = 200
LOST: Final = 255
"""How `ssh` ends when the connection was lost, or never came about."""
HOST: Final = re.compile(r"[^-\s\x00-\x1f\x7f][^\s\x00-\x1f\x7f]*")
PATIENT: Final = ("ServerAliveInterval=5", "ServerAliveCountMax=3")
QUIET: Final = ("RemoteCommand=none", "RequestTTY=no", "PermitLocalCommand=no", "ForwardX11=no", "LogLevel=ERROR")
MISSING: Final = 127


@dataclass(frozen=True, slots=True)
class Far:
    """The machine that SOPHIA runs on, and how to reach it."""

    host: str
    """As `ssh` takes it: a name of its config, or USER@HOST."""
    port: int | None = None
    options: tuple[str, ...] = ()
    """More for `ssh -o`."""
    program: str = "sophia"
    """SOPHIA there, where it is not on the path."""

    def __post_init__(self) -> None:
        if HOST.fullmatch(self.host) is None:
            raise AudioTrouble(f"{one_line(self.host)!r} is no host.", "Name it as for `ssh`: sophia voice ssh HOST")


def shell_line(far: Far, words: Sequence[str]) -> str:
    """Return what the other machine's shell runs: SOPHIA, as it would be found after signing in."""
    return within_shell(shlex.join([far.program, *words]))


def within_shell(line: str) -> str:
    """Return a command line as any login shell takes it, to be run by `sh` with the path of a person signing in."""
    script = f'PATH="$PATH:$HOME/.local/bin"; exec {line}'
    return f"exec sh -lc {shlex.quote(script)}"


def joining(far: Far, control: Path) -> list[str]:
    """Return the command that brings the token there and keeps the connection."""
    own = [f"ControlPath={_escaped(control)}", "ControlMaster=yes", "ControlPersist=no", *QUIET, *PATIENT]
    return [*_ssh(far, own), "-T", "--", far.host, shell_line(far, ["voice", "join"])]


def forwarding(far: Far, control: Path, there: str, port: int) -> list[str]:
    """Return the command that has `there` (a path, or a port) on the other machine lead to our port."""
    where = there if there.startswith("/") else f"127.0.0.1:{there}"
    own = [f"ControlPath={_escaped(control)}", "LogLevel=ERROR"]
    return [*_ssh(far, own), "-O", "forward", "-R", f"{where}:127.0.0.1:{port}", "--", far.host]


def visiting(far: Far, control: Path, line: str) -> list[str]:
    """Return the command that shows SOPHIA there in this terminal, or runs it for a script that has none."""
    own = [f"ControlPath={_escaped(control)}", "ControlMaster=no", "RemoteCommand=none", *PATIENT]
    return [*_ssh(far, own), "-t" if sys.stdin.isatty() else "-T", "--", far.host, line]


@asynccontextmanager
async def carried(far: Far, port: int, token: str, name: str) -> AsyncIterator[Path]:
    """Have SOPHIA there find the bridge at our port; yield the socket that shares the connection.

    Raises AudioTrouble.
    """
    if shutil.which("ssh") is None:
        raise AudioTrouble("There is no `ssh` on this machine.", "Install OpenSSH.")
    with tempfile.TemporaryDirectory(prefix="sophia-") as folder:
        control = Path(folder) / "c"
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*joining(far, control), stdin=pipe, stdout=pipe)
        try:
            await _carry(far, control, process, port, f"{token} {one_line(name, 60)}")
            yield control
        finally:
            await _end(process)


async def visit(far: Far, control: Path, line: str) -> int:
    """Show SOPHIA there in this terminal; return how `ssh` ended."""
    process = await asyncio.create_subprocess_exec(*visiting(far, control, line))
    try:
        return await process.wait()
    finally:
        await _end(process)


async def _carry(far: Far, control: Path, process: asyncio.subprocess.Process, port: int, first: str) -> None:
    _say(process, first)
    path = (await _answer(far, process, SIGN_IN_S)).get("ready", "")
    there: str | None = path if path.startswith("/") else None
    if there is None or await _forward(far, control, there, port) is None:
        allocated = await _forward(far, control, "0", port)
        there = allocated if allocated and allocated.isdecimal() else None
    if there is None:
        hint = "Allow remote forwarding there: AllowTcpForwarding and AllowStreamLocalForwarding in sshd_config."
        raise AudioTrouble(f"{far.host!r} carries no bridge: it refuses to forward.", hint)
    _say(process, there)
    await _answer(far, process, FORWARD_S)


async def _forward(far: Far, control: Path, there: str, port: int) -> str | None:
    """What `ssh` says about it, like the port that was chosen; None when it is refused."""
    null, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *forwarding(far, control, there, port), stdin=null, stdout=pipe, stderr=null
    )
    try:
        async with asyncio.timeout(FORWARD_S):
            said, _ = await process.communicate()
    except TimeoutError:
        return None
    finally:
        await _end(process)
    return said.decode("ascii", "replace").strip() if process.returncode == 0 else None


def _say(process: asyncio.subprocess.Process, line: str) -> None:
    if process.stdin is not None:
        process.stdin.write(f"{line}\n".encode())


async def _answer(far: Far, process: asyncio.subprocess.Process, limit_s: float) -> dict[str, str]:
    """The next thing that `join` says there. Raises AudioTrouble."""
    try:
        async with asyncio.timeout(limit_s):
            for _ in range(MOST_LINES):
                line = await process.stdout.readline() if process.stdout is not None else b""
                if words := parse_marked(line):
                    return words
                if not line:
                    raise _why_not(far, await process.wait())
    except (TimeoutError, ValueError):
        pass
    raise AudioTrouble(f"SOPHIA on {far.host!r} does not answer.", "Look whether `ssh HOST sophia --version` works.")


def _why_not(far: Far, code: int) -> AudioTrouble:
    if code == LOST:
        return AudioTrouble(f"{far.host!r} cannot be reached by SSH.", f"Try: ssh {shlex.quote(far.host)}")
    if code == MISSING:
        hint = "Install SOPHIA there, or say where it is: --program PATH"
        return AudioTrouble(f"There is no {far.program!r} on {far.host!r}.", hint)
    return AudioTrouble(f"SOPHIA on {far.host!r} cannot join a bridge: it ended with {code}.", "Update SOPHIA there.")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Let it end by itself, then end it."""
    if process.stdin is not None:
        process.stdin.close()
    for hurry in (process.terminate, process.kill):
        if process.returncode is not None:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(process.wait())), END_S)
            return
        with contextlib.suppress(ProcessLookupError):
            hurry()
    await process.wait()


def _ssh(far: Far, own: Sequence[str]) -> list[str]:
    port = ["-p", str(far.port)] if far.port is not None else []
    # What is ours comes first: the first value of an option is the one that counts.
    return ["ssh", *port, *(word for option in (*own, *far.options) for word in ("-o", option))]


def _escaped(control: Path) -> str:
    return str(control).replace("%", "%%")
