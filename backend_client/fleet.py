"""All providers with everything that is known of them now, and the order in which a request asks them."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

from backend_client.breaker import Breaker, BreakerPolicy
from backend_client.happenings import BreakerChanged, BreakerState, Hook
from backend_client.limiter import Limiter
from backend_client.routing import BROKEN_FOR_S, Candidate, Ranked, Refusal, Weights, rank, share_of, typical_price
from backend_client.sight import likely_sees
from backend_client.types import Endpoint, Provider, Timeouts

if TYPE_CHECKING:
    import random

EWMA_SHARE: Final = 0.3
"""How much the newest first token counts in the moving average."""
LOAD_FRESH_S: Final = 30.0
"""How long a server's own word on its queue is believed."""
FLOWS_REMEMBERED: Final = 256
DECISIONS_KEPT: Final = 32
SHUN_S: Final = 60.0
"""How long a provider that refuses our key or does not know the model is asked last."""
OUT: Final[frozenset[BreakerState]] = frozenset({"open", "half_open", "forced_open"})


@dataclass(frozen=True, slots=True)
class Decision:
    """Where one attempt went, and what was known then."""

    request_id: str
    provider: str
    route: tuple[Ranked, ...]


class Ewma:
    """An exponentially weighted moving average; None until there is something to average."""

    def __init__(self) -> None:
        self.value: float | None = None

    def add(self, value: float) -> None:
        """Take one more value."""
        self.value = value if self.value is None else self.value + EWMA_SHARE * (value - self.value)


@dataclass(frozen=True, slots=True)
class Load:
    """What a server says about its queue."""

    waiting: float
    running: float
    at: float
    """Monotonic seconds."""


@dataclass(slots=True)
class CostCap:
    """The most that paid providers may cost until somebody sets `spent_usd` back (at midnight, say)."""

    limit_usd: float | None = None
    spent_usd: float = 0.0
    reserved_usd: float = 0.0
    """What the answers that are under way may cost."""
    barred: Mapping[str, str] = field(default_factory=dict)
    """Providers that may not be asked because a budget is spent, and which one."""

    @property
    def reached(self) -> bool:
        """Whether nothing more may be asked of a paid provider."""
        return self.limit_usd is not None and self.spent_usd + self.reserved_usd >= self.limit_usd

    @property
    def why(self) -> str:
        """What is to be said when it is reached."""
        soon = "" if self.limit_usd is None or self.spent_usd >= self.limit_usd else ", with the answers under way,"
        return f"the cost cap of ${self.limit_usd or 0.0:.2f}{soon} is reached"


@dataclass(frozen=True, slots=True)
class Resilience:
    """How a client behaves when providers do not."""

    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    weights: Weights = field(default_factory=Weights)
    region: str = ""
    """Where we are ourselves; providers of the same region are preferred."""
    patience_s: float = 2.0
    """The longest pause before the same tier is tried again while a worse one could answer at once."""


@dataclass(frozen=True, slots=True)
class Hurry:
    """How long to wait for the first token of a provider whose ways are known, where another could answer instead."""

    first_token_s: float
    most_bytes: int
    """Of a request: what is longer than all that was measured has the time that the settings give."""


class Station:
    """One provider with its queue, its breakers and what has been seen of it."""

    def __init__(
        self,
        provider: Provider,
        place: int,
        policy: BreakerPolicy,
        *,
        clock: Callable[[], float],
        rng: random.Random,
        hook: Hook,
    ) -> None:
        self.provider, self.place = provider, place
        self.limiter = Limiter(provider.max_concurrent, clock=clock)
        self.first_token = Ewma()
        self.load: Load | None = None
        self.returned_at: float | None = None
        """When its last breaker closed again; None when none was ever open."""
        self.last_used: float | None = None
        self.healthy: bool | None = None
        """What the last health probe found; None when there was none."""
        self.detail = ""
        self.saturating_s = self.odd_s = 0.0
        """What it is set behind the others of its tier by; see `Candidate`."""
        self.hurry: Hurry | None = None
        self.told: dict[str, frozenset[str] | None] = {}
        """What its server says that each of its models can do; None where it says nothing of that one."""
        self._policy, self._clock, self._rng, self._hook = policy, clock, rng, hook
        self._breakers: dict[str, Breaker] = {}
        self._states: dict[str, BreakerState] = {}
        self._shunned = (0.0, "")
        self._broke_at: float | None = None
        self._forced: Literal["open", "closed"] | None = None

    def breaker(self, model: str | None) -> Breaker:
        """The breaker of one model; None is the provider's own."""
        key = model or self.model or ""
        if key not in self._breakers:

            def moved(state: BreakerState, reason: str, retry_in_s: float | None) -> None:
                self._moved(key, state, reason, retry_in_s)

            self._breakers[key] = Breaker(self._policy, clock=self._clock, rng=self._rng, on_change=moved)
            self._breakers[key].force(self._forced)
        return self._breakers[key]

    def force(self, to: Literal["open", "closed"] | None) -> None:
        """Hold the breakers of all models open or closed, also of those asked for later; None lets them go."""
        self._forced = to
        for breaker in list(self._breakers.values()) or [self.breaker(None)]:
            breaker.force(to)

    def breakers(self) -> Mapping[str, Breaker]:
        """All breakers so far, by model."""
        return dict(self._breakers)

    @property
    def model(self) -> str | None:
        """The model it answers with when none is named, where that is known without asking."""
        endpoint = getattr(self.provider.source, "endpoint", None)
        return endpoint.model if isinstance(endpoint, Endpoint) else None

    def timeouts(self, size: int, *, last: bool) -> Timeouts:
        """How long to wait for it with a request of so many bytes; `last`: nobody is left to be asked instead."""
        usual, hurry = self.provider.timeouts, self.hurry
        if last or hurry is None or size > hurry.most_bytes or hurry.first_token_s >= usual.first_token:
            return usual
        return replace(usual, first_token=hurry.first_token_s)

    def used(self) -> None:
        """A request goes there now."""
        self.last_used = self._clock()

    def answered(self, first_token_s: float) -> None:
        """An answer began."""
        self.first_token.add(first_token_s)
        self._shunned = (0.0, "")

    def shun(self, reason: str) -> None:
        """It answers, but not us: let others go first for a while."""
        self._shunned = (self._clock() + SHUN_S, reason)

    def broke_off(self) -> None:
        """An answer that had begun did not come to its end."""
        self._broke_at = self._clock()

    def broken(self) -> float:
        """1 when it has just broken off an answer, down to 0 when that is long ago."""
        since = BROKEN_FOR_S if self._broke_at is None else self._clock() - self._broke_at
        return max(0.0, 1.0 - since / BROKEN_FOR_S)

    def refusal(
        self, needs: frozenset[str], model: str | None, cap: CostCap, *, alone: bool
    ) -> tuple[Refusal | None, str, float]:
        """Return why it cannot be asked now, in words and with the seconds until that changes; None when it can.

        One that stands alone is asked for any model: its server knows best.
        """
        missing = sorted(needs - self.capabilities(model))
        if missing:
            return "capability", f"cannot do {', '.join(missing)}", 0.0
        if model and not alone and not self.offers(model):
            return "model", f"is not configured for {model}", 0.0
        if why := cap.barred.get(self.provider.name):
            return "budget", why, 0.0
        if self.provider.paid and cap.reached:
            return "cap", cap.why, 0.0
        breaker = self.breaker(model)
        if not breaker.allows():
            forced = breaker.state == "forced_open"
            return "forced" if forced else "breaker", breaker.reason, breaker.retry_in()
        until, reason = self._shunned
        if self._clock() < until:
            return "shunned", reason, 0.0
        return None, "", 0.0

    def capabilities(self, model: str | None) -> frozenset[str]:
        """What it is configured for, with the sight that the model it would answer with is said or known to have."""
        named = model or self.model or next(iter(self.told), None)
        told = self.told.get(named) if named is not None else None
        sees = likely_sees(named) if told is None else "vision" in told
        return self.provider.capabilities | {"vision"} if sees else self.provider.capabilities

    def offers(self, model: str) -> bool:
        """Whether it is, or may be, configured for that model."""
        return self.model in (None, model) or model in self.provider.models

    def waiting(self) -> float:
        """Requests that would be served before the next one."""
        ours = max(0, self.limiter.waiting + self.limiter.in_use - self.limiter.limit + 1)
        fresh = self.load is not None and self._clock() - self.load.at < LOAD_FRESH_S
        return ours + (self.load.waiting if self.load is not None and fresh else 0.0)

    def warming(self) -> bool:
        """Whether it has just come back and this request is not of the share it gets."""
        since = None if self.returned_at is None else self._clock() - self.returned_at
        share = share_of(since)
        return share < 1.0 and self._rng.random() >= share

    def _moved(self, model: str, state: BreakerState, reason: str, retry_in_s: float | None) -> None:
        before = self._states.get(model, "closed")
        self._states[model] = state
        if before in OUT and state == "closed":
            self.returned_at = self._clock()
        self._hook(BreakerChanged(self.provider.name, model, state, reason, retry_in_s))


class Fleet:
    """Every provider's station, in the order the person gave."""

    def __init__(
        self,
        providers: Sequence[Provider],
        policy: Resilience,
        *,
        cap: CostCap,
        clock: Callable[[], float],
        rng: random.Random,
        hook: Hook,
    ) -> None:
        self.policy, self.cap = policy, cap
        self._parts = clock, rng, hook
        self.stations: dict[str, Station] = {
            provider.name: Station(provider, place, policy.breaker, clock=clock, rng=rng, hook=hook)
            for place, provider in enumerate(providers)
        }
        self._habits: OrderedDict[str, str] = OrderedDict()
        self.decisions: deque[Decision] = deque(maxlen=DECISIONS_KEPT)
        """Where the last attempts went, oldest first."""

    def add(self, provider: Provider) -> None:
        """Let one more provider be asked, after those of the same tier that were there before."""
        place, (clock, rng, hook) = len(self.stations), self._parts
        station = Station(provider, place, self.policy.breaker, clock=clock, rng=rng, hook=hook)
        self.stations = {**self.stations, provider.name: station}  # whoever goes through them now is not disturbed

    def remove(self, name: str) -> None:
        """Let a provider be asked nothing more; what is underway there goes on."""
        self.stations = {each: station for each, station in self.stations.items() if each != name}

    def rank(
        self,
        needs: frozenset[str] = frozenset({"chat"}),
        *,
        model: str | None = None,
        pinned: str | None = None,
        flow: str = "",
        barred: Mapping[str, str] | None = None,
    ) -> tuple[Ranked, ...]:
        """Return the route of such a request: who is asked first, who else, and who not and why not.

        Those that are `barred` are not asked, for the reason given there. A pinned provider stands alone. A model that
        no provider is configured for is asked of the first one.
        """
        stations = [self.stations[pinned]] if pinned is not None else list(self.stations.values())
        if model and not any(station.offers(model) for station in stations):
            stations = stations[:1]
        alone = len(stations) == 1
        candidates = [self._candidate(each, needs, model, flow, alone) for each in stations]
        return rank([_held_back(each, barred or {}) for each in candidates], self.policy.weights)

    def decided(self, decision: Decision) -> None:
        """Keep why an attempt went where it went."""
        self.decisions.append(decision)

    def remember(self, flow: str, provider: str) -> None:
        """The flow's next request is best sent where this one went."""
        if flow:
            self._habits[flow] = provider
            self._habits.move_to_end(flow)
            while len(self._habits) > FLOWS_REMEMBERED:
                self._habits.popitem(last=False)

    def _candidate(
        self, station: Station, needs: frozenset[str], model: str | None, flow: str, alone: bool
    ) -> Candidate:
        provider = station.provider
        refusal, reason, retry_in_s = station.refusal(needs, model, self.cap, alone=alone)
        return Candidate(
            provider.name,
            provider.tier,
            station.place,
            station.first_token.value,
            station.waiting(),
            bool(self.policy.region and provider.region and provider.region != self.policy.region),
            self._habits.get(flow) == provider.name,
            typical_price(provider.price_prompt, provider.price_completion, paid=provider.paid),
            station.broken(),
            station.warming(),
            refusal,
            reason,
            retry_in_s,
            station.saturating_s,
            station.odd_s,
        )


def _held_back(candidate: Candidate, barred: Mapping[str, str]) -> Candidate:
    why = "" if candidate.refusal in ("capability", "model") else barred.get(candidate.provider, "")
    return replace(candidate, refusal="budget", reason=why, retry_in_s=0.0) if why else candidate


def least_bad(ranked: Iterable[Ranked]) -> list[Ranked]:
    """Return those that may be asked although they are known to be out, soonest back first.

    There is always one to try as long as anybody could answer at all: never are all providers ejected.
    """
    out = [each for each in ranked if each.refusal in ("breaker", "shunned")]
    return sorted(out, key=lambda each: (each.refusal == "breaker", each.tier, each.retry_in_s))
