"""A file that describes an MCP server: how it is reached, which of its tools may be used, and how long is waited.

One server a file, named after it: the person's own in `mcp/` beside the settings, a folder's in `.sophia/mcp/`. What a
folder brings starts nothing before a person has trusted its very text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from sophia_core.config_file import Problem, line_of
from sophia_core.sanitize import one_line
from sophia_core.setting_kinds import Address, Section
from sophia_core.shelves import Shelves, content_of, source_of

NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,29}")
PROJECT: Final = Path(".sophia") / "mcp"
SHIPPED: Final = Path(__file__).parent / "shipped"
MOST_PROBLEMS: Final = 20
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
Word = Annotated[str, Field(max_length=4096, pattern=r"^[^\x00]*$")]
Pattern = Annotated[str, Field(min_length=1, max_length=128)]
Header = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]


class ServerEntry(Section):
    """What such a file may say."""

    about: str = Field("", max_length=300, description="What it is for.")
    command: Word = Field("", description="The program that is the server; it is spoken to over its pipes.")
    args: tuple[Word, ...] = Field((), max_length=100, description="What the program is started with.")
    env: tuple[Variable, ...] = Field((), max_length=50, description="Variables of your environment that it is given.")
    folder: Word = Field("", description="Where it is started; empty: an empty folder of its own.")
    url: Address | None = Field(None, description="Or the address of a server that is spoken to over HTTP.")
    headers: dict[Header, Variable] = Field({}, description="Headers, each with the variable that holds its value.")
    oauth: bool = Field(False, description="Sign in there with `mcp.login`.")
    client_id: str = Field("", max_length=500, description="Who we are there, where it registers nobody by itself.")
    client_secret: Variable | Literal[""] = Field("", description="The variable that holds the secret of `client_id`.")
    client_key: Variable | Literal[""] = Field("", description="Or the one that holds its private key, as PEM.")
    alone: bool = Field(False, description="Sign in as `client_id` with its secret or key; no person is asked.")
    scopes: tuple[Pattern, ...] = Field((), max_length=50, description="What is asked for when signing in.")
    handshake: bool = Field(False, description="Speak the older protocol, in which some servers ask a person things.")
    tools: tuple[Pattern, ...] = Field(
        ("*",), max_length=500, description="Which tools may be used; `*` stands for anything."
    )
    reads: tuple[Pattern, ...] = Field(
        (), max_length=500, description="Which of them only look, so that nobody is asked."
    )
    start_s: float = Field(30.0, gt=0, le=600, description="How long it may take to begin.")
    call_s: float = Field(120.0, gt=0, le=3600, description="How long a call may take.")
    enabled: bool = Field(True, description="Whether it is used at all.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.command) == bool(self.url):
            raise ValueError("a server has either a `command` or a `url`")
        if self.url is None and (self.headers or self.oauth):
            raise ValueError("`headers` and `oauth` are for a server with a `url`")
        if (self.client_secret or self.client_key) and not self.client_id:
            raise ValueError("`client_secret` and `client_key` belong to a `client_id`")
        if self.alone and not (self.oauth and (self.client_secret or self.client_key)):
            raise ValueError("`alone` needs `oauth = true` and a `client_secret` or a `client_key`")
        if self.url is not None and (self.args or self.env or self.folder):
            raise ValueError("`args`, `env` and `folder` are for a server with a `command`")
        return self


@dataclass(frozen=True, slots=True)
class Server:
    """One server as it is configured."""

    name: str
    entry: ServerEntry
    path: Path | None = None
    digest: str = ""
    """SHA-256 of the file: what a person trusted was this text and no other."""
    project: bool = False
    """True for one that came with a folder rather than from the person."""
    source: str = field(default="", repr=False)

    @property
    def where(self) -> str:
        """How it is reached, made safe to show."""
        if self.entry.url is not None:
            return one_line(self.entry.url, 200)
        return one_line(" ".join((self.entry.command, *self.entry.args)), 200)

    def allows(self, tool: str) -> bool:
        """Whether this tool of it may be used."""
        return any(fnmatchcase(tool, each) for each in self.entry.tools)

    def only_reads(self, tool: str) -> bool:
        """Whether the person said that this tool only looks. What the server says of that counts for nothing."""
        return any(fnmatchcase(tool, each) for each in self.entry.reads)


def read_server(path: Path, project: bool = False) -> tuple[Server | None, list[Problem]]:
    """The server of a file, and what is wrong with it; with a problem there is none."""
    content = content_of(path, "server")
    if isinstance(content, Problem):
        return None, [content]
    return parse_server(path.stem, content, path, project)


def parse_server(
    name: str, content: bytes, path: Path | None = None, project: bool = False
) -> tuple[Server | None, list[Problem]]:
    """The server in the content of a file."""
    where = str(path or name)
    if not NAME.fullmatch(name):
        fix = "Use small letters, digits, _ and -, thirty at most."
        return None, [Problem(where, f"{name[:60]!r} cannot be a server's name.", fix)]
    source = source_of(content, where, foreign=True)
    if isinstance(source, Problem):
        return None, [source]
    try:
        entry = ServerEntry.model_validate(source.tables)
    except ValidationError as error:
        return None, [_problem(where, source.text, each) for each in error.errors()[:MOST_PROBLEMS]]
    return Server(name, entry, path, source.digest, project, source.text), []


def _problem(where: str, text: str, error: Mapping[str, Any]) -> Problem:
    location = tuple(part for part in error["loc"] if part != "[key]")
    line = line_of(text, location) if location else None
    name = ".".join(map(str, location))
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "is not something that a server's file says"
    told = one_line(f"{name!r}: {message}." if name else f"{message}.", 300)
    return Problem(f"{where}:{line}" if line else where, told, "docs/mcp.md tells what such a file says.")


class Library(Shelves[Server]):
    """Reads the files of servers, keeps what was trusted, and writes the person's own. All of it blocks, shortly."""

    def __init__(self, own: Path, work: Path, trusted: Path) -> None:
        super().__init__(SHIPPED, work / PROJECT, own, trusted, read_server, "server")

    def keep(self, name: str, text: str, *, replace: bool = False) -> Path:
        """Writes a server of the person's own. Raises ValueError for a bad name or text, FileExistsError, OSError."""
        _, problems = parse_server(name, text.encode())
        if problems:
            raise ValueError(str(problems[0]))
        return self.put(name, text, replace=replace)
