"""From events to the values of the status bar."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sophia_core.events import (
    DegradationChanged,
    EmbeddedProgressed,
    Event,
    FailedOver,
    KeysChanged,
    Level,
    PersonaChanged,
    ReasoningDelta,
    RouteChosen,
    SessionChanged,
    StoreStateChanged,
    TextDelta,
    TurnFinished,
    TurnStarted,
)
from sophia_core.keymap import Keymap
from sophia_core.sanitize import one_line
from sophia_tui.bindings import key_hints
from sophia_tui.widgets.status import StatusValues

if TYPE_CHECKING:
    from sophia_core.runtime import Runtime

IDLE = (("view.palette", "commands"), ("view.help", "help"), ("session.new", "new"), ("view.sessions", "sessions"))
BUSY = (("view.back", "stop"), ("view.palette", "commands"))
DELIVERING = "delivering"
LEVELS = {
    Level.PRIMARY: "primary",
    Level.SECONDARY: "secondary",
    Level.PAID: "paid",
    Level.EMBEDDED: "embedded",
    Level.OFFLINE: "offline",
}
STORE_WORDS = {
    "opening": "opening",
    "locked": "locked",
    "unsaved": "not saved",
    "full": "not saved",
    "failed": "no store",
}


def at_first(runtime: Runtime, keymap: Keymap) -> StatusValues:
    """What is known before anything has happened."""
    level = runtime.degradation.level
    return StatusValues(
        provider=one_line(runtime.provider.name, 40),
        level=int(level),
        level_text=LEVELS[level],
        level_reason=runtime.degradation.reason,
        usual_level=int(level),
        hints=key_hints(keymap, IDLE),
    )


def after(values: StatusValues, event: Event) -> StatusValues:
    """The values once this event is known; pure."""
    match event:
        case TurnStarted():
            return replace(values, busy=True, doing=DELIVERING if event.delivered else "waiting", tokens_per_s=None)
        case FailedOver():
            return replace(values, provider=one_line(event.provider, 40), model="")
        case TextDelta() | ReasoningDelta():
            return replace(values, doing="") if values.doing else values
        case RouteChosen():
            return replace(values, provider=one_line(event.provider, 40), model=one_line(event.model, 60))
        case TurnFinished():
            return _after_turn(values, event)
        case PersonaChanged():
            return replace(values, persona=one_line(event.title, 40), persona_colour=event.colour)
        case DegradationChanged():
            return replace(
                values, level=int(event.level), level_text=LEVELS[event.level], level_reason=one_line(event.reason, 200)
            )
        case EmbeddedProgressed():
            over = event.stage in ("ready", "failed", "stopped")
            progress = None if over else (one_line(event.detail or event.stage, 40), event.fraction)
            return replace(values, embedded_progress=progress)
        case StoreStateChanged():
            return replace(values, store_state=STORE_WORDS.get(event.state))
        case KeysChanged():
            return replace(values, weak_key=event.weak)
        case SessionChanged():
            return (
                values
                if values.busy
                else replace(values, tokens_in=0, tokens_out=0, cost_usd=None, tokens_per_s=None, context=0)
            )
        case _:
            return values


def _after_turn(values: StatusValues, event: TurnFinished) -> StatusValues:
    cost = values.cost_usd if event.cost_usd is None else (values.cost_usd or 0.0) + event.cost_usd
    speed = values.tokens_per_s
    writing = event.duration_s - (event.first_token_s or 0.0)
    if event.completion_tokens and writing > 0.05:
        speed = event.completion_tokens / writing
    return replace(
        values,
        busy=False,
        doing="",
        tokens_per_s=speed,
        tokens_in=values.tokens_in + (event.prompt_tokens or 0),
        tokens_out=values.tokens_out + (event.completion_tokens or 0),
        cost_usd=cost,
    )
