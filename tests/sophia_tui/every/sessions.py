"""Sessions: opening, naming, sorting, finding, taking along, and forgetting them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.scripted import chat
from tests.sophia_tui.every.walk import Walk, scene


@scene(
    "session.new", "session.open", "session.latest", "session.list", "session.messages", "session.rename",
    "change.undo", "change.redo",
    script=(chat("one"), chat("two")),
)  # fmt: skip
async def opening_and_naming(walk: Walk) -> None:
    await walk.ask("the first question")
    first = walk.app.runtime.current.session_id or ""
    await walk.press("ctrl+n")
    assert walk.app.runtime.current.session_id is None and walk.app.chat.welcome.display
    await walk.ask("the second question")
    second = walk.app.runtime.current.session_id
    await walk.do(f"/open {first}")
    assert walk.app.runtime.current.session_id == first and walk.answer == "one"
    await walk.do("/rename A better name")
    assert await walk.title() == "A better name"
    await walk.press("alt+z")
    assert await walk.title() == "the first question"
    await walk.do("/redo")
    assert await walk.title() == "A better name"
    said = await walk.do("/sessions")
    assert "A better name" in said and "the second question" in said
    assert "the first question" in await walk.do("/session.messages")
    await walk.press("ctrl+n")
    await walk.do("/session.latest")
    assert walk.app.runtime.current.session_id in (first, second)


@scene(
    "session.pin", "session.unpin", "session.archive", "session.unarchive", "session.move", "session.folders",
    "session.tag", "session.tags", "session.untag",
    script=(chat("one"), chat("two")),
)  # fmt: skip
async def sorting(walk: Walk) -> None:
    await walk.ask("older")
    older = walk.app.runtime.current.session_id or ""
    await walk.press("ctrl+n")
    await walk.ask("newer")
    sessions = walk.app.runtime.sessions

    async def listed() -> list[str]:
        return [each.title for each in await sessions.list()]

    assert await listed() == ["newer", "older"]
    await walk.do(f"/pin {older}")
    assert await listed() == ["older", "newer"]
    await walk.do(f"/unpin {older}")
    assert await listed() == ["newer", "older"]
    await walk.do("/archive")
    assert await listed() == ["older"]
    await walk.do("/unarchive")
    assert await listed() == ["newer", "older"]
    await walk.do("/move Work")
    assert "Work" in await walk.do("/folders")
    await walk.do("/tag urgent")
    assert "urgent" in await walk.do("/tags")
    await walk.do("/untag urgent")
    assert "urgent" not in (await walk.do("/tags")).replace("/untag urgent", "")


@scene(
    "session.search",
    "session.export",
    "session.import",
    "session.delete",
    "session.purge",
    script=(chat("about pelicans"), chat("about herons")),
)
async def finding_taking_along_and_forgetting(walk: Walk) -> None:
    await walk.ask("tell me of birds")
    assert "pelicans" in await walk.do("/search pelicans")
    await walk.do("/export to=birds.json format=json")
    assert "pelicans" in json.dumps(json.loads(Path("birds.json").read_text()))
    await walk.dare("/session.delete")
    assert list(await walk.app.runtime.sessions.list()) == []
    assert walk.app.chat.welcome.display
    await walk.do("/import birds.json")
    found = list(await walk.app.runtime.sessions.list())
    assert [each.title for each in found] == ["tell me of birds"]
    await walk.dare(f"/session.purge {found[0].id}")
    assert list(await walk.app.runtime.sessions.list()) == []


@scene("memory.search", "memory.status", script=(chat("about pelicans"),), SOPHIA_MEMORY__SEMANTIC="false")
async def finding_by_meaning(walk: Walk) -> None:
    await walk.ask("tell me of birds")
    assert "pelicans" in await walk.do("/recall pelicans")
    assert "off" in await walk.do("/memory.status")


@scene("memory.index", script=(chat("about pelicans"),))
async def reading_all_again(walk: Walk) -> None:
    from sophia_core.memory.memory import Memory

    await walk.ask("tell me of birds")
    if Memory._off(walk.app.runtime.store_side.memory) is None:
        assert await walk.do("/memory.index") != ""
    else:  # without the extra it says what to install
        assert "install" in await walk.do("/memory.index")
        walk.ran.add("memory.index")


@scene("analytics.show", "analytics.clear", script=(chat("one"),), SOPHIA_ANALYTICS__ENABLED="true")
async def ones_own_figures(walk: Walk) -> None:
    await walk.ask()
    assert "scripted" in await walk.do("/analytics.show")
    await walk.dare("/analytics.clear")
    assert "scripted" not in await walk.do("/analytics.show")
