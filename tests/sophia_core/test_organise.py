"""The commands that put sessions in order, and taking the last of it back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local_store import Group, Session, StorePaths
from sophia_core.chat.organise import Organise
from sophia_core.chat.sessions import Sessions
from sophia_core.commands import CommandDisabled, CommandError, Registry
from sophia_core.events import Bus, Event, SessionsChanged
from sophia_core.state import Current
from sophia_core.undoing import Undoing
from sophia_core.vault import Vault


class Office:
    """A vault with the commands about sessions."""

    def __init__(self, home: Path) -> None:
        self.bus, self.current, self.registry = Bus(), Current(), Registry()
        self.vault = Vault(StorePaths(home / "store", home / "device"), self.bus, allow_keyring=False)
        self.events: list[Event] = []
        self.bus.subscribe(self.events.append)
        undoing = Undoing()
        for owner in (
            undoing,
            Organise(self.vault, self.bus, self.current, undoing),
            Sessions(self.vault, self.bus, self.current, undoing),
        ):
            self.registry.collect(owner)

    async def made(self, title: str) -> str:
        self.current.session_id = (await (await self.vault.get()).sessions.create(title)).id
        return self.current.session_id

    async def session(self) -> Session:
        assert self.current.session_id is not None
        return await (await self.vault.get()).sessions.get(self.current.session_id)

    async def titles(self, line: str = "session.list") -> list[str]:
        found = await self.registry.run_line(line)
        assert isinstance(found, list)
        return [each.title for each in found]


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    made = Office(tmp_path)
    await made.vault.open()
    yield made
    await made.vault.close()


async def test_everything_can_be_taken_back_in_turn(office: Office) -> None:
    await office.made("A trip")
    before = await office.session()
    for line in ("/pin", "/move Journeys", "/tag sea sun", "/untag sea", "/archive"):
        await office.registry.run_line(line)
    now = await office.session()
    assert (now.pinned, now.folder, now.tags, now.archived) == (True, "Journeys", ("sun",), True)
    assert len([each for each in office.events if isinstance(each, SessionsChanged)]) == 5
    assert await office.registry.run_line("/undo") == "Taken back: “A trip” is archived."
    for _ in range(4):
        await office.registry.run_line("/undo")
    assert await office.session() == before
    with pytest.raises(CommandDisabled, match="nothing to take back"):
        await office.registry.run_line("/undo")


async def test_what_is_so_already_is_not_taken_back(office: Office) -> None:
    await office.made("s")
    await office.registry.run_line("/unpin")
    with pytest.raises(CommandDisabled):
        await office.registry.run_line("/undo")


async def test_another_session_is_named_by_its_id(office: Office) -> None:
    first = await office.made("first")
    await office.made("second")
    assert await office.registry.run_line(f"session.pin {first}") == "“first” is pinned."
    await office.registry.run_line(f'session.tag "blue sky, sea" session={first}')
    assert await office.titles() == ["first", "second"]
    assert await office.titles('session.list tag="Blue Sky"') == ["first"]
    assert await office.registry.run_line("session.tags") == [Group("blue sky", 1), Group("sea", 1)]
    await office.registry.run_line("session.move Work plans")
    assert await office.titles('session.list folder="work plans"') == ["second"]
    assert await office.registry.run_line("session.folders") == [Group("Work plans", 1)]
    await office.registry.run_line("session.archive")
    assert await office.titles("session.list archived=yes") == ["second"]


@pytest.mark.parametrize("line", ["/tag ,", "/tag #", f"/move {'x' * 100}", "session.pin NOPE"])
async def test_what_cannot_be_done_says_why(office: Office, line: str) -> None:
    await office.made("s")
    with pytest.raises(CommandError) as refused:
        await office.registry.run_line(line)
    assert str(refused.value).endswith(".")
    assert (await office.session()).tags == ()


async def test_without_a_session_there_is_nothing_to_put_in_order(office: Office) -> None:
    with pytest.raises(CommandError, match="No session is open"):
        await office.registry.run_line("/pin")


async def test_a_change_of_a_session_that_is_gone_cannot_be_taken_back(office: Office) -> None:
    session_id = await office.made("s")
    await office.registry.run_line("/pin")
    await (await office.vault.get()).sessions.delete(session_id)
    with pytest.raises(CommandError, match="gone"):
        await office.registry.run_line("/undo")
