"""Three sets of keys: ours, and those that hands trained on vim or Emacs expect. A person's own go before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sophia_core.commands import Declaration
from sophia_core.keymap import KeyProblem

SETTING: Final = "preset"
"""What it is called in the table `[keys]`, where all other names are those of commands."""


@dataclass(frozen=True, slots=True)
class Preset:
    """What is different from our own keys."""

    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Command to keys."""
    editing: Mapping[str, str] = field(default_factory=dict)
    """Key to what the prompt does."""
    modal: bool = False
    """The prompt has a normal mode, as vim does."""


EMACS: Final = Preset(
    keys={
        "view.palette": ("alt+x",),
        "view.help": ("f1", "ctrl+x question_mark"),
        "view.back": ("escape", "ctrl+g"),
        "view.sessions": ("ctrl+x b",),
        "view.find": ("ctrl+x ctrl+f",),
        "view.end": ("ctrl+x end", "ctrl+end"),
        "session.new": ("ctrl+x n",),
        "session.pin": ("ctrl+x p",),
        "session.archive": ("ctrl+x k",),
        "message.edit": ("ctrl+x e",),
        "copy.message": ("ctrl+x w",),
        "copy.code": ("ctrl+x c",),
        "theme.choose": ("ctrl+x t",),
        "macro.record": ("ctrl+x left_parenthesis",),
        "change.undo": ("ctrl+x u",),
        "change.redo": ("ctrl+x r",),
        "app.quit": ("ctrl+x ctrl+c", "ctrl+q"),
    },
    editing={
        "ctrl+n": "cursor_down",
        "ctrl+p": "cursor_up",
        "ctrl+b": "cursor_left",
        "ctrl+f": "cursor_right",
        "alt+b": "cursor_word_left",
        "alt+f": "cursor_word_right",
        "alt+d": "delete_word_right",
        "ctrl+y": "paste",
        "ctrl+underscore": "undo",
    },
)
VIM: Final = Preset(modal=True)
PRESETS: Final[Mapping[str, Preset]] = {"default": Preset(), "vim": VIM, "emacs": EMACS}


def preset_of(own: Mapping[str, str]) -> tuple[Preset, tuple[KeyProblem, ...]]:
    """The preset that the person's own keys name, ours without one, and what is wrong with the name."""
    name = own.get(SETTING, "default").strip().lower()
    if name in PRESETS:
        return PRESETS[name], ()
    fix = f"There are {', '.join(PRESETS)}."
    return PRESETS["default"], (KeyProblem("error", SETTING, "", f"There are no keys called {name[:40]!r}.", fix),)


def with_preset(specs: Sequence[Declaration], preset: Preset) -> list[Declaration]:
    """The commands with the keys of the preset in place of their own."""
    return [replace(spec, keys=preset.keys.get(spec.name, spec.keys)) for spec in specs]
