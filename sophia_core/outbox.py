"""The outbox: questions that nobody could be reached for are asked by themselves, in order, each one once."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from backend_client.errors import NotOurProtocol, Redirected
from local_store.errors import NotFound, StoreError, WrongState
from sophia_core.chat.letters import NOT_YET
from sophia_core.chat.turn import Write, to_the_end
from sophia_core.commands import CommandError, command
from sophia_core.events import (
    BreakerChanged,
    Bus,
    DegradationChanged,
    Event,
    Level,
    Notice,
    OutboxChanged,
    SessionsChanged,
    StoreStateChanged,
    TurnFinished,
)
from sophia_core.sanitize import one_line
from sophia_core.waking import woken_within

if TYPE_CHECKING:
    import random

    from backend_client.errors import BackendError
    from local_store import Letter, Store
    from sophia_core.chat.chat import Chat
    from sophia_core.vault import Vault

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0
JITTER = 0.2
FURTHEST_S = LONGEST_PAUSE_S * (1 + JITTER)
MOST_ATTEMPTS = 5
STOPPED_PAUSE_S = 60.0
"""How long a question is left alone after a person stopped its delivery."""
ELSEWHERE_PAUSE_S = 30.0
"""How soon to look again for a letter that another instance is delivering: it may be killed."""
SAID = 60


@dataclass(frozen=True, slots=True)
class LetterRow:
    """A question in the outbox."""

    number: int
    standing: str
    """waiting, delivering or dead; how often it failed; when it is tried again."""
    question: str
    error: str
    """Why it was not delivered last time."""
    created_at: int
    letter: str
    """Its id."""
    session: str


@dataclass(slots=True)
class _Fate:
    """What became of one delivery."""

    nobody: bool = False
    """Nobody could be asked: the next letter need not be tried now either."""


class Outbox:
    """Delivers what waits while nothing else is asked, and holds the commands about it.

    `start` delivers in the background until `close`; without it the commands work all the same. `clock` gives seconds
    since the epoch; `sleep` and `rng` are there for tests.
    """

    def __init__(
        self,
        vault: Vault,
        chat: Chat,
        bus: Bus,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._vault, self._chat, self._bus = vault, chat, bus
        self._clock, self._sleep, self._rng = clock, sleep, rng
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._failures = 0
        """How many times in a row nobody could be reached."""
        self._not_before = 0.0
        self._poked = False
        """Somebody may have become reachable since the delivery under way began."""
        self._told: OutboxChanged | None = None
        self._closing = self._delivering = False

    def start(self) -> None:
        """Delivers from now on."""
        self._unsubscribe = self._bus.subscribe(self._heard)
        self._task = asyncio.create_task(self._run(), name="outbox")

    async def close(self) -> None:
        """Stops delivering; what nobody has begun to answer waits for the next start."""
        self._closing = True
        if self._unsubscribe:
            self._unsubscribe()
        if self._task:
            if self._delivering:
                await self._chat.close()
            self._task.cancel()
            await asyncio.wait([self._task])

    def poke(self) -> None:
        """Tries now: somebody may be reachable again."""
        self._not_before, self._poked = 0.0, True
        self._woken.set()

    def _heard(self, event: Event) -> None:
        match event:
            case TurnFinished(status="queued"):
                self._hold_back()
            case TurnFinished(status="complete", cached_at=None) | BreakerChanged(state="closed"):
                self.poke()
            case DegradationChanged() if event.level < Level.OFFLINE:
                self.poke()
            case SessionsChanged() | StoreStateChanged():
                self._woken.set()

    def _hold_back(self) -> None:
        """Nobody answered just now: there is no use in trying again at once."""
        if not self._delivering:
            self._not_before = max(self._not_before, self._clock() + self._pause(0))
            self._woken.set()

    async def _run(self) -> None:
        while not self._closing:
            self._woken.clear()
            try:
                wait = await self.deliver_due()
            except StoreError:  # the store says what is wrong with it by itself
                wait = FIRST_PAUSE_S
            if not self._closing:
                await woken_within(self._woken, wait, self._sleep)

    async def deliver_due(self) -> float | None:
        """Delivers every letter whose time has come; returns the seconds until the next, None when none waits.

        Raises StoreError.
        """
        while (store := self._vault.store) is not None and not self._closing:
            if not (await self._tell(store)).waiting:
                return None
            await self._chat.idle()  # first: what is being asked now may tell that there is no use in trying
            due = max((await store.outbox.next_at() or 0) / 1000, self._not_before)
            if 0 < (wait := due - self._clock()) <= FURTHEST_S:
                return wait
            # A letter due later than any pause is long was put back before the clock was set back: it is due.
            if (letter := await store.outbox.claim(int(max(due, self._clock()) * 1000) + 1)) is None:
                return ELSEWHERE_PAUSE_S
            await to_the_end(self._deliver(store, letter))
        return None

    async def _deliver(self, store: Store, letter: Letter) -> None:
        """Delivers one claimed letter, or puts it back where a person asks something first."""
        self._delivering, self._poked = True, False
        fate = _Fate()
        try:
            finished = await self._chat.deliver(letter, partial(self._put_off, store, letter, fate))
            if finished is None:
                await self._release(store, letter, letter.error)()
            else:
                await self._settle(store, letter, finished)
                self._count(fate, finished)
        except (NotFound, WrongState):
            # Its session is deleted, or its answer has something in it: either way there is nothing left to deliver.
            await store.outbox.deliver(letter.id)
        except StoreError:
            with contextlib.suppress(StoreError):
                await self._release(store, letter, letter.error)()
            raise
        finally:
            self._delivering = False
        await self._tell(store)

    def _count(self, fate: _Fate, finished: TurnFinished) -> None:
        if fate.nobody:
            self._not_before = 0.0 if self._poked else self._clock() + self._pause(self._failures)
            self._failures += 1
        elif finished.status != "queued":
            self._failures = 0

    def _put_off(self, store: Store, letter: Letter, fate: _Fate, problem: BackendError | None) -> Write | None:
        """How a letter that nobody has begun to answer is put back; None where it is given up."""
        if problem is None:
            pause = STOPPED_PAUSE_S if self._chat.stopped else 0.0
            return self._release(store, letter, letter.error, pause)
        if isinstance(problem, NOT_YET):
            fate.nobody = True
            return self._release(store, letter, str(problem))
        if letter.attempts + 1 >= MOST_ATTEMPTS or _hopeless(problem):
            return None
        return self._release(store, letter, str(problem), self._pause(letter.attempts), counted=True)

    def _release(self, store: Store, letter: Letter, error: str, pause: float = 0.0, *, counted: bool = False) -> Write:
        retry_at = int((self._clock() + pause) * 1000) if pause else 0
        return partial(store.outbox.release, letter.id, retry_at_ms=retry_at, error=error, counted=counted)

    async def _settle(self, store: Store, letter: Letter, finished: TurnFinished) -> None:
        """Whatever has anything of an answer has left the box with it; what was refused for good is dead."""
        # Without its words: notices are logged, and what a person asked never is.
        if finished.status == "failed" and finished.saved:
            with contextlib.suppress(NotFound, WrongState):
                await store.outbox.bury(letter.id, finished.error or "")
                text = f"A waiting question could not be delivered: {finished.error}"
                self._bus.publish(Notice("error", text, f"/outbox shows it; /outbox.retry {letter.id} asks again."))
        elif finished.status == "queued" and self._chat.stopped:
            text = "The waiting question was put back; it is tried again in a minute."
            self._bus.publish(Notice("info", text, f"/outbox.drop {letter.id} gives it up."))

    def _pause(self, failures: int) -> float:
        if self._rng is None:
            import random

            self._rng = random.Random()  # noqa: S311 - a pause needs no secrecy
        longest = min(FIRST_PAUSE_S * 2.0 ** min(failures, 30), LONGEST_PAUSE_S)
        return longest * self._rng.uniform(1 - JITTER, 1 + JITTER)

    async def _tell(self, store: Store) -> OutboxChanged:
        """How many letters there are; says so where that changed."""
        count = await store.outbox.count()
        now = OutboxChanged(count.waiting + count.delivering, count.dead)
        if now != self._told:
            self._told = now
            self._bus.publish(now)
        return now

    @command("outbox.list", slash="outbox")
    async def list(self) -> builtins.list[LetterRow]:
        """List the questions that wait to be asked, and those that were given up."""
        letters = await (await self._vault.get()).outbox.list()
        now = self._clock()
        return [_row(number, each, now) for number, each in enumerate(letters, 1)]

    @command("outbox.retry")
    async def retry(self, letter: str) -> str:
        """Ask a waiting or given-up question again now; name it by its number in /outbox, or the start of its id."""
        store, found = await self._find(letter)
        try:
            await store.outbox.retry(found.id)
        except (NotFound, WrongState) as error:
            raise CommandError(f"It cannot be tried again: {error}.", error.hint) from None
        await self._tell(store)
        self.poke()
        return f"{_name(found)} is asked {'now' if self._task else 'when SOPHIA is next open'}."

    async def _about(self, letter: str) -> str:
        """Names the question that would be given up."""
        return _name((await self._find(letter))[1])

    @command("outbox.drop", dangerous=True, check=_about)
    async def drop(self, letter: str) -> str:
        """Give up a waiting question; it stays in its session, unanswered."""
        store, found = await self._find(letter)
        try:
            await store.outbox.drop(found.id)
        except (NotFound, WrongState) as error:
            raise CommandError(f"It cannot be given up: {error}.", error.hint) from None
        await self._tell(store)
        self._bus.publish(SessionsChanged())
        return f"{_name(found)} will not be asked."

    async def _find(self, letter: str) -> tuple[Store, Letter]:
        """The one letter whose id starts so."""
        store = await self._vault.get()
        wanted, letters = letter.strip().upper(), await store.outbox.list()
        if wanted.isdecimal() and 0 < int(wanted) <= len(letters):
            return store, letters[int(wanted) - 1]
        found = [each for each in letters if wanted and each.id.startswith(wanted)]
        if len(found) == 1:
            return store, found[0]
        if found:
            raise CommandError(f"More than one waiting question starts with {letter!r}.", "Give more of its id.")
        raise CommandError(f"No question {letter!r} waits.", "/outbox lists them.")


def _row(number: int, letter: Letter, now: float) -> LetterRow:
    wait = letter.retry_at / 1000 - now
    when = f", again in {wait:.0f} s" if letter.state == "waiting" and wait >= 1 else ""
    tries = f", {letter.attempts} failed" if letter.attempts else ""
    return LetterRow(
        number,
        f"{letter.state}{tries}{when}",
        one_line(letter.question, SAID),
        one_line(letter.error, 200),
        letter.created_at,
        letter.id,
        letter.session_id,
    )


def _hopeless(problem: BackendError) -> bool:
    """Whether the same question would be refused again. A server that failed may recover, and what is no server of
    ours may be a network that wants a person to agree to its terms first."""
    strange = isinstance(problem, NotOurProtocol | Redirected)
    return not problem.retryable and not strange and problem.fault in ("caller", "account")


def _name(letter: Letter) -> str:
    return repr(one_line(letter.question, SAID))
