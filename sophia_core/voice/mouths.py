"""Who says it: the best mouth that can, and the next one where it fails."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final, Protocol, runtime_checkable

from backend_client.breaker import Breaker, BreakerPolicy
from backend_client.breaker_policy import Failure
from backend_client.errors import AuthenticationFailed, BackendError, PaymentRequired, RateLimited
from sophia_core.events import Bus, VoiceChanged, VoiceDegraded
from sophia_core.present import sentence
from sophia_core.sanitize import one_line
from sophia_core.voice.ports import AudioTrouble, Loads, Mouth, NoVoice

POLICY: Final = BreakerPolicy(
    minimum_calls=1, failure_rate=0.01, open_s=15.0, open_max_s=120.0, successes_to_close=1, connect_errors=1
)
"""One failure is enough to be passed over for a while: nobody wants to wait for a voice twice."""
NOBODY: Final = "Nobody can speak just now."
NEXT_STEP: Final = "Text always works; `sophia doctor` says what the voice needs."


@runtime_checkable
class Guarded(Protocol):
    """A mouth with a breaker of its own."""

    def available(self) -> bool: ...


class Mouths:
    """Says whom to ask next, and tells when somebody failed and when another one goes on."""

    def __init__(
        self,
        mouths: Sequence[Mouth],
        bus: Bus,
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._mouths, self._bus = tuple(mouths), bus
        self.used: str | None = None
        """Who spoke last."""
        self._why = ""
        self._given_up = False
        self._told: dict[str, str] = {}
        """Why each of those that fail does, as it was told: the same is not told again until it has worked."""
        self._breakers = {
            each.name: Breaker(POLICY, clock=clock, rng=rng or random.Random(), on_change=lambda *_: None)  # noqa: S311
            for each in mouths
            if not isinstance(each, Guarded)
        }

    def order(self, engine: str = "auto") -> Iterator[Mouth]:
        """Those that may be asked now, best first, `engine` before all others; every one where none may."""
        ranked = sorted(self._mouths, key=lambda each: each.name != engine)
        yield from [each for each in ranked if self.may(each)] or ranked

    async def load(self, engine: str = "auto") -> None:
        """Have the mouth that will be asked ready by then; what goes wrong is told when it is asked."""
        first = next(self.order(engine), None)
        if isinstance(first, Loads):
            with suppress(AudioTrouble):
                await first.load()

    def may(self, mouth: Mouth) -> bool:
        """Whether it is worth asking this one now."""
        return mouth.available() if isinstance(mouth, Guarded) else self._breakers[mouth.name].allows()

    def succeeded(self, mouth: Mouth) -> None:
        """This one has spoken; told where it is another one than before."""
        self._settle(mouth, None)
        self._told.pop(mouth.name, None)
        if self.used != mouth.name or self._given_up:
            self.used, self._given_up = mouth.name, False
            self._bus.publish(VoiceChanged("mouth", mouth.name, self._why))
        self._why = ""

    def failed(self, mouth: Mouth, error: Exception, following: Mouth | None) -> None:
        """This one could not; `following` is asked now."""
        self._settle(mouth, error)
        self._why = why(error)
        name = following.name if following else None
        if self._told.get(mouth.name) != self._why:
            self._told[mouth.name] = self._why
            self._bus.publish(VoiceDegraded("mouth", mouth.name, self._why, hint_of(error), name))

    def give_up(self) -> None:
        """Nobody could; told once, until somebody can again."""
        if not self._given_up:
            self._given_up = True
            self._bus.publish(VoiceChanged("mouth", None, self._why or NOBODY))

    def _settle(self, mouth: Mouth, error: Exception | None) -> None:
        if isinstance(mouth, Guarded) or (error and _only_this(error)):
            return
        permit = self._breakers[mouth.name].acquire(early=True)
        if permit is None:
            return
        if error is None:
            permit.success()
        else:
            permit.failure(_kind(error), why(error), getattr(error, "retry_after", None))


def _only_this(error: Exception) -> bool:
    """Whether only this sentence was refused, which says nothing about the next."""
    return isinstance(error, BackendError) and error.fault == "caller" and error.status in (400, 413, 422)


def _kind(error: Exception) -> Failure:
    match error:
        case RateLimited():
            return "throttled"
        case PaymentRequired() | AuthenticationFailed() | NoVoice():
            return "quota"
        case _:
            return "connect"


def why(error: Exception) -> str:
    """Why it failed, as one safe sentence."""
    return sentence(one_line(str(error) or type(error).__name__, 200))


def hint_of(error: Exception) -> str:
    """What to do about it, as one safe line."""
    return one_line(error.hint, 200) if isinstance(error, BackendError | AudioTrouble) else ""
