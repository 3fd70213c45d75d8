"""A real SSH server of our own on this machine, whose sessions have an environment of their own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

SSHD = shutil.which("sshd") or ("/usr/sbin/sshd" if Path("/usr/sbin/sshd").exists() else None)
START_SECONDS = 20.0
SOPHIA = Path(sys.executable).with_name("sophia")


def missing() -> str:
    """Return what the tests with a real SSH server lack here; empty when nothing."""
    lacking = [name for name in ("ssh", "ssh-keygen") if shutil.which(name) is None]
    lacking += [] if SSHD else ["openssh-server"]
    return f"missing for a real SSH connection: {', '.join(lacking)}" if lacking else ""


@dataclass(frozen=True, slots=True)
class Host:
    """A machine that is reached by SSH: this one."""

    name: str
    port: int
    options: tuple[str, ...]
    process: subprocess.Popen[bytes]


@contextmanager
def host(env: Mapping[str, str], *more: str) -> Iterator[Host]:
    """Run a server; `env` is what its sessions see, `more` goes into its configuration."""
    # Not under pytest's own folder: ssh's sockets have short paths.
    with TemporaryDirectory(prefix="sophia-sshd-") as name:
        folder = Path(name)
        for key in ("host", "mine"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True, timeout=30
            )
        shutil.copy(folder / "mine.pub", folder / "authorized")
        port = _free_port()
        (folder / "config").write_text(_config(folder, port, env, more))
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        assert SSHD is not None
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.DEVNULL)
        try:
            _wait_for(port, process)
            yield Host(f"{getpass.getuser()}@127.0.0.1", port, _options(folder), process)
        finally:
            process.terminate()
            process.wait(10)


def _config(folder: Path, port: int, env: Mapping[str, str], more: tuple[str, ...]) -> str:
    seen = " ".join(f"{name}={value}" for name, value in env.items())
    lines = (
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {folder / 'host'}",
        f"AuthorizedKeysFile {folder / 'authorized'}",
        f"PidFile {folder / 'pid'}",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "PermitRootLogin yes",
        "PrintMotd no",
        f"SetEnv {seen}",
        *more,
    )
    return "\n".join(lines) + "\n"


def _options(folder: Path) -> tuple[str, ...]:
    return (
        f"IdentityFile={folder / 'mine'}",
        "IdentitiesOnly=yes",
        "StrictHostKeyChecking=no",
        f"UserKnownHostsFile={folder / 'known'}",
        "BatchMode=yes",
        "IdentityAgent=none",
    )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the SSH server does not start")
