"""`sophia alerts`, as a shell runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sophia_cli.alerts import require_words
from sophia_cli.exits import Quit
from sophia_cli.parser import parse
from tests.sophia_cli.harness import Program


async def test_rules_silences_and_what_stands(sophia: Program, tmp_path: Path) -> None:
    made = await sophia.run("alerts", "silence", "target=node-1", "rule=gpu*", "--during", "2h", "--reason", "work")
    assert made.code == 0 and "is quiet for 2h" in made.out
    ((match, reason),) = [
        (each["match"], each["reason"]) for each in (await sophia.run("alerts", "silences", "--json")).json
    ]
    assert (match, reason) == ("target=node-1 rule=gpu*", "work")
    (tmp_path / "home" / "alerts.toml").write_text('[[rule]]\nname = "mine"\nsignl = "x"\n')
    rules = await sophia.run("alerts", "rules")
    assert rules.code == 0 and "target down" in rules.out and "alerts.toml:3" in rules.err


async def test_an_unknown_receiver_is_named(sophia: Program) -> None:
    missing = await sophia.run("alerts", "test", "oncall")
    assert missing.code == 1 and "no receiver 'oncall'" in missing.err


@pytest.mark.parametrize(
    ("words", "said"),
    [(["ack"], "takes one word"), (["list", "1"], "takes nothing more"), (["silence"], "needs what to keep quiet")],
)
def test_what_is_no_use_is_said(words: list[str], said: str) -> None:
    with pytest.raises(Quit, match=said):
        require_words(parse("alerts", words)[1])
