"""`sophia macro`, as a shell runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sophia_cli.harness import Program


@pytest.fixture
def macros(tmp_path: Path) -> Path:
    folder = tmp_path / "home" / "macros"
    folder.mkdir(parents=True)
    return folder


async def test_a_macro_runs_to_its_result(sophia: Program, macros: Path) -> None:
    text = 'help = "x"\n[parameters.a]\n[[steps]]\nask = "Say {a}"\nname = "said"\n[[steps]]\nsay = "<{said}>"\n'
    (macros / "mine.toml").write_text(text)
    ended = await sophia.run("macro", "run", "mine", "a=two words", "--json")
    assert (ended.code, ended.json["ending"], ended.json["steps"]) == (0, "finished", 2)
    assert ended.json["text"] == f"<{ended.json['results']['said']}>" != "<>"
    plain = await sophia.run("macro", "run", "mine", "a=b", "--dry-run")
    assert (plain.code, plain.out) == (0, "1. ask Say b\n2. say <‹said›>\n")
    missing = await sophia.run("macro", "run", "mine")
    assert missing.code == 1 and "mine needs 'a'" in missing.err
    unnamed = await sophia.run("macro", "run", "mine", "b")
    assert "'b' names no parameter" in unnamed.err and "name=value" in unnamed.err


async def test_programs_run_when_the_command_line_says_so(sophia: Program, macros: Path) -> None:
    (macros / "mine.toml").write_text('help = "x"\n[[steps]]\nshell = ["echo", "ran"]\n')
    refused = await sophia.run("macro", "run", "mine")
    assert refused.code == 1 and "not allowed" in refused.err and "--allow-programs" in refused.err
    ran = await sophia.run("macro", "run", "mine", "--allow-programs")
    assert (ran.code, ran.out) == (0, "ran\n")


async def test_macros_are_listed_shown_and_checked(sophia: Program, macros: Path) -> None:
    listed = await sophia.run("macro", "--json")
    assert listed.code == 0 and {each["where"] for each in listed.json} == {"shipped"}
    shown = await sophia.run("macro", "show", "review")
    assert shown.code == 0 and "git" in shown.out
    assert (await sophia.run("macro", "check")).out == "every macro is sound\n"
    (macros / "bad.toml").write_text("help = 3\n")
    checked = await sophia.run("macro", "check")
    assert checked.code == 1 and "bad.toml: help" in checked.out and "bad.toml: steps" in checked.out
