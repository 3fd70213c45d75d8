"""The settings of the objectives."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from sophia_core.setting_kinds import Positive, Section

Measure = Literal["answered", "errors", "first token", "api"]
"""Turns that got an answer; attempts without an error; how soon the first token came; how soon the server took the
request, which is all of its time but the generating."""


class Objective(Section):
    """A share of what is counted that has to be good over a window of days."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9 _.-]{0,39}$", description="What it is called.")
    measure: Measure = Field(description="What is counted: answered, errors, first token, api.")
    target: Annotated[float, Field(gt=0, lt=1)] = Field(description="The share that has to be good: 0.999.")
    seconds: Positive | None = Field(None, description="Of the two that measure time: the longest that is good.")
    days: Annotated[float, Field(ge=0.04, le=90)] = Field(30.0, description="The window, in days.")


DEFAULTS: Final = (
    Objective(name="availability", measure="answered", target=0.999),
    Objective(name="errors", measure="errors", target=0.999),
    Objective(name="api latency", measure="api", target=0.95, seconds=0.2),
    Objective(name="first token", measure="first token", target=0.95, seconds=2.0),
)


class ObjectiveSettings(Section):
    """What is promised: turns answered, few errors, an API that takes requests at once, a first token soon."""

    enabled: bool = Field(True, description="Count how the objectives stand; in the encrypted store, sent nowhere.")
    least_events: int = Field(20, ge=1, le=100_000, description="Fewer in a window say nothing about its burn rate.")
    embedded: bool = Field(False, description="Count answers of the model on this machine too.")
    objectives: tuple[Objective, ...] = Field(DEFAULTS, description="One `[[slo.objectives]]` each.")
