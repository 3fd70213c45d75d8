"""What the books say of an answer beside what was used for it: how its cost is known, and who asked it for what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Booking:
    """What the books say of one answer beside what was used."""

    cost_known: str = ""
    """How its cost is known: `reported`, `configured`, `amortised`, or a list of a date; empty: not at all."""
    seconds: float | None = None
    """How long its server was busy with it."""
    task: str = ""
    """What asked: `chat`, `voice`, `macro NAME` …"""
    person: str = ""
    """Who asked; empty: whoever this store is of."""
    tenant: str = ""
    """The account that it was asked under, where one is known."""
    cost_usd: float | None = None
    """What it cost where its server told of no usage."""
