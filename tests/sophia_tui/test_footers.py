"""The line under an answer says each thing once, and offers only what can be done."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from sophia_core.events import TurnFinished
from sophia_tui.footers import footer_of_turn

TURN = TurnFinished("s", "a", "r", "text", "complete", provider="gh200-a", model="qwen")
CUT = replace(TURN, status="partial", error="gh200-a: the connection broke.", hint="What has arrived is kept.")


def footer(turn: TurnFinished, **changes: Any) -> str:
    turn = replace(turn, **changes)
    return footer_of_turn(turn, turn.status)


def test_a_whole_answer_says_who_gave_it() -> None:
    assert footer(TURN) == "gh200-a · qwen"


@pytest.mark.parametrize(
    ("minutes", "said"), [(0, "cached just now"), (3, "cached 3m ago"), (150, "cached 2h ago"), (3000, "cached 2d ago")]
)
def test_a_cached_answer_says_how_old_it_is(minutes: int, said: str) -> None:
    at = int(time.time() * 1000) - minutes * 60_000
    assert footer(TURN, cached_at=at) == f"gh200-a · qwen · {said}"


def test_a_joined_answer_names_both_who_gave_it() -> None:
    assert footer(TURN, begun_by="gh200-b") == "gh200-b, then gh200-a · qwen"
    assert footer(TURN, begun_by="gh200-a") == "gh200-a · qwen · in two parts"


def test_what_broke_off_says_why_once_and_offers_to_go_on() -> None:
    assert footer(CUT) == "gh200-a · qwen · the connection broke · /continue goes on"


def test_going_on_is_offered_only_where_it_is_possible() -> None:
    assert footer(CUT, begun_by="gh200-b").endswith("Ctrl+R asks again"), "it is not put together twice"
    assert footer(TURN, status="cancelled").endswith("/continue goes on")
    assert footer(TURN, status="cancelled", text="").endswith("Ctrl+R asks again")


def test_what_failed_says_what_to_do() -> None:
    failed = replace(TURN, status="failed", provider=None, model=None, text="", error="a: no key.", hint="Sign in.")
    assert footer(failed) == "a: no key · Sign in · Ctrl+R asks again"


def test_what_waits_and_what_is_dead_name_the_outbox() -> None:
    waiting = replace(TURN, status="queued", provider=None, model=None, text="", error="nothing answers", hint="?")
    assert footer(waiting) == "nothing answers · asked by itself when somebody can be reached; /outbox shows it"
    assert footer_of_turn(waiting, "dead") == "nothing answers · /outbox tries it again or drops it"


def test_a_cost_that_no_server_told_is_about_so_much() -> None:
    told = {"cost_usd": 0.002}
    assert footer(TURN, **told, cost_known="reported") == "gh200-a · qwen · $0.0020"
    assert footer(TURN, **told, cost_known="table 2026-11") == "gh200-a · qwen · ≈ $0.0020"
