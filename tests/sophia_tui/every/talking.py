"""Asking, answers, branches, code, copying, attachments and the outbox."""

from __future__ import annotations

import asyncio
import os
from contextlib import AbstractContextManager
from pathlib import Path
from unittest.mock import PropertyMock, patch

from backend_client.errors import Unreachable
from sophia_core.attach.pictures import plain_png
from sophia_tui.screens.file_picker import FilePicker
from sophia_tui.screens.pick import Pick
from sophia_tui.screens.preview import PreviewScreen
from tests.scripted import ScriptedReply, chat, delta
from tests.sophia_tui.every.walk import Walk, scene

CODE = "First\n\n```sh\nls\n```\n\nthen\n\n```sh\npwd\n```\n"


def endless() -> ScriptedReply:
    """An answer that never ends by itself."""
    return ScriptedReply((delta(role="assistant", content="half an answer"), asyncio.Event()))


@scene(
    "chat.send",
    "chat.regenerate",
    "chat.stop",
    "chat.continue",
    script=(chat("one"), chat("two"), endless(), chat(" and the rest")),
)
async def asking_and_stopping(walk: Walk) -> None:
    await walk.do("/ask what is this?")
    assert walk.answer == "one"
    await walk.press("ctrl+r")
    assert walk.answer == "two"
    await walk.begin("go on for ever")
    await walk.until(lambda: "half an answer" in walk.answer)
    walk.app.dispatcher.start("chat.stop")
    await walk.settle()
    assert walk.app.chat.transcript.entries[-1].status == "cancelled"
    assert not walk.app.runtime.chat.busy
    await walk.do("/continue")
    assert walk.answer == "half an answer and the rest"


@scene(
    "branch.previous", "branch.next", "branch.show", "branch.tree", "message.edit", "chat.edit",
    script=(chat("one"), chat("two"), chat("three")),
)  # fmt: skip
async def branching(walk: Walk) -> None:
    await walk.ask("hi")
    first = walk.app.chat.transcript.entries[-1].id
    await walk.press("ctrl+r")
    await walk.press("alt+left")
    assert walk.answer == "one"
    await walk.press("alt+right")
    assert walk.answer == "two"
    await walk.do(f"/branch.show {first}")
    assert walk.answer == "one"
    await walk.press("ctrl+g")
    assert walk.app.chat.prompt.text == "hi" and walk.app.chat.editing
    await walk.paste(" there")
    await walk.press("enter")
    assert [each.text for each in walk.app.chat.transcript.entries] == ["hi there", "three"]
    await walk.begin("/tree")
    await walk.screen(Pick)
    await walk.press("up", "up", "up", "enter")
    assert walk.answer == "one"


@scene(
    "message.previous", "message.next", "message.reasoning", "message.unfold", "message.save", "chat.trim_here",
    "chat.trim", "chat.untrim",
    script=(chat("one", reasoning=("because",)), chat("two")),
)  # fmt: skip
async def messages(walk: Walk) -> None:
    transcript = walk.app.chat.transcript
    Path("notes.txt").write_text("some notes\n")
    await walk.do("/attach notes.txt")
    await walk.ask("first")
    await walk.press("alt+r")
    assert "because" in shown(walk)
    await walk.press("alt+r")
    assert "because" not in shown(walk)
    assert "text, 1 line" not in shown(walk)
    await walk.press("alt+up", "alt+up")
    await walk.press("alt+u")
    assert "text, 1 line" in shown(walk)
    await walk.ask("second")
    walk.app.chat.focus_prompt()
    while not (transcript.selected_entry and transcript.selected_entry.text == "two"):
        await walk.press("alt+down")
    assert "Saved" in await walk.do("/message.save two.md")
    assert Path("two.md").read_text() == "two\n"
    await walk.press("alt+up")
    walk.app.dispatcher.start("chat.trim_here")
    await walk.settle()
    assert [bool(each.above) for each in transcript.entries if each.role != "notice"] == [False, False, True, False]
    await walk.do("/untrim")
    assert not any(each.above for each in transcript.entries)
    await walk.do("/trim 1")
    assert any(each.above for each in transcript.entries)


def shown(walk: Walk) -> str:
    """The text on the screen."""
    return "\n".join("".join(segment.text for segment in line) for line in walk.app.screen._compositor.render_strips())


@scene("code.previous", "code.next", "code.save", "copy.code", "copy.message", "copy.file", script=(chat(CODE),))
async def code_and_copying(walk: Walk) -> None:
    await walk.ask()
    await walk.press("alt+pageup")
    selected = walk.app.chat.transcript.selected_code
    assert selected() == ("sh", "pwd\n") or (selected() or ("", ""))[1].strip() == "pwd"
    await walk.press("alt+pageup")
    assert (selected() or ("", ""))[1].strip() == "ls"
    await walk.do("/save ls.sh")
    assert Path("ls.sh").read_text() == "ls\n"
    await walk.press("alt+pagedown")
    await walk.press("ctrl+y")
    assert walk.app.clipboard.strip() == "pwd"
    assert "code block" in walk.words()
    said = await walk.do("/tofile")
    kept = walk.app.runtime.paths.control_dir / f"copied-{os.getpid()}.md"
    assert str(kept) in said and kept.read_text().strip() == "pwd"
    await walk.press("escape")
    await walk.do("/copy")
    assert walk.app.clipboard == CODE


@scene("prompt.editor", "message.editor", script=(chat("to be read"),), EDITOR="{home}/editor")
async def ones_own_editor(walk: Walk) -> None:
    program = walk.home / "editor"
    program.write_text(f'#!/bin/sh\ncp "$1" {walk.home}/seen\nprintf " and more" >> "$1"\n')
    program.chmod(0o700)
    with lent(walk):
        walk.app.chat.prompt.put("begun")
        await walk.press("alt+e")
        assert walk.app.chat.prompt.text == "begun and more"
        await walk.ask()
        await walk.do("/message.editor")
    assert (walk.home / "seen").read_text() == "to be read"
    assert walk.answer == "to be read"


def lent(walk: Walk) -> AbstractContextManager[object]:
    """A terminal that can be lent to another program: the app's own has none here."""
    return patch.object(type(walk.app._driver), "can_suspend", new_callable=PropertyMock, return_value=True)


@scene("cache.clear", script=(chat("one"), chat("two")), SOPHIA_CHAT__CACHE="true")
async def remembered_answers(walk: Walk) -> None:
    await walk.ask("what?")
    await walk.press("ctrl+n")
    assert await walk.ask("what?") == "one" and len(walk.transport.bodies) == 1, "it was remembered"
    await walk.do("/cache.clear")
    await walk.press("ctrl+n")
    assert await walk.ask("what?") == "two"


@scene(
    "attach.add", "attach.list", "attach.view", "attach.remove", "attach.choose", "attach.paste",
    PATH="{home}:/usr/bin:/bin", WAYLAND_DISPLAY="stand-in",
)  # fmt: skip
async def attaching(walk: Walk) -> None:
    waiting = walk.app.runtime.attachments
    Path("notes.txt").write_text("some notes\n")
    Path("other.txt").write_text("others\n")
    assert "notes.txt" in await walk.do("/attach notes.txt")
    assert "notes.txt" in await walk.do("/attached")
    await walk.begin("/attach.view 1")
    await walk.screen(PreviewScreen)
    await walk.press("escape")
    await walk.do("/detach notes.txt")
    assert not waiting.waiting
    await walk.pilot.press("alt+a")
    await walk.screen(FilePicker)
    await walk.paste("other")
    await walk.until(lambda: "other.txt" in shown(walk))
    await walk.press("enter")
    assert [each.name for each in waiting.waiting] == ["other.txt"]
    (walk.home / "picture").write_bytes(plain_png(8, 8, (0, 0, 255)))
    paste = walk.home / "wl-paste"
    paste.write_text(f'#!/bin/sh\ncase "$*" in *list*) echo image/png;; *) cat {walk.home}/picture;; esac\n')
    paste.chmod(0o700)
    await walk.press("alt+i")
    await walk.until(lambda: len(waiting.waiting) == 2, "the picture")
    assert waiting.waiting[-1].kind == "image"


SEES = """
[[providers]]
name = "scripted"
base_url = "http://scripted/v1"
model = "scripted"
capabilities = ["chat", "vision"]
"""


@scene("image.explain", "image.probe", script=(chat("It is blue."), chat("red")), config=SEES)
async def pictures(walk: Walk) -> None:
    Path("blue.png").write_bytes(plain_png(8, 8, (0, 0, 255)))
    await walk.do("/diagram blue.png")
    assert walk.answer == "It is blue."
    assert "image_url" in str(walk.transport.bodies[0])
    assert "scripted" in await walk.do("/image.probe")


@scene(
    "outbox.list",
    "outbox.retry",
    "outbox.drop",
    script=(*[Unreachable("down")] * 3, chat("at last"), *[Unreachable("down")] * 3),
)
async def what_waits(walk: Walk) -> None:
    await walk.do("are you there?")
    await walk.until(lambda: walk.app.chat.transcript.entries[-1].status == "queued", "the queue")
    assert "are you there?" in await walk.do("/outbox")
    await walk.do("/outbox.retry 1")
    await walk.until(lambda: any(each.text == "at last" for each in walk.app.chat.transcript.entries), "the answer")
    await walk.do("and now?")
    await walk.until(lambda: walk.app.chat.transcript.entries[-1].status == "queued", "the queue")
    await walk.dare("/outbox.drop 1")
    assert "and now?" not in await walk.do("/outbox")
