"""Every setting with its value and where that comes from, and the commands that change one: one key of the file."""

from __future__ import annotations

import asyncio
import os
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sophia_core.commands import BadArguments, CommandError, command, type_name
from sophia_core.config_file import line_of, read_toml, set_value
from sophia_core.events import Bus, SettingChanged
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from sophia_core.settings import Loaded, Settings

NOT_HERE: Final = frozenset({"providers", "keys", "metrics.targets"})
"""Tables with rules of their own: `provider.add`, `metrics.add` and the file; of the keys only the preset is here."""
PRESET: Final = "keys.preset"
PRESETS = Literal["default", "vim", "emacs"]
AT_ONCE: Final = frozenset(
    {
        *("theme", "theme_dark", "theme_light", "screen.reduced_motion", "analytics.enabled", "healing.enabled"),
        *("voice.input", "voice.output", "voice.send", "voice.silence_ms"),
    }
)
"""What a running app follows by itself; everything else counts from the next start."""
LONGEST: Final = 4000

Value = str | int | float | bool | list[str] | None


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting as it stands."""

    name: str
    value: str
    """As a person reads it; empty where there is none."""
    source: str
    """`default`, the variable of the environment, or the file with its line."""
    default: str
    type: str
    choices: tuple[str, ...]
    """What it may be, where that can be listed."""
    help: str
    fixed: str = ""
    """Why it cannot be changed from here; empty where it can."""


@dataclass(frozen=True, slots=True)
class _Field:
    """A leaf of the settings model."""

    name: str
    type: Any
    default: object
    help: str


def _fields() -> Iterator[_Field]:
    from pydantic import BaseModel

    from sophia_core.settings import Settings

    for name, info in Settings.model_fields.items():
        if name == "keys":
            yield _Field(PRESET, PRESETS, "default", "Which keys there are: SOPHIA's own, or those of vim or emacs.")
        if name in NOT_HERE:
            continue
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for inner, each in kind.model_fields.items():
                if f"{name}.{inner}" in NOT_HERE:
                    continue
                yield _Field(f"{name}.{inner}", each.annotation, each.default, each.description or "")
        else:
            yield _Field(name, kind, info.default, info.description or "")


def rows(loaded: Loaded, env: Mapping[str, str]) -> list[SettingRow]:
    """Every setting, the ones at the top first, then table by table. Reads the file."""
    from sophia_core.settings import SECRETS

    tables, text, _ = read_toml(loaded.paths.config_file)
    found = []
    for each in _fields():
        secret = each.name in SECRETS
        value = _value_of(loaded.settings, each.name)
        found.append(
            SettingRow(
                each.name,
                ("(set)" if value else "") if secret else shown(value),
                _source(each.name, tables, text, loaded.paths.config_file, env),
                shown(each.default),
                _type_words(each.type),
                _choices(each.type),
                each.help,
                f"It is a secret: set {_variable(each.name)} in the environment." if secret else "",
            )
        )
    return found


def _value_of(settings: Settings, name: str) -> object:
    if name == PRESET:
        return settings.keys.get("preset", "default")
    value: object = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def shown(value: object) -> str:
    """A value as a person writes it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _variable(name: str) -> str:
    return f"SOPHIA_{name.replace('.', '__').upper()}"


def _source(name: str, tables: Mapping[str, Any], text: str, path: Path, env: Mapping[str, str]) -> str:
    upper = {key.upper() for key, value in env.items() if value}
    table, _, _ = name.partition(".")
    for variable in (_variable(name), _variable(table)):
        if variable in upper:
            return variable
    here: Any = tables
    for part in name.split("."):
        if not isinstance(here, Mapping) or part not in here:
            return "default"
        here = here[part]
    line = line_of(text, tuple(name.split(".")))
    return f"{path.name}:{line}" if line else path.name


def _parts(kind: Any) -> tuple[Any, ...]:
    """What a type may be besides None."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _parts(typing.get_args(kind)[0])
    if origin is not None and origin is not typing.Literal and type(None) in typing.get_args(kind):
        return tuple(part for each in typing.get_args(kind) if each is not type(None) for part in _parts(each))
    return (kind,)


def _type_words(kind: Any) -> str:
    words = {"str": "text", "SecretStr": "text", "int": "whole number", "float": "number"}
    words |= {"bool": "yes or no", "Path": "file"}
    names = [type_name(part) for part in _parts(kind)]
    words |= {name: "list" for name in names if name.startswith("list of ")}
    return " or ".join(words.get(name, "one of a few" if "|" in name else name) for name in names)


_ARTICLES: Final = {
    "text": "a text",
    "whole number": "a whole number",
    "number": "a number",
    "file": "a file",
    "list": "a list",
}


def _choices(kind: Any) -> tuple[str, ...]:
    parts = _parts(kind)
    if parts == (bool,):
        return ("true", "false")
    if len(parts) == 1 and typing.get_origin(parts[0]) is typing.Literal:
        return tuple(map(str, typing.get_args(parts[0])))
    return ()


def _listable(kind: Any) -> tuple[str, ...]:
    """What a list may hold, where that can be told."""
    parts = _parts(kind)
    inner = typing.get_args(parts[0])[:1] if typing.get_origin(parts[0]) is tuple else ()
    return _choices(inner[0]) if inner else ()


def parsed(name: str, text: str) -> Value:
    """The text as the value the file holds. Raises BadArguments, which says what would fit."""
    from pydantic import ValidationError

    from sophia_core.settings import Settings

    field = next((each for each in _fields() if each.name == name), None)
    if field is None:
        raise BadArguments(f"There is no setting {one_line(name, 60)!r}.", _nearest(name))
    given: object = text[: LONGEST + 1].strip() if text.strip() else text
    if len(text) > LONGEST:
        raise BadArguments(f"{name}: that is longer than {LONGEST} characters.", "Write it into the file by hand.")
    if name == PRESET and given not in _choices(PRESETS):
        raise BadArguments(f"{name}: there are no keys called {one_line(text, 40)!r}.", _wanted(field))
    table, _, key = name.partition(".")
    tree: dict[str, Any] = {table: {key: given}} if key else {table: given}
    try:
        value = _value_of(Settings(**tree), name)
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise BadArguments(f"{name}: {why[:1].lower()}{why[1:]}.", _wanted(field)) from None
    if isinstance(value, tuple):
        return [str(each) for each in value]
    return value if isinstance(value, str | int | float | bool) else str(value)


def _wanted(field: _Field) -> str:
    if names := _listable(field.type):
        return f"It is a list of these, best first: {', '.join(names)}."
    may = _choices(field.type)
    return (
        f"It is one of {', '.join(may)}." if may else f"It is {_ARTICLES.get(words := _type_words(field.type), words)}."
    )


def _nearest(name: str) -> str:
    import difflib

    if name == "metrics.targets":
        return "It is a list of tables: metrics.add adds a target."
    if name.partition(".")[0] in NOT_HERE:
        return "It is a table: provider.add adds a server; keys but for keys.preset are written into the file by hand."
    near = difflib.get_close_matches(name, [each.name for each in _fields()], n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(near)}?" if near else "settings.list shows them all."


class SettingValues:
    """The commands that show and change settings. `load` reads them again, off the loop."""

    def __init__(self, loaded: Loaded, bus: Bus, env: Mapping[str, str] | None = None) -> None:
        self._loaded, self._bus = loaded, bus
        self._env = os.environ if env is None else env

    async def rows(self) -> list[SettingRow]:
        """Every setting as the file and the environment say now."""
        return await asyncio.to_thread(self._rows)

    def _rows(self) -> list[SettingRow]:
        from sophia_core.settings import load_settings

        now = load_settings(self._env)
        if now.paths == self._loaded.paths:
            self._loaded = now
        return rows(self._loaded, self._env)

    @command("settings.list", slash="set")
    async def list(self, name: str = "") -> list[SettingRow]:
        """List the settings: value, where it comes from, default, meaning; `name` picks those that hold it."""
        return [each for each in await self.rows() if name in each.name]

    @command("settings.set")
    async def set(self, name: str, value: str) -> str:
        """Change a setting in the config file; the rest of the file stays as it is."""
        return await self._write(name, await asyncio.to_thread(parsed, name, value), "settings.set")

    @command("settings.reset")
    async def reset(self, name: str) -> str:
        """Take a setting out of the config file, so that its default counts again."""
        return await self._write(name, None, "settings.reset")

    async def _write(self, name: str, value: Value, source: str) -> str:
        before = await self._row(name)
        if before.fixed:
            raise CommandError(f"{name} cannot be set here.", before.fixed)
        try:
            await asyncio.to_thread(set_value, self._loaded.paths.config_file, name, value)
        except (OSError, ValueError) as error:
            where = str(self._loaded.paths.config_file)
            raise CommandError(f"The config could not be written: {one_line(str(error), 160)}", where) from None
        after = await self._row(name)
        if after.value != before.value:
            self._bus.publish(SettingChanged(name, before.value or None, after.value or None, source))
        return self._said(after, value)

    async def _row(self, name: str) -> SettingRow:
        for each in await self.rows():
            if each.name == name:
                return each
        raise BadArguments(f"There is no setting {one_line(name, 60)!r}.", _nearest(name))

    @staticmethod
    def _said(row: SettingRow, value: Value) -> str:
        if row.source == _variable(row.name):
            return f"Written; but {row.source} is set in the environment and goes first."
        words = f"{row.name} is {row.value or 'empty'}" + (" again, its default" if value is None else "")
        return f"{words}." if row.name in AT_ONCE else f"{words}; it counts from the next start."
