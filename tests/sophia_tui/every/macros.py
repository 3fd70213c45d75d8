"""Macros: recorded, written, run, stopped, and those of a folder."""

from __future__ import annotations

from pathlib import Path

from textual.widgets import TextArea

from sophia_tui.screens.allow_program import AllowProgram
from sophia_tui.screens.macro_editor import MacroEditor
from tests.scripted import chat
from tests.sophia_tui.every.walk import Walk, scene

SLOW = 'help = "Takes its time."\n[[steps]]\nshell = ["sleep", "600"]\n'
GREET = 'help = "Greets."\n[[steps]]\nsay = "good morning"\n'


@scene(
    "macro.record",
    "macro.keep",
    "macro.discard",
    "macro.run",
    "macro.list",
    "macro.show",
    "macro.check",
    script=(chat("one"), chat("two")),
)
async def recording(walk: Walk) -> None:
    await walk.do("/macro.record")
    assert walk.app.runtime.macros.recording
    await walk.ask("say hello")
    await walk.do("/macro.keep greeting")
    assert not walk.app.runtime.macros.recording
    assert "greeting" in await walk.do("/macros")
    assert "say hello" in await walk.do("/macro.show greeting")
    assert "greeting" in await walk.do("/macro.check") or walk.failed == []
    await walk.do("/macro.run greeting")
    assert any(each.text == "two" for each in walk.app.chat.transcript.entries)
    await walk.do("/macro.record")
    await walk.do("/macro.discard")
    assert not walk.app.runtime.macros.recording


@scene("macro.edit", "macro.stop", "macro.trust")
async def writing(walk: Walk) -> None:
    folder = Path(".sophia/macros")
    folder.mkdir(parents=True)
    (folder / "theirs.toml").write_text(GREET)
    (walk.home / "macros").mkdir()
    (walk.home / "macros" / "slow.toml").write_text(SLOW)
    await walk.begin("/macro mine")
    editor = await walk.screen(MacroEditor)
    editor.query_one(TextArea).text = GREET
    await walk.press("ctrl+s")
    await walk.until(lambda: not isinstance(walk.app.screen, MacroEditor), "the end of the editor")
    await walk.settle()
    assert "Good morning" in await walk.do("/macro.run mine")
    await walk.do("/macro.trust theirs")
    assert "Good morning" in await walk.do("/macro.run theirs")
    await walk.begin("/macro.run slow")
    await walk.screen(AllowProgram)
    await walk.pilot.click("#once")
    await walk.until(lambda: walk.app.runtime.macros.running is not None)
    walk.app.dispatcher.start("macro.stop")
    await walk.settle()
    assert walk.app.runtime.macros.running is None


@scene("macro.new", "macro.rename", "macro.delete")
async def tending(walk: Walk) -> None:
    await walk.begin("/macro.new mine")
    editor = await walk.screen(MacroEditor)
    editor.query_one(TextArea).text = GREET
    await walk.press("ctrl+s")
    await walk.until(lambda: not isinstance(walk.app.screen, MacroEditor), "the end of the editor")
    await walk.settle()
    await walk.do("/macro.rename mine yours")
    assert "Good morning" in await walk.do("/macro.run yours")
    await walk.do("/macro.delete yours")
    assert not (walk.home / "macros" / "yours.toml").exists()
