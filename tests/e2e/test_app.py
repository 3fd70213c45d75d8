"""The most important things a person does with SOPHIA, on a real terminal with the real program."""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import sys
from pathlib import Path

import pytest

from tests.contract_server import TEXT
from tests.e2e.conftest import Sophia
from tests.e2e.hostile import END
from tests.e2e.terminal import Terminal

READY = "Ask SOPHIA"


async def ask(app: Terminal, question: str) -> None:
    """Types a question once that is possible, and sends it."""
    await app.shows(READY)
    await app.type(question)
    await app.press("Enter")


async def more_tokens(app: Terminal, more: int) -> None:
    """Waits until the stream has shown so many more tokens: it is the clock of these tests."""
    before = (await app.screen()).count("token ")
    await app.until(lambda text: text.count("token ") >= before + more, [f"{more} more tokens"])


def children(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    found = [int(each) for path in Path(f"/proc/{pid}/task").glob("*/children") for each in path.read_text().split()]
    return [*found, *(grandchild for child in found for grandchild in children(child))]


async def test_from_the_first_start_to_an_answer(sophia: Sophia) -> None:
    async with sophia.app((80, 24)) as app:
        await ask(app, "hello there")
        await app.shows("You", "hello there", re.escape(TEXT[:20]), "contract-model", READY)
        await app.press("C-q")
        await app.ended()
    said = await sophia.messages()
    assert [(each["role"], each["text"], each["status"]) for each in said] == [
        ("user", "hello there", "complete"),
        ("assistant", TEXT, "complete"),
    ]


async def test_what_is_typed_before_anything_is_drawn_is_in_the_prompt(sophia: Sophia) -> None:
    async with sophia.app() as app:
        await app.type("early words")
        await app.shows("▌ early words")


async def test_alt_enter_and_ctrl_j_make_lines_and_enter_sends(sophia: Sophia) -> None:
    async with sophia.app() as app:
        await app.shows(READY)
        for key, words in (("M-Enter", "one"), ("C-j", "two"), ("Enter", "three")):
            await app.type(words)
            await app.press(key)
        await app.shows("contract-model")
    assert (await sophia.messages())[0]["text"] == "one\ntwo\nthree"


@pytest.mark.parametrize("how", ["kill -9", "closed terminal", "ctrl+q"])
async def test_a_streamed_answer_and_a_draft_survive(sophia: Sophia, how: str) -> None:
    async with sophia.app() as app:
        await ask(app, "tokens:4000:10")
        await app.shows("(token ){4}")
        await app.type("not sent yet")
        await app.shows("▌ not sent yet")
        await more_tokens(app, 120)
        if how == "kill -9":
            os.kill(app.pid, signal.SIGKILL)
        elif how == "closed terminal":
            await app.hang_up()
        else:
            await app.press("C-q")
        await app.ended()
    async with sophia.app() as app:
        if how == "ctrl+q":  # what was cut off is opened by itself
            await app.shows(READY)
            await app.type(f"/open {await sophia.latest()}")
            await app.press("Enter")
        await app.shows("tokens:4000:10", "(token ){4}", "interrupted|stopped", "▌ not sent yet")
    question, answer = await sophia.messages()
    assert question["text"] == "tokens:4000:10"
    assert answer["status"] == ("interrupted" if how == "kill -9" else "cancelled")
    assert answer["text"].count("token") >= 100


async def test_a_locked_store_asks_and_opens(sophia: Sophia) -> None:
    secret = {"SOPHIA_PASSPHRASE": "open sesame and more"}
    await sophia.run("init", "--yes", **secret)
    await sophia.run("ask", "remember me", **secret)
    async with sophia.app((80, 24)) as app:
        await app.shows("The store is locked", "Passphrase")
        await app.type("wrong")
        await app.press("Enter")
        await app.shows("does not open this store")
        await app.type("open sesame and more")
        await app.press("Enter")
        await app.shows(READY)
        await app.press("C-b")
        await app.shows("remember me")
        await app.press("C-q")
        await app.ended()


async def test_nothing_that_a_model_says_is_obeyed_by_the_terminal(sophia: Sophia) -> None:
    async with sophia.app() as app:
        await app.shows(READY)
        app.written.clear()
        await ask(app, "hostile")
        await app.shows(END, "contract-model")
        sent = bytes(app.written)
        for evil in (b"\x07", b"\x08", b"\x00", b"\x1b]", b"\x1bP", b"\x1b_", b"\x1b\\"):
            assert evil not in sent, evil
        for evil in (b"\x1b[2J", b"\x1b[5n", b"\x1b[123C", b"\x1b[123X", b"\x1b[99;99H"):
            assert evil not in sent, evil
        text = sent.replace(b"\x1b[6n", b"").decode()  # what we ask a far terminal ourselves
        assert not set(text) & {*map(chr, range(0x7F, 0xA0)), "\u202e", "\u202c"}
        kinds = {match[-1] for match in re.findall(r"\x1b\[[0-9;:?<>=!]*[ -/]*[@-~]", text)}
        assert kinds <= {"C", "H", "X", "m", "h", "l"}, "only moves, blanks, colours and modes of our own"
        await app.type("still here")
        await app.shows("▌ still here")


async def test_a_screen_of_twenty_by_five_works(sophia: Sophia) -> None:
    async with sophia.app((20, 5)) as app:
        await ask(app, "hi")
        await app.press("PageUp")
        await app.shows("Hello|contract")
        for size in ((80, 24), (7, 2), (200, 50)):
            await app.resize(*size)
        await app.shows("hi", re.escape(TEXT[:20]), READY)
        await app.press("C-q")
        await app.ended()


async def test_a_dead_server_and_garbage_are_one_clear_message(sophia: Sophia) -> None:
    async with sophia.app() as app:
        for question, said in (("html_200", "a web page came back"), ("truncated", "cut short")):
            await ask(app, question)
            await app.shows(said, READY)
        assert "Traceback" not in await app.screen()


@pytest.mark.skipif(sys.platform != "linux", reason="finds and awaits processes as Linux has them")
@pytest.mark.parametrize("how", ["ctrl+q", "kill -9"])
async def test_leaving_leaves_no_process_behind(sophia: Sophia, weights: str, how: str) -> None:
    async with sophia.app(SOPHIA_BASE_URL="", SOPHIA_EMBEDDED__MODEL_PATH=weights) as app:
        await app.shows("The model is ready", READY)
        handles = [os.pidfd_open(pid) for pid in (app.pid, *children(app.pid))]
        try:
            assert len(handles) > 1
            if how == "ctrl+q":
                await app.press("C-q")
            else:
                os.kill(app.pid, signal.SIGKILL)
            for handle in handles:
                ended, _, _ = await asyncio.to_thread(select.select, [handle], [], [], 20)
                assert ended
        finally:
            for handle in handles:
                os.close(handle)
