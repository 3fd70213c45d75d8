"""What a macro file may say, and everything that is wrong with one that says something else.

A macro is data: typed parameters, and steps one after the other. A step does one thing (run a command line, ask, run a
program, read or save a file, show a text, call another macro), may keep its result under a name, and may be left out by
a condition or repeated for each of a list. There are no loops of unknown length and no arithmetic: every macro ends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

from sophia_core.config_file import Problem
from sophia_core.macros.conditions import BadCondition, Condition, parse_condition
from sophia_core.macros.templates import BadTemplate, Template
from sophia_core.sanitize import one_line
from sophia_core.shelves import content_of, source_of

Kind = Literal["text", "number", "yes", "choice", "file", "folder", "session", "model", "theme"]
Does = Literal["run", "ask", "shell", "read", "save", "say", "stop", "macro"]
OnError = Literal["stop", "continue"]

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
MOST_STEPS: Final = 100
MOST_PARAMETERS: Final = 20
LONGEST_TEXT: Final = 64 * 1024
LONGEST_WORDS: Final = 300
"""Characters of what lists and questions show of a macro: its help, what it asks, a choice."""
LONGEST_WAIT_S: Final = 24 * 3600.0
DEFAULT_SHELL_S: Final = 60.0
GIVEN: Final = frozenset(
    {"date", "time", "folder", "git_branch", "selection", "answer", "session", "session_title", "model", "error"}
)
"""Names that have a value in every macro."""
VERBS: Final = frozenset(
    {"list", "show", "run", "stop", "record", "keep", "discard", "check", "trust", "new", "edit", "delete", "reload"}
    | {"rename"}
)
"""Names of the commands about macros, which no macro may take."""
TOP: Final = {"help", "key", "parameters", "steps"}
PARAMETER_FIELDS: Final = {"type", "ask", "default", "choices"}
STEP_FIELDS: Final = {"name", "when", "each", "timeout", "on_error", "text", "values", "replace"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something a macro asks for."""

    name: str
    kind: Kind = "text"
    ask: str = ""
    """The question to a person; empty: the name will do."""
    default: str | None = None
    """None: there has to be a value."""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do."""

    does: Does
    words: tuple[Template, ...]
    """The one text of most steps; the program and its arguments of `shell`."""
    name: str = ""
    """What the result is kept under; empty: it is not kept."""
    when: Condition | None = None
    each: Template | tuple[Template, ...] | None = None
    """Done once for each line of a text, or for each text of a list, which is then called `item`."""
    timeout_s: float | None = None
    on_error: OnError = "stop"
    text: Template | None = None
    """What `save` writes."""
    values: Mapping[str, Template] = field(default_factory=dict)
    """What `macro` hands over."""
    replace: bool = False
    """`save` may replace a file."""

    def templates(self) -> list[Template]:
        """Every text of the step in which names are replaced."""
        repeated = self.each if isinstance(self.each, tuple) else (self.each,) if self.each else ()
        return [*repeated, *self.words, *([self.text] if self.text else []), *self.values.values()]


@dataclass(frozen=True, slots=True)
class Macro:
    """A macro as it will be run."""

    name: str
    help: str
    steps: tuple[Step, ...]
    parameters: tuple[Parameter, ...] = ()
    key: str = ""
    path: Path | None = None
    digest: str = ""
    """SHA-256 of the file: what a person trusted was this text and no other."""
    source: str = field(default="", repr=False)
    """The text of the file that was read: what is shown is what runs, whatever stands in the file by then."""
    project: bool = False
    """True for one that came with a folder rather than from the person."""


def read_macro(path: Path, project: bool = False) -> tuple[Macro | None, list[Problem]]:
    """Return the macro of a file, named after it, and what is wrong with it; with a problem there is no macro."""
    content = content_of(path, "macro")
    return (None, [content]) if isinstance(content, Problem) else parse_macro(path.stem, content, path, project=project)


def parse_macro(
    name: str, content: bytes, path: Path | None = None, *, project: bool = False
) -> tuple[Macro | None, list[Problem]]:
    """Return the macro in the content of a file, and what is wrong with it."""
    where = str(path or name)
    source = source_of(content, where, foreign=project)
    if isinstance(source, Problem):
        return None, [source]
    reader = _Reader(where)
    macro = reader.macro(name, source.tables)
    if reader.problems:
        return None, reader.problems
    return replace(macro, path=path, digest=source.digest, source=source.text, project=project), []


class _Reader:
    """Reads the tables of one file, and goes on after a mistake, so that all of them are told."""

    def __init__(self, where: str) -> None:
        self._where = where
        self.problems: list[Problem] = []

    def macro(self, name: str, tables: dict[str, Any]) -> Macro:
        if not NAME.fullmatch(name) or name in VERBS:
            self._wrong("", f"{name!r} cannot be a macro's name.", "Use small letters, digits and _, as in my_review.")
        self._unknown("", tables, TOP)
        help_text = self._text("help", tables.get("help", ""), needed=True)
        parameters = self._parameters(tables.get("parameters", {}))
        steps = self._steps(tables.get("steps"), {each.name for each in parameters})
        key = self._text("key", tables.get("key", ""))
        return Macro(name, one_line(help_text, LONGEST_WORDS), tuple(steps), tuple(parameters), key)

    def _wrong(self, place: str, message: str, fix: str) -> None:
        self.problems.append(Problem(f"{self._where}: {place}" if place else self._where, message, fix))

    def _unknown(self, place: str, table: Mapping[str, object], known: set[str]) -> None:
        for key in sorted(table.keys() - known):
            self._wrong(place, f"there is no {key!r}.", f"Known are: {', '.join(sorted(known))}.")

    def _text(self, place: str, value: object, *, needed: bool = False) -> str:
        if not isinstance(value, str) or len(value) > LONGEST_TEXT:
            self._wrong(place, "has to be a text.", "Put it in quotation marks.")
            return ""
        if needed and not value.strip():
            self._wrong(place, "is missing.", f'Say what the macro is for: {place} = "…"')
        return value

    def _parameters(self, tables: object) -> list[Parameter]:
        if not isinstance(tables, dict) or len(tables) > MOST_PARAMETERS:
            self._wrong("parameters", f"have to be at most {MOST_PARAMETERS} tables.", "Write [parameters.name].")
            return []
        found = [self._parameter(name, table) for name, table in tables.items()]
        needed = [each for each in found if each.default is None]
        return needed + [each for each in found if each.default is not None]

    def _parameter(self, name: str, table: object) -> Parameter:
        place = f"parameters.{name}"
        if not NAME.fullmatch(name) or name in GIVEN or name == "item":
            self._wrong(place, f"{name!r} cannot be the name of a parameter.", "Choose another one.")
        if not isinstance(table, dict):
            self._wrong(place, "has to be a table.", f"Write [parameters.{name}].")
            return Parameter(name)
        self._unknown(place, table, PARAMETER_FIELDS)
        kind = table.get("type", "choice" if "choices" in table else "text")
        if kind not in get_args(Kind):
            self._wrong(f"{place}.type", f"there is no type {kind!r}.", f"Known are: {', '.join(get_args(Kind))}.")
            kind = "text"
        choices = self._choices(place, kind, table.get("choices"))
        default = table.get("default")
        made = Parameter(
            name,
            cast("Kind", kind),
            one_line(self._text(f"{place}.ask", table.get("ask", "")), LONGEST_WORDS),
            None if default is None else _plain(default),
            choices,
        )
        if made.default is not None and (reason := unfit(made, made.default)):
            self._wrong(f"{place}.default", reason, "Correct the default.")
        return made

    def _choices(self, place: str, kind: object, listed: object) -> tuple[str, ...]:
        if kind != "choice":
            return ()
        if not isinstance(listed, list) or not listed or not all(isinstance(each, str) for each in listed):
            self._wrong(f"{place}.choices", "has to list texts.", 'Write choices = ["one", "two"].')
            return ()
        if any(one_line(each, LONGEST_WORDS) != each for each in listed):
            self._wrong(f"{place}.choices", "has to list short texts of one line.", "Take out what does not show.")
            return ()
        return tuple(listed)

    def _steps(self, tables: object, names: set[str]) -> list[Step]:
        if not isinstance(tables, list) or not 0 < len(tables) <= MOST_STEPS:
            self._wrong("steps", f"there have to be 1 to {MOST_STEPS} of them.", "Write [[steps]] for each.")
            return []
        known = names | GIVEN
        steps = []
        for number, table in enumerate(tables, 1):
            step = self._step(f"step {number}", table, known)
            if step is not None:
                steps.append(step)
                known |= {step.name} - {""}
        return steps

    def _step(self, place: str, table: object, known: set[str]) -> Step | None:
        if not isinstance(table, dict):
            self._wrong(place, "has to be a table.", "Write [[steps]].")
            return None
        done = [key for key in table if key in get_args(Does)]
        if len(done) != 1:
            self._wrong(place, "has to do exactly one thing.", f"Choose one of: {', '.join(get_args(Does))}.")
            return None
        does = cast("Does", done[0])
        self._unknown(place, table, STEP_FIELDS | {does})
        each = self._each(place, table.get("each"))
        step = Step(
            does,
            self._words(place, does, table[does]),
            self._kept(place, table.get("name", "")),
            self._condition(place, table.get("when")),
            each,
            self._timeout(place, does, table.get("timeout")),
            self._on_error(place, table.get("on_error", "stop")),
            self._template(place, table["text"]) if does == "save" and "text" in table else None,
            self._values(place, does, table.get("values", {})),
            table.get("replace") is True,
        )
        self._look_over(place, step, table, known | ({"item"} if each else set()))
        return step

    def _look_over(self, place: str, step: Step, table: Mapping[str, object], known: set[str]) -> None:
        for key, of in (("text", "save"), ("replace", "save"), ("values", "macro")):
            if key in table and step.does != of:
                self._wrong(place, f"{key!r} belongs to {of!r}.", f"Take it out of this {step.does!r} step.")
        if step.does == "save" and step.text is None:
            self._wrong(place, "does not say what to save.", 'Write text = "{name}".')
        used = {name for template in step.templates() for name in template.names}
        used |= step.when.names if step.when else set()
        for name in sorted(used - known):
            fix = f"Known here are: {', '.join(sorted(known))}. A brace itself is written twice: {{{{."
            self._wrong(place, f"nothing is called {name!r} here.", fix)

    def _words(self, place: str, does: Does, value: object) -> tuple[Template, ...]:
        if does != "shell":
            return (self._template(f"{place}.{does}", value),)
        if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
            fix = 'Write shell = ["git", "diff", "{base}"]; there is no shell in between that could misread a value.'
            self._wrong(f"{place}.shell", "has to list a program and its arguments.", fix)
            return (Template(""),)
        words = tuple(self._template(f"{place}.shell", each) for each in value)
        if words[0].names or not words[0].text.strip():
            self._wrong(f"{place}.shell", "has to name its program.", "Only the arguments may come from elsewhere.")
        return words

    def _template(self, place: str, value: object) -> Template:
        try:
            return Template(self._text(place, value))
        except BadTemplate as error:
            self._wrong(place, str(error), "A brace itself is written twice: {{ or }}.")
            return Template("")

    def _kept(self, place: str, value: object) -> str:
        if value == "":
            return ""
        if not isinstance(value, str) or not NAME.fullmatch(value) or value in GIVEN or value == "item":
            self._wrong(f"{place}.name", f"{value!r} cannot be the name of a result.", "Choose another one.")
            return ""
        return value

    def _condition(self, place: str, value: object) -> Condition | None:
        if value is None:
            return None
        try:
            return parse_condition(self._text(f"{place}.when", value))
        except BadCondition as error:
            self._wrong(f"{place}.when", str(error), 'Write such as: diff is not empty, or base is "HEAD".')
            return None

    def _each(self, place: str, value: object) -> Template | tuple[Template, ...] | None:
        if value is None:
            return None
        if isinstance(value, list):
            return tuple(self._template(f"{place}.each", each) for each in value)
        return self._template(f"{place}.each", value)

    def _timeout(self, place: str, does: Does, value: object) -> float | None:
        if value is None:
            return DEFAULT_SHELL_S if does == "shell" else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_WAIT_S:
            self._wrong(f"{place}.timeout", "has to be seconds, more than none.", "Write timeout = 60.")
            return None
        return float(value)

    def _on_error(self, place: str, value: object) -> OnError:
        if value not in get_args(OnError):
            self._wrong(f"{place}.on_error", f"there is no {value!r}.", f"Known are: {', '.join(get_args(OnError))}.")
            return "stop"
        return cast("OnError", value)

    def _values(self, place: str, does: Does, table: object) -> dict[str, Template]:
        if does != "macro":
            return {}
        if not isinstance(table, dict):
            self._wrong(f"{place}.values", "has to be a table.", 'Write values = {base = "{base}"}.')
            return {}
        return {str(key): self._template(f"{place}.values.{key}", _plain(value)) for key, value in table.items()}


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


YES: Final = frozenset({"true", "yes", "1", "on"})
NO: Final = frozenset({"false", "no", "0", "off", ""})


def unfit(parameter: Parameter, value: str) -> str:
    """Return why the value does not fit, or an empty text."""
    if parameter.kind == "number":
        try:
            float(value)
        except ValueError:
            return f"{value!r} is not a number."
    if parameter.kind == "yes" and value.lower() not in YES | NO:
        return f"{value!r} is neither yes nor no."
    if parameter.kind == "choice" and value not in parameter.choices:
        return f"{value!r} is none of {', '.join(parameter.choices)}."
    return ""
