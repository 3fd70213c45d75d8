"""`sophia board`: tasks from a shell, as a person or a program reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sophia_cli.board import board, execute
from sophia_cli.exits import OK, Quit
from sophia_cli.parser import parse
from sophia_core.settings import Loaded
from tests.sophia_cli.harness import Piped


async def run(loaded: Loaded, pipe: Piped, *words: str) -> None:
    _, args = parse("board", words)
    assert await board(args, loaded, pipe.console) == OK


async def test_a_task_from_its_beginning_to_its_file(loaded: Loaded, pipe: Piped, tmp_path: Path) -> None:
    await run(loaded, pipe, "add", "Mend", "the", "parser", "--labels", "bug", "--priority", "2")
    await run(loaded, pipe, "move", "1", "review")
    await run(loaded, pipe, "edit", "1", "--title", "Mend the reader")
    await run(loaded, pipe, "export", str(tmp_path / "board.md"))
    assert "Mend the reader" in (tmp_path / "board.md").read_text()
    assert pipe.out.splitlines()[0] == "Mend the parser is in Backlog."
    before = len(pipe.out)
    await run(loaded, pipe, "list", "review", "--json")
    (task,) = json.loads(pipe.out[before:])
    assert (task["title"], task["labels"], task["priority"]) == ("Mend the reader", ["bug"], 2)
    with pytest.raises(Quit, match="cannot be undone"):
        await run(loaded, pipe, "run", "1", "file=reader.py")


def test_mistakes_of_the_line_are_told(pipe: Piped) -> None:
    with pytest.raises(Quit, match="Nothing is to be changed"):
        execute(parse("board", ["edit", "1"])[1], pipe.console)
    with pytest.raises(Quit):
        parse("board", ["move", "1", "nowhere"])
