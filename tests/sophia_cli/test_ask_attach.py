"""`sophia ask --attach`: files go with the question, and what cannot go says so before anything is asked."""

from __future__ import annotations

from pathlib import Path

from sophia_cli.ask import ask
from sophia_cli.exits import USAGE
from sophia_cli.parser import parse
from sophia_core.settings import Loaded
from tests.scripted import ScriptedTransport, chat
from tests.sophia_cli.harness import Piped


async def test_files_go_with_the_question(loaded: Loaded, pipe: Piped, tmp_path: Path) -> None:
    for name in ("a.py", "b.txt"):
        (tmp_path / name).write_text(f"content of {name}\n")
    line = ["ask", "hi", "--attach", str(tmp_path / "a.py"), "--attach", str(tmp_path / "b.txt"), "there"]
    transport = ScriptedTransport(chat("ok"))
    _, args = parse(line[0], line[1:])
    assert args.prompt == ["hi", "there"]
    assert await ask("hi there", args, loaded, pipe.console, transport=transport) == 0
    content = str(transport.bodies[0]["messages"][-1]["content"])  # type: ignore[index]
    assert content.index("content of a.py") < content.index("content of b.txt") < content.index("hi there")


async def test_what_cannot_go_says_so_and_nothing_is_asked(loaded: Loaded, pipe: Piped, tmp_path: Path) -> None:
    transport = ScriptedTransport()
    _, args = parse("ask", ["hi", "--attach", str(tmp_path)])
    assert await ask("hi", args, loaded, pipe.console, transport=transport) == USAGE
    assert "It is a folder." in pipe.err
    assert transport.calls == []
