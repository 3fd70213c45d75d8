"""A plan as a graph from left to right: steps in columns, each right of what it comes after, lines in the gaps. Pure.

A graph is laid out once, when its shape changes; a row is written when it is looked at, with the steps of that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, TypeAlias

from sophia_core.metrics.view.text import Line, Piece, Tone, cut
from sophia_core.present import cells

NARROWEST: Final = 10
WIDEST: Final = 34
GAP: Final = 5
MOST_WITH_LINES: Final = 160
"""Steps beyond which the lines between them would only be noise."""
SWEEPS: Final = 4
Pair: TypeAlias = tuple[str, str]
UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
SIGNS: Final = " ╵╷│─┘┐┤─└┌├─┴┬┼"
ASCII: Final = " |||-+++-+++-+++"


@dataclass(frozen=True, slots=True)
class Node:
    """A step, or all that were made of one."""

    id: str
    after: tuple[str, ...] = ()
    width: int = NARROWEST
    """Cells that its words want."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node stands."""

    row: int
    x: int
    width: int
    layer: int


@dataclass(frozen=True, slots=True)
class Graph:
    """A laid out graph."""

    places: Mapping[str, Place] = field(default_factory=dict)
    rows: int = 0
    width: int = 0
    lines: Mapping[int, str] = field(default_factory=dict)
    """What stands between the nodes of a row."""
    on_row: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Nodes of a row, from left to right."""


def laid_out(nodes: Sequence[Node], width: int, *, ascii_only: bool = False) -> Graph:
    """The graph in at most so many cells, where that can be."""
    known = {each.id: each for each in nodes}
    before = {each.id: tuple(x for x in dict.fromkeys(each.after) if x in known and x != each.id) for each in nodes}
    layer = layers_of(before)
    columns = _columns(layer)
    lined = len(nodes) <= MOST_WITH_LINES
    chains = _chains(before, layer, columns) if lined else []
    for _ in range(SWEEPS if lined else 0):
        _order(columns, chains)
    rows = _rows(columns, chains)
    tracks = _tracks(chains, rows, layer)
    gaps = [1] * len(columns)
    for (_, end), track in tracks.items():
        gaps[layer[end] - 1] = max(gaps[layer[end] - 1], track + 1)
    across = _across(columns, known, gaps, width)
    places = {
        each: Place(rows[each], across.starts[at], across.widths[at], at)
        for at, column in enumerate(columns)
        for each in column
        if each in known
    }
    lines = _lines(chains, rows, layer, tracks, across, ascii_only=ascii_only)
    on_row: dict[int, list[str]] = {}
    for each, place in places.items():
        on_row.setdefault(place.row, []).append(each)
    ordered = {row: tuple(sorted(ids, key=lambda each: places[each].x)) for row, ids in on_row.items()}
    tall = max([*(place.row for place in places.values()), *lines], default=-1) + 1
    return Graph(places, tall, across.ends(-1) if columns else 0, lines, ordered)


def layers_of(before: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Each one column right of the rightmost it comes after; a circle, which no plan of ours has, is broken."""
    found: dict[str, int] = {}
    for root in before:
        path = [(root, iter(before[root]))]
        open_ones = {root}
        while path:
            at, rest = path[-1]
            following = next((each for each in rest if each not in found and each not in open_ones), None)
            if following is not None:
                open_ones.add(following)
                path.append((following, iter(before[following])))
                continue
            path.pop()
            found[at] = 1 + max((found.get(each, -1) for each in before[at]), default=-1)
    return found


def _columns(layer: Mapping[str, int]) -> list[list[str]]:
    columns: list[list[str]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for each, at in layer.items():
        columns[at].append(each)
    return columns


def _chains(before: Mapping[str, Sequence[str]], layer: dict[str, int], columns: list[list[str]]) -> list[list[str]]:
    """For each pair, the way from one to the other, with a bend in every column that it passes."""
    chains = []
    for end, starts in before.items():
        for start in starts:
            if layer[start] >= layer[end]:
                continue  # it would close a circle
            # One bend for all that go on from there: their lines run as one.
            chain = [start]
            for at in range(layer[start] + 1, layer[end]):
                bend = f"\0{start}\0{at}"
                if bend not in layer:
                    layer[bend] = at
                    columns[at].append(bend)
                chain.append(bend)
            chains.append([*chain, end])
    return chains


def _order(columns: list[list[str]], chains: Sequence[Sequence[str]]) -> None:
    """What belongs together side by side, so that few lines cross."""
    near: dict[str, list[str]] = {}
    for chain in chains:
        for one, other in pairwise(chain):
            near.setdefault(one, []).append(other)
            near.setdefault(other, []).append(one)
    for column in columns:
        at = {each: place for other in columns for place, each in enumerate(other)}
        column.sort(key=lambda each: _mean([at[x] for x in near.get(each, ())], at[each]))


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _rows(columns: Sequence[Sequence[str]], chains: Sequence[Sequence[str]]) -> dict[str, int]:
    """A row for each, level with what it comes after where that is free, so that most lines are straight."""
    before: dict[str, list[str]] = {}
    for chain in chains:
        for one, other in pairwise(chain):
            before.setdefault(other, []).append(one)
    found: dict[str, int] = {}
    for column in columns:
        least = 0
        for each in column:
            wanted = [found[x] for x in before.get(each, ()) if x in found]
            row = max(least, min(wanted) if wanted else 0)
            found[each] = row
            least = row + 1
    return found


@dataclass(frozen=True, slots=True)
class Across:
    """Where each column begins and how wide it is."""

    starts: tuple[int, ...]
    widths: tuple[int, ...]

    def ends(self, at: int) -> int:
        """The cell behind a column."""
        return self.starts[at] + self.widths[at]


def _across(columns: Sequence[Sequence[str]], known: Mapping[str, Node], gaps: Sequence[int], width: int) -> Across:
    """As wide as its words want, less where there is not the room; `gaps`: the places that lines need behind each."""
    wanted = [
        max([min(WIDEST, max(NARROWEST, known[each].width)) for each in column if each in known] or [1])
        for column in columns
    ]
    apart = [GAP + each - 1 for each in gaps]
    over = sum(wanted) + sum(apart[:-1]) - width
    if over > 0:
        apart = [each - 1 for each in apart]
        over -= len(apart) - 1
    while over > 0 and max(wanted, default=0) > NARROWEST:
        widest = max(wanted)
        for at, each in enumerate(wanted):
            if each == widest and over > 0:
                wanted[at] -= 1
                over -= 1
    starts, x = [], 0
    for each, gap in zip(wanted, apart, strict=True):
        starts.append(x)
        x += each + gap
    return Across(tuple(starts), tuple(wanted))


def _tracks(chains: Sequence[Sequence[str]], rows: Mapping[str, int], layer: Mapping[str, int]) -> dict[Pair, int]:
    """For each line that changes its row, in which place of the gap: apart from those it has nothing to do with."""
    gaps: dict[int, set[Pair]] = {}
    for chain in chains:
        for pair in pairwise(chain):
            gaps.setdefault(layer[pair[1]], set()).add(pair)
    found: dict[Pair, int] = {}
    for pairs in gaps.values():
        taken: list[tuple[int, int, int]] = []
        for together in sorted(_bundles(pairs), key=lambda each: min(rows[end] for _, end in each)):
            reached = [rows[each] for pair in together for each in pair]
            low, high = min(reached), max(reached)
            if low == high:
                continue
            used = {track for track, start, end in taken if start <= high and low <= end}
            track = next(each for each in range(len(used) + 1) if each not in used)
            taken.append((track, low, high))
            found.update(dict.fromkeys(together, track))
    return found


def _bundles(pairs: set[Pair]) -> list[list[Pair]]:
    """Lines that may run as one: each of their beginnings goes to each of their ends, or they have one beginning."""
    ends: dict[str, set[str]] = {}
    starts: dict[str, set[str]] = {}
    for start, end in pairs:
        ends.setdefault(start, set()).add(end)
        starts.setdefault(end, set()).add(start)
    found: dict[object, list[Pair]] = {}
    for start, end in sorted(pairs):
        whole = all(ends[each] == ends[start] for other in ends[start] for each in starts[other])
        found.setdefault(frozenset(ends[start]) if whole else start, []).append((start, end))
    return list(found.values())


def _lines(
    chains: Sequence[Sequence[str]],
    rows: Mapping[str, int],
    layer: Mapping[str, int],
    tracks: Mapping[Pair, int],
    across: Across,
    *,
    ascii_only: bool,
) -> dict[int, str]:
    """The lines between the nodes, a text for each row that has any."""
    arms: dict[tuple[int, int], int] = {}

    def arm(row: int, x: int, bits: int) -> None:
        arms[row, x] = arms.get((row, x), 0) | bits

    for one, other in dict.fromkeys(pair for chain in chains for pair in pairwise(chain)):
        left = across.starts[layer[one]] + (0 if one.startswith("\0") else across.widths[layer[one]] + 1)
        right = across.starts[layer[other]] - (1 if other.startswith("\0") else 2)
        above, below = rows[one], rows[other]
        # What goes straight on passes all places of the gap.
        turn = across.ends(layer[one]) + 1 + tracks.get((one, other), 0)
        if above == below:
            turn = right
        for x in range(left, turn):
            arm(above, x, LEFT | RIGHT)
        if above == below:
            arm(above, turn, LEFT | RIGHT)
            continue
        step = 1 if below > above else -1
        arm(above, turn, LEFT | (DOWN if step > 0 else UP))
        for row in range(above + step, below, step):
            arm(row, turn, UP | DOWN)
        arm(below, turn, RIGHT | (UP if step > 0 else DOWN))
        for x in range(turn + 1, right + 1):
            arm(below, x, LEFT | RIGHT)
    signs = ASCII if ascii_only else SIGNS
    found: dict[int, list[str]] = {}
    for (row, x), bits in arms.items():
        signs_of = found.setdefault(row, [])
        if len(signs_of) <= x:
            signs_of += " " * (x + 1 - len(signs_of))
        signs_of[x] = signs[bits & 15]
    return {row: "".join(each) for row, each in found.items()}


def row_line(
    graph: Graph, row: int, label: Callable[[str, int], tuple[str, Tone]], *, ascii_only: bool = False
) -> Line:
    """One row, with the nodes as `label` says them in so many cells."""
    between = graph.lines.get(row, "")
    pieces: list[Piece] = []
    x = 0
    for each in graph.on_row.get(row, ()):
        place = graph.places[each]
        pieces.append(Piece(between[x : place.x].ljust(place.x - x), "muted"))
        words, tone = label(each, place.width)
        short = cut(words, place.width, ascii_only=ascii_only)
        pieces.append(Piece(short, tone))
        x = place.x + cells(short)
        end = place.x + place.width
        if x < end and between[end + 1 : end + 2].strip():  # a line begins right behind a short name
            pieces.append(Piece(" " + ("-" if ascii_only else "─") * (end - x), "muted"))
            x = end + 1
    if len(between) > x:
        pieces.append(Piece(between[x:], "muted"))
    return tuple(each for each in pieces if each.text)


def neighbour(graph: Graph, at: str, way: str) -> str:
    """The node beside this one: `up`, `down`, `left` or `right`; itself where there is none."""
    place = graph.places.get(at)
    if place is None:
        return next(iter(graph.places), at)
    if way in ("up", "down"):
        step = 1 if way == "down" else -1
        near = [
            (abs(each.layer - place.layer) > 0, (each.row - place.row) * step, id_)
            for id_, each in graph.places.items()
            if (each.row - place.row) * step > 0 and each.layer == place.layer
        ]
    else:
        step = 1 if way == "right" else -1
        near = [
            (False, (each.layer - place.layer) * step * 1_000 + abs(each.row - place.row), id_)
            for id_, each in graph.places.items()
            if (each.layer - place.layer) * step > 0
        ]
    return min(near)[2] if near else at


def nodes_of(groups: Iterable[tuple[str, tuple[str, ...], str]]) -> list[Node]:
    """Nodes of these steps: id, what it comes after, and the words it is shown with at its longest."""
    return [Node(id_, after, cells(words)) for id_, after, words in groups]
