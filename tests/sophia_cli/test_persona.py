"""`sophia persona` and `sophia ask --persona`: what the command line says, on the real runtime and store."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sophia_cli.ask import ask
from sophia_cli.exits import Quit
from sophia_cli.parser import parse
from sophia_cli.persona import persona
from sophia_core.settings import Loaded
from tests.scripted import ScriptedTransport, chat
from tests.sophia_cli.harness import piped

Run = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def run(loaded: Loaded) -> Run:
    """Runs `sophia persona …` and returns its exit code and what it printed."""

    async def once(*words: str) -> tuple[int, str]:
        with piped() as pipe:
            return await persona(parse("persona", words)[1], loaded, pipe.console), pipe.out

    return once


async def test_personas_are_listed_shown_checked_and_shared(run: Run, loaded: Loaded, tmp_path: Path) -> None:
    code, out = await run("--json")
    assert code == 0 and len(json.loads(out)) == 8 and {each["where"] for each in json.loads(out)} == {"shipped"}
    code, shown = await run("show", "reviewer")
    assert code == 0 and 'name = "Reviewer"' in shown
    assert await run("check") == (0, "every persona is sound\n")
    assert await run("check", "--json") == (0, "[]\n")
    file = tmp_path / "mine.toml"
    assert (await run("export", "reviewer", str(file)))[0] == 0
    assert file.read_text().strip() == shown.strip()
    assert (await run("import", str(file)))[0] == 0
    with pytest.raises(Quit, match="already"):
        await run("import", str(file))
    assert (await run("import", str(file), "--replace"))[0] == 0
    assert (await run("import", str(file), "other"))[0] == 0
    assert sorted(each.name for each in loaded.paths.personas_dir.iterdir()) == ["mine.toml", "other.toml"]


async def test_a_wrong_file_and_a_wrong_name_are_told(run: Run, loaded: Loaded) -> None:
    loaded.paths.personas_dir.mkdir(parents=True)
    (loaded.paths.personas_dir / "bad.toml").write_text("\nprompt = 3\n")
    code, out = await run("check")
    assert code == 1 and "bad.toml:2: prompt: has to be a text." in out
    with pytest.raises(Quit) as told:
        await run("show", "revewer")
    assert told.value.code == 1 and "Did you mean reviewer" in told.value.hint


async def test_a_question_is_asked_of_a_persona(loaded: Loaded) -> None:
    loaded.paths.personas_dir.mkdir(parents=True)
    (loaded.paths.personas_dir / "sailor.toml").write_text('prompt = "You sail."')
    wire = ScriptedTransport(chat("Aye."))
    with piped() as pipe:
        args = parse("ask", ["--persona", "sailor", "where to?"])[1]
        assert await ask("where to?", args, loaded, pipe.console, transport=wire) == 0
        assert pipe.out == "Aye.\n"
    sent = json.loads(next(call.body for call in wire.calls if call.body) or b"")
    assert sent["messages"][0] == {"role": "system", "content": "You sail."}


async def test_an_unknown_persona_and_two_prompts_are_refused(loaded: Loaded) -> None:
    with piped() as pipe:
        args = parse("ask", ["--persona", "nobdy", "x"])[1]
        assert await ask("x", args, loaded, pipe.console, transport=ScriptedTransport()) == 2
        assert "There is no persona" in pipe.err
    with pytest.raises(Quit):
        parse("ask", ["--persona", "sailor", "--system", "x", "y"])
