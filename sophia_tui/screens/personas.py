"""Choosing who answers: the personas on the left, what the one under the cursor is told on the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.style import Style
from textual.widgets import Button, Input

from sophia_core.personas.persona import Persona
from sophia_core.sanitize import one_line
from sophia_tui.screens.dialog import Choice, Choices, Line
from sophia_tui.screens.finder import Finder, Rows, fit
from sophia_tui.screens.fuzzy import best
from sophia_tui.tints import shade_of

NOBODY = "Nobody is called so. New makes somebody who is."

Wish = Literal["use", "edit", "new", "duplicate", "delete", "trust"]


@dataclass(frozen=True, slots=True)
class Shown:
    """A persona as the screen shows it."""

    persona: Persona
    prompt: str
    """As it would be sent from here now; of one that is not trusted, the whole text of its file."""
    where: str
    trusted: bool
    current: bool


class PersonaScreen(Finder[tuple[Wish, str]]):
    """What is wanted of which persona; None when the person left."""

    AROUND = (11, 3)
    TALLEST = 18
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+o", "wish('edit')", show=False),
        Binding("shift+down", "scroll_preview(1)", show=False),
        Binding("shift+up", "scroll_preview(-1)", show=False),
    ]
    DEFAULT_CSS = """
    PersonaScreen {
        Box { width: 130; }
        #people { height: auto; margin: 1 0 0 0; }
        #people Rows { width: 30; margin: 0 2 0 0; }
        #preview { width: 1fr; height: 1; scrollbar-size-vertical: 1; }
        #preview Line { width: 1fr; }
        #told { margin: 1 0 0 0; }
        &.-short #people, &.-short #told { margin: 0; }
        &.-narrow #people Rows { width: 1fr; margin: 0; }
        &.-narrow #preview { display: none; }
        &.-narrow Choices { layout: horizontal; }
        &.-narrow Choices Choice { margin: 0; }
    }
    """

    def __init__(self, people: Sequence[Shown]) -> None:
        super().__init__()
        self.people = tuple(people)
        self._found: list[int] = []

    def compose_box(self) -> ComposeResult:
        yield Line("Who answers", classes="title")
        yield Input(id="query", placeholder="Type to filter")
        with Horizontal(id="people"):
            yield Rows(id="rows", markup=False)
            with VerticalScroll(id="preview", can_focus=False):
                yield Line(id="about", classes="note")
                yield Line(id="told")
        with Choices():
            yield Choice("Use", "use", "primary")
            yield Choice("Trust", "trust", "primary")
            yield Choice("Edit", "edit")
            yield Choice("New", "new")
            yield Choice("Duplicate", "duplicate")
            yield Choice("Delete", "delete", "error")
        yield Line("Enter chooses, Ctrl+O edits, Shift+Down reads on, Esc leaves", classes="keys")

    def on_mount(self) -> None:
        super().on_mount()
        self.show_rows(cursor=next((at for at, each in enumerate(self.people) if each.current), 0))

    def total(self) -> int:
        return len(self.people)

    def find(self, query: str) -> int:
        texts = [f"{each.persona.title} {each.persona.name} {each.persona.about}" for each in self.people]
        self._found = [match.index for match in best(query, texts)]
        return len(self._found)

    def refit(self) -> None:
        super().refit()
        rows = self.query_one(Rows).styles.height
        room = self.size.height - self.AROUND[self.size.height < 20]
        tall = max(int(rows.value) if rows else 1, min(self.TALLEST, room))
        self.query_one(Rows).styles.height = self.query_one("#preview").styles.height = max(1, tall)

    def row(self, index: int, width: int) -> Content:
        each = self.people[self._found[index]]
        bar, dot = ("|", "*") if self.app.has_class("-ascii") else ("▌", "●")
        sign = f" {dot if each.current else ' '} "
        shade = (
            shade_of(each.persona.colour, self.query_one(Rows).background_colors[1]) if each.persona.colour else None
        )
        style = Style(foreground=shade) if shade is not None else ""
        more = "" if each.where == "shipped" else f"  {each.where}" if each.trusted else "  not trusted"
        return fit(Content.assemble((bar, style), sign, each.persona.title, (more, "dim")), width)

    def rest(self, index: int | None) -> None:
        shown = None if index is None else self.people[self._found[index]]
        self.query_one("#about", Line).say(_about(shown) if shown else NOBODY)
        self.query_one("#told", Line).say(shown.prompt or "It is told nothing." if shown else "")
        self.query_one("#preview").scroll_home(animate=False)
        for button in ("edit", "duplicate", "delete"):
            self.query_one(f"#{button}").display = shown is not None
        self.query_one("#use").display = shown is not None and shown.trusted
        self.query_one("#trust").display = shown is not None and not shown.trusted
        self.query_one("#delete", Button).disabled = shown is None or shown.where != "yours"
        for button in ("edit", "duplicate"):
            self.query_one(f"#{button}", Button).disabled = shown is None or not shown.trusted

    def choose(self, index: int) -> None:
        shown = self.people[self._found[index]]
        self.dismiss(("use" if shown.trusted else "trust", shown.persona.name))

    def action_wish(self, wish: Wish) -> None:
        """Leaves, wanting this of the persona under the cursor."""
        button = self.query_one(f"#{wish}", Button)
        if not button.disabled and button.display:
            typed = self.query_one("#query", Input).value  # of somebody new who was looked for and is not there
            name = self.people[self._found[self.cursor]].persona.name if self._found else typed
            self.dismiss((wish, name))

    def action_scroll_preview(self, lines: int) -> None:
        """Reads on in what the persona is told."""
        self.query_one("#preview").scroll_relative(y=lines, animate=False)

    @on(Button.Pressed)
    def pressed(self, event: Button.Pressed) -> None:
        """The same with the mouse, or from the buttons."""
        event.stop()
        wishes: dict[str | None, Wish] = {
            "use": "use",
            "trust": "trust",
            "edit": "edit",
            "new": "new",
            "duplicate": "duplicate",
            "delete": "delete",
        }
        self.action_wish(wishes[event.button.id])

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Anywhere in the box the wheel reads on."""
        self.action_scroll_preview(2)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.action_scroll_preview(-2)


def _about(shown: Shown) -> str:
    """What is worth knowing beside the prompt, in a few lines."""
    each = shown.persona
    sampling = each.sampling
    numbers = [f"temperature {sampling.temperature:g}"] if sampling.temperature is not None else []
    numbers += [f"top_p {sampling.top_p:g}"] if sampling.top_p is not None else []
    numbers += [f"at most {sampling.max_tokens} tokens"] if sampling.max_tokens is not None else []
    numbers += [f"reasoning {sampling.reasoning}"] if sampling.reasoning else []
    numbers += ["answers remembered"] if each.cache else []
    numbers += [f"tools {', '.join(each.tools)}"] if each.tools else []
    route = " ".join(filter(None, (each.provider, each.model)))
    lines = [each.about, f"/persona {each.name} · {shown.where}{f' · {route}' if route else ''}", " · ".join(numbers)]
    return "\n".join(one_line(line, 300) for line in lines if line)
