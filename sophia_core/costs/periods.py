"""Days, weeks and months of the calendar on the wall. Pure: the moment is given."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, TypeAlias

Period: TypeAlias = Literal["day", "week", "month"]


def local(at: float) -> datetime:
    """A moment (seconds since the epoch) where we are; without a zone, so that days are those of the calendar."""
    return datetime.fromtimestamp(at)


def midnight(at: float) -> datetime:
    """When the day of a moment began."""
    return local(at).replace(hour=0, minute=0, second=0, microsecond=0)


def begin(period: Period, at: float) -> datetime:
    """When the period that a moment is in began: at midnight, on Monday, on the first."""
    day = midnight(at)
    match period:
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)


def end(period: Period, at: float) -> datetime:
    """When it ends."""
    start = begin(period, at)
    match period:
        case "day":
            return start + timedelta(days=1)
        case "week":
            return start + timedelta(days=7)
        case "month":
            return (start + timedelta(days=32)).replace(day=1)


def name(period: Period, at: float) -> str:
    """What it is called: `2026-11-23`, `2026-W48`, `2026-11`."""
    start = begin(period, at)
    match period:
        case "day":
            return start.strftime("%Y-%m-%d")
        case "week":
            year, week, _ = start.isocalendar()
            return f"{year}-W{week:02d}"
        case "month":
            return start.strftime("%Y-%m")


def ms(moment: datetime) -> int:
    """Milliseconds since the epoch."""
    return int(moment.timestamp() * 1000)
