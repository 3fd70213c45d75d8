"""How the way to the terminal is, and whether it may be drawn on just now.

What a terminal has taken is not known from writing to it: kernels, SSH and networks keep much underway. So the end of a
frame asks where the cursor is, as cheap a question as there is, and the answer says that everything before it has been
drawn. While more is underway than the link carries in a moment no frame is made: what changed meanwhile is drawn in
one frame afterwards, so nothing queues and a key that is typed is never behind seconds of old frames. See ADR 0028.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sophia_core.terminal_link import Figures

BACKLOG: Final = 16 << 10
"""Bytes that a terminal may leave lying before no more frames are made."""
FIRST_WINDOW: Final = 4 << 10
"""Bytes that may be underway before anything is known of the link. A first screen may be more: a frame is never cut."""
LEAST_WINDOW: Final = 512
"""Bytes that may always be underway: a typed letter or two and the end of a line."""
AHEAD_S: Final = 0.15
"""Seconds of drawing that may be underway beyond the round trip."""
NEAR_S: Final = 0.02
"""With a shorter round trip nothing is asked after each frame: what the writer has lying tells enough."""
SHORTEST_S: Final = 0.004
"""Times are no more exact than this."""
PATIENCE_S: Final = 3.0
"""How long an answer is waited for before a frame is made without it."""
GIVES_UP: Final = 3
"""After so many answers in a row that did not come, nothing is asked any more."""
MOST_ASKED: Final = 8
"""Questions that may be underway."""
FORGETS: Final = 0.7
"""How much of what was known of the throughput stays when something new is measured."""


@dataclass(slots=True)
class Asked:
    """A question underway."""

    at: float
    sent: int
    """Bytes given to the terminal so far, the question among them."""
    covers: int
    """Bytes underway at the time: what had to be taken first."""


class Link:
    """Counts and decides; knows no terminal and no clock of its own. Everything happens on one thread."""

    def __init__(self, *, remote: bool = False) -> None:
        """`remote`: the terminal is known to be elsewhere; else the first answer tells."""
        self._remote = remote
        self.asked: deque[Asked] = deque()
        """Questions underway: they are answered in their order."""
        self.round_trip_s: float | None = None
        """The shortest lately: the way itself, without what was in front of the question."""
        self.bytes_per_s: float | None = None
        self.sent = 0
        self.taken = 0
        """Bytes known to have been drawn."""
        self.frames = 0
        self.held = 0
        """How often frames had to wait."""
        self.waited_s = 0.0
        self.unanswered = 0
        """Questions in a row that got no answer in time."""

    @property
    def underway(self) -> int:
        """Bytes that were sent and are not known to have been drawn."""
        return self.sent - self.taken

    @property
    def window(self) -> int:
        """How many bytes may be underway."""
        if self.bytes_per_s is None or self.round_trip_s is None:
            return FIRST_WINDOW
        return max(LEAST_WINDOW, int(self.bytes_per_s * (self.round_trip_s + AHEAD_S)))

    @property
    def asks(self) -> bool:
        """Whether the end of a frame asks: not on this very machine, nor where nobody answers."""
        if self.unanswered >= GIVES_UP:
            return False
        return self._remote if self.round_trip_s is None else self.round_trip_s >= NEAR_S

    def full(self, backlog: int) -> bool:
        """Whether no frame may be made now; `backlog` is what the writer has lying."""
        return backlog > BACKLOG or (bool(self.asked) and self.asks and self.underway > self.window)

    def wrote(self, count: int) -> None:
        """Bytes were given to the terminal."""
        self.sent += count

    def asking(self, now: float) -> None:
        """The question goes out; its bytes are counted already."""
        self.asked.append(Asked(now, self.sent, self.underway))

    def answered(self, now: float) -> None:
        """The terminal has drawn all that went before the question."""
        if not self.asked:
            return
        asked = self.asked.popleft()
        self.unanswered = 0
        self.taken = max(self.taken, asked.sent)
        took = max(now - asked.at, 1e-5)
        # A link may become longer: what is the shortest comes up slowly, so that one quick answer is not for ever.
        before = self.round_trip_s
        self.round_trip_s = took if before is None else min(took, before * 1.05)
        beyond = took - self.round_trip_s
        if beyond > SHORTEST_S:
            self._learn(asked.covers / beyond)
        elif self.bytes_per_s is not None and asked.covers / took > self.bytes_per_s:
            self._learn(asked.covers / took)  # at least that
        if not self.asks:
            self.taken = self.sent

    def _learn(self, rate: float) -> None:
        old = self.bytes_per_s
        self.bytes_per_s = rate if old is None else FORGETS * old + (1 - FORGETS) * rate

    def late(self) -> None:
        """No answer in time: go on without. One that comes after all is welcome."""
        if self.asked:
            self.unanswered += 1
            self.taken = self.sent

    def forget(self) -> None:
        """The terminal was given away: what was underway is nobody's business any more."""
        self.asked.clear()
        self.taken = self.sent

    @property
    def patience_s(self) -> float:
        """How long to wait for an answer that is underway."""
        if not self.asked or self.bytes_per_s is None or self.round_trip_s is None:
            return PATIENCE_S
        return max(PATIENCE_S, 3 * (self.round_trip_s + self.asked[0].covers / self.bytes_per_s))

    def figures(self, bytes_per_token: float | None = None) -> Figures:
        """What is known."""
        return Figures(self.round_trip_s, self.bytes_per_s, bytes_per_token)


def frames_for(round_trip_s: float | None, usual: int) -> int:
    """How often an answer is drawn while it streams, over a link with this round trip."""
    if round_trip_s is None:
        return usual
    for limit, frames in ((0.03, 12), (0.1, 8), (0.25, 5)):
        if round_trip_s < limit:
            return frames
    return 4


def is_remote(env: Mapping[str, str]) -> bool:
    """Whether the environment says that the terminal is elsewhere."""
    return bool(env.get("SSH_CONNECTION") or env.get("SSH_TTY"))


class Gate:
    """Keeps frames from being made. `hold` and `release` do it; they are called once each, in turns."""

    def __init__(
        self, link: Link, hold: Callable[[], object], release: Callable[[], object], clock: Callable[[], float]
    ) -> None:
        self.link = link
        self._hold, self._release, self._clock = hold, release, clock
        self.closed_at: float | None = None

    @property
    def closed(self) -> bool:
        """Whether frames wait."""
        return self.closed_at is not None

    def look(self, backlog: int) -> None:
        """Something was written, taken or answered: opens or closes."""
        if self.link.full(backlog) == self.closed:
            return
        if self.closed_at is None:
            self.closed_at = self._clock()
            self.link.held += 1
            self._hold()
        else:
            self.open()

    def open(self) -> None:
        """Lets frames be made again."""
        if self.closed_at is not None:
            self.link.waited_s += self._clock() - self.closed_at
            self.closed_at = None
            self._release()


def now() -> float:
    """Seconds of a clock that never goes back."""
    return time.monotonic()


def of_this_process() -> Link:
    """A link as the environment describes it."""
    return Link(remote=is_remote(os.environ))
