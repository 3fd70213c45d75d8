"""What a person does, as the lines of a macro."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sophia_core.cmdline import quote
from sophia_core.commands import Command

MOST_LINES = 100
NEVER = ("macro.", "app.", "keys.", "auth.")
"""Commands about macros themselves, about leaving, and about secrets are not repeated by a macro."""


@dataclass(slots=True)
class Recording:
    """The lines so far."""

    lines: list[str] = field(default_factory=list)
    left_out: int = 0
    """Commands that cannot be part of a macro, and those above the most a macro may have."""

    def add(self, chosen: Command, values: Mapping[str, object]) -> None:
        """Take down a command that went well."""
        if chosen.name.startswith(NEVER) or not chosen.spec.palette or len(self.lines) >= MOST_LINES:
            self.left_out += not chosen.name.startswith("macro.")
            return
        self.lines.append(line_of(chosen, values))


def line_of(chosen: Command, values: Mapping[str, object]) -> str:
    """Return the command line that does the same again."""
    words = [chosen.name]
    for param in chosen.spec.params:
        value = values.get(param.name)
        if value is None or value == param.default:
            continue
        text = quote(str(value).lower() if isinstance(value, bool) else str(value))
        words.append(text if param.required and not param.named_only else f"{param.name}={text}")
    return " ".join(words)


def macro_text(help_text: str, lines: list[str]) -> str:
    """Return the file of a macro that runs these lines: braces in them stand for themselves."""
    steps = [f"\n[[steps]]\nrun = {toml_text(_braced(line))}\n" for line in lines]
    return f"help = {toml_text(help_text)}\n" + "".join(steps)


def _braced(line: str) -> str:
    return line.replace("{", "{{").replace("}", "}}")


def toml_text(text: str) -> str:
    """Return a text as TOML writes it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    shown = "".join(each if each.isprintable() else _escaped(each) for each in escaped)
    return f'"{shown}"'


def _escaped(character: str) -> str:
    known = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return known.get(character) or f"\\U{ord(character):08X}"
