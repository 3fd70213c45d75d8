"""What a plan has to be told before it runs, and the most it may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.widgets import Button, Input

from sophia_core.sanitize import one_line, sanitize
from sophia_core.swarm.plan import Plan
from sophia_tui.screens.dialog import Choice, Choices, Dialog, Line

MOST_PARAMS = 12


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a plan is to be run."""

    values: Mapping[str, str]
    usd: float | None = None
    tokens: int | None = None


class StartRun(Dialog[Wanted]):
    """What was filled in; None when the person left."""

    DEFAULT_CSS = """
    StartRun #estimate { color: $text-muted; }
    StartRun .label { margin: 0; }
    """

    def __init__(self, plan: Plan, estimate: str = "") -> None:
        super().__init__()
        self._plan, self._estimate = plan, estimate
        self._params = plan.params[:MOST_PARAMS]

    def compose_box(self) -> ComposeResult:
        plan = self._plan
        yield Line(one_line(plan.title or plan.name), classes="title")
        steps = ", ".join(step.id for step in plan.steps[:8])
        yield Line(one_line(plan.help or f"{len(plan.steps)} steps: {steps}", 300), classes="text")
        for number, param in enumerate(self._params):
            optional = "" if param.default is None else " (may stay as it is)"
            yield Line(one_line(f"{param.name}: {param.help}".rstrip(": ") + optional, 120), classes="label")
            yield Input(sanitize(param.default or ""), id=f"param-{number}", max_length=8192)
        yield Line("At most, in US dollars and in tokens (empty: as the plan says)", classes="label")
        yield Input(_said(plan.budget.money), "dollars", id="usd", max_length=12)
        yield Input(_said(plan.budget.tokens), "tokens", id="tokens", max_length=12)
        yield Line(self._estimate, id="estimate")
        yield Line(id="trouble", classes="trouble")
        with Choices():
            yield Choice("Start", "start", "primary")
            yield Choice("Leave", "leave")
        yield Line("Tab moves, Enter starts, Esc leaves", classes="keys")

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        """Enter in any field."""
        event.stop()
        self._start()

    @on(Button.Pressed)
    def pressed(self, event: Button.Pressed) -> None:
        """One of the choices."""
        event.stop()
        if event.button.id == "start":
            self._start()
        else:
            self.dismiss(None)

    def _start(self) -> None:
        values = {}
        for number, param in enumerate(self._params):
            field = self.query_one(f"#param-{number}", Input)
            if not field.value.strip() and param.default is None:
                self.query_one("#trouble", Line).say(f"{param.name} is needed.")
                field.focus()
                return
            values[param.name] = field.value
        try:
            usd, tokens = self._number("usd"), self._number("tokens")
        except ValueError:
            self.query_one("#trouble", Line).say("A budget is a number, such as 0.50 dollars or 20000 tokens.")
            return
        self.dismiss(Wanted(values, usd, None if tokens is None else int(tokens)))

    def _number(self, field: str) -> float | None:
        """Raises ValueError."""
        text = self.query_one(f"#{field}", Input).value.strip()
        if not text:
            return None
        found = float(text)
        if not 0 < found < 1e12:
            raise ValueError(text)
        return found


def _said(amount: float | None) -> str:
    return "" if amount is None else f"{amount:g}" if amount < 1e6 else f"{amount:.0f}"
