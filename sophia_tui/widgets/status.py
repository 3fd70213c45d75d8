"""The one row that says who answers, how fast, what it costs, and how far from the best service that is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.style import Style as VisualStyle
from textual.widget import Widget

from sophia_core.present import dollars
from sophia_core.sanitize import one_line
from sophia_tui.tints import tinted
from sophia_tui.transcript.wrap import fit

Part = Literal[
    "microphone",
    "speaking",
    "level",
    "mode",
    "asked",
    "persona",
    "model",
    "recording",
    "macro",
    "progress",
    "speed",
    "tokens",
    "context",
    "cost",
    "unseen",
    "store",
    "weak",
    "link",
    "reason",
    "hint",
]

Forms = dict[Part, tuple[str, str]]
"""The short and the long form of parts."""
SYMBOLS = ("●", "◕", "◑", "◐", "○")
ASCII_SYMBOLS = ("*", "+", "$", "~", "!")
GAP = "  "
ORDER: tuple[Part, ...] = (
    "microphone", "speaking", "level", "mode", "asked", "persona", "model", "recording", "macro", "progress", "speed",
    "tokens", "context", "cost", "unseen", "store", "weak", "link", "reason", "hint",
)  # fmt: skip
"""From left to right."""
URGENT: tuple[Part, ...] = ("speaking", "mode", "asked", "recording", "macro", "progress", "store", "unseen")
"""What may cut the model's name short."""
FIGURES: tuple[Part, ...] = ("speed", "tokens", "context", "cost", "weak", "link")
"""What is said next, as far as there is room."""
GROW: tuple[Part, ...] = ("asked", "model", "persona", "macro", "progress", "level", *FIGURES, "store", "unseen")
"""What is written out first when there is room."""
LOOKS: dict[Part, str] = {
    "microphone": "microphone",
    "speaking": "accent",
    "model": "model",
    "store": "warn",
    "asked": "warn",
    "weak": "warn",
    "link": "warn",
    "unseen": "accent",
    "progress": "accent",
    "macro": "accent",
    "mode": "key",
    "recording": "warn",
}
"""The component class of a part, where it is not the muted one."""
MIN_REASON = 16
"""Cells there must be for the reason of a level."""
SHORT_DOING = 14
"""Cells of what is being done, where there is little room."""
SHORT_PERSONA = 12
"""Cells of the persona's name, where there is little room."""
SHORT_MODEL = 12
"""Cells of the model's name that are kept for the urgent parts to fit beside it."""


@dataclass(frozen=True, slots=True)
class StatusValues:
    """Everything the row can say."""

    provider: str = ""
    model: str = ""
    persona: str = ""
    """Who answers; empty: nobody in particular."""
    persona_colour: str = ""
    tokens_per_s: float | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float | None = None
    context: int = 0
    """Tokens that the next question takes with it."""
    window: int | None = None
    """Tokens that the model can read."""
    level: int = 0
    """0 (best) to 4 (nothing can be reached)."""
    level_text: str = ""
    """One word for the level, e.g. `embedded`."""
    level_reason: str = ""
    usual_level: int = 0
    """The level there is when all is well; the reason of a worse one is said before any figure."""
    store_state: str | None = None
    """What is unusual about the store, e.g. `locked`; None: all is well."""
    weak_key: bool = False
    """Only this device's own key file guards the store."""
    slow_link: str = ""
    """The round trip to a terminal that is far away; empty: it is near."""
    busy: bool = False
    """A question is being asked or an answer written."""
    doing: str = ""
    """What goes on before the answer begins, e.g. `waiting`; empty: it is being written."""
    microphone: str = ""
    """What the microphone is open for; empty: it is closed."""
    speaking: str = ""
    """What SOPHIA's voice does; empty: it is silent."""
    embedded_progress: tuple[str, float | None] | None = None
    """What the model on this machine is doing while it starts, and the part done, 0 to 1."""
    macro: str = ""
    """The macro that runs, and how far it is: `review 2/5 shell git`."""
    recording: int | None = None
    """How many commands were taken down for a macro; None: nothing is."""
    mode: str = ""
    """The mode of the prompt, where it has several."""
    asked: int = 0
    """Requests and questions that wait for a person."""
    following: bool = True
    unseen: int = 0
    """Lines below that the reader, who scrolled away, has not seen."""
    hints: tuple[tuple[str, str], ...] = ()
    """Keys and what they do, most useful first."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One part as it is written: which one, its text, and the component class that colours it."""

    part: Part
    text: str
    look: str
    index: int = 0
    """Which hint it is."""


class _Room:
    """The parts said so far, and the cells that are left."""

    def __init__(self, width: int, dots: str) -> None:
        self.said: dict[Part, str] = {}
        self.left = width + len(GAP)
        self._dots = dots

    def say(self, part: Part, text: str, limit: int | None = None) -> bool:
        """Says it, in place of what was said of the same part, if it fits; with a limit in cells it is cut."""
        room = self.left + (cell_len(self.said[part]) + len(GAP) if part in self.said else 0)
        if limit is not None:
            text = fit(text, max(0, min(limit, room - len(GAP))), self._dots)
        if not text or cell_len(text) + len(GAP) > room:
            return False
        self.said[part] = text
        self.left = room - cell_len(text) - len(GAP)
        return True


def arrange(values: StatusValues, width: int, *, ascii_only: bool = False) -> tuple[Piece, ...]:
    """The pieces that fit the width in cells, from left to right, a `GAP` apart; hints stand at the right end."""
    forms = _forms(values, ascii_only)
    room = _Room(width, "." if ascii_only else "…")
    if "microphone" in forms:  # before all else: nobody is to be listened to without seeing it
        room.say("microphone", forms["microphone"][0], width)
    room.say("level", forms["level"][0])
    if "model" in forms:
        room.say("model", forms["model"][0], SHORT_MODEL)
    for part in (each for each in URGENT if each in forms):
        room.say(part, forms[part][0])
    if "persona" in forms:
        room.say("persona", forms["persona"][0])
    if "model" in room.said:
        room.say("model", forms["model"][0], width)
    if "reason" in forms and values.level > values.usual_level:
        _explain(forms, room, answered=_level(values) < 4)
    for part in (each for each in FIGURES if each in forms):
        room.say(part, forms[part][0])
    for part in (each for each in GROW if each in room.said):
        room.say(part, forms[part][1])
    hints = tuple(_hints(values, room))
    if "reason" in forms and ("reason" in room.said or room.left >= MIN_REASON):
        room.say("reason", forms["reason"][1], width)
    return (*(_piece(part, room.said[part], values) for part in ORDER if part in room.said), *hints)


def _explain(forms: Forms, room: _Room, *, answered: bool) -> None:
    """Says what is worse than usual, who answers in spite of it, and why it is so, as far as there is room."""
    room.say("level", forms["level"][1])
    if "model" in room.said and answered:
        room.say("model", forms["model"][1])
    if room.left - len(GAP) >= MIN_REASON:
        room.say("reason", forms["reason"][1], room.left)


def _hints(values: StatusValues, room: _Room) -> Iterator[Piece]:
    for index, hint in enumerate(values.hints):
        text = one_line(" ".join(hint))
        if cell_len(text) + len(GAP) > room.left:
            return
        room.left -= cell_len(text) + len(GAP)
        yield Piece("hint", text, "hint", index)


def _piece(part: Part, text: str, values: StatusValues) -> Piece:
    return Piece(part, text, f"level-{_level(values)}" if part == "level" else LOOKS.get(part, "muted"))


def _level(values: StatusValues) -> int:
    return min(max(0, values.level), 4)


def _forms(values: StatusValues, ascii_only: bool) -> Forms:
    """The short and the long form of each part there is."""
    who, doing = _who(values, ascii_only), _doing(values, ascii_only)
    return {**who, **doing, **_figures(values, ascii_only), **_unusual(values, ascii_only)}


def _who(values: StatusValues, ascii_only: bool) -> Forms:
    """How good the service is, and who gives it."""
    level, dot = _level(values), " - " if ascii_only else " · "
    sign = f"{(ASCII_SYMBOLS if ascii_only else SYMBOLS)[level]} L{level}"
    forms: Forms = {"level": (sign, f"{sign} {one_line(values.level_text)}".rstrip())}
    provider, model = one_line(values.provider), one_line(values.model)
    if values.persona:
        forms["persona"] = (fit(values.persona, SHORT_PERSONA, "." if ascii_only else "…"), values.persona)
    if provider or model:
        forms["model"] = (model.rpartition("/")[2] or provider, dot.join(filter(None, (provider, model))))
    if values.level_reason and level > 0:
        forms["reason"] = (one_line(values.level_reason),) * 2
    return forms


def _doing(values: StatusValues, ascii_only: bool) -> Forms:
    """What goes on."""
    forms: Forms = {}
    if values.embedded_progress is not None:
        stage, fraction = values.embedded_progress
        percent = "" if fraction is None else f"{min(max(fraction, 0.0), 1.0):.0%}"
        forms["progress"] = (percent or one_line(stage, 12), f"{one_line(stage, 40)} {percent}".strip())
    elif values.busy:
        sign = ">" if ascii_only else "▸"
        doing = one_line(values.doing, 40)
        short = f"{sign} {fit(doing, SHORT_DOING, '')}" if doing else sign
        forms["progress"] = (short, f"{sign} {doing or 'answering'}")
    if values.microphone:
        forms["microphone"] = (f"{'(*)' if ascii_only else '●'} {one_line(values.microphone, 20)}",) * 2
    if values.speaking:
        forms["speaking"] = (f"{'>>' if ascii_only else '♪'} {one_line(values.speaking, 20)}",) * 2
    if values.macro:
        sign, macro = "*" if ascii_only else "▶", one_line(values.macro, 60)
        forms["macro"] = (f"{sign} {' '.join(macro.split()[:2])}", f"{sign} {macro}")
    if values.recording is not None:
        forms["recording"] = (f"{'(*)' if ascii_only else '●'} rec {values.recording}",) * 2
    if values.mode:
        forms["mode"] = (values.mode,) * 2
    return forms


def _figures(values: StatusValues, ascii_only: bool) -> Forms:
    """How fast it is, and what it takes."""
    forms: Forms = {}
    if values.tokens_per_s is not None:
        speed = f"{values.tokens_per_s:.0f}" if values.tokens_per_s >= 100 else f"{values.tokens_per_s:.1f}"
        forms["speed"] = (f"{speed} t/s", f"{speed} tok/s")
    if values.tokens_in or values.tokens_out:
        counts = _count(values.tokens_in), _count(values.tokens_out)
        short = "{} in {} out" if ascii_only else "↑{} ↓{}"
        forms["tokens"] = (short.format(*counts), "{} in {} out".format(*counts))
    if values.context and values.window:
        share = f"{min(9.99, values.context / values.window):.0%}"
        forms["context"] = (f"ctx {share}", f"ctx {share} of {_count(values.window)}")
    if values.cost_usd is not None:
        forms["cost"] = (dollars(values.cost_usd),) * 2
    return forms


def _unusual(values: StatusValues, ascii_only: bool) -> Forms:
    """What a person may want to do something about."""
    forms: Forms = {}
    if not values.following and values.unseen > 0:
        arrow = "v" if ascii_only else "↓"
        forms["unseen"] = (f"{arrow} {_count(values.unseen)}", f"{arrow} {_count(values.unseen)} new")
    if values.asked:
        sign = "?" if ascii_only else "◆"
        forms["asked"] = (f"{sign} {_count(values.asked)}", f"{sign} {_count(values.asked)} for you")
    if values.store_state:
        forms["store"] = (f"! {one_line(values.store_state, 16)}",) * 2
    if values.weak_key:
        forms["weak"] = ("! key", "! weak key")
    if values.slow_link:
        forms["link"] = (one_line(values.slow_link, 12), f"link {one_line(values.slow_link, 12)}")
    return forms


def _count(number: int) -> str:
    for limit, unit in ((1_000_000, "M"), (1000, "k")):
        if number >= limit:
            return f"{number / limit:.1f}{unit}" if number < limit * 100 else f"{number // limit}{unit}"
    return str(number)


class StatusBar(Widget):
    """One fixed row. It has no clock: it is drawn again only when what it says has changed."""

    DEFAULT_CSS = """
    StatusBar {
        height: 1;
        width: 1fr;
        padding: 0 1;
        background: $panel;
        color: $foreground;
        & .status--microphone { color: $text-error; background: $error-muted; text-style: bold; }
        & .status--level-0 { color: $text-success; text-style: bold; }
        & .status--level-1 { color: $text-primary; text-style: bold; }
        & .status--level-2 { color: $text-warning; text-style: bold; }
        & .status--level-3 { color: $text-warning; text-style: bold; }
        & .status--level-4 { color: $text-error; text-style: bold reverse; }
        & .status--model { color: $foreground; }
        & .status--muted { color: $text-muted; }
        & .status--accent { color: $text-accent; }
        & .status--warn { color: $text-warning; text-style: bold; }
        & .status--key { color: $text-accent; text-style: bold; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *(f"status--level-{level}" for level in range(5)),
        "status--microphone",
        "status--model",
        "status--muted",
        "status--accent",
        "status--warn",
        "status--key",
    }

    values: reactive[StatusValues] = reactive(StatusValues(), repaint=False, init=False)

    @dataclass
    class Clicked(Message):
        """A part was clicked; for a hint, `key` is its key."""

        part: Part
        key: str | None = None

    def __init__(
        self,
        values: StatusValues | None = None,
        *,
        ascii_only: bool = False,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._ascii = ascii_only
        if values is not None:
            self.set_reactive(StatusBar.values, values)

    def watch_values(self, before: StatusValues, after: StatusValues) -> None:
        """Repaints the row if it reads differently now."""
        width = self.content_size.width
        if self._pieces(before, width) != self._pieces(after, width):
            self.refresh(layout=False)

    def _pieces(self, values: StatusValues, width: int) -> tuple[Piece, ...]:
        return arrange(values, width, ascii_only=self._ascii)

    def _placed(self) -> list[tuple[int, Piece]]:
        """Each piece with the column it begins at."""
        width = self.content_size.width
        pieces = self._pieces(self.values, width)
        placed, column = [], 0
        for piece in pieces:
            if piece.part == "hint" and piece.index == 0:
                rest = pieces[pieces.index(piece) :]
                column = max(column, width - sum(cell_len(each.text) for each in rest) - len(GAP) * (len(rest) - 1))
            placed.append((column, piece))
            column += cell_len(piece.text) + len(GAP)
        return placed

    def render(self) -> Content:
        """The row as it reads now."""
        content, column = Content(""), 0
        for start, piece in self._placed():
            content = content + " " * (start - column) + self._inked(piece)
            column = start + cell_len(piece.text)
        return content

    def _inked(self, piece: Piece) -> Content:
        if piece.part == "persona":
            style, ground = self.get_component_rich_style("status--model"), self.background_colors[1]
            own = tinted(self.values.persona_colour, style, ground) if self.values.persona_colour else style
            return Content.assemble((piece.text, VisualStyle.from_rich_style(own)))
        if piece.part == "hint":
            key, _, label = piece.text.partition(" ")
            return Content.assemble(
                (key, self.get_visual_style("status--key")),
                (f" {label}", self.get_visual_style("status--muted")),
            )
        return Content.assemble((piece.text, self.get_visual_style(f"status--{piece.look}")))

    def on_click(self, event: events.Click) -> None:
        """Tells which part was clicked."""
        column = event.get_content_offset_capture(self).x
        for start, piece in self._placed():
            if start <= column < start + cell_len(piece.text):
                key = self.values.hints[piece.index][0] if piece.part == "hint" else None
                self.post_message(self.Clicked(piece.part, key))
