"""Programs in a box: they see the system's own programs, one folder, and nothing else of the machine or the person.

The box is bubblewrap's. Where that is missing or the system does not let it work, `trouble` says so, and nothing may
run without a person having seen the very command.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from subprocess import DEVNULL, SubprocessError
from subprocess import run as run_now
from typing import Final

from sophia_core.paths import resolve_paths

HERE: Final = "/project"
"""Where the folder lies inside the box."""
HOME: Final = "/home/agent"
MOST_KEPT: Final = 256 << 10
"""Bytes kept of what a program says: half of the beginning, half of the end."""
MOST_SAID: Final = 64 << 20
"""A program that says more than this is ended."""
LONGEST_S: Final = 3600.0
GRACE_S: Final = 1.0
_ETC: Final = (
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "timezone", "mime.types", "magic"),
    *("ssl/certs", "ca-certificates", "pki", "java-11-openjdk", "java-17-openjdk", "terminfo", "locale.alias"),
)
_NET: Final = ("resolv.conf", "hosts", "nsswitch.conf", "services", "protocols", "gai.conf", "host.conf")
_BORROWED: Final = (".venv", "venv", "node_modules")
"""What a worktree lacks because nobody commits it, and tests cannot do without: taken from the person's folder, to be
read only."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use."""

    seconds: float = 120.0
    memory: int = 4 << 30
    """Bytes, of each of its processes."""
    processes: int = 256
    file_size: int = 512 << 20
    scratch: int = 1 << 30
    """Bytes of its /tmp and of its home."""


@dataclass(frozen=True, slots=True)
class Box:
    """How a program is shut in."""

    folder: Path
    writable: bool = True
    network: bool = False
    lends: Path | None = None
    """The person's folder that the worktree stands for; its installed packages are lent."""
    limits: Limits = field(default_factory=Limits)
    variables: Mapping[str, str] = field(default_factory=dict)
    covered: Sequence[str] = ()
    """Files and folders in it that rules keep from being read: they are empty for the program."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended."""

    code: int
    text: str
    """What it said on both its outputs; not yet made safe."""
    seconds: float
    ended: str = ""
    """Why it was ended: it took too long, or said too much; empty where it ended by itself."""

    @property
    def ok(self) -> bool:
        """Whether it ended by itself and well."""
        return self.code == 0 and not self.ended


class NoBox(Exception):
    """There is no sandbox, so nothing was started; the text says why."""


@cache
def trouble() -> str:
    """Why there is no sandbox here, and what to do; empty when there is one. Looked at once. Blocks, shortly."""
    if sys.platform != "linux":
        return "The sandbox needs Linux, so every command is asked for."
    if (program := _program()) is None:
        return "bubblewrap is not installed, so every command is asked for: install the package bubblewrap."
    words = (program, *_walls(Limits()), "--", "/bin/true")
    try:
        done = run_now(words, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, timeout=20, env={}, check=False)  # noqa: S603 - no word of it comes from outside
    except (OSError, SubprocessError):
        return "bubblewrap cannot be started, so every command is asked for."
    return "" if done.returncode == 0 else "This system lets nobody build a sandbox, so every command is asked for."


def _program() -> str | None:
    """Bubblewrap, from where only the system puts programs: not one that a folder on the path brings."""
    return shutil.which("bwrap", path="/usr/bin:/bin:/usr/local/bin")


_OF_GIT: Final = ("config", "config.worktree", "logs", "modules", "worktrees", "hooks", "FETCH_HEAD")


def _walls(limits: Limits) -> list[str]:
    """What every box is made of: nothing of the machine but its programs."""
    words = ["--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    words += ["--hostname", "sandbox"]
    words += ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            words += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    words += [word for name in _ETC for word in ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")]
    words += ["--proc", "/proc", "--dev", "/dev"]
    for folder in ("/tmp", HOME):  # noqa: S108 - the box's own, of memory
        words += ["--size", str(limits.scratch), "--tmpfs", folder]
    return words


def words_of(box: Box, argv: Sequence[str]) -> list[str]:
    """The command that runs a program in the box. Raises NoBox."""
    if why := trouble():
        raise NoBox(why)
    bind = "--bind" if box.writable else "--ro-bind"
    words = [str(_program()), *_walls(box.limits)]
    if box.network:
        words += ["--share-net", *(word for name in _NET for word in ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}"))]
    words += [word for path in _pythons() for word in ("--ro-bind", str(path), str(path))]
    words += [bind, str(box.folder), HERE]
    words += [word for pair in _lent(box) for word in ("--ro-bind", *pair)]
    words += _without_git(box)
    words += _pinned(box, bind)
    words += [word for each in box.covered for word in _covering(box.folder, each)]
    for name, value in _environment(box).items():
        words += ["--setenv", name, value]
    return [*words, "--chdir", HERE, "--remount-ro", "/", "--", *_limited(box.limits, argv)]


def _without_git(box: Box) -> list[str]:
    """Git's own folder or file is covered: whoever could write there would run programs outside, by git's hooks.

    Where nothing can be written, what it keeps of files can be looked at, as `git diff` does; its settings cannot, nor
    what else may hold the address of a server with a password. Where a file is kept from being read, git would show it.
    """
    git = box.folder / ".git"
    if git.is_symlink() or not git.exists():
        return []
    if not box.writable and not box.covered and git.is_dir():
        found = [name for name in _OF_GIT if (git / name).exists()]
        empty = str(_empty())
        over = [("--tmpfs",) if (git / name).is_dir() else ("--ro-bind", empty) for name in found]
        return [word for name, how in zip(found, over, strict=True) for word in (*how, f"{HERE}/.git/{name}")]
    return ["--ro-bind", "/dev/null", f"{HERE}/.git"] if git.is_file() else ["--tmpfs", f"{HERE}/.git"]


def _empty() -> Path:
    """A file with nothing in it: git does not go on without settings that can be read."""
    path = resolve_paths().cache_dir / "empty"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def _pinned(box: Box, bind: str) -> list[str]:
    """The folders above what is covered, each as a mount: who moved one would find the file there the next time, under
    a name that no rule is about."""
    above = {str(each) for path in box.covered for each in PurePosixPath(path).parents if each.name}
    return [word for each in sorted(above) for word in (bind, str(box.folder / each), f"{HERE}/{each}")]


def _covering(folder: Path, path: str) -> tuple[str, ...]:
    if (folder / path).is_dir():
        return ("--tmpfs", f"{HERE}/{path}")
    return ("--ro-bind", "/dev/null", f"{HERE}/{path}")


def _pythons() -> Iterator[Path]:
    """Where this Python and its packages lie, unless they are the system's."""
    for path in dict.fromkeys((Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve())):
        if not path.is_relative_to("/usr") and path != Path("/"):
            yield path


def _lent(box: Box) -> Iterator[tuple[str, str]]:
    """Installed packages of the person's folder, in their own place and where programs of theirs look for them."""
    if box.lends is None:
        return
    for name in _BORROWED:
        path, there = box.lends / name, box.folder / name
        if path.is_dir() and not path.is_symlink() and not there.is_symlink() and not _filled(there):
            yield str(path), f"{HERE}/{name}"
            yield str(path), str(path)


def _filled(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:
        return False


def _environment(box: Box) -> dict[str, str]:
    own = [f"{HERE}/{name}/bin" for name in _BORROWED[:2] if box.lends and (box.lends / name / "bin").is_dir()]
    path = [*own, *(f"{each}/bin" for each in _pythons()), "/usr/local/bin", "/usr/bin", "/bin"]
    fixed = {
        "PATH": ":".join(path),
        "HOME": HOME,
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "CI": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    return {**box.variables, **fixed}


def _limited(limits: Limits, argv: Sequence[str]) -> list[str]:
    """The program under its limits, which its children have too."""
    if shutil.which("prlimit", path="/usr/bin:/bin") is None:
        return list(argv)
    sizes = {"as": limits.memory, "fsize": limits.file_size, "nproc": limits.processes, "nofile": 1024, "core": 0}
    return ["prlimit", *(f"--{name}={size}" for name, size in sizes.items()), "--", *argv]


async def run_boxed(box: Box, argv: Sequence[str]) -> Ran:
    """Runs a program in the box, with all it starts; cancelling ends all of it. Raises NoBox, OSError."""
    words = await asyncio.to_thread(words_of, box, argv)
    return await _run(words, Path("/"), {}, box.limits.seconds)


async def run_unboxed(folder: Path, argv: Sequence[str], limits: Limits) -> Ran:
    """Runs a program without a sandbox, without secrets in its environment: only after a person saw this command."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME", "SYSTEMROOT")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    return await _run(_limited(limits, argv), folder, {**env, "TERM": "dumb", "NO_COLOR": "1"}, limits.seconds)


async def _run(words: Sequence[str], folder: Path, env: Mapping[str, str], seconds: float) -> Ran:
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *words,
        cwd=folder,
        env=dict(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    said, ended = _Said(), ""
    try:
        async with asyncio.timeout(min(seconds, LONGEST_S)):
            ended = await said.hear(process.stdout)
            if not ended:
                await process.wait()
    except TimeoutError:
        ended = f"it took longer than {seconds:g} s"
    finally:
        await _end(process)
    return Ran(process.returncode or 0, said.text(), time.monotonic() - began, ended)


class _Said:
    """The beginning and the end of what a program says."""

    def __init__(self) -> None:
        self._head, self._tail, self._size = bytearray(), bytearray(), 0

    async def hear(self, output: asyncio.StreamReader | None) -> str:
        """Hears it to its end; returns why it was not heard any longer, if it was not."""
        while output is not None and (piece := await output.read(65536)):
            self._size += len(piece)
            room = MOST_KEPT // 2 - len(self._head)
            self._head += piece[:room]
            self._tail += piece[room:] if room > 0 else piece
            if len(self._tail) > MOST_KEPT:
                del self._tail[: -MOST_KEPT // 2]
            if self._size > MOST_SAID:
                return f"it said more than {MOST_SAID >> 20} MiB"
        return ""

    def text(self) -> str:
        tail = self._tail[-MOST_KEPT // 2 :]
        left_out = self._size - len(self._head) - len(tail)
        between = f"\n… {left_out:,} bytes are left out …\n".encode() if left_out else b""
        return (self._head + between + tail).decode("utf-8", "replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends the box and with it everything inside; without one, at least the whole group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await asyncio.shield(_gone(process))


async def _gone(process: asyncio.subprocess.Process) -> None:
    """Waits for its end. What it still says is thrown away: a full pipe would keep it from being seen to end."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE_S):
            while process.stdout is not None and await process.stdout.read(65536):
                pass
            await process.wait()
