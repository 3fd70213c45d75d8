"""What survives `kill -9` in the middle of an answer: real processes, a real store, a real server on loopback."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.kills import TOKENS, Killed, judge, kill_runtime, verify, verify_pages
from benchmarks.streaming_server import document, serving
from local_store import Message

WHOLE = "".join(document(TOKENS))


async def test_three_kills_lose_no_question_and_no_text_shown_a_moment_ago(tmp_path: Path) -> None:
    killed: list[Killed] = []
    with serving(tokens=TOKENS) as url:
        for chars, rate in ((0, 400), (700, 400), (2000, 600)):
            killed.append(kill_runtime(tmp_path, url, f"What about {chars}? rate={rate}", chars))
            found = await verify(tmp_path, killed, "runtime")
            assert found.status == "interrupted"
            assert killed[-1].accepted
            assert not killed[-1].finished
    assert killed[-1].chars >= 2000
    assert found.kept > 0
    await verify_pages(tmp_path)


def seen(*shown: tuple[float, int]) -> Killed:
    return Killed("Why?", "mix", accepted=True, finished=False, at=10.0, shown=list(shown))


def stored(text: str) -> Message:
    return Message(
        id="a",
        session_id="s",
        parent_id="q",
        role="assistant",
        text=text,
        reasoning="",
        status="interrupted",
        provider=None,
        model=None,
        request_id="r",
        finish_reason=None,
        error=None,
        created_at=0,
        finished_at=0,
        usage=None,
    )


def test_text_shown_just_before_the_kill_may_be_missing() -> None:
    found = judge(seen((9.2, 40), (9.69, 80), (9.9, 120)), stored(WHOLE[:80]), "runtime")
    assert (found.kept, found.shown) == (80, 120)
    assert found.gap_ms == pytest.approx(100)


def test_text_shown_earlier_must_be_there() -> None:
    with pytest.raises(AssertionError, match="40 of 80 characters are lost; the first was shown 310 ms"):
        judge(seen((9.2, 40), (9.69, 80), (9.9, 120)), stored(WHOLE[:40]), "runtime")


def test_text_must_be_what_was_sent() -> None:
    with pytest.raises(AssertionError, match="never sent"):
        judge(seen(), stored("Something else"), "runtime")


def test_an_answer_cut_short_must_say_so() -> None:
    with pytest.raises(AssertionError, match="streaming"):
        judge(seen(), replace(stored(WHOLE[:8]), status="streaming"), "runtime")


def test_a_shown_answer_must_be_in_the_store() -> None:
    with pytest.raises(AssertionError, match="not in the store"):
        judge(seen((9.0, 4)), None, "runtime")
