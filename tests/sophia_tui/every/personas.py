"""Personas: chosen, written, copied, taken along, trusted."""

from __future__ import annotations

from pathlib import Path

from sophia_tui.screens.personas import PersonaScreen
from tests.scripted import chat
from tests.sophia_tui.every.walk import Walk, scene

THEIRS = 'about = "Ours."\nprompt = "Answer as we do."\n'


@scene(
    "persona.list", "persona.show", "persona.check", "persona.use", "persona.default", "persona.new",
    "persona.duplicate", "persona.delete", "persona.export", "persona.import",
    script=(chat("one"),),
)  # fmt: skip
async def who_answers(walk: Walk) -> None:
    assert "reviewer" in await walk.do("/persona.list")
    assert "prompt = " in await walk.do("/persona.show reviewer")
    await walk.do("/persona.check")
    await walk.do("/persona.new pirate 'Answer like a pirate.'")
    await walk.do("/persona.use pirate")
    await walk.ask()
    assert "Answer like a pirate." in str(walk.transport.bodies[0]["messages"])
    await walk.do("/persona.duplicate pirate captain")
    assert "captain" in await walk.do("/persona.list")
    await walk.do("/persona.export captain captain.toml")
    assert "pirate" in Path("captain.toml").read_text()
    await walk.do("/persona.delete captain")
    assert "captain" not in (await walk.do("/persona.list")).lower()
    await walk.do("/persona.import captain.toml")
    assert "captain" in await walk.do("/persona.list")
    await walk.do("/persona.default pirate")


@scene("persona.choose", "persona.edit", "persona.trust")
async def choosing_and_writing_one(walk: Walk) -> None:
    folder = Path(".sophia/personas")
    folder.mkdir(parents=True)
    (folder / "theirs.toml").write_text(THEIRS)
    await walk.begin("/persona.choose")
    await walk.screen(PersonaScreen)
    await walk.press("escape")
    await walk.begin("/persona.edit mine")
    await walk.until(lambda: len(walk.app.screen_stack) > 1, "the editor")
    await walk.press("ctrl+o")
    await walk.until(lambda: len(walk.app.screen_stack) == 1, "the end of the editor")
    assert list((walk.home / "personas").glob("mine.toml"))
    await walk.do("/persona.trust theirs")
