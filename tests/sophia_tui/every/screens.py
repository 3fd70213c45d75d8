"""What only changes the screen: panes, scrolling, help, themes, the tour, and leaving."""

from __future__ import annotations

from pathlib import Path

from sophia_tui.screens.help import HelpScreen
from sophia_tui.screens.palette_screen import PaletteScreen
from sophia_tui.screens.pick import Pick
from sophia_tui.screens.settings import SettingsScreen
from tests.scripted import chat
from tests.sophia_tui.every.walk import Walk, scene

LONG = "\n\n".join(f"Line {number}" for number in range(200))


@scene(
    "view.chat", "view.voice", "view.swarm", "view.metrics", "view.sessions", "view.find", "view.prompt", "view.back"
)
async def panes(walk: Walk) -> None:
    app = walk.app
    for key, pane in (("f3", "voice"), ("f4", "swarm"), ("f5", "metrics"), ("f2", "chat")):
        await walk.press(key)
        assert app.switcher.current == pane
    assert app.chat.sessions.display
    await walk.press("ctrl+b")
    assert not app.chat.sessions.display
    await walk.press("ctrl+f")
    assert app.chat.sessions.display and app.focused in app.chat.sessions.walk_children()
    await walk.press("escape")
    app.dispatcher.start("view.prompt")
    await walk.settle()
    assert app.focused is app.chat.prompt
    await walk.press("f5")
    await walk.press("escape")
    assert app.switcher.current == "chat"


@scene("view.top", "view.end", "view.line_up", "view.line_down", "view.page_up", "view.page_down", script=(chat(LONG),))
async def scrolling(walk: Walk) -> None:
    await walk.ask()
    transcript = walk.app.chat.transcript
    bottom = transcript.scroll_offset.y
    await walk.press("pageup")
    page = transcript.scroll_offset.y
    assert page < bottom
    await walk.do("/view.line_up")
    assert transcript.scroll_offset.y == page - 1
    await walk.do("/view.line_down")
    assert transcript.scroll_offset.y == page
    await walk.press("pagedown")
    assert transcript.scroll_offset.y > page
    await walk.do("/view.top")
    assert transcript.scroll_offset.y == 0
    await walk.press("ctrl+end")
    assert transcript.scroll_offset.y == transcript.max_scroll_y


@scene("view.help", "help.here", "view.palette", "settings.open", "view.mistakes")
async def dialogs(walk: Walk) -> None:
    await walk.pilot.press("f1")
    await walk.screen(HelpScreen)
    await walk.press("escape")
    walk.app.dispatcher.start("help.here")
    await walk.screen(HelpScreen)
    await walk.press("escape")
    await walk.pilot.press("ctrl+p")
    await walk.screen(PaletteScreen)
    await walk.press("escape")
    await walk.begin("/settings")
    await walk.screen(SettingsScreen)
    await walk.press("escape")
    assert "nothing is wrong" in await walk.do("/mistakes") or "UTF-8" in walk.words()


@scene("theme.use", "theme.choose")
async def themes(walk: Walk) -> None:
    app = walk.app
    names = sorted(app.looks.themes)
    other = next(name for name in names if name != app.theme)
    await walk.do(f"/theme {other}")
    assert app.theme == other
    await walk.pilot.press("ctrl+t")
    await walk.screen(Pick)
    await walk.press("down", "enter")
    assert app.theme != other


@scene("help.tour", "help.lesson", "help.skip", "help.end")
async def the_tour(walk: Walk) -> None:
    await walk.do("/tour")
    first = str(walk.app.chat.coach.content)
    assert "Ask something" in first
    await walk.do("/help.skip")
    assert str(walk.app.chat.coach.content) != first
    await walk.do("/help.end")
    assert not walk.app.chat.coach.display
    await walk.do("/lesson macro")
    assert "macro" in str(walk.app.chat.coach.content)


@scene("app.screenshot", "app.interrupt", "app.quit")
async def leaving(walk: Walk) -> None:
    assert "Saved" in await walk.do("/app.screenshot")
    assert "<svg" in next(Path.cwd().glob("*.svg")).read_text()
    await walk.press("ctrl+c")
    assert "Ctrl+Q" in walk.words()
    await walk.pilot.press("ctrl+q")
    await walk.until(lambda: "app.quit" in walk.ran)
    assert walk.app.return_code == 0


@scene("view.link", "view.redraw")
async def the_terminal(walk: Walk) -> None:
    await walk.do("/view.redraw")
    await walk.do("/view.link")
    assert "no terminal here" in walk.app.chat.transcript.entries[-1].text
