"""Thousands of questions through the real client while two of its four servers come and go.

    make chaos [SEED=7] [TURNS=1000]

Each server's text is known to the byte, so every answer is held to it. Ends with a table, and with exit code 1 when a
promise is broken. The faults are seeded, and so are the client's own draws; what meets what depends on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final
from unittest import mock

from backend_client import (
    Attempt,
    BackendClient,
    BackendError,
    ChatMessage,
    ChatRequest,
    Endpoint,
    FinishChunk,
    NoAuth,
    Provider,
    Routed,
    StaticEndpoint,
    TextChunk,
    Timeouts,
)
from backend_client.breaker import Breaker, Permit
from backend_client.breaker_policy import BreakerPolicy, Failure
from backend_client.fleet import Resilience
from backend_client.happenings import BreakerChanged, FailedOver, Happening
from benchmarks import resident_mb, spread, table
from benchmarks.chaos_servers import NAMES, Counts, Farm, elsewhere, flap
from tests.backend_client.essays import essay_text

FLAPPING: Final = ("gh200-a", "gh200-b")
"""The two that are asked first."""
TIMEOUTS: Final = Timeouts(connect=1.0, first_token=0.5, idle=0.5, write=2.0, total=30.0)
BREAKER: Final = BreakerPolicy(window_s=1.0, slow_first_token_s=0.4, open_s=0.5, open_max_s=4.0)
ASK_AGAIN: Final = 2
"""How often a person asks again for an answer that broke off and broke off again."""
LOST_S: Final = 90.0
"""A turn without any end after this long is lost."""
ANSWERED: Final = 0.999
GROWTH_MB: Final = 16.0
"""What the client's memory may grow by, from the end of the first tenth to the end."""


@dataclass(slots=True)
class Heard:
    """What came of one request."""

    providers: list[str] = field(default_factory=list)
    text: str = ""
    finished: int = 0
    key: str = ""
    """Names the request at the servers."""
    attempt: int = 0
    first_token_s: float = 0.0
    error: BackendError | None = None

    @property
    def complete(self) -> bool:
        """Whether the client called the answer complete."""
        return self.finished > 0 and self.error is None


@dataclass(slots=True)
class Tally:
    """What came of all of them."""

    turns: int = 0
    flapping: tuple[str, ...] = FLAPPING
    at_once: int = 0
    """Complete as they came."""
    continued: int = 0
    """Broken off, told so, gone on with, and complete then."""
    again: int = 0
    """Broken off twice, told so, asked again, and complete then."""
    partial: int = 0
    """Broken off and told so; what there was is kept."""
    failed: Counter[str] = field(default_factory=Counter)
    """Told that there is no answer, by the type of the error."""
    lost: int = 0
    twice: int = 0
    untrue: int = 0
    """Called complete with another text than the server's, or kept in part with one that is no beginning of it."""
    two_probes: int = 0
    on_the_way: int = 0
    """Answers that a server gave to the end and the client never saw: they were asked for again."""
    attempts: dict[str, int] = field(default_factory=dict)
    """Which attempt at each request its answer came from."""
    by_provider: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    breakers: Counter[str] = field(default_factory=Counter)
    moods: Counter[str] = field(default_factory=Counter)
    smooth_s: list[float] = field(default_factory=list)
    """Times to the first token of requests that needed one attempt."""
    bumpy_s: list[float] = field(default_factory=list)
    """And of those that needed more."""
    memory_mb: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu_s: float = 0.0
    broken: list[str] = field(default_factory=list)
    """The first few promises that were broken, in words."""

    @property
    def answered(self) -> float:
        """The share of turns that ended with a complete answer."""
        return (self.at_once + self.continued + self.again) / max(1, self.turns)

    def breaks(self, what: str) -> None:
        """Note a broken promise."""
        if len(self.broken) < 20:
            self.broken.append(what)

    def hook(self, happening: Happening) -> None:
        """Count what the client tells."""
        match happening:
            case FailedOver():
                self.happened["failovers"] += 1
            case Attempt(retry_in_s=float(pause)) if pause > 0:
                self.happened["retries"] += 1
            case BreakerChanged(state=state):
                self.breakers[state] += 1


# -- one turn


async def turn(client: BackendClient, number: int, tally: Tally) -> None:
    """Asks one question and judges what came.

    An answer that breaks off is gone on with once, as a person would; where that breaks off too it is asked again.
    """
    question = ChatMessage("user", f"Please write essay {number}")
    name = f"turn-{number}"
    request = ChatRequest((question,), request_id=name, idempotency_key=name, flow=f"session-{number % 32}")
    try:
        async with asyncio.timeout(LOST_S):
            heard = await _listen(client, request)
            more, broken_off = None, set(heard.providers)
            if heard.text and heard.error is not None:
                begun = (question, ChatMessage("assistant", heard.text))
                rest = replace(request, messages=begun, continuing=True, avoid=frozenset(broken_off))
                more = await _listen(client, _named(rest, f"{name}-c"))
                broken_off.update(more.providers)
            again: list[Heard] = []
            while heard.text and (again[-1] if again else more or heard).error is not None and len(again) < ASK_AGAIN:
                anew = replace(request, avoid=frozenset(broken_off))
                again.append(await _listen(client, _named(anew, f"{name}-r{len(again)}")))
                broken_off.update(again[-1].providers)
    except TimeoutError:
        tally.lost += 1
        tally.breaks(f"{name}: no end after {LOST_S:g} s")
    else:
        judge(tally, number, heard, more, again)
    finally:
        tally.turns += 1


def _named(request: ChatRequest, name: str) -> ChatRequest:
    return replace(request, request_id=name, idempotency_key=name)


async def _listen(client: BackendClient, request: ChatRequest) -> Heard:
    heard, began = Heard(), time.perf_counter()
    try:
        async for chunk in client.stream(request):
            match chunk:
                case Routed(provider=provider, attempt=attempt):
                    heard.providers.append(provider)
                    heard.attempt = attempt
                    heard.key = request.idempotency_key
                case TextChunk(text=text):
                    heard.first_token_s = heard.first_token_s or time.perf_counter() - began
                    heard.text += text
                case FinishChunk():
                    heard.finished += 1
    except BackendError as error:
        heard.error = error
    return heard


def judge(tally: Tally, number: int, heard: Heard, more: Heard | None, again: Sequence[Heard]) -> None:
    """Hold what the client said to what the servers must have sent."""
    for each in (heard, *((more,) if more is not None else ()), *again):
        if len(each.providers) > 1 or each.finished > 1:
            tally.twice += 1
            tally.breaks(f"turn-{number}: answered by {each.providers}, finished {each.finished} times")
        if each.providers:
            tally.attempts[each.key] = each.attempt
        if each.text:
            tally.by_provider[each.providers[0] if each.providers else "?"] += 1
            (tally.smooth_s if each.attempt == 1 else tally.bumpy_s).append(each.first_token_s)
    text, last = heard.text + (more.text if more is not None else ""), more or heard
    told = [(heard.providers, text, last)] + [(each.providers, each.text, each) for each in again]
    for providers_of, said, end in told:
        whole = essay_text(providers_of[0], number) if providers_of else ""
        if not (said == whole if end.complete else whole.startswith(said)):
            tally.untrue += 1
            tally.breaks(f"turn-{number}: {said!r} of {whole!r}, complete: {end.complete}, {end.error!r}")
            return
    if told[-1][2].complete:
        tally.again += bool(again)
        tally.at_once += more is None and not again
        tally.continued += more is not None and not again
    elif text:
        tally.partial += 1
    elif last.error is not None:
        tally.failed[f"{type(last.error).__name__}: {last.error.message[:60]}"] += 1
    else:
        tally.lost += 1
        tally.breaks(f"turn-{number}: neither an answer nor an error")


# -- all of them


@contextmanager
def watched_probes(tally: Tally) -> Iterator[None]:
    """Count the moments in which a breaker has more than one probe in flight.

    Put around the breaker, not inside it: what is to be proved must not be taken from the one that promises it.
    """
    inside, out = Breaker.acquire, Counter[int]()

    def acquire(self: Breaker, *, early: bool = False) -> Permit | None:
        permit = inside(self, early=early)
        if permit is None or not permit.probe:
            return permit
        out[id(self)] += 1
        if out[id(self)] > 1:
            tally.two_probes += 1
            tally.breaks("two probes at once")
        return _Watched(permit, lambda: out.subtract([id(self)]))

    with mock.patch.object(Breaker, "acquire", acquire):
        yield


class _Watched(Permit):
    """A probe's permit that tells when it is settled."""

    def __init__(self, permit: Permit, settled: Callable[[], None]) -> None:
        self.probe = permit.probe  # type: ignore[misc]
        self._permit = permit
        self._tell: Callable[[], None] | None = settled

    def first_token(self, seconds: float) -> None:
        self._permit.first_token(seconds)

    def success(self) -> None:
        self._over()
        self._permit.success()

    def failure(self, kind: Failure, reason: str = "", retry_after: float | None = None) -> None:
        self._over()
        self._permit.failure(kind, reason, retry_after)

    def cancelled(self) -> None:
        self._over()
        self._permit.cancelled()

    def _over(self) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell()


async def run(
    farm: Farm,
    turns: int,
    seed: int,
    *,
    at_once: int = 16,
    pace: float = 1.0,
    names: Sequence[str] = FLAPPING,
) -> Tally:
    """Asks so many questions, `at_once` of them at a time, while those `names` come and go; returns what came of them.

    With a `pace` below 1 the servers change their moods faster.
    """
    tally = Tally(flapping=tuple(names))
    numbers = iter(range(turns))

    async def worker() -> None:
        for number in numbers:
            await turn(client, number, tally)
            if number in (turns // 10, turns - 1):
                gc.collect()
                tally.memory_mb.append(resident_mb(os.getpid()))

    began, cpu = time.monotonic(), time.process_time()
    async with BackendClient(
        providers(farm.urls), policy=Resilience(BREAKER), rng=random.Random(seed), hook=tally.hook
    ) as client:
        client.start()
        with watched_probes(tally):
            flapping = [
                asyncio.create_task(flap(farm, name, random.Random(f"{seed} {name}"), tally.moods, pace))
                for name in names
            ]
            try:
                await asyncio.gather(*(worker() for _ in range(at_once)))
            finally:
                for each in flapping:
                    each.cancel()
                await asyncio.gather(*flapping, return_exceptions=True)
    tally.seconds, tally.cpu_s = time.monotonic() - began, time.process_time() - cpu
    compare(tally, await farm.counts())
    return tally


def compare(tally: Tally, counts: Counts) -> None:
    """Hold what the client said to what the servers saw: nothing is asked again once its answer has begun."""
    for key, attempt in tally.attempts.items():
        if counts.arrived.get(key, 0) > attempt:
            tally.twice += 1
            tally.breaks(f"{key}: answered at attempt {attempt}, but asked {counts.arrived[key]} times")
    tally.on_the_way = sum(times - 1 for times in counts.completed.values())


def providers(urls: dict[str, str]) -> list[Provider]:
    """The four as a person would configure them: two machines of their own, a paid service, a small model here."""

    def at(name: str) -> StaticEndpoint:
        return StaticEndpoint(Endpoint(urls[name], "contract-model", NoAuth()))

    a, b, openrouter, embedded = NAMES
    return [
        Provider(a, at(a), TIMEOUTS, kind="vllm"),
        Provider(b, at(b), TIMEOUTS, kind="vllm"),
        Provider(openrouter, at(openrouter), TIMEOUTS, kind="openrouter", tier=1, paid=True),
        Provider(embedded, at(embedded), TIMEOUTS, kind="llamacpp", tier=2),
    ]


# -- what is shown


def report(tally: Tally, seed: int) -> None:
    """Prints the table."""
    t, per = tally, max(1, tally.turns)
    print(f"chaos: {t.turns} turns, seed {seed}, {' and '.join(t.flapping)} flapping; {t.seconds:.0f} s")
    rows = [
        ("answered", f"{round(t.answered * per)}", f"{100 * t.answered:.2f} %"),
        ("  complete at once", f"{t.at_once}", f"{100 * t.at_once / per:.2f} %"),
        ("  broke off, told so, complete after going on", f"{t.continued}", f"{100 * t.continued / per:.2f} %"),
        ("  broke off twice, told so, complete when asked again", f"{t.again}", f"{100 * t.again / per:.2f} %"),
        ("not complete in the end, told so, kept as partial", f"{t.partial}", f"{100 * t.partial / per:.2f} %"),
        ("no answer, told so", f"{t.failed.total()}", f"{100 * t.failed.total() / per:.2f} %"),
        ("prompts lost", f"{t.lost}", "must be 0"),
        ("answered twice", f"{t.twice}", "must be 0"),
        ("called complete that were not", f"{t.untrue}", "must be 0"),
        ("asked again, the answer lost on the way", f"{t.on_the_way}", ""),
        ("probes beside another in half-open", f"{t.two_probes}", "must be 0"),
        *((f"requests answered by {name}", f"{count}", "") for name, count in sorted(t.by_provider.items())),
        *((name, f"{count}", "") for name, count in sorted(t.happened.items())),
        *((f"breakers to {name}", f"{count}", "") for name, count in sorted(t.breakers.items())),
        ("faults switched on", f"{t.moods.total()}", f"{len(t.moods)} kinds"),
        ("client CPU per turn", f"{1000 * t.cpu_s / per:.2f}", "ms"),
    ]
    print(table([{"what": what, "count": count, "": share} for what, count, share in rows]))
    print(table([_times("one attempt", t.smooth_s), _times("more attempts", t.bumpy_s, t.smooth_s)]))
    if len(t.memory_mb) == 2:
        print(f"  memory: {t.memory_mb[0]:.1f} MB after a tenth, {t.memory_mb[1]:.1f} MB at the end")
    for name, count in t.failed.most_common(5):
        print(f"  no answer: {count} × {name}")


def _times(name: str, seconds: list[float], base: list[float] | None = None) -> dict[str, object]:
    base_ms = 1000 * spread(base).p50 if base else 0.0
    lie = spread([1000 * each - base_ms for each in seconds])
    shown = {"p50 ms": lie.p50, "p95 ms": lie.p95, "p99 ms": lie.p99, "most ms": lie.most}
    return {"time to first token": f"{name}, added to that" if base else name, "requests": lie.count, **shown}


def broken(tally: Tally) -> list[str]:
    """The promises that were broken, in words."""
    found = list(tally.broken)
    if tally.answered < ANSWERED and tally.turns >= 1000:
        found.append(f"{100 * tally.answered:.2f} % answered, {100 * ANSWERED:.1f} % promised")
    if len(tally.memory_mb) == 2 and tally.memory_mb[1] - tally.memory_mb[0] > GROWTH_MB:
        found.append(f"memory grew by {tally.memory_mb[1] - tally.memory_mb[0]:.1f} MB")
    return found


async def _main(turns: int, seed: int, at_once: int, names: Sequence[str]) -> int:
    async with elsewhere() as farm:
        tally = await run(farm, turns, seed, at_once=at_once, names=names)
    report(tally, seed)
    for each in (faults := broken(tally)):
        print(f"  BROKEN: {each}")
    return 1 if faults else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=16, help="questions at a time")
    parser.add_argument("--seed", type=int, default=None, help="repeats the faults of an earlier run")
    parser.add_argument("--flapping", nargs="+", choices=NAMES, default=FLAPPING, help="who comes and goes")
    args = parser.parse_args()
    seed = random.randrange(1_000_000) if args.seed is None else args.seed
    return asyncio.run(_main(args.turns, seed, args.at_once, args.flapping))


if __name__ == "__main__":
    sys.exit(main())
