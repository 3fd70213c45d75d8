from __future__ import annotations

import tomllib

import pytest

from sophia_cli.exits import USAGE, Quit
from sophia_cli.parser import SUBCOMMANDS, parse, top_help
from sophia_cli.version import VERSION
from tests.sophia_cli.harness import ROOT


def test_the_version_is_the_one_of_the_package() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_help_lists_every_subcommand() -> None:
    assert all(f"  {name} " in top_help() for name in SUBCOMMANDS)


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_has_help_and_something_that_carries_it_out(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending:
        parse(name, ["--help"])
    assert ending.value.code == 0
    assert f"usage: sophia {name}" in capsys.readouterr().out
    assert callable(SUBCOMMANDS[name].load())


def test_options_may_stand_between_the_words_of_a_question() -> None:
    _, args = parse("ask", ["what", "--json", "is", "--model", "m", "this"])
    assert (args.prompt, args.json, args.model) == (["what", "is", "this"], True, "m")


def test_a_question_may_begin_with_a_dash_after_two() -> None:
    _, args = parse("ask", ["--json", "--", "--what", "-is"])
    assert args.prompt == ["--what", "-is"]


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("asq", [], "no command 'asq'"),
        ("--frob", [], "no option '--frob'"),
        ("ask", ["--sess", "x"], "--sess"),
        ("ask", ["--new", "--continue", "hi"], "not allowed with"),
        ("ask", ["--no-save", "--session", "x", "hi"], "not allowed with"),
        ("sessions", ["--limit", "0"], "'0' is not a number"),
        ("sessions", ["show"], "ID"),
        ("keys", ["steal"], "steal"),
    ],
)
def test_wrong_use_is_named_in_one_line(name: str, words: list[str], message: str) -> None:
    with pytest.raises(Quit) as ending:
        parse(name, words)
    assert ending.value.code == USAGE
    assert message in ending.value.message
    assert "\n" not in ending.value.message
    assert ending.value.hint


def test_the_limit_counts_wherever_it_stands() -> None:
    assert parse("sessions", ["--limit", "5", "search", "x"])[1].limit == 5
    assert parse("sessions", ["search", "x", "--limit", "6"])[1].limit == 6
    assert parse("sessions", ["--json", "show", "x"])[1].json
    assert parse("sessions", ["show", "x", "--json"])[1].json
