"""What a plot shows: which signal, which stretch of time, what is a line and what is a gap; and lines of blocks where
there is no plot to be had. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Final, Literal, TypeAlias

from backend_client.scraping import types as signals
from sophia_core.metrics.view.seen import Track
from sophia_core.metrics.view.text import Line, Piece, cut
from sophia_core.metrics.view.words import NOTHING, count, degrees, seconds, share, size, watts

Range: TypeAlias = Literal["5m", "1h", "6h", "24h", "7d"]
RANGES: Final[Mapping[Range, float]] = {"5m": 300.0, "1h": 3600.0, "6h": 21_600.0, "24h": 86_400.0, "7d": 604_800.0}
SHORTEST: Final = 30.0
LONGEST: Final = 400 * 86_400.0
TORN: Final = 3.0
"""Points further apart than so many times the usual have a gap between them that nobody drew."""
MOST_TRACKS: Final = 4
"""Lines that can be told apart, and drawn in time."""
BLOCKS: Final = " ▁▂▃▄▅▆▇█"
ASCII_BLOCKS: Final = " _.-:=+*#"
Points: TypeAlias = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Plotted:
    """A signal that can be plotted."""

    title: str
    say: Callable[[float | None], str]
    top: float | None = None
    """The most it can be."""


PLOTTED: Final[Mapping[str, Plotted]] = {
    signals.GENERATION_RATE: Plotted("Generated tokens a second", count),
    signals.PROMPT_RATE: Plotted("Read tokens a second", count),
    signals.RUNNING: Plotted("Requests running", count),
    signals.WAITING: Plotted("Requests waiting", count),
    signals.KV_CACHE: Plotted("KV cache in use", share, 1.0),
    f"{signals.FIRST_TOKEN}_p95": Plotted("First token, p95", seconds),
    f"{signals.FIRST_TOKEN}_p50": Plotted("First token, p50", seconds),
    f"{signals.BETWEEN_TOKENS}_p95": Plotted("Between tokens, p95", seconds),
    f"{signals.END_TO_END}_p95": Plotted("End to end, p95", seconds),
    f"{signals.QUEUE_TIME}_p95": Plotted("In the queue, p95", seconds),
    signals.REQUEST_RATE: Plotted("Requests a second", count),
    signals.ERROR_RATE: Plotted("Errors a second", count),
    signals.PREFIX_HITS: Plotted("Prefix cache hits", share, 1.0),
    signals.GPU_BUSY: Plotted("GPU busy", share, 1.0),
    signals.GPU_MEMORY: Plotted("GPU memory", size),
    signals.GPU_POWER: Plotted("GPU power", watts),
    signals.GPU_MODULE_POWER: Plotted("Module power", watts),
    signals.GPU_TEMPERATURE: Plotted("GPU temperature", degrees),
    signals.CPU_BUSY: Plotted("Processor busy", share, 1.0),
    signals.MEMORY: Plotted("Memory in use", size),
    signals.LOAD: Plotted("Load", count),
}
"""In the order in which a key goes through them."""
FIRST: Final = signals.GENERATION_RATE


@dataclass(frozen=True, slots=True)
class Window:
    """The stretch that is shown: how long, and how long before now it ends."""

    span: float = RANGES["5m"]
    back: float = 0.0
    """0: it goes on to now, and moves with it."""

    def ends(self, now: float) -> tuple[float, float]:
        """Its first and last moment."""
        return now - self.back - self.span, now - self.back

    def zoomed(self, way: Literal["in", "out"]) -> Window:
        """Half or twice as long; one that ends now still does, another keeps its middle."""
        span = min(LONGEST, max(SHORTEST, self.span / 2 if way == "in" else self.span * 2))
        return Window(span, max(0.0, self.back + (self.span - span) / 2) if self.back else 0.0)

    def moved(self, way: Literal["back", "forward"]) -> Window:
        """A quarter of it to one side, no further than now."""
        step = self.span / 4
        return replace(self, back=min(LONGEST, max(0.0, self.back + (step if way == "back" else -step))))

    def words(self) -> str:
        """`1 h`, or where in the past it ends."""
        long = _long(self.span)
        return f"{long} to {_long(self.back)} ago" if self.back >= 1 else f"last {long}"


def _long(span: float) -> str:
    for limit, unit in ((86_400.0, "d"), (3600.0, "h"), (60.0, "m")):
        if span >= limit:
            return f"{span / limit:.3g} {unit}"
    return f"{span:.0f} s"


def next_signal(known: Sequence[str], now: str, step: int) -> str:
    """The signal before or behind this one, of those that somebody tells; all of them where nobody tells any."""
    names = [each for each in PLOTTED if each in known] or list(PLOTTED)
    return names[(names.index(now) + step) % len(names)] if now in names else names[0]


def pieces(track: Track) -> Iterator[Points]:
    """The stretches of a line that were measured without a gap."""
    step = _usual_step(track)
    piece: list[tuple[float, float]] = []
    before = -math.inf
    for at, value in track.points:
        torn = at - before > step * TORN or any(before < reset <= at for reset in track.resets)
        if piece and (value is None or not math.isfinite(value) or torn or at < before):
            yield tuple(piece)
            piece = []
        if value is not None and math.isfinite(value):
            piece.append((at, value))
            before = at
    if piece:
        yield tuple(piece)


def _usual_step(track: Track) -> float:
    """How far apart points usually are."""
    times = [at for at, _ in track.points]
    steps = sorted(later - earlier for earlier, later in pairwise(times) if later > earlier)
    return steps[len(steps) // 2] if steps else math.inf


def last_of(track: Track) -> float | None:
    """The newest value; None where the newest moment has none."""
    return track.points[-1][1] if track.points else None


def chosen(tracks: Sequence[Track]) -> tuple[list[Track], int]:
    """The tracks that are drawn, those with the largest values; and how many are not."""
    there = [each for each in tracks if any(value is not None for _, value in each.points)]
    if len(there) > MOST_TRACKS:
        largest = sorted(there, key=_largest, reverse=True)[:MOST_TRACKS]
        return [each for each in there if each in largest], len(there) - MOST_TRACKS
    return there, 0


def _largest(track: Track) -> float:
    return max((value for _, value in track.points if value is not None and math.isfinite(value)), default=-math.inf)


def top_of(tracks: Sequence[Track], signal: str) -> float:
    """Where the scale ends: what is the most it can be, else a little above the largest value; it begins at 0."""
    usual = PLOTTED.get(signal)
    if usual and usual.top is not None:
        return usual.top
    largest = max(map(_largest, tracks), default=0.0)
    return largest * 1.05 if math.isfinite(largest) and largest > 0 else 1.0


def say(signal: str, value: float | None) -> str:
    """A value of a signal in its unit."""
    known = PLOTTED.get(signal)
    return known.say(value) if known else count(value)


def title(signal: str) -> str:
    """What a signal is called."""
    known = PLOTTED.get(signal)
    return known.title if known else signal.replace("_", " ")


def time_words(at: float, span: float) -> str:
    """A moment on the axis: with seconds where the stretch is short, with the day where it is long."""
    form = "%H:%M:%S" if span <= 600 else "%H:%M" if span <= 2 * 86_400 else "%d %b"
    return datetime.fromtimestamp(at).astimezone().strftime(form)


def spark(track: Track, start: float, end: float, width: int, top: float, *, ascii_only: bool = False) -> str:
    """A line of blocks: the largest value of each stretch, a blank where nothing was measured."""
    signs = ASCII_BLOCKS if ascii_only else BLOCKS
    found: list[float | None] = [None] * width
    if end <= start or not width:
        return " " * width
    for at, value in track.points:
        place = int((at - start) / (end - start) * width)
        if value is not None and math.isfinite(value) and start <= at <= end:
            place = min(width - 1, place)
            before = found[place]
            found[place] = value if before is None else max(before, value)
    _bridge(found, track, start, end)
    return "".join(" " if each is None else _block(each, top, signs) for each in found)


def _bridge(found: list[float | None], track: Track, start: float, end: float) -> None:
    """Cells between two points that are no further apart than usual belong to the earlier one."""
    cells = math.ceil(_usual_step(track) / ((end - start) / len(found))) if track.points[1:] else 0
    left, value = 0, None
    for place, each in enumerate(found):
        if each is not None:
            left, value = cells, each
        elif left > 1:
            found[place] = value
            left -= 1


def _block(value: float, top: float, signs: str) -> str:
    part = min(1.0, max(0.0, value / top)) if top > 0 else 0.0
    return signs[1 + round(part * (len(signs) - 2))]


def sparks(
    tracks: Sequence[Track], signal: str, window: Window, now: float, width: int, *, ascii_only: bool = False
) -> list[Line]:
    """Lines of blocks in place of a plot: a name, the line, and the value now."""
    start, end = window.ends(now)
    names = min(max([cells_of(each.name) for each in tracks], default=0), max(8, width // 4))
    values = max([len(say(signal, last_of(each))) for each in tracks], default=0)
    long = max(4, width - names - values - 4)
    top = top_of(tracks, signal)
    return [
        (
            Piece(f"{cut(each.name, names, ascii_only=ascii_only):<{names}}  ", "muted"),
            Piece(spark(each, start, end, long, top, ascii_only=ascii_only), "accent"),
            Piece(f"  {say(signal, last_of(each)):>{values}}"),
        )
        for each in tracks
    ]


def cells_of(name: str) -> int:
    """Cells a name takes, as far as it may."""
    return min(40, len(name))


def legend(tracks: Sequence[Track], signal: str, more: int = 0) -> list[tuple[str, str]]:
    """Each line's name and its newest value."""
    found = [(each.name, say(signal, last_of(each))) for each in tracks]
    return [*found, (f"and {more} more", NOTHING)] if more else found
