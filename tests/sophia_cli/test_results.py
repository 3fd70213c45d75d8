from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sophia_cli.results import as_json, show, table
from sophia_core.routes import RouteRow
from tests.sophia_cli.harness import Piped, piped


@dataclass(frozen=True)
class Row:
    id: str
    title: str
    weak: bool
    created_at: int


def test_a_list_is_a_table(pipe: Piped) -> None:
    show([Row("1", "日本", True, 0), Row("22", "plain\ntext\x1b", False, 0)], pipe.console)
    head, first, second = pipe.out.splitlines()
    assert head.split() == ["ID", "TITLE", "WEAK", "CREATED", "AT"]
    assert first.startswith("1   日本         yes   ")
    assert second.startswith("22  plain text␛  no    ")


def test_long_cells_are_cut_on_a_terminal_only() -> None:
    with piped() as pipe:
        assert "x" * 100 in table(("a",), [("x" * 100,)], pipe.console)
    with piped(out_terminal=True) as screen:
        shown = table(("a", "why"), [("x" * 100, "y" * 300)], screen.console)
        assert f"{'x' * 59}…  {'y' * 199}…\n" in shown


def test_figures_that_words_say_already_are_for_programs() -> None:
    with piped() as pipe:
        show([RouteRow(1, "a", "asked first", "tier 0, 0.50 s", 0, 0.5)], pipe.console)
        assert pipe.out.splitlines()[0].split() == ["PLACE", "PROVIDER", "VERDICT", "WHY"]


def test_one_value_is_its_fields_and_text_is_itself(pipe: Piped) -> None:
    show(Row("1", "", False, 0), pipe.console)
    show("done", pipe.console)
    show(None, pipe.console)
    show([], pipe.console)
    assert pipe.out.splitlines()[:3] == ["id          1", "title       -", "weak        no"]
    assert pipe.out.splitlines()[-1] == "done"


def test_json_knows_dataclasses_paths_and_secrets_by_their_text() -> None:
    value = [Row("1", "ü", True, 5), Path("/x"), {"a": (1, None)}]
    assert json.loads(as_json(value)) == [
        {"id": "1", "title": "ü", "weak": True, "created_at": 5},
        "/x",
        {"a": [1, None]},
    ]
    assert "\n" not in as_json(value)
