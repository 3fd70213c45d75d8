"""ssh-agents for tests: real ones, and one that says whatever a test wants."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HAVE_SSH = all(shutil.which(name) for name in ("ssh-agent", "ssh-add", "ssh-keygen"))
needs_ssh = pytest.mark.skipif(not HAVE_SSH, reason="needs openssh-client: tools/system_packages.sh installs it")


class RealAgent:
    """An `ssh-agent` of our own."""

    def __init__(self, folder: Path) -> None:
        self.socket = str(folder / "agent")
        self.folder = folder
        self._process = subprocess.Popen(["ssh-agent", "-D", "-a", self.socket], stdout=subprocess.DEVNULL)
        while not Path(self.socket).exists():
            assert self._process.poll() is None

    def new_key(self, name: str, kind: str = "ed25519") -> str:
        """Make a key, give it to the agent, and return the line of its `.pub` file."""
        path = self.folder / name
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", name, "-f", str(path)], check=True)
        self.add("-q", str(path))
        return path.with_name(name + ".pub").read_text()

    def add(self, *arguments: str, typed: str = "") -> None:
        """Run `ssh-add`; what it asks for is answered with `typed`."""
        environment = os.environ | {"SSH_AUTH_SOCK": self.socket}
        if typed:
            asking = self.folder / "ask"
            asking.write_text(f"#!/bin/sh\necho {typed}\n")
            asking.chmod(0o700)
            environment |= {"SSH_ASKPASS": str(asking), "SSH_ASKPASS_REQUIRE": "force"}
        subprocess.run(["ssh-add", *arguments], env=environment, check=True, capture_output=True, timeout=20)

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(10)


@contextlib.contextmanager
def real_agent() -> Iterator[RealAgent]:
    # A socket's path has at most a hundred characters, which a test's own folder can exceed.
    with tempfile.TemporaryDirectory() as folder:
        agent = RealAgent(Path(folder))
        try:
            yield agent
        finally:
            agent.end()


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


@contextlib.contextmanager
def scripted_agent(answer: Callable[[bytes], bytes | None]) -> Iterator[str]:
    """An agent that gives `answer(request)` as it is, length and all; None: it never answers."""
    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        held = []
        while not ended.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                held.append(connection)
                request = connection.recv(65536)
                said = answer(request[4:]) if request else b""
                if said is not None:
                    connection.sendall(said)
                    connection.close()
        for connection in held:
            connection.close()

    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = os.path.join(folder, "agent")
        listener.bind(path)
        listener.listen()
        listener.settimeout(0.05)
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield path
        ended.set()
        thread.join(5)
