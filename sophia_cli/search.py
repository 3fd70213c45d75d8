"""`sophia sessions search`: titles first, then what was said, with what fits marked on a terminal."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sophia_cli.console import PLAIN, Console
from sophia_cli.progress import ProgressLine
from sophia_cli.results import as_json, show, table
from sophia_core.present import when
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from local_store import Found, Hit, Session
    from sophia_core.runtime import Runtime

MARK = "\x1b[1m"
MOST_TITLES = 10


async def search(args: argparse.Namespace, runtime: Runtime, console: Console) -> None:
    """Searches, once everything is indexed, and prints what was found."""
    query = " ".join(args.query)
    found = await runtime.sessions.find(query, limit=args.limit)
    if found.pending:
        await _index(runtime, console)
        found = await runtime.sessions.find(query, limit=args.limit)
    if args.json:
        console.out_raw(f"{as_json(list(found.hits))}\n")
    elif not found.hits and not found.sessions:
        show([], console)
    elif console.out_stream.terminal:
        console.out_raw(_for_a_person(found, console))
    else:
        console.out(_as_tables(found, console))
    if not found.complete:
        console.err("Not everything was looked through in time. Add a word or a filter to narrow it.\n")


async def _index(runtime: Runtime, console: Console) -> None:
    """Messages of a large import are indexed after it; here somebody waits for that."""
    line = ProgressLine(console)
    try:
        store = await runtime.vault.get()
        await store.search.indexing.run(
            lambda done, total: line.show("indexing", done / max(total, 1), "Indexing for search"), rest=False
        )
    finally:
        line.clear()


def _as_tables(found: Found, console: Console) -> str:
    titled = [(each.id, when(each.updated_at), each.title) for each in found.sessions[:MOST_TITLES]]
    rows = [(each.session_id, when(each.created_at), each.role, each.snippet) for each in found.hits]
    tables = [
        table(("session", "used", "title"), titled, console) if titled else "",
        table(("session", "said", "role", "text"), rows, console) if rows else "",
    ]
    return "\n".join(each for each in tables if each)


def _for_a_person(found: Found, console: Console) -> str:
    titles = "".join(_titled(each) for each in found.sessions[:MOST_TITLES])
    hits = "\n".join(_said(each, console) for each in found.hits)
    return f"{titles}\n{hits}" if titles and hits else titles or hits


def _titled(session: Session) -> str:
    return f"{session.id}  {when(session.updated_at)}  {one_line(session.title)}\n"


def _said(hit: Hit, console: Console) -> str:
    title = one_line(hit.session_title) or "Untitled"
    head = console.dim(f"{hit.session_id}  {when(hit.created_at)}  {hit.role}")
    return f"{head}  {title}\n    {marked(hit.snippet, hit.matches, colours=console.look.colours)}\n"


def marked(snippet: str, matches: tuple[tuple[int, int], ...], *, colours: bool) -> str:
    """The snippet as one safe line, what fits in bold."""
    pieces, at = [], 0
    for begin, end in matches:
        pieces += [_plain(snippet[at:begin]), _bold(_plain(snippet[begin:end]), colours=colours)]
        at = end
    return "".join([*pieces, _plain(snippet[at:])]).strip()


def _bold(text: str, *, colours: bool) -> str:
    return f"{MARK}{text}{PLAIN}" if colours else text


def _plain(text: str) -> str:
    """The piece without line breaks and escape sequences; the spaces at its ends part it from its neighbours."""
    left, right = text[:1].isspace(), text[-1:].isspace()
    body = one_line(text, limit=100_000)
    return f"{' ' if left else ''}{body}{' ' if right and body else ''}"
