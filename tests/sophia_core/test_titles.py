"""Titles that a model gives: only where they cost nothing, when nobody asks anything, and never over a person's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_client.auth import NoAuth
from backend_client.types import Endpoint, Provider, StaticEndpoint
from sophia_core.chat.titles import LONGEST, costs_nothing, title_in
from sophia_core.commands import CommandError
from sophia_core.events import TitleAsked, TurnFinished
from sophia_core.sanitize import sanitize
from tests.scripted import DONE, PlayedReply, ScriptedReply, chat, delta, refusal
from tests.sophia_core.conftest import Bench

OpenBench = Callable[..., Awaitable[Bench]]
Started = Callable[..., Awaitable[Bench]]
HERE = "http://127.0.0.1:9/v1"
QUESTION = "how do I boil an egg without the shell cracking"


@pytest.fixture
async def started(bench: OpenBench) -> AsyncIterator[Started]:
    async def start(*script: object, **env: str) -> Bench:
        made = await bench(*script, **{"SOPHIA_BASE_URL": HERE, **env})
        made.runtime.titles.start()
        return made

    yield start


async def quiet(made: Bench) -> None:
    """Waits until no title is being asked for."""
    asking = made.runtime.titles._asking
    async with asyncio.timeout(30):
        while asking is not None and not asking.done():
            await asyncio.wait([asking])
            asking = made.runtime.titles._asking


async def asked_for_title(made: Bench) -> PlayedReply:
    """Waits until the second question, for the title, has reached the server."""
    async with asyncio.timeout(30):
        while len(made.wire.bodies) < 2 or len(made.wire.replies) < len(made.wire.calls):  # noqa: ASYNC110 - the wire
            await asyncio.sleep(0)
    return made.wire.replies[-1]


async def title(made: Bench) -> str:
    return (await made.runtime.sessions.list())[0].title


async def test_the_first_answer_brings_a_title_that_can_be_taken_back(started: Started) -> None:
    made = await started(chat("Gently."), chat("“Boiling Eggs Without Cracks.”"), chat("Yes."))
    await made.runtime.dispatch(f"chat.send {QUESTION}")
    await quiet(made)
    assert await title(made) == "Boiling Eggs Without Cracks"
    asked = made.wire.bodies[1]["messages"]
    assert isinstance(asked, list)
    assert asked[:2] == made.wire.bodies[0]["messages"]  # what the server has read already
    await made.runtime.dispatch("/undo")
    assert await title(made) == QUESTION
    await made.runtime.dispatch("chat.send sure?")
    await quiet(made)
    assert len(made.wire.calls) == 3 + len([call for call in made.wire.calls if call.method == "GET"])
    assert await title(made) == QUESTION


async def test_what_it_took_is_in_the_books_but_not_in_the_session(started: Started) -> None:
    made = await started(chat("Gently.", tokens=(10, 2)), chat("Boiling eggs", tokens=(30, 4)))
    finished = await made.runtime.dispatch(f"chat.send {QUESTION}")
    assert isinstance(finished, TurnFinished)
    await quiet(made)
    store = await made.runtime.vault.get()
    assert (await store.usage.totals()).prompt_tokens == 40
    assert (await store.usage.totals(finished.session_id)).prompt_tokens == 10
    assert len(made.heard(TitleAsked)) == len(made.heard(TurnFinished)) == 1
    assert [each.role for each in await made.runtime.sessions.messages()] == ["user", "assistant"]


@pytest.mark.parametrize("env", [{"SOPHIA_BASE_URL": "http://scripted/v1"}, {"SOPHIA_CHAT__TITLES": "words"}])
async def test_nobody_is_asked_who_may_cost_something_or_where_nobody_wants_it(
    started: Started, env: dict[str, str]
) -> None:
    made = await started(chat("Gently."), **env)
    await made.runtime.dispatch(f"chat.send {QUESTION}")
    await quiet(made)
    assert await title(made) == QUESTION


async def test_any_model_is_asked_where_that_is_wanted_and_none_names_anything_where_not(started: Started) -> None:
    far = {"SOPHIA_BASE_URL": "http://scripted/v1"}
    made = await started(chat("Gently."), chat("Eggs"), **far, SOPHIA_CHAT__TITLES="model")
    await made.runtime.dispatch(f"chat.send {QUESTION}")
    await quiet(made)
    assert await title(made) == "Eggs"


async def test_without_titles_a_session_has_none(started: Started) -> None:
    made = await started(chat("Gently."), SOPHIA_CHAT__TITLES="off")
    await made.runtime.dispatch(f"chat.send {QUESTION}")
    await quiet(made)
    assert await title(made) == ""


async def test_a_question_goes_first_and_the_title_comes_after_it(started: Started) -> None:
    never = asyncio.Event()
    half = ScriptedReply((delta(content="Bo"), never))
    made = await started(chat("Gently."), half, chat("Two minutes."), chat("Boiling eggs"))
    await made.runtime.dispatch(f"chat.send {QUESTION}")
    stuck = await asked_for_title(made)
    finished = await made.runtime.dispatch("chat.send how long")
    assert isinstance(finished, TurnFinished)
    assert finished.text == "Two minutes."
    await quiet(made)
    assert stuck.closed.is_set()
    assert await title(made) == "Boiling eggs"


async def test_a_name_that_a_person_gives_meanwhile_stays(started: Started) -> None:
    go_on = asyncio.Event()
    slow = ScriptedReply((delta(content="Boiling"), go_on, delta(content=" eggs"), delta("stop"), DONE))
    made = await started(chat("Gently."), slow)
    await made.runtime.dispatch(f"chat.send {QUESTION}")
    await asked_for_title(made)
    await made.runtime.dispatch(f"/rename {QUESTION}")
    go_on.set()
    await quiet(made)
    assert await title(made) == QUESTION


@pytest.mark.parametrize(
    "reply",
    [
        chat(""),
        chat("\x1b]0;owned\x07" * 3),
        chat("Sure! Here is a title for this conversation of yours about boiling some eggs"),
        chat("x" * 500_000),
        chat("", reasoning=["hm " * 200_000]),
        refusal(500),
        refusal(400),
    ],
    ids=["empty", "escapes", "talk", "huge", "thinks", "fails", "refused"],
)
async def test_what_is_no_title_leaves_the_first_words(started: Started, reply: ScriptedReply) -> None:
    made = await started(chat("Gently."), reply, reply, reply)
    await made.runtime.dispatch(f"chat.send {QUESTION}")
    await quiet(made)
    assert (await title(made)) in (QUESTION, "x" * 59 + "…", "␛]0;owned␇␛]0;owned␇␛]0;owned␇")
    assert len(await title(made)) <= LONGEST


async def test_the_store_is_locked_while_a_title_is_asked_for(started: Started) -> None:
    never = asyncio.Event()
    made = await started(chat("Gently."), ScriptedReply((delta(content="Bo"), never)))
    await made.runtime.dispatch(f"chat.send {QUESTION}")
    stuck = await asked_for_title(made)
    async with asyncio.timeout(30):
        await made.runtime.titles.rest()
    assert stuck.closed.is_set()


async def test_a_title_can_be_asked_for_at_any_time(started: Started) -> None:
    made = await started(chat("Gently."), chat("Eggs"), SOPHIA_CHAT__TITLES="words")
    with pytest.raises(CommandError, match="no session"):
        await made.runtime.dispatch("session.title")
    await made.runtime.dispatch(f"chat.send {QUESTION}")
    assert "“Eggs”" in str(await made.runtime.dispatch("session.title"))
    assert await title(made) == "Eggs"


def provider(url: str = "http://far/v1", **more: object) -> Provider:
    return Provider("p", StaticEndpoint(Endpoint(url, "m", NoAuth())), **more)  # type: ignore[arg-type]


def test_what_costs_nothing_is_known_to() -> None:
    assert costs_nothing(provider("http://localhost:8000/v1"))
    assert costs_nothing(provider("http://[::1]/v1"))
    assert costs_nothing(provider(price_prompt=0.0, price_completion=0.0))
    assert not costs_nothing(provider())
    assert not costs_nothing(provider("http://127.0.0.1/v1", paid=True))
    assert not costs_nothing(provider("http://127.0.0.1/v1", price_prompt=0.0, price_completion=2.0))
    assert not costs_nothing(provider("http://127.0.0.1.evil.example/v1"))


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("Title: **Boiling Eggs**\n", "Boiling Eggs"),
        ("\n\n# Eggs & Shells.\nmore", "Eggs & Shells"),
        ("<think>well\nhm</think>\n«Œufs durs»", "Œufs durs"),
        ("<think>never ends", None),
        ("「卵のゆで方」", "卵のゆで方"),
        ("...", None),
        ("one two three four five six seven eight nine ten eleven", None),
    ],
)
def test_only_the_title_itself_is_taken(said: str, found: str | None) -> None:
    assert title_in(said) == found


@given(st.text(max_size=300))
def test_a_title_is_one_safe_line_whatever_is_said(said: str) -> None:
    found = title_in(said)
    assert found is None or (0 < len(found) <= LONGEST and sanitize(found) == found and "\n" not in found)
