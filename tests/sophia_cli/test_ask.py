"""Asking with the real runtime and store; only the wire is scripted."""

from __future__ import annotations

import asyncio
import json
from argparse import Namespace
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from backend_client import Unreachable
from sophia_cli.answer import TextAnswer
from sophia_cli.ask import answer_in, ask, with_system_prompt
from sophia_cli.exits import STORE, USAGE, Quit
from sophia_cli.opening import opened, store_exists
from sophia_cli.parser import parse
from sophia_cli.run import run_lines
from sophia_cli.sessions import sessions
from sophia_core.settings import Loaded
from tests.scripted import ScriptedReply, ScriptedTransport, chat, delta, refusal
from tests.sophia_cli.harness import Piped


def args_of(line: str) -> Namespace:
    name, *words = line.split()
    return parse(name, words)[1]


async def asked(loaded: Loaded, pipe: Piped, *replies: Any, line: str = "ask hi") -> tuple[int, ScriptedTransport]:
    transport = ScriptedTransport(*replies)
    code = await ask("hi", args_of(line), loaded, pipe.console, transport=transport)
    assert transport.closed
    return code, transport


async def stored(loaded: Loaded, pipe: Piped) -> list[dict[str, Any]]:
    """The sessions in the store, by the command line's own means."""
    before = len(pipe.out)
    await sessions(args_of("sessions --json"), loaded, pipe.console)
    found: list[dict[str, Any]] = json.loads(pipe.out[before:])
    return found


async def messages(loaded: Loaded, pipe: Piped, session: str) -> list[dict[str, Any]]:
    before = len(pipe.out)
    await sessions(args_of(f"sessions show {session} --json"), loaded, pipe.console)
    shown = json.loads(pipe.out[before:])
    assert shown["id"] == session
    found: list[dict[str, Any]] = shown["messages"]
    return found


async def test_an_answer_is_printed_and_kept(loaded: Loaded, pipe: Piped) -> None:
    code, transport = await asked(loaded, pipe, chat("Hel", "lo"))
    assert (code, pipe.out, pipe.err) == (0, "Hello\n", "")
    assert transport.bodies[0]["model"] == "scripted"
    (session,) = await stored(loaded, pipe)
    question, answer = await messages(loaded, pipe, session["id"])
    assert question == {
        "id": question["id"],
        "parent": None,
        "role": "user",
        "text": "hi",
        "status": "complete",
        "provider": None,
    }
    assert answer == {
        "id": answer["id"],
        "parent": question["id"],
        "role": "assistant",
        "text": "Hello",
        "status": "complete",
        "provider": "scripted.test",
    }


async def test_json_ends_with_everything_a_script_needs(loaded: Loaded, pipe: Piped) -> None:
    await asked(loaded, pipe, chat("Hello", tokens=(7, 3)), line="ask --json hi")
    last = pipe.events[-1]
    assert {key: last[key] for key in ("type", "text", "status", "provider", "model", "usage")} == {
        "type": "finished",
        "text": "Hello",
        "status": "complete",
        "provider": "scripted.test",
        "model": "scripted",
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "cost_usd": None},
    }
    assert len(last["request_id"]) == 32
    (session,) = await stored(loaded, pipe)
    assert session["id"] == last["session"]


async def test_every_question_is_a_new_session_unless_told_otherwise(loaded: Loaded, pipe: Piped) -> None:
    await asked(loaded, pipe, chat("one"))
    await asked(loaded, pipe, chat("two"))
    newest, oldest = await stored(loaded, pipe)
    _, continued = await asked(loaded, pipe, chat("three"), line="ask --continue hi")
    assert [m["content"] for m in continued.bodies[0]["messages"][1:]] == ["hi", "two", "hi"]  # type: ignore[index]
    await asked(loaded, pipe, chat("four"), line=f"ask --session {oldest['id']} hi")
    counts = {each["id"]: each["message_count"] for each in await stored(loaded, pipe)}
    assert counts == {newest["id"]: 4, oldest["id"]: 4}


async def test_continue_without_a_session_starts_one(loaded: Loaded, pipe: Piped) -> None:
    code, _ = await asked(loaded, pipe, chat("one"), line="ask --continue hi")
    assert code == 0
    assert "no session yet" in pipe.err
    assert len(await stored(loaded, pipe)) == 1


async def test_a_session_that_is_not_there_is_wrong_use(loaded: Loaded, pipe: Piped) -> None:
    code, _ = await asked(loaded, pipe, line="ask --session nope hi")
    assert (code, pipe.out) == (USAGE, "")
    assert "There is no session 'nope'" in pipe.err


async def test_system_and_model_hold_for_this_question(loaded: Loaded, pipe: Piped) -> None:
    args = args_of("ask --model other hi")
    transport = ScriptedTransport(chat("ok"))
    await ask("hi", args, with_system_prompt(loaded, "Be a pirate."), pipe.console, transport=transport)
    body = transport.bodies[0]
    assert body["model"] == "other"
    assert body["messages"][0] == {"role": "system", "content": "Be a pirate."}  # type: ignore[index]


async def test_an_unknown_provider_is_wrong_use(loaded: Loaded, pipe: Piped) -> None:
    code, _ = await asked(loaded, pipe, line="ask --provider nope hi")
    assert (code, "Known: scripted.test." in pipe.err) == (USAGE, True)


@pytest.mark.parametrize("reply", [refusal(401), refusal(400)])
async def test_a_provider_that_gives_no_answer_is_exit_code_4(
    loaded: Loaded, pipe: Piped, reply: ScriptedReply
) -> None:
    code, _ = await asked(loaded, pipe, reply)
    assert (code, pipe.out) == (4, "")
    assert pipe.err.startswith("sophia: scripted.test: ")


async def test_an_answer_that_stops_short_is_printed_and_exit_code_1(loaded: Loaded, pipe: Piped) -> None:
    half = ScriptedReply((delta(role="assistant", content=""), delta(content="Hel"), Unreachable("it broke")))
    code, _ = await asked(loaded, pipe, half)
    assert (code, pipe.out) == (1, "Hel\n")
    assert "stopped short" in pipe.err


async def test_stopping_keeps_what_has_arrived(loaded: Loaded, pipe: Piped) -> None:
    waiting = ScriptedReply((delta(role="assistant", content=""), delta(content="Hel"), asyncio.Event()))
    transport = ScriptedTransport(waiting)
    task = asyncio.create_task(ask("hi", args_of("ask --json hi"), loaded, pipe.console, transport=transport))
    await pipe.until('"delta"')
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (pipe.events[-1]["status"], pipe.events[-1]["text"]) == ("cancelled", "Hel")
    (session,) = await stored(loaded, pipe)
    answer = (await messages(loaded, pipe, session["id"]))[-1]
    assert (answer["status"], answer["text"]) == ("cancelled", "Hel")


async def test_no_save_leaves_nothing_behind(loaded: Loaded, pipe: Piped) -> None:
    code, _ = await asked(loaded, pipe, chat("Hello"), line="ask --no-save --json hi")
    assert code == 0
    assert (pipe.events[-1]["text"], pipe.events[-1]["session"]) == ("Hello", None)
    assert not store_exists(loaded)


def with_passphrase(loaded: Loaded, passphrase: str | None) -> Loaded:
    secret = SecretStr(passphrase) if passphrase else None
    return replace(loaded, settings=loaded.settings.model_copy(update={"passphrase": secret}))


@pytest.mark.parametrize("passphrase", [None, "wrong"])
async def test_a_locked_store_loses_no_answer(loaded: Loaded, pipe: Piped, passphrase: str | None) -> None:
    await asked(with_passphrase(loaded, "right"), pipe, chat("first"))
    locked = with_passphrase(loaded, passphrase)
    code, _ = await asked(locked, pipe, chat("second"))
    assert (code, pipe.out) == (0, "first\nsecond\n")
    assert "not being saved" in pipe.err
    assert "SOPHIA_PASSPHRASE" in pipe.err
    assert len(await stored(with_passphrase(loaded, "right"), pipe)) == 1


async def test_a_locked_store_cannot_continue_a_session(loaded: Loaded, pipe: Piped) -> None:
    await asked(with_passphrase(loaded, "right"), pipe, chat("first"))
    code, _ = await asked(loaded, pipe, line="ask --continue hi")
    assert (code, pipe.out) == (STORE, "first\n")
    with pytest.raises(Quit) as ending:
        await sessions(args_of("sessions"), loaded, pipe.console)
    assert ending.value.code == STORE


async def test_a_damaged_store_loses_no_answer(loaded: Loaded, pipe: Piped) -> None:
    await asked(loaded, pipe, chat("first"))
    (loaded.paths.store_dir / "sophia.db").write_bytes(b"\x55" * 65536)
    code, _ = await asked(loaded, pipe, chat("second"))
    assert (code, pipe.out) == (0, "first\nsecond\n")
    assert "not being saved" in pipe.err


async def test_a_home_that_cannot_be_written_loses_no_answer(loaded: Loaded, pipe: Piped) -> None:
    loaded.paths.store_dir.write_text("a file stands where the folder should be")
    code, _ = await asked(loaded, pipe, chat("Hello"))
    assert (code, pipe.out) == (0, "Hello\n")
    assert "not being saved" in pipe.err


async def test_a_store_that_breaks_after_opening_loses_no_answer(loaded: Loaded, pipe: Piped) -> None:
    writer = TextAnswer(pipe.console)
    async with opened(loaded, pipe.console, [writer], transport=ScriptedTransport(chat("Hello"))) as runtime:
        await (await runtime.vault.get()).close()
        finished = await answer_in("hi", args_of("ask hi"), runtime, pipe.console, writer)
    assert (finished.status, pipe.out) == ("complete", "Hello\n")
    assert "not being saved" in pipe.err


async def run(loaded: Loaded, pipe: Piped, *words: str, transport: ScriptedTransport | None = None) -> int:
    args = parse("run", words)[1]
    return await run_lines(args, loaded, pipe.console, transport=transport or ScriptedTransport())


async def test_run_streams_an_answer_and_prints_results(loaded: Loaded, pipe: Piped) -> None:
    transport = ScriptedTransport(chat("Hello"))
    assert await run(loaded, pipe, 'chat.send "hi there"', "session.list", transport=transport) == 0
    answer, head, row = pipe.out.splitlines()
    assert answer == "Hello"
    assert head.startswith("ID")
    assert "hi there" in row


async def test_run_prints_two_answers_one_after_the_other(loaded: Loaded, pipe: Piped) -> None:
    two = ScriptedTransport(chat("from ", "one"), chat("from ", "two"))
    assert await run(loaded, pipe, "chat.compare one@auto two@auto hi", transport=two) == 0
    assert pipe.out == "## one@auto\n\nfrom one\n\n## two@auto\n\nfrom two\n"


async def test_run_as_json_is_one_line_a_result(loaded: Loaded, pipe: Piped) -> None:
    transport = ScriptedTransport(chat("Hello"))
    await run(loaded, pipe, "--json", "chat.send hi", "session.list", "session.new", transport=transport)
    *_, finished, listed, nothing = [json.loads(line) for line in pipe.out.splitlines()]
    assert (finished["type"], finished["text"]) == ("finished", "Hello")
    assert [row["title"] for row in listed] == ["hi"]
    assert nothing is None


async def test_run_does_what_cannot_be_undone_only_when_told(loaded: Loaded, pipe: Piped) -> None:
    await asked(loaded, pipe, chat("one"))
    (session,) = await stored(loaded, pipe)
    with pytest.raises(Quit, match="cannot be undone") as ending:
        await run(loaded, pipe, f"session.delete {session['id']}")
    assert ending.value.code == USAGE
    assert await run(loaded, pipe, "--yes", f"session.delete {session['id']}") == 0
    assert await stored(loaded, pipe) == []


@pytest.mark.parametrize(
    ("lines", "message", "hint"),
    [
        (["sesion.list"], "There is no command 'sesion.list'", "session.list"),
        (["chat.send", "hi"], "chat.send needs 'text'", "quote it"),
        (["session.list", "hi"], "There is no command 'hi'", "quote it"),
        (["view.help"], "works only in the terminal app", "Start it with `sophia`"),
        (["Chat Send"], "not a command name", ""),
    ],
)
async def test_run_explains_what_it_cannot_run(
    loaded: Loaded, pipe: Piped, lines: list[str], message: str, hint: str
) -> None:
    with pytest.raises(Quit) as ending:
        await run(loaded, pipe, *lines)
    assert ending.value.code == USAGE
    assert message in ending.value.message
    assert hint in ending.value.hint
