"""Highlighting closed code as a whole, a little per frame, so that the loop is never held up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from .code import Lexers
from .fence import Fence
from .ink import Run
from .painter import Row

SECONDS = 0.004
"""How long one frame may spend on it."""


@dataclass(slots=True)
class _Job:
    fence: Fence
    pieces: Iterator[tuple[Run, ...]]
    done: list[tuple[Run, ...]] = field(default_factory=list)


class Refiner:
    """Takes closed fences that are on the screen through the lexer, in slices."""

    def __init__(self, lexers: Lexers, clock: Callable[[], float] = time.thread_time) -> None:
        self._lexers = lexers
        self._clock = clock
        self._jobs: dict[int, _Job] = {}

    @property
    def busy(self) -> bool:
        """Whether there is something left to do."""
        return bool(self._jobs)

    def forget(self) -> None:
        """Drop everything."""
        self._jobs.clear()

    def notice(self, rows: Sequence[Row]) -> None:
        """Take up the closed fences among the visible rows."""
        for row in rows:
            part = row.part
            if part is None or part.kind != "code" or part.block is None or not part.block.source:
                continue
            fence = part.block.fence
            if fence is None or fence.colours is not None or id(fence) in self._jobs:
                continue
            if not fence.joined and self._lexers.get(fence.language) is not None:
                self._jobs[id(fence)] = _Job(fence, self._lexers.whole(fence.language, fence.lines))

    def work(self) -> list[Fence]:
        """Go on for `SECONDS`; the fences that are done now."""
        end = self._clock() + SECONDS
        finished: list[Fence] = []
        for key, job in list(self._jobs.items()):
            for piece in job.pieces:
                job.done.append(piece)
                if self._clock() > end:
                    return finished
            del self._jobs[key]
            complete = len(job.done) >= len(job.fence.lines)
            job.fence.colours = job.done if complete else []
            if complete:
                finished.append(job.fence)
        return finished
