"""The tables of the metrics: by model, tenant and target; routes, slow turns, this app, objectives, alerts, cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, TypeAlias, TypeVar

from backend_client.scraping import types as signals
from sophia_core.metrics.ports import Alert, ObjectiveState, Reading
from sophia_core.metrics.view.cards import TONES, health_sign
from sophia_core.metrics.view.seen import OwnNumber, Seen, SlowTurn, Way
from sophia_core.metrics.view.table import Cell, Column, Row, Table, number, ordered, words
from sophia_core.metrics.view.text import Tone
from sophia_core.metrics.view.words import NOTHING, count, exact_share, many, seconds, share, span
from sophia_core.present import dollars
from sophia_core.sanitize import one_line

Kind = TypeVar("Kind")
Section: TypeAlias = Literal[
    "overview", "models", "tenants", "targets", "routes", "slow", "own", "objectives", "alerts", "cost", "plot"
]
TITLES: Final[Mapping[Section, str]] = {
    "overview": "Overview",
    "plot": "Plot",
    "models": "Models",
    "tenants": "Tenants",
    "targets": "Targets",
    "routes": "Routes",
    "slow": "Slow turns",
    "own": "This app",
    "objectives": "Objectives",
    "alerts": "Alerts",
    "cost": "Cost",
}
"""In the order in which they stand beside each other."""
MOST_ROWS: Final = 200
"""A label with a thousand values is cut, and the cut is said."""
SEVERITIES: Final = ("info", "warning", "error", "critical")
ORDER: Final[Mapping[Section, tuple[str, bool]]] = {
    "models": ("out", True),
    "tenants": ("out", True),
    "targets": ("health", True),
    "slow": ("took", True),
    "alerts": ("severity", True),
    "objectives": ("state", True),
}
"""By which column each is sorted until somebody chooses, and whether the largest comes first."""


def table_of(
    seen: Seen, section: Section, sort: str = "", *, down: bool | None = None, ascii_only: bool = False
) -> Table:
    """A section as a table, in the order of a column: the usual one unless it has the one that is asked for."""
    table = _TABLES[section](seen, ascii_only)
    usual, usual_down = ORDER.get(section, ("", False))
    if not any(column.key == sort for column in table.columns):
        sort, down = usual, usual_down if down is None else down
    if not sort:
        return table
    return ordered(table, sort, down=_largest_first(table, sort) if down is None else down)


def _largest_first(table: Table, key: str) -> bool:
    """Numbers begin with the largest, words with A."""
    return any(column.key == key and column.right for column in table.columns)


Of: TypeAlias = tuple[str, Reading, Mapping[str, float]]
"""What something is called, whoever told it, and its numbers."""


def _by_label(seen: Seen, label: str) -> list[Of]:
    readings = [reading for target in seen.targets if (reading := seen.readings.get(target.name)) is not None]
    return [
        (name, reading, values)
        for reading in readings
        if reading.health != "down"
        for name, values in reading.by.get(label, {}).items()
    ]


def _cut(found: Sequence[Kind], row: Callable[[Kind], Row], columns: int, what: str) -> tuple[Row, ...]:
    """A row for each of them, as far as anybody reads; no more are made."""
    rows = tuple(row(each) for each in found[:MOST_ROWS])
    over = len(found) - MOST_ROWS
    if over <= 0:
        return rows
    return (*rows, Row("", (Cell(f"and {over:,} more {what}", tone="muted"), *[Cell("")] * (columns - 1))))


def _models(seen: Seen, ascii_only: bool) -> Table:
    columns = (
        Column("model", "Model"),
        Column("target", "Target", rank=3),
        Column("running", "Running", right=True),
        Column("waiting", "Waiting", right=True),
        Column("kv", "KV", right=True, rank=1),
        Column("in", "In/s", right=True, rank=2),
        Column("out", "Out/s", right=True),
        Column("errors", "Errors/s", right=True, rank=4),
    )

    def row(of: Of) -> Row:
        name, reading, values = of
        told = (
            *_named(name, reading),
            *_counts(values, signals.RUNNING, signals.WAITING),
            number(share(values.get(signals.KV_CACHE)), values.get(signals.KV_CACHE)),
            *_counts(values, signals.PROMPT_RATE, signals.GENERATION_RATE),
            _errors(values),
        )
        return Row(f"{told[0].text} {reading.target}", told)

    rows = _cut(_by_label(seen, "model"), row, len(columns), "models")
    return Table(columns, rows, "No server tells numbers by model.")


def _named(name: str, reading: Reading) -> tuple[Cell, Cell]:
    return words(one_line(name, 80)), words(one_line(reading.target, 40))


def _counts(values: Mapping[str, float], *names: str) -> Iterator[Cell]:
    for name in names:
        yield number(count(values.get(name)), values.get(name))


def _errors(values: Mapping[str, float]) -> Cell:
    errors = values.get(signals.ERROR_RATE)
    return number(count(errors), errors, "bad" if errors else "")


def _tenants(seen: Seen, ascii_only: bool) -> Table:
    columns = (
        Column("tenant", "Tenant"),
        Column("target", "Target", rank=3),
        Column("requests", "Requests/s", right=True),
        Column("running", "Running", right=True, rank=2),
        Column("in", "In/s", right=True, rank=1),
        Column("out", "Out/s", right=True),
        Column("errors", "Errors/s", right=True),
    )

    def row(of: Of) -> Row:
        name, reading, values = of
        rates = _counts(values, signals.REQUEST_RATE, signals.RUNNING, signals.PROMPT_RATE, signals.GENERATION_RATE)
        told = (*_named(name, reading), *rates, _errors(values))
        return Row(f"{told[0].text} {reading.target}", told)

    rows = _cut(_by_label(seen, "tenant"), row, len(columns), "tenants")
    return Table(columns, rows, "No gateway tells numbers by tenant.")


def _targets(seen: Seen, ascii_only: bool) -> Table:
    columns = (
        Column("target", "Target"),
        Column("kind", "Kind", rank=1),
        Column("health", "Health"),
        Column("age", "Answered", right=True, rank=2),
        Column("took", "Took", right=True, rank=3),
        Column("reason", "What is wrong"),
    )
    rows = []
    for target in seen.targets:
        reading = seen.readings.get(target.name)
        health = reading.health if reading else "new"
        age = seen.at - reading.at if reading and reading.health in ("up", "stale") else None
        rows.append(
            Row(
                target.name,
                (
                    words(one_line(target.name, 40)),
                    words(target.kind),
                    Cell(
                        f"{health_sign(health, ascii_only=ascii_only)} {health}",
                        float(("up", "new", "stale", "down").index(health)),
                        TONES[health],
                    ),
                    number(NOTHING if age is None else f"{span(age)} ago", age),
                    number(seconds(reading.took_s) if reading else NOTHING, reading.took_s if reading else None),
                    words(one_line(reading.reason, 200) if reading else ""),
                ),
            )
        )
    return Table(columns, tuple(rows), "No server tells numbers yet; the overview says how to add one.")


def _routes(seen: Seen, ascii_only: bool) -> Table:
    columns = (
        Column("provider", "Provider"),
        Column("model", "Model", rank=2),
        Column("verdict", "Next question"),
        Column("breaker", "Breaker"),
        Column("seen", "Last minute", rank=1),
        Column("reason", "Why", rank=3),
    )
    rows = [
        Row(
            f"{way.provider} {way.model}",
            (
                words(one_line(way.provider, 40)),
                words(one_line(way.model, 60)),
                words(one_line(way.verdict, 80), "good" if way.verdict == "asked first" else ""),
                words(way.breaker, _breaker_tone(way)),
                words(one_line(way.seen, 80)),
                words(one_line(way.reason, 120)),
            ),
        )
        for way in seen.ways
    ]
    return Table(columns, tuple(rows), "Nobody was asked yet.")


def _breaker_tone(way: Way) -> Tone:
    return {"open": "bad", "forced open": "bad", "half open": "warning", "forced closed": "warning"}.get(
        way.breaker, ""
    )  # type: ignore[return-value]


def _slow(seen: Seen, ascii_only: bool) -> Table:
    columns = (
        Column("at", "At"),
        Column("took", "Took", right=True),
        Column("first", "First token", right=True),
        Column("provider", "Provider", rank=1),
        Column("model", "Model", rank=2),
        Column("ended", "Ended"),
    )
    rows = tuple(_slow_row(each) for each in seen.slow)
    return Table(columns, rows, "No turn was measured yet. Enter on one shows where its time went.")


def _slow_row(turn: SlowTurn) -> Row:
    told = (
        Cell(clock(turn.at), turn.at),
        number(seconds(turn.duration_s), turn.duration_s),
        number(seconds(turn.first_token_s), turn.first_token_s),
        words(one_line(turn.provider, 40)),
        words(one_line(turn.model, 60)),
        words("well" if turn.ok else one_line(turn.error, 80) or "failed", "" if turn.ok else "bad"),
    )
    return Row(turn.answer, told, ("trace.show", turn.answer))


def _own(seen: Seen, ascii_only: bool) -> Table:
    columns = (
        Column("name", "Name"),
        Column("labels", "Of what", rank=1),
        Column("value", "Value", right=True),
        Column("p50", "p50", right=True, rank=3),
        Column("p95", "p95", right=True, rank=2),
    )
    rows = _cut(seen.own, _own_row, len(columns), "numbers")
    return Table(columns, rows, "This app has measured nothing of itself yet.")


def _own_row(own: OwnNumber) -> Row:
    found = own.quantiles
    value = found.count if own.value is None and found else own.value
    told = (
        words(one_line(own.name, 60)),
        words(one_line(own.labels, 80)),
        number(seconds(value) if own.seconds and found is None else count(value), value),
        number(seconds(found.p50) if found else "", found.p50 if found else None),
        number(seconds(found.p95) if found else "", found.p95 if found else None),
    )
    return Row(f"{own.name}{{{own.labels}}}", told)


def _objectives(seen: Seen, ascii_only: bool) -> Table:
    columns = (
        Column("objective", "Objective"),
        Column("state", "State"),
        Column("target", "Wanted", right=True),
        Column("good", "Was", right=True),
        Column("left", "Budget left", right=True),
        Column("burn", "Spent at", rank=1),
        Column("events", "Measured", right=True, rank=2),
    )
    return Table(columns, tuple(_objective_row(each) for each in seen.objectives), "No objective is measured yet.")


def _objective_row(each: ObjectiveState) -> Row:
    tones: Mapping[str, Tone] = {"ok": "good", "burning": "warning", "breached": "bad", "unknown": "muted"}
    known = each.state != "unknown"  # of a handful of events no share says anything yet
    burn = "  ".join(f"{rate:.1f}× in {window}" for window, rate in each.burn.items()) if known else ""
    left = each.budget_left if known else None
    told = (
        words(one_line(each.name, 60)),
        Cell(
            each.state if known or not each.events else "too few yet",
            float(("unknown", "ok", "burning", "breached").index(each.state)),
            tones[each.state],
        ),
        number(exact_share(each.target), each.target),
        number(exact_share(each.good), each.good),
        number(share(left), left, "bad" if left is not None and left <= 0 else ""),
        words(burn),
        number(count(float(each.events)), float(each.events)),
    )
    return Row(each.name, told)


def _alerts(seen: Seen, ascii_only: bool) -> Table:
    columns = (
        Column("severity", "Severity"),
        Column("since", "Since", right=True),
        Column("state", "State", rank=1),
        Column("source", "Where", rank=2),
        Column("rule", "Rule", rank=3),
        Column("summary", "What"),
    )
    rows = tuple(_alert_row(each, seen.at) for each in seen.alerts)
    return Table(columns, rows, "Nothing is wrong that a rule knows of.")


def _alert_row(alert: Alert, now: float) -> Row:
    tones: Mapping[str, Tone] = {"critical": "bad", "error": "bad", "warning": "warning", "info": ""}
    state = {"trigger": "open", "acknowledge": "somebody is at it", "resolve": "over"}[alert.action]
    told = (
        Cell(alert.severity, float(SEVERITIES.index(alert.severity)), tones[alert.severity]),
        number(span(now - alert.at), now - alert.at),
        words(state),
        words(one_line(alert.source, 60)),
        words(one_line(alert.rule, 60)),
        words(one_line(alert.summary, 300)),
    )
    return Row(alert.key, told)


def _cost(seen: Seen, ascii_only: bool) -> Table:
    columns = (
        Column("what", "What"),
        Column("usd", "Cost", right=True),
        Column("limit", "Of", right=True),
        Column("used", "Used", right=True),
        Column("note", "", rank=1),
    )
    rows = []
    for each in seen.costs:
        part = each.usd / each.limit_usd if each.limit_usd else None
        tone: Tone = "" if part is None or part < 0.8 else "warning" if part < 1 else "bad"
        limit = dollars(each.limit_usd) if each.limit_usd is not None else ""
        told = (
            words(one_line(each.what, 60)),
            number(dollars(each.usd), each.usd),
            number(limit, each.limit_usd),
            number(share(part) if part is not None else "", part, tone),
            words(one_line(each.note, 120)) if each.note else Cell(""),
        )
        rows.append(Row(each.what, told))
    return Table(columns, tuple(rows), "Nothing has cost anything yet.")


def clock(at: float) -> str:
    """A moment as the time of day here."""
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")


def summary(seen: Seen, section: Section) -> str:
    """What the name of a section says behind it: how many stand in it that want to be seen."""
    match section:
        case "alerts" if seen.alerts:
            return f" {len(seen.alerts)}"
        case "objectives":
            bad = sum(each.state in ("burning", "breached") for each in seen.objectives)
            return f" {bad}" if bad else ""
        case "targets":
            bad = sum(each.health in ("down", "stale") for each in seen.readings.values())
            return f" {bad}" if bad else ""
        case _:
            return ""


def trouble_words(seen: Seen) -> str:
    """`2 alerts`, or nothing."""
    return many(len(seen.alerts), "alert") if seen.alerts else ""


_TABLES: Final[Mapping[Section, Callable[[Seen, bool], Table]]] = {
    "models": _models,
    "tenants": _tenants,
    "targets": _targets,
    "routes": _routes,
    "slow": _slow,
    "own": _own,
    "objectives": _objectives,
    "alerts": _alerts,
    "cost": _cost,
}
