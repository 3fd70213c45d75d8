"""The worker of this machine, called from the app: poked when something was asked, begun where none is there.

It is a process of its own that outlives the app. Where only a person could open the store, the key goes to it over a
pipe: it is on no command line, in no environment and on no disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sophia_core.commands import CommandError
from sophia_core.events import Notice
from sophia_core.swarm.place import log_file, socket_file, worktrees_dir

if TYPE_CHECKING:
    from sophia_core.events import Bus
    from sophia_core.paths import Paths
    from sophia_core.vault import Vault

PATIENCE_S: Final = 1.0
"""A worker that does not take a word within this is busy, not gone."""
PASSPHRASE: Final = "SOPHIA_PASSPHRASE"  # noqa: S105 - the name of a variable
AGAIN_S: Final = 20.0
KEY_WORD: Final = "--key-on-stdin"
HELP: Final = "`sophia swarm worker` in a terminal shows why."
CHILD: Final = (sys.executable, "-P", "-m", "sophia_cli", "swarm", "worker", "--on-demand")


class Worker:
    """Built without looking for anything."""

    def __init__(
        self, paths: Paths, vault: Vault, bus: Bus, *, wanted: bool = True, program: Sequence[str] = CHILD
    ) -> None:
        """`wanted` says whether one is begun here when none is there: others may do the work."""
        self._paths, self._vault, self._bus = paths, vault, bus
        self.worktrees = worktrees_dir(paths)
        self._wanted, self.program = wanted, tuple(program)
        self._children: list[subprocess.Popen[bytes]] = []
        self._watches: set[asyncio.Task[None]] = set()
        self._again_at = -AGAIN_S

    async def call(self) -> bool:
        """Have a worker look at the log now; say whether one had to be begun. Raises CommandError."""
        if await self.say("poke"):
            return False
        if not self._wanted or self._beginning():
            return False
        await self._begin()
        return True

    def require(self) -> None:
        """Raises CommandError where a worker would have to be begun here and could not be."""
        from sophia_core.swarm.health import INSTALL, not_installed

        if self._wanted and (why := not_installed()):
            raise CommandError(why, INSTALL)

    async def call_again(self) -> None:
        """Have one take up what another left when it died; not more often than one that ends at once would bear."""
        now = time.monotonic()
        if now - self._again_at >= AGAIN_S:
            self._again_at = now
            await self.call()

    async def say(self, word: str) -> bool:
        """Tell the worker of this machine a word; False when none is there."""
        return await asyncio.to_thread(_told, socket_file(self._paths), word)

    def _beginning(self) -> bool:
        """Whether one that was begun here is still there, whether or not it listens yet."""
        self._children = [each for each in self._children if each.poll() is None]
        return bool(self._children)

    async def _begin(self) -> None:
        store = await self._vault.get()
        if self._vault.state == "unsaved":
            raise CommandError("Nothing is saved, so no worker can see what is asked.", "Open the store: /unlock")
        key = store.keys.for_own_process() if self._needs_key(store.unlocked_by) else None
        try:
            child = await asyncio.to_thread(self._spawned, key)
        except OSError as error:
            raise CommandError(f"The worker cannot be started: {error.strerror}.", HELP) from None
        self._children.append(child)
        watch = asyncio.create_task(self._see(child), name="swarm-worker-seen")
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    @staticmethod
    def _needs_key(opened_by: str) -> bool:
        return opened_by not in ("keyring", "device")

    def _spawned(self, key: bytes | None) -> subprocess.Popen[bytes]:
        """Begins it in a session of its own: neither Ctrl-C nor the end of the terminal is for it. Raises OSError."""
        words = [*self.program, *([KEY_WORD] if key else [])]
        path = log_file(self._paths)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Who was given the key needs no passphrase, and outlives whoever had it in the environment.
        env = {name: value for name, value in os.environ.items() if name != PASSPHRASE or not key}
        with open(path, "ab", opener=_private) as said:
            child = subprocess.Popen(  # noqa: S603 - our own words
                words, stdin=subprocess.PIPE, stdout=said, stderr=said, start_new_session=True, env=env
            )
        with contextlib.suppress(OSError), child.stdin or contextlib.nullcontext():
            if key and child.stdin:
                child.stdin.write(key)
        return child

    async def _see(self, child: subprocess.Popen[bytes]) -> None:
        """Tells when a worker that was begun ends at once: whoever asked would wait for ever."""
        for _ in range(40):
            await asyncio.sleep(0.25)
            if (code := child.poll()) is not None:
                if code:
                    text = f"The worker ended as soon as it began: {_last_words(log_file(self._paths))}"
                    self._bus.publish(Notice("error", text, HELP))
                return

    async def close(self) -> None:
        """Look after it no longer. It goes on: that is what it is for."""
        for watch in list(self._watches):
            watch.cancel()
        if self._watches:
            await asyncio.wait(self._watches)
        for child in self._children:
            if child.poll() is None:
                child.returncode = 0  # nobody here waits for it, and that is no mistake
        self._children = []


def _told(path: Path, word: str) -> bool:
    """Send one line to a socket that is ours; whoever accepts the connection is there, unless it is somebody else."""
    import socket

    from sophia_core.control import same_person

    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(PATIENCE_S)
        try:
            connection.connect(os.fspath(path))
            if not same_person(connection):
                return False
            connection.sendall(f"{word}\n".encode())
        except TimeoutError:
            return True
        except OSError:
            return False
    return True


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _last_words(path: Path) -> str:
    """The last line that a worker wrote, made safe to show."""
    from sophia_core.sanitize import one_line

    with contextlib.suppress(OSError), path.open("rb") as said:
        said.seek(max(0, path.stat().st_size - 4000))
        lines = [each for each in said.read().decode("utf-8", "replace").splitlines() if each.strip()]
        if lines:
            return one_line(lines[-1], 200)
    return "it did not say why."
