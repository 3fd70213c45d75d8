"""A long conversation is usable at once; what came before its end follows, and nothing is missing in the end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from textual.pilot import Pilot

from local_store import Store, Usage
from local_store.imports import Conversation, ImportMessage
from sophia_core.chat.history import CHARS_PER_TOKEN
from sophia_tui import earlier
from sophia_tui.app import SophiaApp

from .conftest import Settle, settle

OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]

COUNT = 100


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earlier, "AT_ONCE", 20)
    monkeypatch.setattr(earlier, "PIECE", 16)


def message(key: int, parent: int | None, *, used: bool = True) -> ImportMessage:
    answer = bool(key % 2)
    usage = Usage(7, 3, cost_usd=0.5) if answer and used else None
    text = f"message {key} " + "word " * 18
    return ImportMessage(
        key=str(key), role="assistant" if answer else "user", text=text, parent=None if parent is None else str(parent),
        created_at=1_700_000_000_000 + key, usage=usage,
    )  # fmt: skip


async def told(store: Store, *, used: bool = True) -> str:
    """A conversation of so many messages, in which the tenth answer has another version; its id."""
    said = [message(key, key - 1 if key else None, used=used) for key in range(COUNT)]
    said.insert(20, message(1001, 18, used=used))
    await store.bulk.add([Conversation("test", "one", "A long one", said, active=str(COUNT - 1))])
    return (await store.sessions.list(1))[0].id


async def open_session(app: SophiaApp, session_id: str, wait: Settle, pilot: object) -> None:
    app.dispatcher.start("session.open", session_id)
    await wait(app, pilot)  # type: ignore[arg-type]


async def test_the_end_comes_first_and_everything_follows(open_app: OpenApp, monkeypatch: pytest.MonkeyPatch) -> None:
    shown_first: list[list[str]] = []
    real = earlier.bring_in

    async def bring_in(app: SophiaApp, *rest: object) -> None:
        shown_first.append([entry.text.split(" word")[0] for entry in app.chat.transcript.entries])
        await real(app, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("sophia_tui.session_feed.bring_in", bring_in)
    async with open_app() as (app, pilot):
        await open_session(app, await told(await app.runtime.vault.get()), settle, pilot)
        assert shown_first == [[f"message {n}" for n in range(COUNT - 20, COUNT)]]
        entries = app.chat.transcript.entries
        assert [entry.text.split(" word")[0] for entry in entries] == [f"message {n}" for n in range(COUNT)]
        assert [entry.branch for entry in entries if entry.branch] == [(1, 2)]
        assert app.chat.transcript.following
        values = app.status.values
        assert (values.tokens_in, values.tokens_out, values.cost_usd) == (COUNT // 2 * 7, COUNT // 2 * 3, COUNT / 4)
        assert values.context == 10


async def test_what_nobody_counted_is_estimated_to_the_beginning(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        await open_session(app, await told(await app.runtime.vault.get(), used=False), settle, pilot)
        said = sum(len(entry.text) for entry in app.chat.transcript.entries)
        assert abs(app.status.values.context - said / CHARS_PER_TOKEN) <= COUNT / 4


async def test_a_cut_further_up_is_where_the_estimate_begins(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        session_id = await told(await app.runtime.vault.get())
        await open_session(app, session_id, settle, pilot)
        first = app.chat.transcript.entries[40]
        await app.runtime.run("chat.trim", message=first.id)
        await settle(app, pilot)
        app.feed.show(session_id)
        await settle(app, pilot)
        entries = app.chat.transcript.entries
        assert [entry.id for entry in entries if entry.above] == [first.id]
        assert (
            abs(app.status.values.context - sum(len(entry.text) for entry in entries[40:]) / CHARS_PER_TOKEN)
            <= COUNT / 4
        )


async def test_a_hit_in_the_middle_is_gone_to(open_app: OpenApp) -> None:
    async with open_app() as (app, pilot):
        session_id = await told(await app.runtime.vault.get())
        await open_session(app, session_id, settle, pilot)
        goal = app.chat.transcript.entries[30].id
        app.dispatcher.start("session.new")
        await settle(app, pilot)
        app.feed.jump_to = goal
        await open_session(app, session_id, settle, pilot)
        selected = app.chat.transcript.selected_entry
        assert selected is not None and selected.id == goal
        assert app.feed.jump_to is None and len(app.chat.transcript.entries) == COUNT


async def test_who_goes_elsewhere_meanwhile_finds_nothing_of_it_there(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_app() as (app, pilot):
        store = await app.runtime.vault.get()
        session_id = await told(store)
        other = await store.sessions.create("Another")
        real = app.runtime.sessions.shown_until

        async def shown_until(session: str, leaf: str | None, limit: int | None) -> object:
            if leaf is not None:
                app.chat.session_id = other.id
            return await real(session, leaf, limit)

        monkeypatch.setattr(app.runtime.sessions, "shown_until", shown_until)
        await open_session(app, session_id, settle, pilot)
        assert len(app.chat.transcript.entries) == 20
