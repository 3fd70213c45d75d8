"""Everything a person can do, as data.

A command is declared once, beside its domain, with the `@command` decorator on an async method. Key bindings,
palette, slash commands, `sophia run` and the documentation are all derived from the registry that collects them.
"""

from __future__ import annotations

import difflib
import inspect
import itertools
import re
import sys
import types
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from sophia_core.cmdline import BadLine, Word, split_name, split_words

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Handler = Callable[..., Awaitable[object]]
AnyHandler = TypeVar("AnyHandler", bound=Handler)
VERBATIM = "verbatim"
"""Marks a parameter that takes the rest of a typed line as it is: `query: Annotated[str, VERBATIM]`."""
LAST_OPTION = re.compile(r"(?:^|\s)(?P<name>[a-z_]+)=(?P<value>\S+)\s*$")
Check = Callable[[Any], str | None]
Look = Callable[..., Awaitable[str | None]]
"""Called as its command would be, before a person is asked whether to go on."""


class CommandError(Exception):
    """A command cannot run; the text names it and `hint` says what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UnknownCommand(CommandError):
    """No command has this name."""


class BadArguments(CommandError):
    """The arguments do not fit the command's parameters."""


class MissingValues(BadArguments):
    """Something that the command cannot do without was not given; a screen can ask for it."""

    def __init__(self, spec: Declaration, values: Mapping[str, object], missing: tuple[str, ...]) -> None:
        super().__init__(f"{spec.name} needs {missing[0]!r}.", usage(spec))
        self.spec, self.values, self.missing = spec, dict(values), missing


class CommandDisabled(CommandError):
    """The command exists but cannot run now."""


class NeedsConfirmation(CommandError):
    """A dangerous command was sent without `confirmed`."""

    def __init__(self, message: str, hint: str = "", *, what: str = "", line: str = "", about: str = "") -> None:
        super().__init__(message, hint)
        self.what = what
        """What it would do, as a sentence to ask about."""
        self.line = line
        """The command with what it was given, where that says to what it would be done; else empty."""
        self.about = about
        """What that is, in words, where the command can tell."""


@dataclass(frozen=True, slots=True)
class Param:
    """One typed parameter of a command."""

    name: str
    type: str
    required: bool
    default: object = None
    named_only: bool = False
    """Given as `name=value` only, so that the words of a text are not taken for it."""
    kind: str = ""
    """What a text names, so that it can be completed: `file`, `folder`, `session`, `model`, `theme`; empty: nothing."""
    verbatim: bool = False
    """Takes the rest of a typed line as it is, quotation marks and all: what is looked for has a grammar of its own."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the decorator says about a command, before there is anything to run it on."""

    name: str
    help: str
    params: tuple[Param, ...]
    keys: tuple[str, ...] = ()
    """Default keys in Textual's spelling; the first is the one shown."""
    slash: str | None = None
    """A short name after `/`, beside the dotted one."""
    dangerous: bool = False
    needs_app: bool = False
    """Only works in the terminal app, not from a shell."""
    palette: bool = True
    enabled: Check | None = None
    in_dialogs: bool = False
    """Its key works in a dialog too, which otherwise keeps all keys for itself."""
    audited: bool = False
    """Told in the audit log after it ran, as every dangerous one is."""
    check: Look | None = None
    """Says what a dangerous command would be done to, and raises where that is not there: nobody is asked in vain."""


@dataclass(frozen=True, slots=True)
class Command:
    """A declared command bound to the object that carries it out."""

    spec: Declaration
    handler: Handler
    owner: object

    @property
    def name(self) -> str:
        return self.spec.name

    def disabled_reason(self) -> str | None:
        """None when the command can run now, else why it cannot."""
        return self.spec.enabled(self.owner) if self.spec.enabled else None


def command(
    name: str,
    *,
    keys: tuple[str, ...] = (),
    slash: str | None = None,
    dangerous: bool = False,
    needs_app: bool = False,
    palette: bool = True,
    enabled: Check | None = None,
    in_dialogs: bool = False,
    audited: bool = False,
    check: Look | None = None,
) -> Callable[[AnyHandler], AnyHandler]:
    """Declares an async method as the command `name`; its first docstring line becomes the help."""

    def mark(function: AnyHandler) -> AnyHandler:
        text = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
        if not text:
            raise TypeError(f"command {name!r} needs a docstring: its first line is the help")
        spec = Declaration(
            name,
            text,
            _params(function),
            keys,
            slash,
            dangerous,
            needs_app,
            palette,
            enabled,
            in_dialogs,
            audited,
            check,
        )
        function.__dict__["command_spec"] = spec
        return function

    return mark


def _params(function: Handler) -> tuple[Param, ...]:
    hints = _hints(function)
    return tuple(
        Param(
            p.name,
            type_name(hints[p.name]),
            required=p.default is p.empty,
            default=None if p.default is p.empty else p.default,
            named_only=p.kind is p.KEYWORD_ONLY,
            verbatim=VERBATIM in typing.get_args(hints[p.name]),
        )
        for p in inspect.signature(function).parameters.values()
        if p.name != "self"
    )


def _hints(function: Handler) -> dict[str, Any]:
    """The types of the parameters; that of the result may be one that is only imported for the type checker."""
    wanted = {name: hint for name, hint in inspect.get_annotations(function).items() if name != "return"}
    carrier = types.SimpleNamespace(__annotations__=wanted)
    return typing.get_type_hints(carrier, globalns=vars(sys.modules[function.__module__]), include_extras=True)


def type_name(hint: Any) -> str:
    """A type as a person reads it: `int`, `str`, `debug|info`; that it may be None is left out."""
    if isinstance(hint, types.UnionType):
        return "|".join(type_name(arg) for arg in typing.get_args(hint) if arg is not type(None))
    if typing.get_origin(hint) is typing.Annotated:
        return type_name(typing.get_args(hint)[0])
    if typing.get_origin(hint) is typing.Literal:
        return "|".join(map(str, typing.get_args(hint)))
    if typing.get_origin(hint) is tuple:
        return f"list of {type_name(typing.get_args(hint)[0])}"
    return getattr(hint, "__name__", str(hint))


def declarations(owner: type) -> Iterator[tuple[str, Declaration]]:
    """The commands a class declares, as (attribute, declaration), in the order they were written."""
    for attribute, value in vars(owner).items():
        if isinstance(spec := getattr(value, "command_spec", None), Declaration):
            yield attribute, spec


After = Callable[[Command, Mapping[str, object], BaseException | None], None]


class Registry:
    """Every command there is, by name; the one way to run any of them."""

    def __init__(self) -> None:
        self.after: list[After] = []
        """Called with every command that was let run, its values, and what it raised."""
        self._commands: dict[str, Command] = {}
        self._slashes: dict[str, str] = {}

    def collect(self, owner: object) -> None:
        """Adds the commands declared on the owner's class. Raises ValueError for a name used twice."""
        for attribute, spec in declarations(type(owner)):
            self.add(Command(spec, getattr(owner, attribute), owner))

    def add(self, new: Command) -> None:
        if new.name in self._commands:
            raise ValueError(f"command {new.name!r} is declared twice")
        self._commands[new.name] = new
        if new.spec.slash:
            if new.spec.slash in self._slashes:
                raise ValueError(f"/{new.spec.slash} names both {self._slashes[new.spec.slash]!r} and {new.name!r}")
            self._slashes[new.spec.slash] = new.name

    def remove(self, name: str) -> None:
        """Takes a command away again: a macro whose file is gone."""
        gone = self._commands.pop(name)
        if gone.spec.slash:
            self._slashes.pop(gone.spec.slash, None)

    def has(self, name: str) -> bool:
        """Whether there is a command of this dotted or short name."""
        return name in self._commands or name in self._slashes

    def __iter__(self) -> Iterator[Command]:
        return iter(sorted(self._commands.values(), key=lambda each: each.name))

    def get(self, name: str) -> Command:
        """The command of this dotted or short name. Raises UnknownCommand with the nearest names."""
        found = self._commands.get(self._slashes.get(name, name))
        if found is None:
            near = difflib.get_close_matches(name, [*self._commands, *self._slashes], n=3, cutoff=0.5)
            hint = f"Did you mean {' or '.join(near)}?" if near else "`sophia commands` lists them all."
            raise UnknownCommand(f"There is no command {name!r}.", hint)
        return found

    async def run_line(self, line: str, *, confirmed: bool = False) -> object:
        """Runs a command line such as `chat.send "hi"`; returns what it returns. Raises CommandError."""
        try:
            name, rest = split_name(line)
            chosen = self.get(name)
            values = bind_line(chosen.spec, rest)
        except BadLine as error:
            raise BadArguments(f"Cannot read this command: {error}.") from None
        return await self._run(chosen, values, confirmed)

    async def run(self, name: str, /, *args: object, confirmed: bool = False, **kwargs: object) -> object:
        """Runs one command with values; returns what its handler returns. Raises CommandError."""
        chosen = self.get(name)
        return await self._run(chosen, bind(chosen.spec, args, kwargs), confirmed)

    async def _run(self, chosen: Command, values: dict[str, object], confirmed: bool) -> object:
        if reason := chosen.disabled_reason():
            raise CommandDisabled(f"{chosen.name} cannot run now: {reason}")
        valid = validate(chosen, values)
        if chosen.spec.dangerous and not confirmed:
            raise await _question(chosen, valid)
        try:
            result = await chosen.handler(**valid)
        except BaseException as error:
            self._tell(chosen, valid, error)
            raise
        self._tell(chosen, valid, None)
        return result

    def _tell(self, chosen: Command, values: Mapping[str, object], error: BaseException | None) -> None:
        for listener in self.after:
            listener(chosen, values, error)


async def _question(chosen: Command, values: Mapping[str, object]) -> NeedsConfirmation:
    """What a person is asked before it is done. Raises CommandError where there is nothing to ask about."""
    about = await chosen.spec.check(chosen.owner, **values) if chosen.spec.check else None
    given = " ".join(str(value) for value in values.values() if value is not None)
    return NeedsConfirmation(
        f"{chosen.name} cannot be undone{f': {about}' if about else ''}.",
        "Confirm it, or pass --yes from a shell.",
        what=chosen.spec.help,
        line=f"{chosen.name} {given}" if given else "",
        about=about or "",
    )


def bind_line(spec: Declaration, rest: str) -> dict[str, object]:
    """What stands after the name of a command, by parameter. Raises BadLine, BadArguments."""
    if (text := next((param for param in spec.params if param.verbatim), None)) is None:
        return bind_words(spec, split_words(rest))
    named: dict[str, object] = {}
    names = {param.name for param in spec.params if param.named_only}
    while (option := LAST_OPTION.search(rest)) and option["name"] in names - named.keys():
        named[option["name"]] = option["value"]
        rest = rest[: option.start()]
    for param in itertools.takewhile(lambda each: not each.verbatim, spec.params):
        # What stands before such a text is a word each.
        if not param.named_only and rest.strip():
            named[param.name], rest = (*rest.split(maxsplit=1), "")[:2]
    return bind(spec, [], {**named, **({text.name: rest} if (rest := rest.strip()) else {})})


def bind_words(spec: Declaration, words: Sequence[Word]) -> dict[str, object]:
    """The words of a line by parameter. `key=value` names a parameter where there is one of that name; surplus
    words join the last text parameter, so that `/rename my new title` needs no quotes. Raises BadArguments."""
    known = {param.name for param in spec.params}
    named: dict[str, object] = {}
    plain: list[str] = []
    for word in words:
        key, equals, value = word.text.partition("=")
        if equals and not word.quoted and key in known:
            named[key] = value
        else:
            plain.append(word.text)
    free = [param for param in spec.params if param.name not in named and not param.named_only]
    if free and len(plain) > len(free) and free[-1].type.startswith("str"):
        plain = [*plain[: len(free) - 1], " ".join(plain[len(free) - 1 :])]
    return bind(spec, plain, named)


def bind(spec: Declaration, args: Sequence[object], kwargs: Mapping[str, object]) -> dict[str, object]:
    """Names the positional arguments. Raises BadArguments."""
    names = [param.name for param in spec.params if param.name not in kwargs and not param.named_only]
    if len(args) > len(names):
        raise BadArguments(
            f"{spec.name} takes {len(spec.params)} arguments, not {len(args) + len(kwargs)}.", usage(spec)
        )
    known = {param.name for param in spec.params}
    if unknown := [key for key in kwargs if key not in known]:
        raise BadArguments(f"{spec.name} has no parameter {unknown[0]!r}.", usage(spec))
    values = {**dict(zip(names, args, strict=False)), **kwargs}
    if missing := tuple(param.name for param in spec.params if param.required and param.name not in values):
        raise MissingValues(spec, values, missing)
    return values


def validate(chosen: Command, values: dict[str, object]) -> dict[str, object]:
    """The values as the handler's types, by pydantic. Raises BadArguments naming the parameter."""
    if not values:
        return values
    from pydantic import ValidationError

    hints = _hints(chosen.handler)
    valid: dict[str, object] = {}
    for name, value in values.items():
        try:
            valid[name] = _adapter(hints[name]).validate_python(value)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise BadArguments(f"{chosen.name}: {name!r}: {problem}", usage(chosen.spec)) from None
    return valid


@lru_cache(maxsize=256)
def _adapter(hint: Any) -> TypeAdapter[Any]:
    """What checks values of this type. Made once for each type: it costs more than a thousand checks by it."""
    from pydantic import TypeAdapter

    return TypeAdapter(hint)


def usage(spec: Declaration) -> str:
    """How to write the command line, e.g. `Usage: session.rename TITLE`."""
    return " ".join(["Usage:", spec.name, *parameter_words(spec)])


def parameter_words(spec: Declaration) -> list[str]:
    """The parameters as a usage line shows them: `TITLE`, `[MODEL]`, `[session=…]`."""
    return [
        f"[{p.name}=…]" if p.named_only else p.name.upper() if p.required else f"[{p.name.upper()}]"
        for p in spec.params
    ]
