"""What other processes do with the same store and the same config, told as events within a second."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from local_store.errors import StoreError
from sophia_core.events import AnswerGrew, Bus, ChangedElsewhere, SessionsChanged, SettingsEdited

if TYPE_CHECKING:
    from local_store import Changes, Store
    from sophia_core.state import Current
    from sophia_core.vault import Vault

LOOK_S = 0.4
"""How often to look; with the time to show it, a change is on the screen within a second."""
SETTINGS_EVERY = 2
"""Every so many looks the config file is looked at, too, and the person's themes."""
MOST_THEMES = 100
"""Theme files that are looked at."""

Mark = tuple[tuple[int, int, int] | None, ...]


class Watching:
    """Looks at the store while somebody is here. It reads a few pages and writes nothing."""

    def __init__(
        self,
        vault: Vault,
        bus: Bus,
        current: Current,
        config_file: Path | None = None,
        themes_dir: Path | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._vault, self._bus, self._current = vault, bus, current
        self._config_file, self._sleep = config_file, sleep
        self._task: asyncio.Task[None] | None = None
        self._watched: Store | None = None
        self._themes_dir = themes_dir
        self._config: Mark = ()
        self._looks = 0

    def start(self) -> None:
        """Looks from now on, until `close`."""
        self._task = asyncio.create_task(self._run(), name="watching")

    async def close(self) -> None:
        """Looks no more."""
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        if self._config_file:
            self._config = await asyncio.to_thread(_mark, self._config_file, self._themes_dir)
        while True:
            # What is wrong with the store is told by those who need it.
            with contextlib.suppress(StoreError):
                await self.look()
            self._looks += 1
            if self._config_file and self._looks % SETTINGS_EVERY == 0:
                await self._look_at_settings(self._config_file)
            await self._sleep(LOOK_S)

    async def look(self) -> None:
        """Looks once and publishes what is new. Raises StoreError."""
        store = self._vault.store
        if store is None:
            self._watched = None
            return
        changes = await store.watch.look(self._current.session_id)
        if store is not self._vault.store:
            return
        # What was shown so far was read before this first look: something may have changed in between.
        many = changes.many or store is not self._watched
        self._watched = store
        self._publish(changes, many=many)
        if store.watch.abandoned:
            await store.turns.recover()
            self._changed(frozenset(), frozenset(), frozenset(each for each in [self._current.session_id] if each))

    def _publish(self, changes: Changes, *, many: bool) -> None:
        for each in changes.growth:
            self._bus.publish(AnswerGrew(each.message_id, each.text, each.reasoning, each.begun))
        if many or changes.sessions or changes.deleted or changes.messages:
            if self._current.session_id in changes.deleted:
                self._current.session_id = None
            self._changed(changes.deleted, changes.messages, changes.sessions, many=many)

    def _changed(
        self, deleted: frozenset[str], messages: frozenset[str], sessions: frozenset[str], *, many: bool = False
    ) -> None:
        self._bus.publish(ChangedElsewhere(sessions, deleted, messages, many))
        self._bus.publish(SessionsChanged())

    async def _look_at_settings(self, path: Path) -> None:
        now = await asyncio.to_thread(_mark, path, self._themes_dir)
        if now != self._config:
            self._config = now
            self._bus.publish(SettingsEdited())


def _mark(path: Path, folder: Path | None = None) -> Mark:
    """What tells one state of a file, and of the theme files of a folder, from another."""
    files = [path]
    if folder is not None:
        with contextlib.suppress(OSError):
            files += sorted(each for each in folder.iterdir() if each.suffix == ".toml")[:MOST_THEMES]
    return tuple(_state(each) for each in files)


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
