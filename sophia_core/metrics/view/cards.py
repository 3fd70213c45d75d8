"""The overview: one card for each machine, several beside each other where there is room. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from backend_client.scraping import types as signals
from sophia_core.metrics.ports import Health, Quantiles
from sophia_core.metrics.view.nodes import Node, nodes_of
from sophia_core.metrics.view.seen import Seen
from sophia_core.metrics.view.text import Line, Piece, Tone, bar, fitted, side_by_side
from sophia_core.metrics.view.words import NOTHING, count, degrees, known, many, seconds, share, sizes, span, watts
from sophia_core.sanitize import one_line

NARROW: Final = 38
"""Cells that a card needs."""
WIDE: Final = 64
"""Cells beyond which it gains nothing."""
WORD: Final = 12
"""Cells of the word at the left of a line."""
GAP: Final = 2
MOST_GPUS: Final = 16
FULL_AT: Final = 0.9
HOT_AT: Final = 85.0
TONES: Final[Mapping[Health, Tone]] = {"up": "good", "new": "muted", "stale": "warning", "down": "bad"}
DURATIONS: Final = (
    (signals.FIRST_TOKEN, "First token"),
    (signals.BETWEEN_TOKENS, "Inter-token"),
    (signals.END_TO_END, "End to end"),
    (signals.QUEUE_TIME, "In queue"),
)
HOW_TO: Final = (
    "No server tells numbers yet.",
    "",
    "vLLM tells them at /metrics by itself; llama.cpp's server with --metrics.",
    "  · /metrics.find looks on this machine.",
    "  · /metrics.add NAME URL asks one that you know, such as",
    "    /metrics.add gpu http://127.0.0.1:9400/metrics",
    "",
    "What this app measures of itself is under “This app”.",
)
"""What is said while there is nothing to show."""


def overview(seen: Seen, width: int, *, ascii_only: bool = False) -> list[Line]:
    """All cards in so many cells; how to get one where there is none."""
    nodes = nodes_of(seen)
    if not nodes:
        return how_to(width, ascii_only=ascii_only)
    beside = max(1, min(len(nodes), (width + GAP) // (NARROW + GAP)))
    each = min(WIDE, (width - GAP * (beside - 1)) // beside)
    lines: list[Line] = []
    for first in range(0, len(nodes), beside):
        cards = [card(node, each, seen.at, ascii_only=ascii_only) for node in nodes[first : first + beside]]
        lines += [*side_by_side(cards, each, GAP, ascii_only=ascii_only), ()]
    return lines[:-1]


def how_to(width: int, *, ascii_only: bool = False) -> list[Line]:
    """What to do where nobody tells numbers."""
    lines: list[Line] = []
    for number, words in enumerate(HOW_TO):
        text = words.replace("·", "-").replace("“", '"').replace("”", '"') if ascii_only else words
        lines.append(fitted((Piece(text, "" if number == 0 else "muted"),), width, ascii_only=ascii_only))
    return lines


def card(node: Node, width: int, now: float, *, ascii_only: bool = False) -> list[Line]:
    """One machine: only what it tells, and why it does not tell more."""
    old = node.health in ("stale", "down")
    lines = [_title(node, width, now, ascii_only)]
    if node.reason and (node.ailing or node.health != "up"):
        lines.append((Piece(node.reason, "warning" if node.health == "up" else TONES[node.health]),))
    lines += _gpu(node, width, ascii_only)
    lines += _serving(node, width, ascii_only)
    lines += _machine(node, width, ascii_only)
    if len(lines) == 1 and node.health == "up":
        lines.append((Piece("It answers, and tells nothing that is known here.", "muted"),))
    if node.reason and node.health == "up" and not node.ailing:
        lines.append((Piece(node.reason, "muted"),))
    cut = [fitted(each, width, ascii_only=ascii_only) for each in lines]
    return [cut[0], *(_faded(each) for each in cut[1:])] if old else cut


def _title(node: Node, width: int, now: float, ascii_only: bool) -> Line:
    health = health_words(node.health, node.last, now)
    tone = TONES[node.health]
    if node.ailing and node.health == "up":
        health, tone = f"  {node.ailing} of them not well", "warning"
    sign = health_sign(node.health, ascii_only=ascii_only)
    about = f"  {many(len(node.targets), 'target')}" if len(node.targets) > 1 else ""
    return (Piece(f"{sign} ", tone), Piece(node.name, "title"), Piece(about, "muted"), Piece(health, tone))


def health_sign(health: Health, *, ascii_only: bool = False) -> str:
    """One sign for it, told apart without colours."""
    return {"up": "*" if ascii_only else "●", "new": "?" if ascii_only else "○", "stale": "~", "down": "!"}[health]


def health_words(health: Health, last: float | None, now: float) -> str:
    """What is to be said beside the name; nothing where all is well."""
    ago = f" for {span(now - last)}" if last is not None else ""
    return {"up": "", "new": "  not asked yet", "stale": f"  stale{ago}", "down": "  down"}[health]


def _faded(pieces: Line) -> Line:
    """What was true once: without the colours of what is true now."""
    return tuple(each if each.tone in ("bad", "warning") else Piece(each.text, "muted") for each in pieces)


def _word(text: str) -> Piece:
    return Piece(f"{text:<{WORD}}", "muted")


def _gauge(word: str, value: float | None, words: str, width: int, tone: Tone, ascii_only: bool) -> Line:
    # The figures stand in one column below each other, so that the eye can run down.
    long = max(6, min(24, (width - WORD) // 2 - 2))
    return (_word(word), *bar(value, long, tone, ascii_only=ascii_only), Piece(f" {words}"))


def _part(used: float | None, total: float | None) -> float | None:
    return used / total if used is not None and total else None


def _full(value: float | None, at: float = FULL_AT) -> Tone:
    return "warning" if value is not None and value >= at else "accent"


def _gpu(node: Node, width: int, ascii_only: bool) -> Iterator[Line]:
    values = node.values
    if signals.GPU_BUSY in values:
        busy = values[signals.GPU_BUSY]
        yield _gauge("GPU", busy, share(busy), width, "accent", ascii_only)
    if signals.GPU_MEMORY in values:
        used, total = values[signals.GPU_MEMORY], values.get(signals.GPU_MEMORY_TOTAL)
        part = _part(used, total)
        yield _gauge("GPU memory", part, sizes(used, total), width, _full(part), ascii_only)
    if signals.KV_CACHE in values:
        used = values[signals.KV_CACHE]
        yield _gauge("KV cache", used, share(used), width, _full(used), ascii_only)
    if signals.GPU_POWER in values or signals.GPU_TEMPERATURE in values:
        yield _power(values, width, ascii_only)
    if signals.GPU_MODULE_POWER in values:
        yield (_word("Module"), Piece(f"{watts(values[signals.GPU_MODULE_POWER])} with processor and memory"))
    if errors := values.get(signals.GPU_ERRORS):
        yield (_word("GPU error"), Piece(f"XID {errors:.0f}", "bad"))
    if len(node.gpus) > 1:
        yield from _each_gpu(node.gpus)


def _power(values: Mapping[str, float], width: int, ascii_only: bool) -> Line:
    power, limit = values.get(signals.GPU_POWER), values.get(signals.GPU_POWER_LIMIT)
    heat = values.get(signals.GPU_TEMPERATURE)
    of = f" of {watts(limit)}" if known(limit) else ""
    words = f"{power:.0f}{of}" if known(power) and of else watts(power)
    line = _gauge("Power", _part(power, limit), words, width, "accent", ascii_only)
    if heat is None:
        return line
    return (*line, Piece(f" {degrees(heat)}", "bad" if heat >= HOT_AT else ""))


def _each_gpu(gpus: Mapping[str, Mapping[str, float]]) -> Iterator[Line]:
    for name, values in list(gpus.items())[:MOST_GPUS]:
        memory = sizes(values.get(signals.GPU_MEMORY), values.get(signals.GPU_MEMORY_TOTAL))
        words = [share(values.get(signals.GPU_BUSY)), memory, watts(values.get(signals.GPU_POWER))]
        words.append(degrees(values.get(signals.GPU_TEMPERATURE)))
        yield (_word(f"  GPU {one_line(name, 6)}"), Piece("  ".join(each for each in words if each != NOTHING)))
    if len(gpus) > MOST_GPUS:
        yield (_word(""), Piece(f"and {len(gpus) - MOST_GPUS} more", "muted"))


def _serving(node: Node, width: int, ascii_only: bool) -> Iterator[Line]:
    values = node.values
    if signals.RUNNING in values or signals.WAITING in values:
        waiting = values.get(signals.WAITING)
        yield (
            _word("Requests"),
            Piece(f"{count(values.get(signals.RUNNING))} running"),
            Piece(f"  {count(waiting)} waiting", "warning" if waiting else ""),
        )
    if signals.PROMPT_RATE in values or signals.GENERATION_RATE in values:
        into, out = values.get(signals.PROMPT_RATE), values.get(signals.GENERATION_RATE)
        yield (_word("Tokens/s"), Piece(f"{count(into)} in  {count(out)} out"))
    if errors := values.get(signals.ERROR_RATE):
        yield (_word("Errors/s"), Piece(count(errors), "bad"))
    if preempted := values.get(signals.PREEMPTION_RATE):
        yield (_word("Preempted/s"), Piece(count(preempted), "warning"))
    if signals.PREFIX_HITS in values:
        yield (_word("Prefix hits"), Piece(share(values[signals.PREFIX_HITS])))
    for signal, word in DURATIONS:
        if found := node.quantiles.get(signal):
            yield (_word(word), Piece(durations(found)))


def durations(found: Quantiles) -> str:
    """`120 ms p50  340 ms p95`; nothing was measured in the window: said as that."""
    if not found.count:
        return "no requests just now"
    return f"{seconds(found.p50)} p50  {seconds(found.p95)} p95"


def _machine(node: Node, width: int, ascii_only: bool) -> Sequence[Line]:
    values, lines = node.values, list[Line]()
    if signals.CPU_BUSY in values:
        busy = values[signals.CPU_BUSY]
        lines.append(_gauge("Processor", busy, share(busy), width, _full(busy), ascii_only))
    if signals.MEMORY in values:
        used, total = values[signals.MEMORY], values.get(signals.MEMORY_TOTAL)
        part = _part(used, total)
        lines.append(_gauge("Memory", part, sizes(used, total), width, _full(part), ascii_only))
    return lines
