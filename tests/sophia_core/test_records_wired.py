"""Counting what is used, telling what settings were, and who answered: only what was asked for, and no content."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from local_store import Store, StoreFull, StorePaths
from local_store.analytics import DayCount
from sophia_core.analytics import Analytics
from sophia_core.chat.cache import Cache
from sophia_core.chat.manner import Manner
from sophia_core.commands import NeedsConfirmation, Registry, command
from sophia_core.events import Bus, Event, Notice, SettingChanged, StoreStateChanged, TurnFinished, TurnStarted
from sophia_core.setting_history import HIDDEN, SettingChanges
from sophia_core.vault import Vault
from tests.sophia_core.conftest import OpenDesk
from tests.sophia_core.desk import said

NOON = 1_800_000_000.0
DAY = 86_400.0


class Desk:
    """A command with an argument nobody must count."""

    @command("chat.send")
    async def send(self, text: str) -> str:
        """Ask."""
        return text


class Room:
    """A vault with a store, and what listens to its bus and a registry."""

    def __init__(self, home: Path, enabled: bool) -> None:
        self.now = NOON
        self.bus, self.registry, self.heard = Bus(), Registry(), list[Event]()
        self.vault = Vault(StorePaths(home / "store", home / "device"), self.bus, allow_keyring=False)
        self.analytics = Analytics(self.vault, enabled=enabled, now=lambda: self.now)
        self.changes = SettingChanges(self.vault)
        self.told: list[str] = []
        self.registry.after += [lambda chosen, values, error: self.told.append(chosen.name), self.analytics.ran]
        for listener in (self.analytics, self.changes, self.heard.append):
            self.bus.subscribe(listener)
        for owner in (Desk(), self.analytics, self.changes):
            self.registry.collect(owner)

    @property
    def store(self) -> Store:
        assert self.vault.store is not None
        return self.vault.store

    def turn(self, status: str = "complete", model: str | None = "m", cached_at: int | None = None) -> None:
        self.bus.publish(
            TurnFinished("s", "a", "r", "a needle in the text", status, "p", model, cached_at=cached_at)  # type: ignore[arg-type]
        )


@pytest.fixture
async def room(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Room]:
    made = Room(tmp_path, getattr(request, "param", True))
    await made.vault.open()
    yield made
    await made.analytics.close()
    await made.changes.close()
    await made.vault.close()


def amounts(counts: list[DayCount]) -> dict[str, int]:
    return {each.name: each.amount for each in counts}


async def test_names_are_counted_and_nothing_that_was_said(room: Room) -> None:
    await room.registry.run("chat.send", "a needle")
    room.turn()
    room.turn("failed", None)
    room.turn(cached_at=5)
    await room.registry.run("chat.send", "another needle")
    room.now += DAY
    room.turn()
    shown = await room.registry.run("analytics.show")
    assert isinstance(shown, list) and len({each.day for each in shown}) == 2
    first = amounts([each for each in shown if each.day == min(each.day for each in shown)])
    assert first == {"turns": 3, "turns complete": 2, "turns failed": 1, "model m": 1, "command chat.send": 2}
    assert "needle" not in repr(shown) and room.told[:2] == ["chat.send", "chat.send"]
    assert len({each.day for each in await room.analytics.show(1) if isinstance(each, DayCount)}) == 1
    with pytest.raises(NeedsConfirmation):
        await room.registry.run("analytics.clear")
    assert await room.registry.run("analytics.clear", confirmed=True) == "The counts of 2 days are gone."


@pytest.mark.parametrize("room", [False], indirect=True)
async def test_nothing_is_counted_unless_asked_for(room: Room) -> None:
    await room.registry.run("chat.send", "a needle")
    room.turn()
    assert "[analytics]" in str(await room.registry.run("analytics.show"))
    assert await room.store.analytics.counts() == []
    room.bus.publish(SettingChanged("analytics.enabled", "false", "true", "settings.set"))
    room.bus.publish(TurnStarted("s", "q", "a", "r", "a needle", persona="reviewer"))
    room.bus.publish(TurnStarted("s", "q", "a", "r", "a needle"))
    room.bus.publish(SettingChanged("analytics.enabled", "true", "false", "settings.set"))
    room.turn()
    await room.analytics.written()
    assert amounts(await room.store.analytics.counts()) == {"persona reviewer": 1}


async def test_forgetting_takes_what_waits_along(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise StoreFull("full")

    with monkeypatch.context() as patched:
        patched.setattr(room.store.analytics, "add", full)
        room.turn()
        await room.registry.run("analytics.clear", confirmed=True)
    room.turn()
    await room.analytics.written()
    assert amounts(await room.store.analytics.counts())["turns"] == 1


async def test_counts_wait_for_a_store_that_takes_them(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise StoreFull("full")

    with monkeypatch.context() as patched:
        patched.setattr(room.store.analytics, "add", full)
        room.turn()
        await room.analytics.written()
    assert await room.store.analytics.counts() == []
    room.turn()
    await room.analytics.written()
    assert amounts(await room.store.analytics.counts())["turns"] == 2


async def test_changes_of_settings_are_kept_without_secrets(room: Room) -> None:
    for changed in (
        SettingChanged("theme", "dark", "light", "theme.use"),
        SettingChanged("theme", "light", "light", "theme.use"),
        SettingChanged("providers.0.api_key", None, "hunter2", "app"),
        SettingChanged("chat.max_tokens", "5", "6", "app"),
        SettingChanged("keys.chat.stop", None, "ctrl+x", "app"),
        SettingChanged("chat.system_prompt", None, "use sk-1234567890abcdef", "app"),
        SettingChanged("", None, "x", "app"),
    ):
        room.bus.publish(changed)
    found = await room.changes.history()
    assert [(each.name, each.after) for each in found if each.name != "chat.system_prompt"] == [
        ("keys.chat.stop", "ctrl+x"),
        ("chat.max_tokens", "6"),
        ("providers.0.api_key", HIDDEN),
        ("theme", "light"),
    ]
    assert "hunter2" not in repr(found) and "1234567890abcdef" not in repr(found)
    assert [(each.before, each.source) for each in await room.changes.history("theme")] == [("dark", "theme.use")]
    assert len(await room.changes.history(limit=2)) == 2


async def test_a_change_waits_until_the_store_is_open(tmp_path: Path) -> None:
    room = Room(tmp_path, False)
    room.bus.publish(SettingChanged("theme", "dark", "light", "theme.use"))
    await room.vault.open()
    assert StoreStateChanged("open") in room.heard or room.vault.state == "open"
    assert [each.after for each in await room.changes.history()] == ["light"]
    await room.vault.close()


async def test_a_side_file_that_was_made_anew_is_told(room: Room) -> None:
    side = room.store.sides.add("metrics")
    side.path.write_bytes(b"not a database" * 1000)
    await side.read(lambda connection: None)
    notices = [event for event in room.heard if isinstance(event, Notice)]
    assert any("metrics" in each.text and "metrics.db.damaged" in each.hint for each in notices)


async def test_who_answers_is_kept_with_the_answer(desk: OpenDesk) -> None:
    made = await desk(said("one"), said("two"))
    usual = made.chat.manner

    async def named(persona: str | None) -> Manner:
        return replace(await usual(persona), persona=persona)

    made.chat.manner = named
    made.current.persona = "writer"
    turn = await made.turn("chat.send hi")
    answer = await made.store.messages.get(turn.answer_id)
    assert answer.persona == "writer" and (await made.store.sessions.get(turn.session_id)).persona == "writer"
    made.current.persona = None
    again = await made.turn("chat.regenerate")
    assert (await made.store.messages.get(again.answer_id)).persona is None


async def test_the_cache_keeps_so_many_answers_and_no_more(room: Room) -> None:
    cache = Cache(room.vault, enabled=True, hours=1, entries=2, characters=100)
    session = (await room.store.sessions.create("s")).id
    for number in range(4):
        turn = await room.store.turns.begin(session, None, "q", request_id="r")
        await room.store.turns.finish(turn.answer.id, text="a" * 40, status="complete")
        finished = TurnFinished(session, turn.answer.id, "r", "a" * 40, "complete", finish_reason="stop")
        await cache.remember(room.store, str(number), finished)
    assert [number for number in range(4) if await cache.find(room.store, str(number))] == [2, 3]
