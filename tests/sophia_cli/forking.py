"""The program without its imports: a process that has them already forks for each command line.

Two thirds of what a short command line costs is importing; a suite has hundreds of them. Each still runs in a process
of its own, with its own streams, environment and exit code. Where it matters how the program begins (imports, options
of Python, signals, terminals, something said on its stdin) it is started the long way, by `Program.start`.
"""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST = 1 << 17
IMPORTED = ("sophia_cli.main", "sophia_cli.parser", "sophia_cli.opening", "sophia_core.runtime", "local_store.store")


class Forking:
    """Asks the process for one after another; it ends with us, for it reads from our end of a pair of sockets."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            os.set_inheritable(theirs.fileno(), True)
            command = [sys.executable, "-m", "tests.sophia_cli.forking", str(theirs.fileno())]
            os.posix_spawn(command[0], command, {**_plain(), "PYTHONPATH": str(ROOT)})

    async def run(self, words: tuple[str, ...], env: Mapping[str, str], files: tuple[int, int, int]) -> int:
        """Run a command line on these three streams; returns its exit code."""
        loop = asyncio.get_running_loop()
        told = json.dumps({"words": words, "env": dict(env), "cwd": str(Path.cwd())}).encode()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours, theirs:
            ours.setblocking(False)
            socket.send_fds(self._ours, [told], [*files, theirs.fileno()])
            theirs.close()
            code = await loop.sock_recv(ours, 16)
        if not code:
            raise ChildProcessError("the process that forks is gone")
        return int(code)


def _plain() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}


class _Server:
    """The process that forks: no threads, no loop, nothing but what is imported."""

    def __init__(self, asking: socket.socket) -> None:
        self._asking = asking
        self._selector = selectors.DefaultSelector()
        self._selector.register(asking, selectors.EVENT_READ)

    def serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is not self._asking:
                    self._ended(key)
                elif not self._begin():
                    return

    def _begin(self) -> bool:
        told, files, _, _ = socket.recv_fds(self._asking, LONGEST, 4)
        if not told:
            return False
        child = os.fork()
        if child == 0:
            _become(json.loads(told), files)
        for each in files[:3]:
            os.close(each)
        self._selector.register(os.pidfd_open(child), selectors.EVENT_READ, (child, files[3]))
        return True

    def _ended(self, key: selectors.SelectorKey) -> None:
        child, answer = key.data
        _, status = os.waitpid(child, 0)
        self._selector.unregister(key.fileobj)
        for each in (answer, key.fd):
            if each == answer:
                os.write(answer, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(each)


def _become(told: Mapping[str, object], files: list[int]) -> None:
    """Be the program, and never return."""
    code = 70
    try:
        words, env, cwd = told["words"], told["env"], told["cwd"]
        assert isinstance(words, list) and isinstance(env, dict) and isinstance(cwd, str)
        for number in range(3):
            os.dup2(files[number], number)
        os.closerange(3, 256)
        os.setsid()
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        code = _run(words)
    finally:
        os._exit(code)


def _run(words: list[str]) -> int:
    import atexit
    import random

    from sophia_cli.main import main

    random.seed()
    sys.argv = ["sophia", *words]
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
    try:
        return main()
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else 0
    finally:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()


def _serve(descriptor: int) -> None:
    for name in IMPORTED:
        __import__(name)
    _Server(socket.socket(fileno=descriptor)).serve()


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
