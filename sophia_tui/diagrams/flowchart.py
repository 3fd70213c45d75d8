"""Reading a flowchart, and choosing how to draw it: in boxes, in one row, or as a list of its arrows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len

from .canvas import Canvas
from .labels import label, wrapped
from .layers import Edge, Node, draw_layers

MOST_NODES, MOST_EDGES = 60, 120
WIDEST_LABEL, NARROW_LABEL = 26, 14

_SHAPES = (
    ("([", "])"), ("[[", "]]"), ("[(", ")]"), ("((", "))"), ("{{", "}}"), ("[/", "/]"), ("[\\", "\\]"), ("[/", "\\]"),
    ("[", "]"), ("(", ")"), ("{", "}"), (">", "]"),
)  # fmt: skip
_NAME = re.compile(r"[^\W_](?:[\w.]|-(?![-.>]))*|\w+")
_LINK = re.compile(
    r"\s*(?P<tail><)?(?:(?:--|==|-\.)(?![ox]\s)\s*(?P<text>[^\s>|.=-][^|>]*?)\s*)?(?P<line>-{2,}|={2,}|-?\.+-)(?P<head>>|[ox](?=\s))?"
    r"\s*(?:\|(?P<label>[^|]*)\|)?\s*"
)
_SKIPPED = ("style ", "classDef ", "class ", "linkStyle ", "click ", "direction ", "accTitle", "accDescr")


@dataclass(slots=True)
class Chart:
    """A flowchart as it was written."""

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    sideways: bool = False
    groups: int = 0


def draw_flowchart(lines: Sequence[str], width: int, *, ascii_only: bool) -> tuple[list[str], str] | None:
    """Its rows, and what of it is not drawn; None where it cannot be read."""
    chart = read(lines)
    if chart is None or not chart.nodes or len(chart.nodes) > MOST_NODES or len(chart.edges) > MOST_EDGES:
        return None
    note = "groups are not drawn" if chart.groups else ""
    for widest in (WIDEST_LABEL, NARROW_LABEL):
        for node in chart.nodes.values():
            node.lines = wrapped(node.text, widest)
        canvas = _in_a_row(chart) if chart.sideways else None
        rows = canvas.rows(ascii_only=ascii_only) if canvas else []
        if not rows or _wide(rows) > width:
            rows = draw_layers(list(chart.nodes.values()), chart.edges).rows(ascii_only=ascii_only)
        if _wide(rows) <= width:
            return rows, note
    return [part for row in _listed(chart, ascii_only) for part in wrapped(row, width)], note


def _wide(rows: Sequence[str]) -> int:
    return max(map(cell_len, rows), default=0)


def read(lines: Sequence[str]) -> Chart | None:
    """What the lines of a flowchart say."""
    head, *body = lines
    words = head.replace(";", " ; ").split()
    chart = Chart(sideways=len(words) > 1 and words[1] in ("LR", "RL"))
    rest = head.split(";", 1)[1:] + body
    for line in rest:
        for statement in _statements(line):
            if not _take(statement, chart):
                return None
    return chart


def _statements(line: str) -> Iterator[str]:
    """Parts between semicolons that are not inside a label."""
    depth, start, quoted = 0, 0, False
    for at, sign in enumerate(line):
        quoted ^= sign == '"'
        depth += (sign in "[({") - (sign in "])}")
        if sign == ";" and depth <= 0 and not quoted:
            yield line[start:at].strip()
            start = at + 1
    yield line[start:].strip()


def _take(statement: str, chart: Chart) -> bool:
    if not statement or statement == "end" or statement.startswith(_SKIPPED):
        return True
    if statement.startswith("subgraph"):
        chart.groups += 1
        return True
    at, before, link = 0, [], None
    while True:
        found = _group(statement, at, chart)
        if found is None:
            return False
        names, at = found
        if link is not None:
            said = label(link["label"] or link["text"] or "")
            arrow, both = bool(link["head"]), bool(link["tail"])
            chart.edges += [Edge(a, b, said, arrow=arrow, both=both) for a in before for b in names]
        if at >= len(statement):
            return True
        link = _LINK.match(statement, at)
        if link is None:
            return False
        before, at = names, link.end()


def _group(statement: str, at: int, chart: Chart) -> tuple[list[str], int] | None:
    """Nodes joined by `&`, and where they end."""
    names: list[str] = []
    while True:
        match = _NAME.match(statement, at)
        if match is None:
            return None
        name, at = match[0], match.end()
        node = chart.nodes.setdefault(name, Node(name, name))
        at = _shape(statement, at, node)
        at = _after(statement, at, re.compile(r":::[\w-]+"))
        names.append(name)
        following = _after(statement, at, re.compile(r"\s*&\s*"))
        if following == at:
            return names, _after(statement, at, re.compile(r"\s*$"))
        at = following


def _after(statement: str, at: int, pattern: re.Pattern[str]) -> int:
    match = pattern.match(statement, at)
    return match.end() if match else at


def _shape(statement: str, at: int, node: Node) -> int:
    for opening, closing in _SHAPES:
        if statement.startswith(opening, at):
            begin = at + len(opening)
            quote = statement.startswith('"', begin) and statement.find('"', begin + 1)
            end = statement.find(closing, quote if quote and quote > 0 else begin)
            if end < 0:
                continue
            node.text = label(statement[begin:end])
            node.shape = "choice" if opening[0] == "{" else "round" if opening[0] == "(" else "square"
            return end + len(closing)
    return at


def _in_a_row(chart: Chart) -> Canvas | None:
    """A chain of boxes from left to right; None for anything else."""
    after = {edge.start: edge for edge in chart.edges}
    starts = set(after) - {edge.end for edge in chart.edges}
    simple = len(after) == len(chart.edges) == len({edge.end for edge in chart.edges}) == len(chart.nodes) - 1
    if not simple or len(starts) != 1:
        return None
    canvas, x, name = Canvas(), 0, starts.pop()
    tall = max(len(node.lines) for node in chart.nodes.values())
    while True:
        node = chart.nodes[name]
        width = max(map(cell_len, node.lines)) + 4
        canvas.box(x, (tall - len(node.lines)) // 2, width, node.lines, node.shape)
        x += width
        if name not in after:
            return canvas
        edge, middle = after[name], (tall + 1) // 2
        said = f" {edge.text} ".replace("\n", " ") if edge.text else ""
        canvas.write(x, middle, f"──{said}──{'▶' if edge.arrow else '─'}")
        if edge.both:
            canvas.write(x, middle, "◀")
        x += 5 + cell_len(said)
        name = edge.end


def _listed(chart: Chart, ascii_only: bool) -> list[str]:
    """Every arrow on a row of its own: what remains readable at any width."""
    arrow, line = ("-->", "---") if ascii_only else ("──▶", "───")
    rows = []
    for edge in chart.edges:
        start, end = (chart.nodes[each].text.replace("\n", " ") for each in (edge.start, edge.end))
        said = f" ({edge.text})".replace("\n", " ") if edge.text else ""
        rows.append(f"{start} {arrow if edge.arrow else line} {end}{said}")
    return rows or [node.text.replace("\n", " ") for node in chart.nodes.values()]
