"""What the command palette lists, derived from the registry: commands with their keys and help, then sessions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from sophia_core.commands import Command, Declaration, usage
from sophia_core.keymap import Keymap, show_key
from sophia_core.sanitize import one_line
from sophia_tui.screens.fuzzy import best


@dataclass(frozen=True, slots=True)
class PaletteChoice:
    """What was chosen: a command's name, or a session's id."""

    kind: Literal["command", "session"]
    value: str
    spec: Declaration | None = None
    """The declaration of a command."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the palette."""

    choice: PaletteChoice
    title: str
    help: str
    keys: str = ""
    disabled: str = ""
    """Why it cannot run now; such a row is listed but cannot be chosen."""
    detail: str = ""
    """How to write it as a command line, and what to know before."""
    search: str = ""
    """What a query is compared with; it starts with the title."""


@dataclass(frozen=True, slots=True)
class Row:
    """An entry and the characters of its title that a query matched."""

    entry: Entry
    offsets: tuple[int, ...] = ()


def command_entries(
    commands: Iterable[Command], keymap: Keymap, recents: Sequence[str] = (), *, ascii_only: bool = False
) -> list[Entry]:
    """An entry for every command of the palette: those used last first, then what can run now, then by name."""
    rank = {name: place for place, name in reversed(list(enumerate(recents)))}
    entries = [_entry(each, keymap, ascii_only) for each in commands if each.spec.palette]
    return sorted(entries, key=lambda each: (rank.get(each.title, len(recents)), bool(each.disabled), each.title))


def session_entries(sessions: Iterable[tuple[str, str]]) -> list[Entry]:
    """An entry for each (id, title), in the order given."""
    entries = []
    for session_id, title in sessions:
        shown = one_line(title) or "Untitled"
        entries.append(Entry(PaletteChoice("session", session_id), shown, "Open this session.", search=shown))
    return entries


def find(
    query: str, commands: Sequence[Entry], sessions: Sequence[Entry], limit: int, *, answered: bool = False
) -> list[Row]:
    """The rows for a query, best first; a command comes before a session that fits as well. Where the sessions are
    the store's answer to this query, those with a typing mistake come last."""
    entries = [*commands, *sessions]
    found = best(query, [entry.search for entry in entries], limit)
    rows = []
    for each in found:
        entry = entries[each.index]
        rows.append(Row(entry, tuple(at for at in each.offsets if at < len(entry.title))))
    if not answered:
        return rows
    listed = {row.entry.choice.value for row in rows}
    return [*rows, *(Row(each) for each in sessions if each.choice.value not in listed)][:limit]


def _entry(each: Command, keymap: Keymap, ascii_only: bool) -> Entry:
    known = _known(each.spec, keymap.keys(each.name), ascii_only)
    reason = each.disabled_reason()
    return replace(known, disabled=one_line(reason)) if reason else known


@lru_cache(maxsize=2048)
def _known(spec: Declaration, its_keys: tuple[str, ...], ascii_only: bool) -> Entry:
    """What does not change from one opening of the palette to the next."""
    slash = f"/{spec.slash or spec.name}"
    words = usage(spec).removeprefix(f"Usage: {spec.name}")
    asks = " (asks first)" if spec.dangerous else ""
    return Entry(
        choice=PaletteChoice("command", spec.name, spec),
        title=spec.name,
        help=one_line(spec.help),
        keys=" ".join(show_key(key, ascii_only=ascii_only) for key in its_keys),
        detail=f"In the prompt: {slash}{words}{asks}",
        search=f"{spec.name} {slash} {spec.help}",
    )
