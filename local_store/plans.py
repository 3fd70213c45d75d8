"""How the database is asked for what a query means.

What a message can be filtered by stands in the index beside its words, so a filter costs about as much as one more
word. What does not stand there is a condition on the rows that the index gives.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from local_store.query import THIS_SESSION, Filter, Query, Term
from local_store.text import title_key

if TYPE_CHECKING:
    from sqlite3 import Connection

MARK = "\ue000"
"""What every facet begins with; no typed word does."""
ROLES = ("user", "assistant", "system", "tool")
MOST_SESSIONS = 400
"""So many sessions are looked up in the index by name; more are a condition."""
MOST_PARTS = 2_000
MOST_MONTHS = 48
"""So many months are looked up in the index; where more fit, most messages do."""
LEAST_ID = 6
KINDS = {"image": ("image",), "file": ("file",), "tool": ("tool_call", "tool_result")}
_ID = re.compile(r"[0-9A-Za-z]+")


@dataclass(slots=True)
class Plan:
    """What to look up in the index, and what the rows found there must fulfil."""

    terms: list[Term] = field(default_factory=list)
    """Words that the index knows."""
    wanted: list[list[str]] = field(default_factory=list)
    """Of each list of facets, one is there."""
    unwanted: list[str] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    """Facets that narrow the index to about the right time; what is not indexed yet is not told by them."""
    elsewhen: bool = False
    """Whether that leaves any messages out."""
    conditions: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    impossible: bool = False
    """True when nothing can be found."""

    def require(self, condition: str, *values: Any) -> None:
        """Ask for it of every row: `m` is the message, `s` its session."""
        self.conditions.append(condition)
        self.values.extend(values)

    def expression(self, *, begun: bool) -> str | None:
        """What to match in the index; None when all must be looked through. `begun`: the last word may go on."""
        positive = [_quoted(each, begun=begun) for each in self.terms if not each.excluded]
        positive += [_any(facets) for facets in self.wanted]
        if self.elsewhen:
            positive.append(_any(self.times or ["t"]))
        negative = [_quoted(each, begun=False) for each in self.terms if each.excluded]
        negative += [_any(self.unwanted)] if self.unwanted else []
        if not positive and not negative:
            return None
        found = " AND ".join(positive or [_any([f"r{role}" for role in ROLES])])
        return found if not negative else f"({found}) NOT ({' OR '.join(negative)})"

    @property
    def grows(self) -> bool:
        """Whether the last word may only have been begun."""
        return any(each.unfinished for each in self.terms)


def _quoted(term: Term, *, begun: bool) -> str:
    return '"' + term.text.replace('"', '""') + '"' + ("*" if begun and term.unfinished else "")


def _any(facets: Sequence[str]) -> str:
    return "facets : (" + " OR ".join(f'"{MARK}{each}"' for each in facets) + ")"


def plan(connection: Connection, query: Query, session: str | None) -> Plan:
    """Return how to find what `query` means; `session` is the one that `in:session` means."""
    made = Plan()
    for term in query.terms:
        _add_term(made, term)
    _add_times(connection, made, query)
    of_sessions = [each for each in query.filters if each.name in ("in", "tag", "folder", "is")]
    if of_sessions:
        _add_sessions(connection, made, of_sessions, session)
    for each in query.filters:
        if each.name == "role":
            _add_facets(made, [f"r{each.value}"], excluded=each.excluded)
        elif each.name == "has":
            _add_has(connection, made, each)
        elif each.name in ("provider", "model", "persona"):
            _add_named(connection, made, each)
    if not any(not each.excluded for each in query.terms):
        # Where nothing was typed to look for, an answer without any content is nothing to show.
        made.require("(m.text <> '' OR EXISTS (SELECT 1 FROM part WHERE part.message_id = m.id))")
    return made


def _add_term(made: Plan, term: Term) -> None:
    if term.in_index:
        made.terms.append(term)
        return
    made.require(f"instr(lower(m.text), lower(?)) {'=' if term.excluded else '>'} 0", term.text)


def _add_facets(made: Plan, facets: list[str], *, excluded: bool) -> None:
    if excluded:
        made.unwanted.extend(facets)
    elif facets:
        made.wanted.append(facets)
    else:
        made.impossible = True


def _add_times(connection: Connection, made: Plan, query: Query) -> None:
    if query.since is not None:
        made.require("m.created_at >= ?", query.since)
    if query.until is not None:
        made.require("m.created_at < ?", query.until)
    if query.since is None and query.until is None:
        return
    first = _month(query.since) if query.since is not None else ""
    last = _month(query.until - 1) if query.until is not None else "~"
    known = connection.execute("SELECT name FROM search_name WHERE kind = 'month'").fetchall()
    fitting = [name for (name,) in known if first <= name <= last]
    days = {name: _days(name, query.since, query.until) for name in {first, last}.intersection(fitting)}
    made.elsewhen = len(fitting) < len(known) or any(days.values())
    if len(fitting) > MOST_MONTHS:
        made.elsewhen = False
    made.times = [facet for name in fitting for facet in days.get(name) or [f"t{name}"]]


def _days(name: str, since: int | None, until: int | None) -> list[str]:
    """The facets of the days of this month that are asked for; none where that is all of them."""
    try:
        begin = datetime(int(name[:4]), int(name[4:]), 1, tzinfo=UTC)
        end = datetime(begin.year + begin.month // 12, begin.month % 12 + 1, 1, tzinfo=UTC)
    except ValueError:
        return []
    first, last = _day(begin), _day(end - timedelta(milliseconds=1))
    from_day = first if since is None else max(first, _day_of(since))
    to_day = last if until is None else min(last, _day_of(until - 1))
    if (from_day, to_day) == (first, last):
        return []
    return [f"d{day:08d}" for day in range(from_day, to_day + 1)]


def _day(moment: datetime) -> int:
    return moment.year * 10_000 + moment.month * 100 + moment.day


def _day_of(at_ms: int) -> int:
    return _day(datetime.fromtimestamp(max(0, at_ms) / 1000, UTC))


def _month(at_ms: int) -> str:
    """The month as the index tells it: in universal time."""
    moment = datetime.fromtimestamp(max(0, at_ms) / 1000, UTC)
    return f"{moment.year:04d}{moment.month:02d}"


def _add_sessions(connection: Connection, made: Plan, filters: Sequence[Filter], session: str | None) -> None:
    conditions, values = session_conditions(filters, session)
    asked = " AND ".join(conditions)
    found = _ids(connection, asked, values)
    if len(found) <= MOST_SESSIONS:
        _add_facets(made, [f"s{id}" for id in found], excluded=False)
        return
    others = _ids(connection, f"NOT ({asked})", values)
    if len(others) <= MOST_SESSIONS:
        _add_facets(made, [f"s{id}" for id in others], excluded=True)
        return
    made.require(asked, *values)


def _ids(connection: Connection, condition: str, values: Sequence[Any]) -> list[str]:
    statement = f"SELECT s.id FROM session s WHERE {condition} LIMIT {MOST_SESSIONS + 1}"
    return [row[0] for row in connection.execute(statement, list(values))]


def session_conditions(filters: Sequence[Filter], session: str | None) -> tuple[list[str], list[Any]]:
    """Return what the sessions that these filters mean fulfil, `s` being the session."""
    conditions: list[str] = []
    values: list[Any] = []
    for each in filters:
        condition, own = _session_condition(each, session)
        conditions.append(f"NOT ({condition})" if each.excluded else f"({condition})")
        values.extend(own)
    return conditions, values


def _session_condition(each: Filter, session: str | None) -> tuple[str, list[Any]]:
    if each.name == "is":
        return f"s.{'pinned' if each.value == 'pinned' else 'archived'} = 1", []
    if each.name == "tag":
        return "EXISTS (SELECT 1 FROM tag WHERE session_id = s.id AND lower(name) = lower(?))", [each.value]
    if each.name == "folder":
        inside = each.value.rstrip("/") or each.value
        return "lower(s.folder) = lower(?) OR instr(lower(s.folder), lower(?)) = 1", [inside, f"{inside}/"]
    if each.value.casefold() in THIS_SESSION:
        return "s.id = ?", [session or ""]
    words = title_key(each.value).split() or [title_key(each.value)]
    titled = " AND ".join(["instr(s.title_key, ?) > 0"] * len(words))
    if len(each.value) >= LEAST_ID and _ID.fullmatch(each.value):
        return f"({titled}) OR substr(s.id, 1, ?) = ?", [*words, len(each.value), each.value.upper()]
    return titled, list(words)


def _add_has(connection: Connection, made: Plan, each: Filter) -> None:
    if each.value == "code":
        _add_facets(made, ["c"], excluded=each.excluded)
        return
    kinds = KINDS[each.value]
    places = ", ".join("?" * len(kinds))
    holds = f"EXISTS (SELECT 1 FROM part WHERE part.message_id = m.id AND part.kind IN ({places}))"
    holds = f"(m.role = 'tool' OR {holds})" if each.value == "tool" else holds
    made.require(f"NOT {holds}" if each.excluded else holds, *kinds)
    if not each.excluded:
        _narrow_to_parts(connection, made, kinds, tools=each.value == "tool")


def _narrow_to_parts(connection: Connection, made: Plan, kinds: tuple[str, ...], *, tools: bool) -> None:
    places = ", ".join("?" * len(kinds))
    some = f"SELECT message_id FROM part WHERE kind IN ({places}) LIMIT {MOST_PARTS + 1}"
    if connection.execute(f"SELECT count(*) FROM ({some})", kinds).fetchone()[0] > MOST_PARTS:
        return
    found = connection.execute(
        f"SELECT DISTINCT m.session_id FROM message m WHERE m.id IN ({some}) LIMIT {MOST_SESSIONS + 1}", kinds
    ).fetchall()
    if len(found) <= MOST_SESSIONS:
        _add_facets(made, [*(["rtool"] if tools else []), *(f"s{id}" for (id,) in found)], excluded=False)


def _add_named(connection: Connection, made: Plan, each: Filter) -> None:
    wanted = each.value.casefold()
    statement = "SELECT name FROM search_name WHERE kind = ?"
    if each.name == "persona":
        statement += " UNION SELECT persona FROM session WHERE persona IS NOT NULL"
    names = [name for (name,) in connection.execute(statement, [each.name]) if wanted in name.casefold()]
    letter = {"provider": "p", "model": "m", "persona": "w"}[each.name]
    facets = [f"{letter}{name.encode().hex().upper()}" for name in names]
    if each.name == "persona" and names:
        places = ", ".join("?" * len(names))
        found = _ids(connection, f"s.persona IN ({places})", names)
        facets += [f"s{id}" for id in found] if len(found) <= MOST_SESSIONS else []
    _add_facets(made, facets, excluded=each.excluded)
