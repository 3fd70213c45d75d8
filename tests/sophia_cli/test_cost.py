"""`sophia cost` and `sophia metrics business`: as a person or a program reads them."""

from __future__ import annotations

import json

import pytest

from sophia_cli.cost import cost, execute
from sophia_cli.exits import OK, Quit
from sophia_cli.metrics import metrics
from sophia_cli.parser import parse
from sophia_core.settings import Loaded
from tests.sophia_cli.harness import Piped


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("--json", list),
        ("--by task --since month --json", list),
        ("forecast --json", dict),
        ("prices --json", list),
        ("override 2h --json", str),
    ],
)
async def test_programs_read_json(loaded: Loaded, pipe: Piped, line: str, kind: type) -> None:
    _, args = parse("cost", line.split())
    assert await cost(args, loaded, pipe.console) == OK
    assert isinstance(json.loads(pipe.out), kind)


async def test_business_metrics_are_for_programs_too(loaded: Loaded, pipe: Piped) -> None:
    _, args = parse("metrics", ["business", "--since", "7d", "--json"])
    assert await metrics(args, loaded, pipe.console) == OK
    assert json.loads(pipe.out) == []


@pytest.mark.parametrize("line", ["budgets", "override 2years", "--since never"])
async def test_what_cannot_be_is_said(loaded: Loaded, pipe: Piped, line: str) -> None:
    _, args = parse("cost", line.split())
    with pytest.raises(Quit):
        await cost(args, loaded, pipe.console)


def test_words_too_many_are_a_mistake_of_the_line(pipe: Piped) -> None:
    _, args = parse("cost", ["show", "extra"])
    with pytest.raises(Quit, match="takes nothing more"):
        execute(args, pipe.console)
