"""What the prompt offers for a word that is being typed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sophia_core.commands import Command, Registry
from sophia_tui.bindings import all_declarations, keymap_of
from sophia_tui.completions import commands_for


async def nothing(**_: object) -> None:
    """Never run."""


@pytest.mark.parametrize("word", ["code", "copy", "new", "theme", "undo"])
def test_a_name_that_is_typed_in_full_comes_first(word: str) -> None:
    specs = all_declarations()
    registry = Registry()
    for spec in specs:
        registry.add(Command(replace(spec, enabled=None), nothing, None))
    offered = commands_for(word, registry, keymap_of({}, specs))
    assert offered[0].text == f"/{word}" and len(offered) > 1
