"""Which key runs which command: the defaults, the user's overrides, and every mistake in them by name.

Textual drops the loser of two bindings on one key without a word, and a terminal may never send the key somebody chose.
So the whole map is worked out and checked here, before anything is bound. Nothing in this module does IO.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sophia_core.commands import Declaration

RESERVED: Mapping[str, str] = {
    "ctrl+c": "it copies what is selected",
    "ctrl+j": "it makes a new line in the prompt",
    "alt+enter": "it makes a new line in the prompt",
    "shift+enter": "it makes a new line in the prompt",
    "enter": "it sends the prompt and presses buttons",
    "tab": "it moves on to the next field",
    "shift+tab": "it moves back to the field before",
    "backspace": "it deletes in the prompt",
}
"""Keys no command may take, and why: the app's own choice to pass to `effective_keymap`."""

HELP = "Keys look like ctrl+n, alt+x, f5 or 'ctrl+x b' for one after the other; several are separated by commas."
LONGEST_SEQUENCE = 3
_MODIFIERS = ("alt", "ctrl", "hyper", "meta", "shift", "super")  # the order in which Textual reports them
_SHOWN_MODIFIERS = ("ctrl", "alt", "shift", "super", "meta", "hyper")
_MODIFIER_ALIASES = {
    "control": "ctrl", "ctl": "ctrl", "option": "alt", "opt": "alt", "cmd": "super", "command": "super",
    "win": "super", "windows": "super",
}  # fmt: skip
_PUNCTUATION = {
    " ": "space", "!": "exclamation_mark", '"': "quotation_mark", "#": "number_sign", "$": "dollar_sign",
    "%": "percent_sign", "&": "ampersand", "'": "apostrophe", "(": "left_parenthesis", ")": "right_parenthesis",
    "*": "asterisk", "+": "plus", ",": "comma", "-": "minus", ".": "full_stop", "/": "slash", ":": "colon",
    ";": "semicolon", "<": "less_than_sign", "=": "equals_sign", ">": "greater_than_sign", "?": "question_mark",
    "@": "at", "[": "left_square_bracket", "\\": "backslash", "]": "right_square_bracket",
    "^": "circumflex_accent", "_": "underscore", "`": "grave_accent", "{": "left_curly_bracket",
    "|": "vertical_line", "}": "right_curly_bracket", "~": "tilde",
}  # fmt: skip
_SIGNS = {name: sign for sign, name in _PUNCTUATION.items()}
_ALIASES = {
    "esc": "escape", "return": "enter", "del": "delete", "ins": "insert", "pgup": "pageup",
    "page_up": "pageup", "pgdn": "pagedown", "pgdown": "pagedown", "page_down": "pagedown", "bs": "backspace",
    "bksp": "backspace", "spacebar": "space", "low_line": "underscore", "hyphen": "minus", "hyphen_minus": "minus",
    "plus_sign": "plus", "commercial_at": "at", "solidus": "slash", "reverse_solidus": "backslash",
    "period": "full_stop", "dot": "full_stop", "backtick": "grave_accent",
}  # fmt: skip
_SHOWN = {
    "escape": "Esc", "enter": "Enter", "pageup": "PgUp", "pagedown": "PgDn", "delete": "Del", "insert": "Ins",
    "up": "↑", "down": "↓", "left": "←", "right": "→",
}  # fmt: skip
_AROUND_PLUS = re.compile(r"\s*\+\s*(?=\S)")
_EDITING = ("escape", "enter", "tab", "backspace")
_NAMED = frozenset(
    ("delete", "insert", "home", "end", "pageup", "pagedown", "up", "down", "left", "right", *_EDITING, *_SIGNS)
) | frozenset(f"f{number}" for number in range(1, 36))
_SAME_AS = {
    "ctrl+i": "tab", "ctrl+m": "enter", "ctrl+h": "backspace", "ctrl+left_square_bracket": "escape",
    "ctrl+slash": "ctrl+underscore", "ctrl+minus": "ctrl+underscore", "ctrl+space": "ctrl+@",
}  # fmt: skip
_SWALLOWED = {
    "ctrl+s": "many terminals and multiplexers take it to stop their output",
    "ctrl+q": "many terminals and multiplexers take it to go on with their output",
    "ctrl+z": "shells and terminals take it to suspend a program",
    "f11": "many terminals take it for full screen",
}
_CTRL_SIGNS = ("@", "backslash", "right_square_bracket", "circumflex_accent", "underscore")


class BadKey(ValueError):
    """This cannot be read as a key; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class KeyProblem:
    """Something wrong with a key of a command, and what to do about it."""

    level: Literal["warning", "error"]
    """An error took the key away; a warning leaves it bound."""
    command: str
    key: str
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.message} {self.fix}".strip()


@dataclass(frozen=True, slots=True)
class Keymap:
    """The keys of every command, no key twice, and what was wrong with what was asked for."""

    bindings: Mapping[str, tuple[str, ...]]
    """Command name to its keys in Textual's spelling; () where it has none. The first key is the one to show. Keys
    that are pressed one after the other have a blank between them."""
    problems: tuple[KeyProblem, ...] = ()

    def keys(self, command: str) -> tuple[str, ...]:
        """The keys of this command; () where it has none or does not exist."""
        return self.bindings.get(command, ())

    def shown(self, command: str, *, ascii_only: bool = False) -> str:
        """The short label of the command's first key, "" where it has none."""
        keys = self.keys(command)
        return show_key(keys[0], ascii_only=ascii_only) if keys else ""


def effective_keymap(
    declarations: Sequence[Declaration], overrides: Mapping[str, str], reserved: Mapping[str, str] = RESERVED
) -> Keymap:
    """The keys each command really has. `overrides` maps a command's name to comma-separated keys; "" or "none"
    leaves it without any. Never raises for what a user wrote: each mistake is a `KeyProblem` and costs one key at most.

    A key two commands want goes to an override before a default, then to the command declared first.
    """
    names = [spec.name for spec in declarations]
    problems = [_unknown(name, names) for name in overrides if name not in names]
    wishes = [_wish(spec, overrides.get(spec.name), reserved, problems) for spec in declarations]
    owners: dict[str, _Wish] = {}
    for wish in sorted(wishes, key=lambda each: not each.chosen):
        for key in wish.keys:
            if (owner := _owner(key, owners) or wish) is not wish:
                problems.append(_clash(key, owner, wish))
            else:
                owners[key] = wish
    bindings = {wish.command: tuple(key for key in wish.keys if owners.get(key) is wish) for wish in wishes}
    return Keymap(bindings, tuple(problems))


def _owner(key: str, owners: Mapping[str, _Wish]) -> _Wish | None:
    """Who has this key, a key that it begins with, or one that begins with it."""
    for taken, wish in owners.items():
        if taken == key or taken.startswith(f"{key} ") or key.startswith(f"{taken} "):
            return wish
    return None


def normalise_key(text: str) -> str:
    """A key, or several that are pressed one after the other, in Textual's spelling. Raises BadKey."""
    parts = _AROUND_PLUS.sub("+", text).split() or [text]
    if len(parts) > LONGEST_SEQUENCE:
        raise BadKey(f"{_clip(text)} is too long: {LONGEST_SEQUENCE} keys one after the other are the most.")
    return " ".join(_one_key(part) for part in parts)


def _one_key(text: str) -> str:
    given = text.strip().lower()
    if len(given) == 2 and given[0] == "^":
        given = f"ctrl+{given[1]}"
    if given.endswith("++"):  # Ctrl and the plus sign
        given = f"{given[:-1]}plus"
    before, _, last = ("", "", given) if len(given) == 1 else given.rpartition("+")
    modifiers = {_modifier(part, text) for part in before.split("+")} if before else set()
    key = _key_name(last.strip(), text)
    if key == "backtab":
        modifiers, key = modifiers | {"shift"}, "tab"
    if key == "at" and modifiers == {"ctrl"}:
        key = "@"  # what Textual calls it when a terminal sends the one byte for it
    return "+".join([*(each for each in _MODIFIERS if each in modifiers), key])


def _modifier(part: str, text: str) -> str:
    name = part.strip()
    name = _MODIFIER_ALIASES.get(name, name)
    if name not in _MODIFIERS:
        raise BadKey(f"{_clip(text)} is not a key: {_clip(part)} is no modifier.")
    return name


def _key_name(last: str, text: str) -> str:
    name = _ALIASES.get(last, last)
    name = _PUNCTUATION.get(name, name)
    if name in _NAMED or name == "backtab" or (len(name) == 1 and name.isalnum()):
        return name
    near = difflib.get_close_matches(last[:40], [*_NAMED, *_ALIASES], n=1, cutoff=0.6)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise BadKey(f"{_clip(text)} is not a key.{hint}")


def show_key(key: str, *, ascii_only: bool = False) -> str:
    """A short label for a key in Textual's spelling: `^N`, `Alt+X`, `F1`, `Esc`; arrows as `↑` unless `ascii_only`."""
    if " " in key:
        parts = key.split()
        return " ".join(part if len(part) == 1 else show_key(part, ascii_only=ascii_only) for part in parts)
    *modifiers, name = key.split("+")
    label = _SIGNS.get(name, _SHOWN.get(name, name))
    if ascii_only and not label.isascii():
        label = name.encode("ascii", "backslashreplace").decode()
    label = "Space" if label == " " else label
    label = label.upper() if len(label) == 1 else label[:1].upper() + label[1:]
    if modifiers == ["ctrl"] and len(label) == 1 and name not in _SHOWN:
        return f"^{label}"
    return "+".join([*(each.capitalize() for each in _SHOWN_MODIFIERS if each in modifiers), label])


def terminal_trouble(key: str) -> str | None:
    """Why a key, in Textual's spelling, may never arrive on an ordinary terminal; None when nothing is known."""
    if " " in key:
        return next(filter(None, map(terminal_trouble, key.split())), None)
    *modifiers, name = key.split("+")
    held = set(modifiers)
    if held & {"super", "hyper", "meta"}:
        return "the desktop usually keeps this modifier for itself"
    if key in _SAME_AS:
        return f"most terminals send the same as for {_SAME_AS[key]}"
    if key in _SWALLOWED:
        return _SWALLOWED[key]
    if {"ctrl", "shift"} <= held and len(name) == 1:
        return f"most terminals send the same as for ctrl+{name}"
    if _needs_new_protocol(held, name):
        return "only terminals with the Kitty keyboard protocol can send it"
    return None


def _needs_new_protocol(held: set[str], name: str) -> bool:
    if not held or (held, name) == ({"shift"}, "tab"):
        return False
    if name in _EDITING:
        return True
    if "ctrl" in held and (len(name) == 1 or name in _SIGNS):
        plain = (len(name) == 1 and name.isascii() and name.isalpha()) or name in _CTRL_SIGNS
        return held != {"ctrl"} or not plain
    return "alt" in held and (name in _SIGNS or (len(name) == 1 and not (name.isascii() and name.isalpha())))


@dataclass(slots=True, eq=False)
class _Wish:
    """The keys a command asks for, in its order."""

    command: str
    chosen: bool
    """Whether the user chose them."""
    keys: list[str] = field(default_factory=list)


def _wish(spec: Declaration, override: str | None, reserved: Mapping[str, str], problems: list[KeyProblem]) -> _Wish:
    if override is not None:
        if override.strip().lower() in ("", "none"):
            return _Wish(spec.name, True)
        keys = list(_usable(spec.name, override.split(","), reserved, problems, chosen=True))
        if keys:
            return _Wish(spec.name, True, keys)
    return _Wish(spec.name, False, list(_usable(spec.name, spec.keys, reserved, problems, chosen=False)))


def _usable(
    command: str, texts: Iterable[str], reserved: Mapping[str, str], problems: list[KeyProblem], *, chosen: bool
) -> Iterator[str]:
    """The keys a command may have, each once; warnings only for keys the user chose, as only those can be mistakes."""
    seen: set[str] = set()
    for text in texts:
        try:
            key = normalise_key(text)
        except BadKey as error:
            problems.append(KeyProblem("error", command, text, f"{command}: {error}", HELP))
            continue
        first = key.split()[0]
        if reason := reserved.get(first) or _types_text(first) or _never_goes_on(key):
            message = f"{command}: {key} cannot be a command's key: {reason}."
            problems.append(KeyProblem("error", command, key, message, "Choose another key."))
        elif key not in seen:
            if chosen and (trouble := terminal_trouble(key)):
                fix = "Choose another key if it does nothing."
                problems.append(KeyProblem("warning", command, key, f"{command}: {key} may not work: {trouble}.", fix))
            seen.add(key)
            yield key


def _types_text(key: str) -> str:
    *modifiers, name = key.split("+")
    types = not set(modifiers) - {"shift"} and (len(name) == 1 or name in _SIGNS)
    return "it types a character" if types else ""


def _never_goes_on(key: str) -> str:
    first, *more = key.split()
    if more and first == "escape":
        return "Esc means to leave"
    return "Esc gives up keys that were begun" if "escape" in more else ""


def _unknown(name: str, names: Sequence[str]) -> KeyProblem:
    near = difflib.get_close_matches(name[:80], names, n=3, cutoff=0.5)
    fix = f"Did you mean {' or '.join(near)}?" if near else "`sophia commands` lists them all."
    return KeyProblem("error", name, "", f"There is no command {_clip(name)} to give a key to.", fix)


def _clash(key: str, owner: _Wish, loser: _Wish) -> KeyProblem:
    if owner.chosen and not loser.chosen:
        message = f"{key} now runs {owner.command}; {loser.command} had it and lost it."
        return KeyProblem("warning", loser.command, key, message, f"Give {loser.command} another key.")
    message = f"{key} is asked for by {owner.command} and {loser.command}; {owner.command} has it."
    return KeyProblem("error", loser.command, key, message, f"Give {loser.command} another key.")


def _clip(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")
