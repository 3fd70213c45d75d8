"""Attaching, asking with it, and what the model is shown of it later; on a real runtime and a scripted wire."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, cast

import pytest

from sophia_core.attach.pictures import plain_png
from sophia_core.commands import CommandDisabled, CommandError
from sophia_core.events import AttachmentsChanged, Notice, TurnFinished, TurnStarted
from tests.scripted import JSON, ScriptedReply, chat, refusal
from tests.sophia_core.conftest import Bench, OpenBench

SEES = {"SOPHIA_MODEL": "qwen2.5-vl"}
RED = plain_png(16, 16, (255, 0, 0))


def sent(made: Bench, number: int = -1) -> list[dict[str, Any]]:
    """The messages of a request, without the system prompt."""
    messages = cast("list[dict[str, Any]]", made.wire.bodies[number]["messages"])
    return [each for each in messages if each["role"] != "system"]


def pictures(message: dict[str, Any]) -> list[bytes]:
    content = message["content"]
    found = (
        [each["image_url"]["url"] for each in content if each["type"] == "image_url"] if type(content) is list else []
    )
    assert all(url.startswith("data:image/png;base64,") for url in found)
    return [base64.b64decode(url.partition(",")[2]) for url in found]


async def test_a_text_file_goes_before_the_words_and_again_with_the_next_question(
    bench: OpenBench, tmp_path: Path
) -> None:
    made = await bench(chat("two"), chat("yes"))
    (tmp_path / "sum.py").write_text("print(1 + 1)\n")
    said = await made.runtime.dispatch(f'attach.add "{tmp_path}/sum.py"')
    assert said == "Attached sum.py: text, 1 line, 13 bytes."
    await made.runtime.run("chat.send", "What does it print?")
    await made.runtime.run("chat.send", "Sure?")
    whole = "The file `sum.py`:\n```python\nprint(1 + 1)\n```\n\nWhat does it print?"
    assert [each["content"] for each in sent(made)] == [whole, "two", "Sure?"]
    assert made.runtime.attachments.waiting == ()
    started = cast("list[TurnStarted]", made.heard(TurnStarted))
    assert [[each.name for each in event.attached] for event in started] == [["sum.py"], []]


async def test_a_picture_is_sent_to_a_model_that_sees_and_kept_in_the_store(bench: OpenBench, tmp_path: Path) -> None:
    made = await bench(chat("red"), chat("still red"), **SEES)
    (tmp_path / "a.png").write_bytes(RED)
    await made.runtime.run("attach.add", str(tmp_path / "a.png"))
    first = cast("TurnFinished", await made.runtime.run("chat.send", "Which colour?"))
    await made.runtime.run("chat.regenerate")
    assert first.status == "complete"
    assert [pictures(each) for each in sent(made, 0)] == [[RED]]
    assert [pictures(each) for each in sent(made, 1)] == [[RED]]
    assert sent(made, 0)[0]["content"][0] == {"type": "text", "text": "Which colour?"}
    store = made.runtime.vault.store
    assert store is not None
    question = (await store.messages.path(first.session_id))[0]
    assert [(each.kind, each.name, each.text) for each in question.parts] == [
        ("image", "a.png", f"PNG, 16 × 16, {len(RED)} bytes")
    ]


async def test_an_edited_question_keeps_what_was_attached(bench: OpenBench, tmp_path: Path) -> None:
    made = await bench(chat("a"), chat("b"), **SEES)
    (tmp_path / "a.png").write_bytes(RED)
    (tmp_path / "b.txt").write_text("more")
    await made.runtime.run("attach.add", str(tmp_path / "a.png"))
    await made.runtime.run("chat.send", "Which?")
    question = cast("TurnStarted", made.heard(TurnStarted)[0]).question_id
    await made.runtime.run("attach.add", str(tmp_path / "b.txt"))
    await made.runtime.run("chat.edit", question, "Which colour?")
    assert pictures(sent(made)[0]) == [RED]
    assert "more" in sent(made)[0]["content"][0]["text"]


async def test_nobody_who_sees_means_no_question_and_says_who_could(bench: OpenBench, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    blind = '[[providers]]\nname = "blind"\nbase_url = "http://blind/v1"\nmodel = "m"\n'
    seeing = blind.replace("blind", "owl") + 'capabilities = ["chat", "vision"]\ntier = 1\n'
    (tmp_path / "home" / "config.toml").write_text(blind + seeing)
    made = await bench(chat("red"), home=tmp_path / "home", SOPHIA_BASE_URL="", SOPHIA_MODEL="")
    (tmp_path / "a.png").write_bytes(RED)
    await made.runtime.run("model.use", "blind")
    await made.runtime.run("attach.add", str(tmp_path / "a.png"))
    with pytest.raises(CommandError, match="blind cannot look at pictures") as wrong:
        await made.runtime.run("chat.send", "Which?")
    assert "/model.use owl" in wrong.value.hint
    assert not made.heard(TurnStarted)
    assert len(made.runtime.attachments.waiting) == 1
    await made.runtime.run("model.use", "auto")
    await made.runtime.run("chat.send", "Which?")
    assert made.wire.calls[-1].url.startswith("http://owl/")


async def test_a_model_that_does_not_see_is_told_of_the_pictures_of_before(bench: OpenBench, tmp_path: Path) -> None:
    made = await bench(chat("red"), chat("hm"), **SEES)
    (tmp_path / "a.png").write_bytes(RED)
    await made.runtime.run("attach.add", str(tmp_path / "a.png"))
    await made.runtime.run("chat.send", "Which?")
    await made.runtime.run("model.use", "auto", "some-text-model")
    await made.runtime.run("chat.send", "And now?")
    assert sent(made)[0]["content"].startswith("[The picture a.png is not shown: the model that answers cannot look")
    assert sent(made)[-1]["content"] == "And now?"


async def test_what_a_server_says_of_its_model_counts(bench: OpenBench, tmp_path: Path) -> None:
    made = await bench(chat("red"))
    beside = [{"name": "scripted", "model": "scripted", "capabilities": ["completion", "multimodal"]}]
    page = json.dumps({"models": beside, "data": [{"id": "scripted", "owned_by": "llamacpp"}]}).encode()
    made.wire.pages["/models"] = ScriptedReply((page,), headers=JSON)
    (tmp_path / "a.png").write_bytes(RED)
    await made.runtime.run("attach.add", str(tmp_path / "a.png"))
    assert not made.heard(Notice)
    await made.runtime.run("chat.send", "Which?")
    assert pictures(sent(made)[0]) == [RED]


@pytest.mark.parametrize(("answer", "sees"), [("Red.", True), ("I cannot see pictures.", False)])
async def test_a_probe_settles_what_nobody_says(bench: OpenBench, tmp_path: Path, answer: str, sees: bool) -> None:
    made = await bench(chat(answer))
    said = str(await made.runtime.run("image.probe"))
    assert ("sees" in said) is sees
    (tmp_path / "a.png").write_bytes(RED)
    await made.runtime.run("attach.add", str(tmp_path / "a.png"))
    assert bool(made.heard(Notice)) is not sees


async def test_a_probe_that_is_refused_changes_nothing(bench: OpenBench) -> None:
    made = await bench(refusal(400, "scripted is not a multimodal model"))
    with pytest.raises(CommandError, match="not a multimodal model"):
        await made.runtime.run("image.probe")


async def test_taking_off_by_number_name_and_all(bench: OpenBench, tmp_path: Path) -> None:
    made = await bench()
    for name in "abcd":
        (tmp_path / name).write_text(name)
        await made.runtime.run("attach.add", str(tmp_path / name))
    await made.runtime.dispatch("attach.remove 1")
    await made.runtime.dispatch("detach c")
    assert [each.name for each in made.runtime.attachments.waiting] == ["b", "d"]
    await made.runtime.dispatch("detach")
    with pytest.raises(CommandError, match="No 'x'"):
        await made.runtime.dispatch("detach x")
    await made.runtime.dispatch("detach all")
    with pytest.raises(CommandDisabled):
        await made.runtime.dispatch("detach")
    assert len(made.heard(AttachmentsChanged)) == 8


async def test_each_session_has_its_own_and_locking_forgets_them(bench: OpenBench, tmp_path: Path) -> None:
    made = await bench(chat("one"))
    (tmp_path / "a").write_text("a")
    await made.runtime.run("chat.send", "hello")
    session = made.runtime.current.session_id
    await made.runtime.run("attach.add", str(tmp_path / "a"))
    await made.runtime.run("session.new")
    assert made.runtime.attachments.waiting == ()
    assert len(made.runtime.attachments.of(session)) == 1
    await made.runtime.attachments.forget()
    assert made.runtime.attachments.of(session) == ()


async def test_the_same_file_twice_is_attached_once_and_too_many_are_refused(bench: OpenBench, tmp_path: Path) -> None:
    made = await bench()
    for number in range(20):
        (tmp_path / f"{number}").write_text(f"{number}")
        await made.runtime.run("attach.add", str(tmp_path / f"{number}"))
    assert "already" in str(await made.runtime.run("attach.add", str(tmp_path / "3")))
    (tmp_path / "more").write_text("more")
    with pytest.raises(CommandError, match="20 files"):
        await made.runtime.run("attach.add", str(tmp_path / "more"))


async def test_explaining_a_diagram_asks_for_it_as_text(bench: OpenBench, tmp_path: Path) -> None:
    made = await bench(chat("```mermaid\nA-->B\n```"), **SEES)
    with pytest.raises(CommandError, match="No picture"):
        await made.runtime.run("image.explain")
    (tmp_path / "a.png").write_bytes(RED)
    await made.runtime.dispatch(f"diagram {tmp_path}/a.png about=arrows")
    assert pictures(sent(made)[0]) == [RED]
    asked = sent(made)[0]["content"][0]["text"]
    assert "Mermaid" in asked
    assert asked.endswith("Above all: arrows")


async def test_the_clipboard_says_why_it_has_no_picture(bench: OpenBench) -> None:
    made = await bench()
    with pytest.raises(CommandError) as wrong:
        await made.runtime.run("attach.paste")
    assert wrong.value.hint


async def test_the_picture_in_the_clipboard_is_attached(bench: OpenBench, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(RED)
    tool = tmp_path / "wl-paste"
    tool.write_text(f'#!/bin/sh\nexec /bin/cat "{tmp_path}/red.png"\n')
    tool.chmod(0o700)
    made = await bench(WAYLAND_DISPLAY="wayland-0", PATH=str(tmp_path), **SEES)
    await made.runtime.run("attach.paste")
    assert [(each.name, each.kind) for each in made.runtime.attachments.waiting] == [("clipboard.png", "image")]
