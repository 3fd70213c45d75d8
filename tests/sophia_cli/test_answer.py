from __future__ import annotations

import asyncio
import json

import pytest

from sophia_cli.answer import JsonAnswer, TextAnswer, exit_code
from sophia_cli.console import Look
from sophia_cli.progress import ProgressLine
from sophia_core.events import (
    AttemptFailed,
    EmbeddedProgressed,
    Event,
    Notice,
    ReasoningDelta,
    RouteChosen,
    StoreStateChanged,
    TextDelta,
    TurnFinished,
    TurnStarted,
    TurnStatus,
)
from tests.sophia_cli.harness import Piped, piped

STARTED = TurnStarted("s", "q", "a", "r", "question")


def finished(text: str = "", status: TurnStatus = "complete", **more: object) -> TurnFinished:
    return TurnFinished("s", "a", "r", text, status, **more)  # type: ignore[arg-type]


def tell(listener: TextAnswer | JsonAnswer, *events: Event) -> None:
    for event in events:
        listener(event)


def test_text_comes_out_as_it_arrives_and_ends_with_a_line_break(pipe: Piped) -> None:
    answer = TextAnswer(pipe.console)
    tell(answer, STARTED, TextDelta("a", "Hel"))
    assert pipe.out == "Hel"
    tell(answer, TextDelta("a", "lo"), finished("Hello"))
    assert pipe.out == "Hello\n"


def test_a_line_break_of_the_answers_own_is_enough(pipe: Piped) -> None:
    tell(TextAnswer(pipe.console), STARTED, TextDelta("a", "Hello\n"), finished("Hello\n"))
    assert pipe.out == "Hello\n"


def test_an_answer_without_text_prints_nothing(pipe: Piped) -> None:
    tell(TextAnswer(pipe.console), STARTED, finished("", "failed", error="it is down", hint="start it"))
    assert (pipe.out, pipe.err) == ("", "sophia: it is down\n  start it\n")


def test_what_the_final_text_has_beyond_the_deltas_is_printed_too(pipe: Piped) -> None:
    tell(TextAnswer(pipe.console), STARTED, TextDelta("a", "Hi"), finished("Hi\n\n```json\nf {}\n```\n"))
    assert pipe.out == "Hi\n\n```json\nf {}\n```\n"


def test_escape_sequences_pass_into_a_pipe_and_not_onto_a_terminal() -> None:
    hostile = ["\x1b", "]52;c;aGk=\x07", "ok"]
    for terminal in (False, True):
        with piped(out_terminal=terminal) as pipe:
            tell(TextAnswer(pipe.console), STARTED, *(TextDelta("a", each) for each in hostile))
            assert ("\x1b" in pipe.out) is not terminal
            assert pipe.out.endswith("ok")


def test_reasoning_and_small_talk_only_where_somebody_watches(pipe: Piped) -> None:
    events: list[Event] = [
        STARTED,
        ReasoningDelta("a", "hm"),
        Notice("info", "by the way"),
        TextDelta("a", "42"),
        finished("42"),
    ]
    tell(TextAnswer(pipe.console), *events)
    assert (pipe.out, pipe.err) == ("42\n", "")
    with piped() as loud:
        tell(TextAnswer(loud.console, verbose=True), *events)
        assert (loud.out, loud.err) == ("42\n", "hm\n\nsophia: by the way\n")


def test_an_answer_from_the_cache_says_so_where_somebody_watches(pipe: Piped) -> None:
    for verbose in (False, True):
        tell(TextAnswer(pipe.console, verbose=verbose), STARTED, RouteChosen("a", "here", "m", 1, 1_790_000_000_000))
    assert pipe.err.startswith("sophia: this answer is from 2026-09-")
    assert pipe.err.count("sophia:") == 1


def test_warnings_are_told_to_everybody(pipe: Piped) -> None:
    tell(
        TextAnswer(pipe.console), Notice("warning", "config.toml:3: 'modle' is not a setting.", "Did you mean 'model'?")
    )
    assert pipe.err == "sophia: config.toml:3: 'modle' is not a setting.\n  Did you mean 'model'?\n"


def test_an_answer_that_is_not_saved_is_still_printed(pipe: Piped) -> None:
    tell(TextAnswer(pipe.console), STARTED, StoreStateChanged("full", "no space"), TextDelta("a", "42"), finished("42"))
    assert pipe.out == "42\n"
    assert "cannot be saved: no space" in pipe.err


def test_an_answer_cut_short_says_so_after_its_text(pipe: Piped) -> None:
    tell(TextAnswer(pipe.console), STARTED, TextDelta("a", "Hel"), finished("Hel", "partial", error="gone"))
    assert (pipe.out, pipe.err) == ("Hel\n", "sophia: the answer stopped short: gone\n")


def test_trying_again_is_told_where_somebody_watches() -> None:
    with piped(err_terminal=True) as pipe:
        tell(TextAnswer(pipe.console), AttemptFailed("r", "p", 1, "busy", True, 1.5))
        assert pipe.err == "sophia: busy; trying again in 1.5 s\n"


async def test_progress_is_one_line_that_goes_away() -> None:
    with piped(err_terminal=True, look=Look(rewrites=True)) as pipe:
        line = ProgressLine(pipe.console, delay_s=0)
        line.show("load", None, "loading the model")
        assert pipe.err == ""
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        line.show("load", 0.5, "loading the model")
        line.clear()
        assert pipe.err == "\r\x1b[Kloading the model …\r\x1b[Kloading the model 50%\r\x1b[K"


async def test_progress_that_is_quick_is_never_shown() -> None:
    with piped(err_terminal=True, look=Look(rewrites=True)) as pipe:
        answer = TextAnswer(pipe.console)
        tell(answer, EmbeddedProgressed("load", None, "loading"), EmbeddedProgressed("ready", 1.0, "ready"))
        tell(answer, STARTED, TextDelta("a", "Hi"), finished("Hi"))
        assert (pipe.out, pipe.err) == ("Hi\n", "")


def test_progress_is_said_once_a_stage_where_no_line_can_be_rewritten(pipe: Piped) -> None:
    answer = TextAnswer(pipe.console, verbose=True)
    tell(answer, *(EmbeddedProgressed("load", part, "loading") for part in (0.1, 0.2, 0.3)))
    assert pipe.err == "sophia: loading\n"


def test_json_tells_everything_one_object_a_line(pipe: Piped) -> None:
    tell(
        JsonAnswer(pipe.console),
        STARTED,
        RouteChosen("a", "p", "m"),
        ReasoningDelta("a", "hm"),
        TextDelta("a", "4\u2028\x852"),
        Notice("warning", "careful", "do this"),
        finished("4\u2028\x852", provider="p", model="m", prompt_tokens=3, completion_tokens=2, cost_usd=0.5),
    )
    assert pipe.events == [
        {"type": "route", "provider": "p", "model": "m", "attempt": 1},
        {"type": "reasoning", "text": "hm"},
        {"type": "delta", "text": "4\u2028\x852"},
        {"type": "notice", "level": "warning", "text": "careful", "hint": "do this"},
        {
            "type": "finished",
            "text": "4\u2028\x852",
            "status": "complete",
            "provider": "p",
            "model": "m",
            "request_id": "r",
            "session": "s",
            "cached_at": None,
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "cost_usd": 0.5},
        },
    ]
    assert pipe.out.isascii()


def test_json_names_what_went_wrong(pipe: Piped) -> None:
    tell(JsonAnswer(pipe.console), STARTED, finished("", "failed", error="down", hint="start it"))
    assert pipe.events[-1]["error"] == "down"
    assert pipe.events[-1]["hint"] == "start it"


def test_nothing_follows_finished_on_stdout(pipe: Piped) -> None:
    told = JsonAnswer(pipe.console)
    tell(told, STARTED, TextDelta("a", "hi"), finished("hi"))
    tell(
        told,
        EmbeddedProgressed("stopped", None, "the model is stopped"),
        Notice("error", "the disk is full", "free it"),
    )
    assert [event["type"] for event in pipe.events] == ["delta", "finished"]
    assert "the disk is full" in pipe.err
    tell(told, STARTED, TextDelta("a", "again"))
    assert pipe.events[-1] == {"type": "delta", "text": "again"}


def test_json_ends_with_finished_even_when_no_turn_began(pipe: Piped) -> None:
    JsonAnswer(pipe.console).failed("no such session", "look again")
    last = json.loads(pipe.out)
    assert (last["type"], last["status"], last["session"], last["error"]) == (
        "finished",
        "failed",
        None,
        "no such session",
    )
    assert pipe.err == "sophia: no such session\n  look again\n"


@pytest.mark.parametrize(
    ("status", "provider", "code"),
    [("complete", "p", 0), ("partial", "p", 1), ("cancelled", "p", 1), ("failed", "p", 1), ("failed", None, 4)],
)
def test_exit_codes_tell_how_far_an_answer_came(status: TurnStatus, provider: str | None, code: int) -> None:
    assert exit_code(finished("", status, provider=provider)) == code
