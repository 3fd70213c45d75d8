"""Drawing a graph from top to bottom: nodes in layers, arrows in the gaps between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from rich.cells import cell_len

from .canvas import DOWN, UP, Canvas

APART = 3
"""Cells between neighbours."""


@dataclass(slots=True)
class Node:
    """A box; without lines it is a bend of a long arrow."""

    name: str
    text: str
    shape: str = "square"
    lines: list[str] = field(default_factory=list)
    layer: int = 0
    x: float = 0.0
    """Its middle."""
    said: int = 0
    """Cells of the label of an arrow that ends here."""

    @property
    def width(self) -> int:
        """Cells of its frame."""
        return max(map(cell_len, self.lines)) + 4 if self.lines else 1

    @property
    def room(self) -> float:
        """Cells it needs on either side of its middle."""
        return max(self.width / 2, self.said + 2.0)


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow from one node to another."""

    start: str
    end: str
    text: str = ""
    arrow: bool = True
    both: bool = False
    up: bool = False
    """Turned around to be drawn: it points to its start."""


@dataclass(slots=True)
class _Step:
    """A piece of an arrow, from one layer to the next."""

    start: Node
    end: Node
    text: str
    at_start: bool
    at_end: bool
    up: bool

    @property
    def left(self) -> int:
        """The column where it leaves its start: beside the middle where it points up, to be told apart."""
        return _port(self.start, self.up)

    @property
    def right(self) -> int:
        """The column where it comes to its end."""
        return _port(self.end, self.up)

    @property
    def key(self) -> tuple[int, int]:
        """The same for all that leave from one place."""
        return id(self.start), self.left


def draw_layers(nodes: Sequence[Node], edges: Sequence[Edge]) -> Canvas:
    """The graph, in boxes."""
    known = {node.name: node for node in nodes}
    downward = _downward(known, [edge for edge in edges if edge.start != edge.end])
    _assign(known, downward)
    layers: list[list[Node]] = [[] for _ in range(1 + max(node.layer for node in nodes))]
    for node in nodes:
        node.said = 0
        layers[node.layer].append(node)
    steps = [step for edge in downward for step in _steps(edge, known, layers)]
    for step in steps:
        if step.text:
            step.end.said = max(step.end.said, cell_len(step.text))
    _order(layers, steps)
    _place(layers, steps)
    loops = [edge for edge in edges if edge.start == edge.end]
    return _drawn(layers, steps, [f"↺ {known[e.start].text} {e.text}".rstrip().replace("\n", " ") for e in loops])


def _port(node: Node, up: bool) -> int:
    return int(node.x) - (2 if up and node.width >= 7 else 0)


def _downward(known: dict[str, Node], edges: Sequence[Edge]) -> list[Edge]:
    """The edges with those turned around that would close a circle."""
    after: dict[str, list[Edge]] = {name: [] for name in known}
    for edge in edges:
        after[edge.start].append(edge)
    found: list[Edge] = []
    state: dict[str, int] = {}
    for root in known:
        if root in state:
            continue
        stack = [(root, iter(after[root]))]
        state[root] = 1
        while stack:
            name, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                state[name] = 2
                stack.pop()
            elif state.get(following.end) == 1:
                found.append(
                    Edge(following.end, following.start, following.text, following.arrow, following.both, up=True)
                )
            else:
                found.append(following)
                if following.end not in state:
                    state[following.end] = 1
                    stack.append((following.end, iter(after[following.end])))
    return found


def _assign(known: dict[str, Node], edges: Sequence[Edge]) -> None:
    """Each node one layer below the lowest of those that point to it."""
    for node in known.values():
        node.layer = 0
    for _ in known:
        moved = False
        for edge in edges:
            if known[edge.end].layer <= known[edge.start].layer:
                known[edge.end].layer = known[edge.start].layer + 1
                moved = True
        if not moved:
            return


def _steps(edge: Edge, known: dict[str, Node], layers: list[list[Node]]) -> list[_Step]:
    """The pieces of an arrow; a bend is put into every layer it passes."""
    start, end = known[edge.start], known[edge.end]
    path = [start]
    for layer in range(start.layer + 1, end.layer):
        bend = Node("", "", layer=layer)
        layers[layer].append(bend)
        path.append(bend)
    path.append(end)
    text = edge.text.replace("\n", " ")
    last = len(path) - 2
    return [
        _Step(
            *pair,
            text if number == 0 else "",
            at_start=number == 0 and edge.arrow and (edge.up or edge.both),
            at_end=number == last and edge.arrow and (not edge.up or edge.both),
            up=edge.up,
        )
        for number, pair in enumerate(pairwise(path))
    ]


def _order(layers: list[list[Node]], steps: Sequence[_Step]) -> None:
    """Nodes under those they belong to, so that few arrows cross."""
    above: dict[int, list[Node]] = {}
    below: dict[int, list[Node]] = {}
    for step in steps:
        above.setdefault(id(step.end), []).append(step.start)
        below.setdefault(id(step.start), []).append(step.end)
    for sweep in range(6):
        near = below if sweep % 2 else above
        for layer in layers[::-1] if sweep % 2 else layers:
            places = {id(node): index for each in layers for index, node in enumerate(each)}
            layer.sort(key=lambda node: _mean([places[id(n)] for n in near.get(id(node), [node])]))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _place(layers: list[list[Node]], steps: Sequence[_Step]) -> None:
    near: dict[int, list[Node]] = {}
    for step in steps:
        near.setdefault(id(step.start), []).append(step.end)
        near.setdefault(id(step.end), []).append(step.start)
    for layer in layers:
        _settle(layer, [0.0] * len(layer))
    for sweep in range(8):
        for layer in layers[::-1] if sweep % 2 else layers:
            side = 1 if sweep % 2 else -1
            wanted = []
            for node in layer:
                others = [each.x for each in near.get(id(node), []) if (each.layer - node.layer) * side > 0]
                wanted.append(_mean(others) if others else node.x)
            _settle(layer, wanted)
    left = min(node.x - node.width / 2 for layer in layers for node in layer)
    for layer in layers:
        for node in layer:
            node.x = round(node.x - left)


def _settle(layer: Sequence[Node], wanted: Sequence[float]) -> None:
    """As near as possible to where they want to be, in their order and apart from each other."""
    count = len(layer)
    gaps = [layer[n].room + layer[n + 1].room + APART for n in range(count - 1)]
    rightwards, leftwards = list(wanted), list(wanted)
    for n in range(1, count):
        rightwards[n] = max(rightwards[n], rightwards[n - 1] + gaps[n - 1])
    for n in range(count - 2, -1, -1):
        leftwards[n] = min(leftwards[n], leftwards[n + 1] - gaps[n])
    for n, node in enumerate(layer):
        node.x = (rightwards[n] + leftwards[n]) / 2


def _drawn(layers: list[list[Node]], steps: Sequence[_Step], loops: Sequence[str]) -> Canvas:
    canvas, y = Canvas(), 0
    for number, layer in enumerate(layers):
        tall = max((len(node.lines) + 2 if node.lines else 0 for node in layer), default=0)
        for node in layer:
            if node.lines:
                canvas.box(int(node.x) - node.width // 2, y, node.width, node.lines, node.shape)
                bottom = y + len(node.lines) + 2
            else:
                bottom = y
            for column in {step.left for step in steps if step.start is node}:
                canvas.down(column, bottom, y + tall - 1)
        gap = [step for step in steps if step.start.layer == number]
        y = _gap(canvas, gap, y + tall)
    for row, text in enumerate(loops):
        canvas.write(0, y + row, text)
    return canvas


def _gap(canvas: Canvas, steps: Sequence[_Step], y: int) -> int:
    """Draws the arrows of one gap from row `y`; the row after it."""
    if not steps:
        return y
    tracks = _tracks(steps)
    first = y + (1 if any(step.at_start for step in steps) else 0)
    labels = first + max(tracks.values(), default=-1) + 1
    last = labels + (1 if any(step.text for step in steps) else 0)
    for step in steps:
        start, end = step.left, step.right
        row = first + tracks.get(step.key, 0)
        if start == end:
            canvas.down(start, y, last)
        else:
            canvas.down(start, y, row - 1)
            canvas.bits(start, row, UP)
            canvas.across(row, start, end)
            canvas.bits(end, row, DOWN)
            canvas.down(end, row + 1, last)
        if step.at_end:
            canvas.write(end, last, "▼")
        if step.at_start:
            canvas.write(start, y, "▲")
    for step in steps:
        if step.text:
            at = step.right - 1 - cell_len(step.text) if step.up else step.right + 2
            canvas.write(max(0, at), labels, step.text)
    return last + 1


def _tracks(steps: Sequence[_Step]) -> dict[tuple[int, int], int]:
    """For every node whose arrows go sideways, the row on which they do, so that no two are taken for one."""
    spans: dict[tuple[int, int], tuple[int, int]] = {}
    ends: dict[tuple[int, int], set[int]] = {}
    starts: dict[tuple[int, int], int] = {}
    for step in steps:
        a, b = step.left, step.right
        if a != b:
            low, high = spans.get(step.key, (a, a))
            spans[step.key] = (min(low, b), max(high, b))
            ends.setdefault(step.key, set()).add(b)
            starts[step.key] = a
    rows: dict[tuple[int, int], int] = {}
    left = sorted(spans, key=lambda each: spans[each])
    while left:
        # Whoever comes down where another one's arrow ends turns off above it.
        free = [each for each in left if not any(starts[other] in ends[each] for other in left if other != each)]
        chosen = (free or left)[0]
        left.remove(chosen)
        row = 0
        for other, taken in rows.items():
            apart = spans[other][1] < spans[chosen][0] or spans[chosen][1] < spans[other][0]
            if not apart or starts[other] in ends[chosen]:
                row = max(row, taken + 1)
        rows[chosen] = row
    return rows
