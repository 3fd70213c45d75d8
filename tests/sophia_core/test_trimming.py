"""Leaving the older part of a conversation out of what is sent, and taking it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from sophia_core.commands import CommandError
from tests.scripted import chat
from tests.sophia_core.conftest import Bench, OpenBench


async def talked(bench: OpenBench, home: Path, *extra: str) -> Bench:
    made = await bench(*(chat(answer) for answer in ("one", "two", "three", *extra)), home=home)
    for question in ("a", "b", "c"):
        await made.runtime.run("chat.send", question)
    return made


def said(made: Bench) -> list[str]:
    """What the last question took with it, without the system prompt."""
    messages = made.wire.bodies[-1]["messages"]
    assert isinstance(messages, list)
    return [each["content"] for each in messages if each["role"] != "system"]


async def test_only_what_is_kept_is_sent_and_the_session_stays_whole(bench: OpenBench, tmp_path: Path) -> None:
    made = await talked(bench, tmp_path, "four", "five")
    assert "4 older messages" in str(await made.runtime.dispatch("/trim 1"))
    await made.runtime.run("chat.send", "d")
    assert said(made) == ["c", "three", "d"]
    assert len(await made.runtime.sessions.messages()) == 8
    await made.runtime.dispatch("/untrim")
    await made.runtime.run("chat.send", "e")
    assert said(made) == ["a", "one", "b", "two", "c", "three", "d", "four", "e"]


async def test_asking_again_takes_no_more_with_it(bench: OpenBench, tmp_path: Path) -> None:
    made = await talked(bench, tmp_path, "again")
    await made.runtime.dispatch("/trim 1")
    await made.runtime.dispatch("/again")
    assert said(made) == ["c"]


async def test_it_is_kept_across_starts(bench: OpenBench, tmp_path: Path) -> None:
    made = await talked(bench, tmp_path)
    await made.runtime.dispatch("/trim 2")
    session = made.runtime.current.session_id or ""
    first = await made.runtime.trimming.first(session)
    await made.runtime.close()
    later = await bench(chat("four"), home=tmp_path)
    await later.runtime.run("session.open", session)
    assert await later.runtime.trimming.first(session) == first
    await later.runtime.run("chat.send", "d")
    assert said(later) == ["b", "two", "c", "three", "d"]


async def test_what_cannot_be_trimmed_says_so(bench: OpenBench, tmp_path: Path) -> None:
    made = await talked(bench, tmp_path)
    with pytest.raises(CommandError, match="only 3 questions"):
        await made.runtime.dispatch("/trim 3")
    with pytest.raises(CommandError, match="no message"):
        await made.runtime.run("chat.trim", message="nowhere")
    with pytest.raises(CommandError, match="Nothing is left out"):
        await made.runtime.dispatch("/untrim")


async def test_a_branch_is_shown_by_any_of_its_messages(bench: OpenBench, tmp_path: Path) -> None:
    made = await talked(bench, tmp_path, "other")
    before = await made.runtime.sessions.messages()
    await made.runtime.dispatch("/again")
    await made.runtime.run("branch.show", before[-1].id)
    assert [each.id for each in await made.runtime.sessions.messages()] == [each.id for each in before]
