"""Writing a persona, the way macros are written: what is wrong with it is said while one types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from sophia_core.config_file import Problem
from sophia_core.personas.persona import parse_persona
from sophia_core.personas.writing import REST, TEMPLATE
from sophia_tui.screens.macro_editor import MacroEditor


class PersonaEditor(MacroEditor):
    """The path of the saved persona, None when the person left."""

    KIND: ClassVar = "Persona"
    TEMPLATE: ClassVar = TEMPLATE + REST

    def problems(self) -> Sequence[Problem]:
        return parse_persona(self._macro, self.source.encode("utf-8", "replace"))[1]
