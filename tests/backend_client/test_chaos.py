"""A short run of the chaos benchmark: its promises hold, and it notices where they do not."""

from __future__ import annotations

import pytest

from backend_client import Unreachable
from benchmarks.chaos import Heard, Tally, broken, compare, judge, report, run
from benchmarks.chaos_servers import MOODS, WELL, Counts, here
from tests.backend_client.essays import essay_text


async def test_the_promises_hold_while_two_of_four_come_and_go(capsys: pytest.CaptureFixture[str]) -> None:
    async with here() as farm:
        tally = await run(farm, 500, seed=7, at_once=12, pace=0.3)
    report(tally, 7)
    shown = capsys.readouterr().out
    assert broken(tally) == [], shown
    assert tally.turns == 500
    assert tally.answered >= 0.99, shown
    assert tally.moods
    assert "500 turns, seed 7" in shown


async def test_every_mood_can_be_taken_on_and_left() -> None:
    async with here() as farm:
        for mood in (*MOODS, WELL):
            await farm.change("gh200-a", mood)
        assert await farm.counts() == Counts({}, {})


def heard(text: str, *, finished: int = 1, providers: tuple[str, ...] = ("gh200-a",), attempt: int = 1) -> Heard:
    error = None if finished else Unreachable("gone")
    return Heard(list(providers), text, finished, "turn-3", attempt, error=error)


WHOLE = essay_text("gh200-a", 3)


def judged(first: Heard, more: Heard | None = None, *again: Heard) -> Tally:
    tally = Tally(turns=1)
    judge(tally, 3, first, more, again)
    return tally


def test_what_is_whole_is_answered() -> None:
    assert judged(heard(WHOLE)).at_once == 1
    both = judged(heard(WHOLE[:9], finished=0), heard(WHOLE[9:], providers=("openrouter",)))
    assert (both.continued, both.untrue, both.twice) == (1, 0, 0)
    assert judged(heard(WHOLE[:9], finished=0)).partial == 1
    begun = heard(WHOLE[:9], finished=0)
    asked_again = judged(begun, heard("", finished=0), heard(WHOLE))
    assert (asked_again.again, asked_again.answered) == (1, 1.0)


@pytest.mark.parametrize(
    "first",
    [
        heard(WHOLE[:-1]),
        heard(WHOLE + "."),
        heard("something else", finished=0),
        heard(essay_text("gh200-b", 3)),
    ],
)
def test_what_is_not_what_the_server_sent_is_noticed(first: Heard) -> None:
    tally = judged(first)
    assert tally.untrue == 1
    assert broken(tally)


def test_what_came_from_two_is_noticed() -> None:
    assert judged(heard(WHOLE, providers=("gh200-a", "gh200-b"))).twice == 1
    assert judged(heard(WHOLE, finished=2)).twice == 1


def test_what_was_asked_again_after_its_answer_began_is_noticed() -> None:
    tally = judged(heard(WHOLE, attempt=2))
    compare(tally, Counts({"turn-3": 2}, {"turn-3": 2}))
    assert (tally.twice, tally.on_the_way) == (0, 1)
    compare(tally, Counts({"turn-3": 3}, {}))
    assert tally.twice == 1
    assert broken(tally)


def test_what_ends_in_nothing_is_lost() -> None:
    tally = judged(Heard())
    assert tally.lost == 1
    assert broken(tally)
    told = judged(Heard(error=Unreachable("gone")))
    assert (told.lost, told.failed.total()) == (0, 1)
