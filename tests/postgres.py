"""A PostgreSQL server of our own, for as long as the tests need it. Without PostgreSQL on the machine they are skipped.

Use it as `from tests.postgres import postgres` in a test's package: `url = postgres.fresh()` is a new, empty database.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Final

import pytest

SETTINGS: Final = ("fsync=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=60", "jit=off")
NOBODY: Final = "nobody"
LONGEST_S: Final = 60


class Postgres:
    """A server that listens on a socket in a folder of its own."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="sophia-pg-", dir="/tmp"))  # a socket's path has to be short
        self._numbers = count(1)
        if os.geteuid() == 0:
            who = pwd.getpwnam(NOBODY)
            os.chown(self.folder, who.pw_uid, who.pw_gid)
        self._do("initdb", "-D", "data", "-U", "sophia", "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8")
        self.start()

    def start(self) -> None:
        """Start it; it takes connections when this returns."""
        options = f"-k {self.folder} -h '' " + " ".join(f"-c {each}" for each in SETTINGS)
        self._do("pg_ctl", "-D", "data", "-w", "-o", options, "-l", "log", "start")

    def stop(self, how: str = "immediate") -> None:
        """Stop it, by default as a crash would."""
        self._do("pg_ctl", "-D", "data", "-w", "-m", how, "stop")

    def fresh(self) -> str:
        """Return the address of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        self._do("createdb", "-h", str(self.folder), "-U", "sophia", name)
        return f"host={self.folder} user=sophia dbname={name}"

    def url(self) -> str:
        """Return the same as one URL."""
        return f"postgresql://sophia@/{self.fresh().rpartition('=')[2]}?host={self.folder}"

    def cut(self) -> None:
        """End every connection there is."""
        said = self._do(
            "psql", "-h", str(self.folder), "-U", "sophia", "-d", "postgres", "-Atc",
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
        )  # fmt: skip
        assert said.strip().isdigit()

    def close(self) -> None:
        """Stop it and remove its folder."""
        try:
            self.stop()
        except subprocess.CalledProcessError:
            self._kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _kill(self) -> None:
        pid_file = self.folder / "data" / "postmaster.pid"
        if pid_file.exists():
            os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)

    def _do(self, program: str, *arguments: str) -> str:
        command: Sequence[str] = [str(self._programs / program), *arguments]
        user = NOBODY if os.geteuid() == 0 else None  # the server refuses to run as root
        group = pwd.getpwnam(NOBODY).pw_gid if user else None
        with tempfile.TemporaryFile() as said:  # a pipe would be inherited by the server, and never end
            subprocess.run(  # a program of PostgreSQL's, and our own arguments
                command, cwd=self.folder, check=True, stdout=said, stderr=subprocess.STDOUT, timeout=LONGEST_S,
                user=user, group=group, extra_groups=[] if user else None,
                env={"PATH": os.defpath, "HOME": str(self.folder), "LC_ALL": "C.UTF-8"},
            )  # fmt: skip
            said.seek(0)
            return said.read().decode()


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs; None where there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    if found:
        return found[0].parent
    named = shutil.which("initdb")
    return Path(named).resolve().parent if named else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server that all tests of this process share; each takes a `fresh` database."""
    folder = programs()
    if folder is None:
        pytest.skip("there is no PostgreSQL on this machine")
    server = Postgres(folder)
    try:
        yield server
    finally:
        server.close()
