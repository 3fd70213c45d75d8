"""Which backups to keep. Deletes nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Keep:
    """How many backups to keep: the newest, and the newest of each of the last days and weeks that have any."""

    last: int
    days: int = 0
    weeks: int = 0


def expendable(made_at: Iterable[int], keep: Keep) -> set[int]:
    """Return which of these times (milliseconds since the epoch) need no backup any more.

    Days and weeks are those of UTC, and count only when there is a backup of them: after a long holiday the old ones
    are still there. The newest is always kept.
    """
    newest_first = sorted(set(made_at), reverse=True)
    kept = set(newest_first[: max(1, keep.last)])
    kept |= _newest_of_each(newest_first, lambda day: day.date(), keep.days)
    kept |= _newest_of_each(newest_first, lambda day: day.isocalendar()[:2], keep.weeks)
    return set(newest_first) - kept


def _newest_of_each(newest_first: list[int], period: Callable[[datetime], object], count: int) -> set[int]:
    found: dict[object, int] = {}
    for at in newest_first:
        found.setdefault(period(datetime.fromtimestamp(at / 1000, UTC)), at)
    return set(list(found.values())[: max(0, count)])
