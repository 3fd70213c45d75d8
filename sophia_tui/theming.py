"""Theme files: find them, check them, hand over only themes that can be painted.

Textual takes a theme with a bad colour without a word and fails later, in the middle of drawing. So every key and value
is checked here, colours are rewritten in one canonical form, and the colour system is generated once before a theme is
handed over. A file with a mistake is skipped and described by exactly one `ThemeProblem`.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path

from textual.color import Color, ColorParseError
from textual.css.constants import VALID_STYLE_FLAGS
from textual.theme import Theme

DEFAULT_THEME = "sophia-dark"
LAST_RESORT = "textual-dark"
"""Textual's own default: always registered, whatever happened to our files."""

MAX_BYTES = 64 * 1024
MAX_LINE = 1000

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_COLOUR_AND_ALPHA = re.compile(r"(?P<colour>.*?)(?:\s+(?P<alpha>\d{1,3}(?:\.\d{1,3})?)%)?", re.DOTALL)
_TOML_LOCATION = re.compile(r"\s*\((?:at line (\d+), column \d+|at end of document)\)$")
_COLOUR_HELP = 'Write a colour in quotes, such as "#7ab8d6" or "rgb(122,184,214)".'
_STYLE_NAMES = frozenset({"link-style", "link-style-hover"})
_STYLE_WORDS = VALID_STYLE_FLAGS - {"not", "none"}
_MAY_BE_AUTO = re.compile(r"text|text-muted|text-disabled|link-color(-hover)?|.*-foreground")

_DARK = {
    "sophia-user": "#e3b873",
    "sophia-assistant": "#7ab8d6",
    "sophia-reasoning": "#9aa1ad",
    "sophia-quote": "#a9b0bb",
    "sophia-link": "#7ab8d6",
    "sophia-status": "#aab1bd",
    "sophia-weak": "#e3b873",
    "sophia-code-background": "#101216",
    "sophia-level-0": "#86c08f",
    "sophia-level-1": "#7ab8d6",
    "sophia-level-2": "#e3b873",
    "sophia-level-3": "#e59866",
    "sophia-level-4": "#e8838a",
    "syntax-text": "#d5d9e0",
    "syntax-keyword": "#b9a4e8",
    "syntax-string": "#98c79a",
    "syntax-comment": "#828a97",
    "syntax-number": "#e3b873",
    "syntax-function": "#7ab8d6",
    "syntax-type": "#7fc8bd",
    "syntax-operator": "#a9b4c4",
}

_LIGHT = {
    "sophia-user": "#7d5200",
    "sophia-assistant": "#1d6489",
    "sophia-reasoning": "#5e6571",
    "sophia-quote": "#545b67",
    "sophia-link": "#1d6489",
    "sophia-status": "#4d5460",
    "sophia-weak": "#7d5200",
    "sophia-code-background": "#f3f4f7",
    "sophia-level-0": "#27682f",
    "sophia-level-1": "#1d6489",
    "sophia-level-2": "#7d5200",
    "sophia-level-3": "#94440f",
    "sophia-level-4": "#a52a36",
    "syntax-text": "#282c34",
    "syntax-keyword": "#6a3fb5",
    "syntax-string": "#2a6b32",
    "syntax-comment": "#676e7a",
    "syntax-number": "#8a4b00",
    "syntax-function": "#1a5fa0",
    "syntax-type": "#0f6a68",
    "syntax-operator": "#4a5361",
}

_ANSI = {
    "sophia-user": "ansi_yellow",
    "sophia-assistant": "ansi_cyan",
    "sophia-reasoning": "ansi_default",
    "sophia-quote": "ansi_default",
    "sophia-link": "ansi_cyan",
    "sophia-status": "ansi_default",
    "sophia-weak": "ansi_yellow",
    "sophia-code-background": "ansi_default",
    "sophia-level-0": "ansi_green",
    "sophia-level-1": "ansi_cyan",
    "sophia-level-2": "ansi_yellow",
    "sophia-level-3": "ansi_magenta",
    "sophia-level-4": "ansi_red",
    "syntax-text": "ansi_default",
    "syntax-keyword": "ansi_magenta",
    "syntax-string": "ansi_green",
    "syntax-comment": "ansi_bright_black",
    "syntax-number": "ansi_yellow",
    "syntax-function": "ansi_bright_blue",
    "syntax-type": "ansi_cyan",
    "syntax-operator": "ansi_default",
}

_ANSI_GAPS = {
    "ansi-background": "ansi_default",
    "ansi-foreground": "ansi_default",
    "foreground-disabled": "ansi_default 50%",
    "surface-active": "transparent",
}
"""Variables that Textual's own style sheets may use, but that it leaves undefined in an `ansi` theme, and crashes."""

OWN_VARIABLES = tuple(_DARK)
"""The variables SOPHIA adds to Textual's; each is always one opaque colour, so that code may parse it."""


@dataclass(frozen=True, slots=True)
class ThemeProblem:
    """One theme file (or folder) that is not used, and what to do about it."""

    file: Path
    line: int | None
    """Line in the file, from 1; None where the mistake has no line."""
    message: str
    fix: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line is not None else str(self.file)
        return f"{where}: {self.message}. {self.fix}"


class _Rejected(Exception):
    """Why a theme cannot be used; `key` leads to the line when the line itself is not known."""

    def __init__(self, message: str, fix: str, *, line: int | None = None, key: str | None = None) -> None:
        super().__init__(message)
        self.message, self.fix, self.line, self.key = message, fix, line, key
        self.in_variables = False


def themes_dir() -> Path:
    """The folder of the shipped themes: inside the package when installed, else the repository's `themes/`."""
    inside = Path(__file__).parent / "themes"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "themes"


def variable_defaults(theme: Theme) -> dict[str, str]:
    """Literal values that suit `theme`, for every variable it may leave out: for `App.get_theme_variable_defaults`."""
    if theme.ansi:
        return {**_ANSI, **_ANSI_GAPS}
    return dict(_DARK if theme.dark else _LIGHT)


def resolved_variables(theme: Theme) -> dict[str, str]:
    """Every variable a stylesheet sees in `theme`, ours included, merged the way Textual's app merges them."""
    return {**variable_defaults(theme), **theme.to_color_system().generate(), **theme.variables}


def choose_theme(themes: Mapping[str, Theme], wanted: str) -> tuple[str, str | None]:
    """The name to use for `wanted`, and None or one line that says why it is another one."""
    if wanted in themes:
        return wanted, None
    fallback = DEFAULT_THEME if DEFAULT_THEME in themes else LAST_RESORT
    known = ", ".join(sorted(themes)) or LAST_RESORT
    return fallback, f"No theme is called {_shown(wanted)}; using {fallback!r}. There are: {known}."


def load_themes(package_dir: Path, user_dir: Path | None) -> tuple[dict[str, Theme], list[ThemeProblem]]:
    """Every usable theme by name, the user's winning over a shipped one, and one problem for each unusable file.

    Never raises for what is in the folders. A user's folder that does not exist is no problem. Reads files: call it
    in a thread once the app runs.
    """
    themes: dict[str, Theme] = {}
    problems: list[ThemeProblem] = []
    known = _known_variables()
    folders = [package_dir]
    if user_dir is not None and os.path.lexists(user_dir):
        folders.append(user_dir)
    for folder in folders:
        found: dict[str, Path] = {}
        for path in _theme_files(folder, problems):
            try:
                theme = _load(path, known)
                _claim_name(theme.name, path, found)
            except _Rejected as rejected:
                problems.append(ThemeProblem(path, rejected.line, rejected.message, rejected.fix))
            else:
                themes[theme.name] = theme
    return themes, problems


def load_theme(package_dir: Path, user_dir: Path | None, wanted: str) -> Theme | None:
    """The theme of this name from the file that should hold it; None when that file is not there or not right.

    Quicker than `load_themes` by the number of themes, for the first paint.
    """
    if not _NAME.fullmatch(wanted):
        return None
    for folder in (user_dir, package_dir):
        path = folder / f"{wanted}.toml" if folder else None
        if path is not None and os.path.lexists(path):
            try:
                theme = _load(path, _known_variables())
            except _Rejected:
                return None
            return theme if theme.name == wanted else None
    return None


def _theme_files(folder: Path, problems: list[ThemeProblem]) -> list[Path]:
    """Visible `*.toml` entries in name order; folders, pipes and devices are passed over, links to files are read."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".toml") and not name.startswith("."))
    except OSError as error:
        message = f"the theme folder cannot be read ({error.strerror})"
        problems.append(ThemeProblem(folder, None, message, "Make it a folder that you may read."))
        return []
    return [path for path in (folder / name for name in names) if _is_file_or_dangling(path)]


def _is_file_or_dangling(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True  # reading it will say what is wrong


def _load(path: Path, known: frozenset[str]) -> Theme:
    text = _read(path)
    try:
        return _build(path.stem, _parse(text), known)
    except _Rejected as rejected:
        if rejected.line is None and rejected.key is not None:
            rejected.line = _line_of(text, rejected.key, in_variables=rejected.in_variables)
        raise


def _read(path: Path) -> str:
    try:
        # Not blocking: between the look and the opening, a file may have become a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            content = file.read(MAX_BYTES + 1) or b""
    except OSError as error:
        raise _Rejected(f"the file cannot be read ({error.strerror})", "Make it readable, or remove it.") from error
    if len(content) > MAX_BYTES:
        raise _Rejected(f"the file is larger than {MAX_BYTES // 1024} KiB", "Keep only the theme's keys in it.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _Rejected("the file is not UTF-8 text", "Save it as UTF-8.", line=line) from error


def _parse(text: str) -> dict[str, object]:
    lengths = [len(line) for line in text.split("\n")]
    if max(lengths) > MAX_LINE:  # a key with thousands of dots would keep the TOML reader busy for minutes
        number = lengths.index(max(lengths)) + 1
        raise _Rejected(f"a line of {max(lengths)} characters", "Keep only the theme's keys in it.", line=number)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason = str(error)
        located = _TOML_LOCATION.search(reason)
        line = int(located[1]) if located and located[1] else text.rstrip().count("\n") + 1
        reason = _TOML_LOCATION.sub("", reason)
        fix = 'Every line is key = value, and colours are in quotes: primary = "#7ab8d6".'
        raise _Rejected(f"broken TOML: {_clipped(reason)}", fix, line=line) from error
    except (ValueError, RecursionError) as error:
        raise _Rejected(
            "broken TOML: a number or a nesting without end", "Keep only the theme's keys in it."
        ) from error


def _claim_name(name: str, path: Path, found: dict[str, Path]) -> None:
    taken_by = found.setdefault(name, path)
    if taken_by != path:
        message = f"the name {name!r} is already taken by {taken_by.name!r} in the same folder"
        raise _Rejected(message, "Give one of them another name.")


def _build(stem: str, table: Mapping[str, object], known: frozenset[str]) -> Theme:
    """The theme that `table` describes, or `_Rejected` with its first mistake and the number of the others."""
    mistakes: list[_Rejected] = []
    values: dict[str, object] = {"name": stem}
    variables: dict[str, str] = {}
    for key, value in table.items():
        if key == "variables" and isinstance(value, dict):
            for name, setting in value.items():
                with _noting(mistakes, in_variables=True):
                    variables[name] = _variable(name, setting, known)
        else:
            with _noting(mistakes):
                values[key] = _field(key, value, known)
    mistakes = mistakes or list(_mistakes_of_the_whole(values))
    if mistakes:
        first, others = mistakes[0], len(mistakes) - 1
        if others:
            first.message += f" (and {others} more {'mistake' if others == 1 else 'mistakes'})"
        raise first
    theme = Theme(**{**values, "variables": variables})  # type: ignore[arg-type]  # each was checked by its key
    try:
        theme.to_color_system().generate()
    except (ValueError, ColorParseError) as error:
        raise _Rejected(f"the colours do not work together: {_clipped(str(error))}", _COLOUR_HELP) from error
    return theme


@contextmanager
def _noting(mistakes: list[_Rejected], *, in_variables: bool = False) -> Iterator[None]:
    try:
        yield
    except _Rejected as rejected:
        rejected.in_variables = in_variables
        mistakes.append(rejected)


def _field(key: str, value: object, known: frozenset[str]) -> object:
    match key:
        case "name":
            return value
        case "dark" | "ansi":
            if not isinstance(value, bool):
                raise _Rejected(f"{key} is {_shown(value)}", f"Write {key} = true or {key} = false.", key=key)
            return value
        case "luminosity_spread" | "text_alpha":
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise _Rejected(f"{key} is {_shown(value)}", "Write a number from 0 to 1.", key=key)
            return float(value)
        case "variables":
            raise _Rejected("variables is not a table", "Put them below a line [variables].", key=key)
    if key in _field_names():
        return _colour(key, value).hex
    hint = "Move it below the line [variables]." if key in known else _nearest(key, _field_names())
    raise _Rejected(f"unknown key {_shown(key)}", hint, key=key)


def _variable(name: str, value: object, known: frozenset[str]) -> str:
    if name not in known:
        fix = "Move it above the line [variables]." if name in _field_names() else _nearest(name, known)
        raise _Rejected(f"unknown variable {_shown(name)}", fix, key=name)
    if name in OWN_VARIABLES:
        colour = _colour(name, value)
        if colour.a != 1:
            raise _Rejected(f"{name} is see-through ({_shown(value)})", "Write a colour without alpha.", key=name)
        return colour.hex
    if name.endswith("-text-style") or name in _STYLE_NAMES:
        return _text_style(name, value)
    return _colour_or_keyword(name, value)


def _colour(key: str, value: object) -> Color:
    if not isinstance(value, str):
        raise _Rejected(f"{key} is {_shown(value)}, which is no text", _COLOUR_HELP, key=key)
    try:
        return Color.parse(value)
    except (ColorParseError, ValueError, OverflowError) as error:
        raise _Rejected(f"{key} is {_shown(value)}, which is no colour", _COLOUR_HELP, key=key) from error


def _colour_or_keyword(name: str, value: object) -> str:
    """A colour, `auto` or `initial` where Textual takes them, and a percentage of it, in canonical form."""
    if not isinstance(value, str):
        raise _Rejected(f"{name} is {_shown(value)}, which is no text", _COLOUR_HELP, key=name)
    if name == "link-background" and value == "initial":
        return value
    parts = _COLOUR_AND_ALPHA.fullmatch(value)
    base, alpha = (parts["colour"], parts["alpha"]) if parts else (value, None)
    percentage = "" if alpha is None else f" {min(float(alpha), 100.0):g}%"
    if base == "auto" and _MAY_BE_AUTO.fullmatch(name):
        return f"auto{percentage}"
    return _colour(name, base).hex + percentage


def _text_style(name: str, value: object) -> str:
    words = value.split() if isinstance(value, str) else []
    plain = [word for before, word in zip(["", *words], words, strict=False) if not (word == "not" and before != "not")]
    if words == ["none"] or (plain and words[-1] != "not" and set(plain) <= _STYLE_WORDS):
        return " ".join(words)
    fix = 'Write words such as "bold", "italic underline", "not bold" or "none".'
    raise _Rejected(f"{name} is {_shown(value)}, which is no text style", fix, key=name)


def _mistakes_of_the_whole(values: Mapping[str, object]) -> Iterator[_Rejected]:
    """What is wrong with the file as a whole, once each of its keys is right."""
    name = values["name"]
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        fix = 'Use small letters, digits, - and _, beginning with a letter; name = "…" overrides the file\'s name.'
        yield _Rejected(f"{_shown(name)} cannot be a theme's name", fix, key="name")
    if "primary" not in values:
        yield _Rejected("the key 'primary' is missing", 'Add a line such as primary = "#7ab8d6".')
    if not values.get("ansi"):
        for key, value in values.items():
            if isinstance(value, str) and value.startswith("ansi_") and key != "name":
                fix = "Add ansi = true, or write the colour as #rrggbb."
                yield _Rejected(f"{key} is {value!r}, a colour of the terminal's own palette", fix, key=key)


def _field_names() -> frozenset[str]:
    return frozenset(field.name for field in fields(Theme))


def _known_variables() -> frozenset[str]:
    """Every name a theme may set: Textual's, for both kinds of theme, and ours."""
    kinds = (Theme("rgb", primary="#808080"), Theme("ansi", primary="ansi_blue", ansi=True))
    return frozenset(name for kind in kinds for name in resolved_variables(kind))


def _nearest(name: str, known: frozenset[str]) -> str:
    close = get_close_matches(name[:64], sorted(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else "Remove it; docs/themes.md lists the keys."


def _line_of(text: str, key: str, *, in_variables: bool) -> int | None:
    """The first line that sets `key`, looked for in its own part of the file before the other."""
    setting = re.compile(rf"""(?:^|[\s.{{,\["']){re.escape(key)}["']?\s*[=.\]]""")
    header = re.compile(r"\s*\[\s*[\"']?variables")
    matches: list[tuple[bool, int]] = []
    below_header = False
    for number, line in enumerate(text.split("\n"), 1):
        below_header = below_header or header.match(line) is not None
        if setting.search(line) and not line.lstrip().startswith("#"):
            matches.append((below_header != in_variables, number))
    return min(matches)[1] if matches else None


def _shown(value: object) -> str:
    match value:
        case dict():
            return "a table"
        case list():
            return "a list"
        case _:
            return _clipped(repr(value))


def _clipped(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"
