"""Keys, derived from the commands: a binding's id is the name of the command it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.binding import Binding

from sophia_core.commands import Declaration, declarations
from sophia_core.keymap import RESERVED, Keymap, effective_keymap, show_key
from sophia_core.runtime import COMMAND_OWNERS
from sophia_tui.commands import ScreenCommands

TAKEN = {key: why for key, why in RESERVED.items() if key != "ctrl+c"}
"""Keys no command may take. Ctrl+C is a command of ours, so that it can copy, stop or say how to leave."""
WORTH_KNOWING = (
    ("view.palette", "commands"),
    ("view.help", "help"),
    ("theme.choose", "themes"),
    ("app.quit", "leave"),
)
"""What the welcome shows."""


def all_declarations() -> list[Declaration]:
    """Every command of the app, in the order they were declared."""
    return [spec for owner in (*COMMAND_OWNERS, ScreenCommands) for _, spec in declarations(owner)]


def default_bindings() -> list[Binding]:
    """The default keys. They win over the focused widget, but for Esc, which closes what is open first."""
    return [
        Binding(
            ",".join(spec.keys),
            f"dispatch({spec.name!r})",
            spec.help,
            id=spec.name,
            show=False,
            priority="escape" not in spec.keys,
        )
        for spec in all_declarations()
        if spec.keys
    ]


def keymap_of(own: Mapping[str, str], specs: Sequence[Declaration]) -> Keymap:
    """The keys in force, and what is wrong with the person's own ones."""
    return effective_keymap(specs, own, TAKEN)


def key_hints(keymap: Keymap, wanted: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Keys and what they do, for those of the commands that have one."""
    return tuple((show_key(keymap.bindings[name][0]), what) for name, what in wanted if keymap.bindings.get(name))
