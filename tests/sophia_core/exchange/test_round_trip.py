"""What is exported as JSON and imported elsewhere is the same, whatever was said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_store import Usage
from local_store.bulk import Bulk, Entry, Outline
from local_store.imports import Conversation, ImportMessage, derived_id
from sophia_core.exchange import json_format
from sophia_core.exchange.exchange import Exchange
from tests.sophia_core.exchange.conftest import Desk, OpenDesk

AT = 1_700_000_000_000
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["", "\0", "\u2028", '"\\', "😀"]
)
TIMES = st.integers(1, AT)
MAYBE = st.none() | TEXT
COUNTS = st.integers(0, 10**9)
USAGE = st.none() | st.builds(
    Usage, COUNTS, COUNTS, st.none() | COUNTS, st.none() | COUNTS, st.none() | st.floats(0, 1e6, allow_nan=False)
)
MESSAGE = st.builds(
    ImportMessage,
    st.just(""),
    st.sampled_from(["system", "user", "assistant", "tool"]),
    TEXT,
    reasoning=TEXT,
    status=st.sampled_from(["complete", "interrupted", "cancelled", "failed", "partial"]),
    provider=MAYBE,
    model=MAYBE,
    request_id=TEXT,
    finish_reason=MAYBE,
    error=MAYBE,
    created_at=TIMES,
    finished_at=st.none() | TIMES,
    cached_at=st.none() | TIMES,
    usage=USAGE,
    usage_at=TIMES,
)


def ours(*parts: object) -> str:
    return derived_id("test", "test", repr(parts), AT)


@st.composite
def sessions(draw: st.DrawFn, number: int) -> Conversation:
    """A session of ours with any tree."""
    drawn = draw(st.lists(MESSAGE, max_size=8))
    messages: list[ImportMessage] = []
    for place, each in enumerate(drawn):
        above = draw(st.none() | st.sampled_from(messages)) if messages else None
        begun = draw(st.none() | st.sampled_from(messages)) if messages else None
        named = replace(each, key=ours(number, place), parent=above.key if above else None)
        messages.append(replace(named, continues=begun.key if begun else None))
    active = draw(st.sampled_from(messages)).key if messages else None
    return Conversation(
        "sophia",
        ours(number),
        draw(TEXT),
        messages,
        draw(TIMES),
        draw(TIMES),
        active,
        draw(st.booleans()),
        draw(st.booleans()),
        draw(TEXT),
        tuple(sorted(draw(st.sets(TEXT, max_size=3)))),
    )


@st.composite
def stores(draw: st.DrawFn) -> list[Conversation]:
    return [draw(sessions(number)) for number in range(draw(st.integers(0, 4)))]


async def content(bulk: Bulk) -> list[tuple[Outline, list[Entry]]]:
    """Everything in the store; the places of its rows are its own business."""
    outlines = [await bulk.outline(each) for each in await bulk.session_ids()]
    found = [(outline, await bulk.entries(outline.nodes)) for outline in outlines]
    return [(replace(outline, nodes=()), entries) for outline, entries in found]


async def exported(exchange: Exchange, ids: Sequence[str], *, ascii_only: bool = False) -> str:
    return "".join([piece async for piece in exchange.pieces(ids, "json", ascii_only=ascii_only)])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(stores(), st.booleans(), st.integers(1, 4))
def test_any_sessions_come_back_equal(told: list[Conversation], ascii_only: bool, part: int) -> None:
    async def there_and_back() -> None:
        with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
            patched.setattr(json_format, "PART_MESSAGES", part)
            patched.setattr(json_format, "PAGE", part)
            one, two = Desk(Path(folder, "one")), Desk(Path(folder, "two"))
            try:
                await one.vault.open()
                await two.vault.open()
                await one.store.bulk.add(told)
                text = await exported(one.exchange, await one.exchange.chosen("all"), ascii_only=ascii_only)
                assert not ascii_only or text.isascii()
                assert json.loads(text)["format"] == "sophia-export"
                path = Path(folder, "export.json")
                path.write_text(text, "utf-8", newline="")
                report = (await two.exchange.bring_in(path)).report
                assert (report.skipped, report.remarks) == (0, ())
                assert await content(two.store.bulk) == await content(one.store.bulk)
                assert (await two.exchange.bring_in(path)).report.messages == 0
                assert (await one.exchange.bring_in(path)).report.messages == 0
            finally:
                await one.vault.close()
                await two.vault.close()

    asyncio.run(there_and_back())


async def test_a_long_session_stands_in_several_entries(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_format, "PART_MESSAGES", 60)
    messages = [
        ImportMessage(ours(n), "user", f"text {n}", ours(n - 1) if n else None, created_at=AT) for n in range(150)
    ]
    await desk.store.bulk.add([Conversation("sophia", ours("s"), "long", messages, AT, AT)])
    found: list[dict[str, Any]] = json.loads(await exported(desk.exchange, [ours("s")]))["sessions"]
    assert [(each["id"], each["part"], len(each["messages"])) for each in found] == [
        (ours("s"), 1, 60),
        (ours("s"), 2, 60),
        (ours("s"), 3, 30),
    ]


async def test_a_version_that_is_not_known_yet_is_refused(desk: Desk, tmp_path: Path) -> None:
    from sophia_core.commands import CommandError

    path = tmp_path / "new.json"
    path.write_text('{"format": "sophia-export", "version": 2, "sessions": [{"id": "x"}]}')
    with pytest.raises(CommandError, match="version 2"):
        await desk.exchange.bring_in(path)


async def test_hostile_values_of_our_own_format(desks: OpenDesk, tmp_path: Path) -> None:
    desk = await desks("home")
    hostile = [
        {"id": 5, "active_leaf": [], "messages": [None, 7, {}, {"role": "god", "text": 3, "status": "odd"}]},
        {"id": "../../etc", "title": {"a": 1}, "active_leaf": "x", "messages": [{"id": "../x", "parent": "../x"}]},
        {
            "id": ours("a"),
            "active_leaf": None,
            "messages": [{"created_at": float("nan"), "usage": {"cost_usd": 1e999}}],
        },
        {"id": ours("b"), "active_leaf": None, "tags": "no", "folder": 4, "messages": "none"},
    ]
    path = tmp_path / "hostile.json"
    path.write_text(json.dumps({"format": "sophia-export", "version": 1, "sessions": hostile}))
    report = (await desk.exchange.bring_in(path)).report
    assert (report.added, report.messages, report.skipped) == (3, 6, 1)
