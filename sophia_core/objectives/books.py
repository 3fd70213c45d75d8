"""Where what counts for objectives outlives the process: among the samples of the encrypted metrics file."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from local_store.errors import StoreError
from sophia_core.metrics.own import OBJECTIVES, Own

if TYPE_CHECKING:
    from sophia_core.vault import Vault

HOUR_MS: Final = 3_600_000
GOOD: Final = "good"
BAD: Final = "bad"


class OwnBooks:
    """Counts with everything else that this app measures of itself; what is kept is what came, so it adds up."""

    def __init__(self, own: Own, vault: Vault, now: Callable[[], float] = time.time) -> None:
        self._own, self._vault, self._now = own, vault, now

    def count(self, objective: str, good: bool) -> None:
        """Add one."""
        self._own.add(OBJECTIVES, 1.0, objective, GOOD if good else BAD)

    async def counted(self, objective: str, since: float) -> Sequence[tuple[float, float, float]] | None:
        """What was counted from `since` until this process began, by all processes, hour by hour.

        None while the store is closed. Nothing where it cannot be read: an objective is then judged by what is seen
        from now on.
        """
        store = self._vault.store
        if store is None:
            return None
        try:
            series = await store.metrics.series(OBJECTIVES, {"objective": objective})
            if not series:
                return ()
            end = int(min(self._own.started, self._now()) * 1000)
            history = await store.metrics.range(series, max(int(since * 1000), 0), end, HOUR_MS)
        except StoreError:
            return ()
        good = {each.id for each in series if ("result", GOOD) in each.labels}
        hours: defaultdict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for id_, points in history.points.items():
            for point in points:
                hours[point.at][0] += point.sum if id_ in good else 0.0
                hours[point.at][1] += point.sum
        return [(at / 1000, kept, of) for at, (kept, of) in sorted(hours.items())]
