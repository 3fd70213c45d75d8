"""What only a person or the store can answer a server: its questions, its sign-in, and what it keeps of one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from sophia_core.commands import CommandError
from sophia_core.events import Notice
from sophia_core.sanitize import one_line, sanitize

if TYPE_CHECKING:
    from backend_client.loopback import Landing
    from sophia_core.events import Bus
    from sophia_core.mcp.known import Known
    from sophia_core.mcp.link import Asked as Asking
    from sophia_core.mcp.server_file import Server

PERSON_S: Final = 300.0
"""How long a person is waited for."""
MOST_FIELDS: Final = 20
LONGEST_KEPT: Final = 64_000
MOST_QUESTIONS: Final = 8
"""Of all servers at one time; whoever asks more is told no."""
Kind: TypeAlias = Literal["text", "number", "whole number", "yes or no"]
KINDS: Final[Mapping[str, Kind]] = {
    "string": "text",
    "number": "number",
    "integer": "whole number",
    "boolean": "yes or no",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that a server wants to know, its words made safe."""

    name: str
    kind: Kind
    about: str = ""
    choices: tuple[str, ...] = ()
    needed: bool = False
    default: object = None

    def value(self, text: str) -> object:
        """What the person typed, as what it should be. Raises ValueError."""
        if self.choices and text not in self.choices:
            raise ValueError(f"{self.name} is one of {', '.join(self.choices)}")
        match self.kind:
            case "yes or no":
                if text.lower() not in ("yes", "no", "true", "false", "y", "n"):
                    raise ValueError(f"{self.name} is yes or no")
                return text.lower() in ("yes", "true", "y")
            case "whole number":
                return int(text)
            case "number":
                return float(text)
            case _:
                return text


@dataclass(frozen=True, slots=True)
class Question:
    """What a server asks a person; with an `address`, to open it and do there what it wants."""

    server: str
    message: str
    fields: tuple[Field, ...] = ()
    address: str = ""

    @property
    def proposed(self) -> Mapping[str, object]:
        """What the server takes where the person says nothing of it."""
        return {each.name: each.default for each in self.fields if each.default is not None}


Answer: TypeAlias = Mapping[str, object] | None
"""The values of the fields; None: the person will not say."""
Person: TypeAlias = Callable[[Question], Awaitable[Answer]]


class Asked:
    """Answers what servers ask. `person` is whoever can be asked directly; else a question waits for `mcp.answer`."""

    def __init__(self, known: Known, bus: Bus) -> None:
        self._known, self._bus = known, bus
        self.person: Person | None = None
        self.waiting: dict[str, tuple[Question, asyncio.Future[Answer]]] = {}
        """By server: one question each."""
        self.landing: Landing | None = None
        self.open: Callable[[str, str], Awaitable[object]] | None = None
        """Shows a person the page of a sign-in: of whom, and where it is."""

    def of(self, server: Server) -> Asking:
        """What answers this server."""

        async def answer(kind: str, what: Mapping[str, Any]) -> Mapping[str, Any]:
            match kind:
                case "elicit":
                    return await self._elicit(server, what)
                case "kept":
                    return {"text": await self._known.kept(server, _part(what["name"]))}
                case "keep":
                    await self._known.keep(server, _part(what["name"]), str(what["text"])[:LONGEST_KEPT])
                    return {}
                case "open":
                    return await self._open(server, str(what["address"]))
                case "code":
                    return await self._code()
                case _:
                    return {}

        return answer

    async def _elicit(self, server: Server, what: Mapping[str, Any]) -> Mapping[str, Any]:
        question = question_of(server.name, what)
        if question is None or len(self.waiting) >= MOST_QUESTIONS or server.name in self.waiting:
            return {"action": "decline"}
        try:
            async with asyncio.timeout(PERSON_S):
                given = await (self.person(question) if self.person else self._wait_for_answer(question))
        except TimeoutError:
            return {"action": "cancel"}
        if given is None:
            return {"action": "decline"}
        return {"action": "accept", "content": {**question.proposed, **given} if question.fields else None}

    async def _wait_for_answer(self, question: Question) -> Answer:
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.waiting[question.server] = (question, waiting)
        how = " ".join(f"{each.name}=…" for each in question.fields) or "yes"
        where = f" at {question.address}" if question.address else ""
        hint = f"/mcp.answer {question.server} {how} – or /mcp.decline {question.server}"
        self._bus.publish(Notice("warning", f"The MCP server {question.server} asks{where}: {question.message}", hint))
        try:
            return await waiting
        finally:
            self.waiting.pop(question.server, None)

    def answer(self, server: str, given: Answer) -> None:
        """Gives what a server waits for. Raises CommandError."""
        if server not in self.waiting:
            raise CommandError(f"{one_line(server, 60)!r} asks nothing.", "/mcp.list tells which servers there are.")
        question, waiting = self.waiting[server]
        checked = None if given is None else _checked(question, given)
        if not waiting.done():
            waiting.set_result(checked)

    async def _open(self, server: Server, address: str) -> Mapping[str, Any]:
        if self.landing is None or self.open is None or not address.startswith(("https://", "http://")):
            raise CommandError(f"{server.name} wants a sign-in.", f"Sign in: /mcp.login {server.name}")
        from urllib.parse import parse_qs, urlsplit

        from backend_client.auth import Secret
        from backend_client.loopback import Visit

        state = parse_qs(urlsplit(address).query).get("state", [""])[0]
        self.landing.visit = Visit(address, self.landing.redirect, state, Secret(""))
        await self.open(server.name, one_line(address, 4000))
        return {}

    async def _code(self) -> Mapping[str, Any]:
        if self.landing is None or self.landing.visit is None:
            return {}
        async with asyncio.timeout(PERSON_S):
            code = await self.landing.code
        self.landing.signed_in = True
        return {"code": code, "state": self.landing.visit.state, "iss": self.landing.issuer}


def _part(name: str) -> str:
    if name not in ("tokens", "client", "scopes"):
        raise CommandError("There is no such part of a sign-in.")
    return name


def question_of(server: str, what: Mapping[str, Any]) -> Question | None:
    """A server's question, its words made safe; None for one that no person could answer."""
    message = sanitize(str(what.get("message", "")))[:1000]
    if what.get("mode") == "url":
        address = str(what.get("url") or "")
        return Question(server, message, (), one_line(address, 500)) if address.startswith("https://") else None
    schema = what.get("schema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or len(properties) > MOST_FIELDS:
        return None
    required = schema.get("required") if isinstance(schema, dict) else ()
    needed = set(required) if isinstance(required, list) else set()
    fields = [_field(name, said, name in needed) for name, said in properties.items()]
    found = tuple(each for each in fields if each is not None)
    return Question(server, message, found) if len(found) == len(fields) else None


def _field(name: str, said: object, needed: bool) -> Field | None:
    kind = KINDS.get(str(said.get("type"))) if isinstance(said, dict) else None
    if kind is None or not isinstance(said, dict) or one_line(name, 60) != name:
        return None
    listed = said.get("enum")
    choices = tuple(one_line(str(each), 80) for each in listed[:50]) if isinstance(listed, list) else ()
    about = one_line(str(said.get("description") or said.get("title") or ""), 200)
    return Field(name, kind, about, choices, needed, said.get("default"))


def _checked(question: Question, given: Mapping[str, object]) -> Mapping[str, object]:
    """The values as the server wants them, with its defaults for what was not said. Raises CommandError."""
    named = {each.name: each for each in question.fields}
    if strangers := given.keys() - named.keys():
        raise CommandError(f"{question.server} does not ask for {sorted(strangers)[0]!r}.", _asks(question))
    values = dict(question.proposed)
    try:
        values |= {name: named[name].value(str(text)) for name, text in given.items()}
    except ValueError as error:
        raise CommandError(f"That is no answer: {error}.", _asks(question)) from None
    if missing := [each.name for each in question.fields if each.needed and each.name not in values]:
        raise CommandError(f"{question.server} needs {missing[0]!r}.", _asks(question))
    return values


def _asks(question: Question) -> str:
    return "It asks for: " + ", ".join(f"{each.name} ({each.kind})" for each in question.fields) + "."
