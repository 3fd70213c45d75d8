"""What a persona file may say, and everything that is wrong with one that says something else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from sophia_core.config_file import Problem
from sophia_core.sanitize import one_line
from sophia_core.shelves import content_of, source_of

NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
NOBODY: Final = "none"
"""What is written for nobody in particular, where a name could stand."""
RESERVED: Final = frozenset({NOBODY, "nobody", "auto"})
COLOURS: Final = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "grey")
REASONING: Final = ("none", "minimal", "low", "medium", "high")
ENGINES: Final = ("auto", "elevenlabs", "server", "embedded")
LONGEST_PROMPT: Final = 64 * 1024
LONGEST_TITLE: Final = 40
LONGEST_WORDS: Final = 300
MOST_TOOLS: Final = 100
TOP: Final = frozenset(
    {"name", "about", "prompt", "greeting", "colour", "provider", "model", "sampling", "voice"}
    | {"tools", "cache", "memory"}
)
_COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}")
_TOOL: Final = re.compile(r"[A-Za-z0-9_*][A-Za-z0-9_.:/*-]{0,159}")
_PROVIDER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
Range: TypeAlias = tuple[float, float]
SAMPLING: Final[Mapping[str, tuple[type, Range]]] = {
    "temperature": (float, (0, 2)),
    "top_p": (float, (0.001, 1)),
    "max_tokens": (int, (1, 10_000_000)),
    "frequency_penalty": (float, (-2, 2)),
    "presence_penalty": (float, (-2, 2)),
    "seed": (int, (0, 2**31 - 1)),
}
"""Every number there is of how words are chosen, its type and between what it lies."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How words are chosen; None leaves it to the settings, and then to the server."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    reasoning: str | None = None
    """How hard to think, where the model can be told so."""


@dataclass(frozen=True, slots=True)
class Voice:
    """How it sounds when it is read aloud."""

    engine: str = "auto"
    name: str = ""
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class Persona:
    """Somebody who answers: what they are told about themselves, and how they are asked."""

    name: str
    """What it is called in commands and in the store: the name of its file."""
    title: str
    """What it is called on the screen."""
    prompt: str
    about: str = ""
    greeting: str = ""
    colour: str = ""
    """One of COLOURS, `#rrggbb`, or empty."""
    provider: str | None = None
    """Who should be asked, where nobody was chosen by command."""
    model: str | None = None
    sampling: Sampling = Sampling()
    voice: Voice = Voice()
    tools: tuple[str, ...] = ()
    cache: bool | None = None
    """Whether answers are kept and given again; None: as the setting says."""
    memory: bool = False
    """Whether it may remember things about the person."""
    path: Path | None = None
    digest: str = ""
    """SHA-256 of the file: what a person trusted was this text and no other."""
    source: str = field(default="", repr=False)
    """The text of the file that was read."""
    project: bool = False
    """True for one that came with a folder rather than from the person."""


def read_persona(path: Path, project: bool = False) -> tuple[Persona | None, list[Problem]]:
    """Return the persona of a file, named after it, and what is wrong with it; with a problem there is none."""
    content = content_of(path, "persona")
    return (None, [content]) if isinstance(content, Problem) else parse_persona(path.stem, content, path, project)


def parse_persona(
    name: str, content: bytes, path: Path | None = None, project: bool = False, *, foreign: bool = False
) -> tuple[Persona | None, list[Problem]]:
    """Return the persona in the content of a file; a `foreign` one comes from elsewhere, as a folder's own do."""
    where = str(path or name)
    source = source_of(content, where, foreign=project or foreign)
    if isinstance(source, Problem):
        return None, [source]
    reader = _Reader(where, source.text)
    persona = reader.persona(name, source.tables)
    if reader.problems:
        return None, reader.problems
    return replace(persona, path=path, digest=source.digest, source=source.text, project=project), []


class _Reader:
    """Reads the tables of one file, and goes on after a mistake, so that all of them are told."""

    def __init__(self, where: str, text: str) -> None:
        self._where, self._lines = where, text.split("\n")
        self.problems: list[Problem] = []

    def persona(self, name: str, tables: dict[str, Any]) -> Persona:
        if not NAME.fullmatch(name) or name in RESERVED:
            self._wrong("", f"{name[:60]!r} cannot be a persona's name.", "Use small letters, digits, _ and -.")
        self._unknown("", tables, TOP)
        title = one_line(self._text("name", tables.get("name", ""), LONGEST_WORDS), LONGEST_TITLE)
        return Persona(
            name,
            title or name.replace("_", " ").replace("-", " ").capitalize(),
            self._prompt(tables),
            one_line(self._text("about", tables.get("about", ""), LONGEST_WORDS), LONGEST_WORDS),
            one_line(self._text("greeting", tables.get("greeting", ""), LONGEST_WORDS), LONGEST_WORDS),
            self._colour(tables.get("colour", "")),
            self._named("provider", tables.get("provider", ""), _PROVIDER),
            self._model(tables.get("model", "")),
            self._sampling(self._table("sampling", tables)),
            self._voice(self._table("voice", tables)),
            self._tools(tables.get("tools", [])),
            self._switch("cache", tables["cache"]) if "cache" in tables else None,
            self._switch("memory", tables.get("memory", False)),
        )

    def _wrong(self, place: str, message: str, fix: str) -> None:
        line = self._line_of(place)
        where = f"{self._where}:{line}" if line else self._where
        self.problems.append(Problem(f"{where}: {place}" if place else where, message, fix))

    def _line_of(self, place: str) -> int | None:
        """The line that a key or a table stands on, counted from 1."""
        table, _, key = place.rpartition(".")
        here = ""
        for number, line in enumerate(self._lines, 1):
            said = line.strip()
            if said.startswith("["):
                here = said.lstrip("[").partition("]")[0].strip()
                if here == place:
                    return number
            name = said.partition("=")[0].strip().strip("\"'") if "=" in said else ""
            if name and ((here == table and name == key) or (not here and name == place)):
                return number
        return None

    def _unknown(self, place: str, table: Mapping[str, object], known: frozenset[str]) -> None:
        for key in sorted(table.keys() - known):
            fix = f"Known are: {', '.join(sorted(known))}."
            self._wrong(f"{place}.{key}".lstrip("."), f"there is no {key[:60]!r}.", fix)

    def _text(self, place: str, value: object, longest: int) -> str:
        if not isinstance(value, str):
            self._wrong(place, "has to be a text.", "Put it in quotation marks.")
            return ""
        if len(value) > longest:
            self._wrong(place, f"has {len(value)} characters; {longest} are the most.", "Shorten it.")
            return ""
        return value

    def _prompt(self, tables: Mapping[str, object]) -> str:
        if "prompt" not in tables:
            self._wrong("prompt", "is missing.", 'Say who answers, and how: prompt = """…"""; empty says nothing.')
            return ""
        return self._text("prompt", tables["prompt"], LONGEST_PROMPT).strip()

    def _colour(self, value: object) -> str:
        colour = self._text("colour", value, LONGEST_WORDS)
        if colour and colour not in COLOURS and not _COLOUR.fullmatch(colour):
            self._wrong("colour", f"there is no {colour[:40]!r}.", f"Write #rrggbb, or one of {', '.join(COLOURS)}.")
            return ""
        return colour

    def _named(self, place: str, value: object, allowed: re.Pattern[str]) -> str | None:
        name = self._text(place, value, LONGEST_WORDS)
        if name and not allowed.fullmatch(name):
            self._wrong(place, f"{name[:40]!r} cannot be a name.", "Write it as the settings do.")
            return None
        return name or None

    def _model(self, value: object) -> str | None:
        name = self._text("model", value, LONGEST_WORDS)
        if one_line(name, LONGEST_WORDS) != name:
            self._wrong("model", "has to be one line.", "Take out what does not show.")
        return name or None

    def _table(self, place: str, tables: Mapping[str, object]) -> Mapping[str, object]:
        table = tables.get(place, {})
        if not isinstance(table, dict):
            self._wrong(place, "has to be a table.", f"Write [{place}].")
            return {}
        return table

    def _sampling(self, table: Mapping[str, object]) -> Sampling:
        self._unknown("sampling", table, frozenset(SAMPLING) | {"reasoning"})
        values: dict[str, Any] = {
            key: self._number(f"sampling.{key}", table[key], kind, between)
            for key, (kind, between) in SAMPLING.items()
            if key in table
        }
        if "reasoning" in table:
            values["reasoning"] = self._one_of("sampling.reasoning", table["reasoning"], REASONING)
        return Sampling(**values)

    def _voice(self, table: Mapping[str, object]) -> Voice:
        self._unknown("voice", table, frozenset({"engine", "name", "speed"}))
        engine = self._one_of("voice.engine", table.get("engine", "auto"), ENGINES) or "auto"
        name = one_line(self._text("voice.name", table.get("name", ""), LONGEST_WORDS), LONGEST_WORDS)
        speed = self._number("voice.speed", table.get("speed", 1.0), float, (0.25, 4))
        return Voice(engine, name, 1.0 if speed is None else speed)

    def _number(self, place: str, value: object, kind: type, between: Range) -> float | None:
        low, high = between
        fits = isinstance(value, int) if kind is int else isinstance(value, int | float)
        if isinstance(value, bool) or not isinstance(value, int | float) or not fits or not low <= value <= high:
            what = "a whole number" if kind is int else "a number"
            self._wrong(place, f"has to be {what} from {low:g} to {high:g}.", "Correct it, or take it out.")
            return None
        return value

    def _one_of(self, place: str, value: object, known: tuple[str, ...]) -> str | None:
        if value not in known:
            self._wrong(place, f"there is no {str(value)[:40]!r}.", f"Known are: {', '.join(known)}.")
            return None
        return str(value)

    def _tools(self, value: object) -> tuple[str, ...]:
        named = isinstance(value, list) and all(isinstance(each, str) and _TOOL.fullmatch(each) for each in value)
        if not isinstance(value, list) or not named or len(value) > MOST_TOOLS:
            fix = 'Write tools = ["read_file", "mcp.time.*"].'
            self._wrong("tools", f"has to list at most {MOST_TOOLS} names.", fix)
            return ()
        return tuple(dict.fromkeys(value))

    def _switch(self, place: str, value: object) -> bool:
        if not isinstance(value, bool):
            self._wrong(place, "has to be true or false.", "Write it without quotation marks.")
        return value is True
