"""What tracing costs a turn: the same turns with and without it, in the real core on a real store.

    python -m benchmarks.tracing [--turns 10] [--rounds 40] [--words 200] [--all]

`--all`: not only tracing but everything that is measured of a turn: its own counts, objectives, samples, the trace.

Only the wire is played from memory. `loop` is CPU of the event loop's own thread, which is what a screen would feel;
`all` is that of the whole process, with the writing: of turns in a row, whose traces and counts are written together,
once a round (`--turns 1`: of turns by themselves). Both kinds of turn take turns, so that a busy machine disturbs them
alike.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import table
from sophia_core.metrics.tracing import spans_of
from sophia_core.runtime import Runtime
from sophia_core.settings import load_settings
from tests.scripted import ScriptedReply, ScriptedTransport, chat

PROMISE_MS = 1.0
ENV = {"SOPHIA_BASE_URL": "http://near.example/v1", "SOPHIA_MODEL": "m", "SOPHIA_NO_KEYRING": "1"}


async def opened(folder: Path, enabled: bool, script: Sequence[ScriptedReply], everything: bool) -> Runtime:
    """A runtime that gets these answers."""
    env = {**ENV, "SOPHIA_HOME": str(folder), "SOPHIA_TRACES__ENABLED": "true" if enabled else "false"}
    if everything and not enabled:
        env["SOPHIA_SLO__ENABLED"] = "false"
    runtime = Runtime(load_settings(env), transport=ScriptedTransport(*script), env=env)
    metrics: Any = runtime.metrics
    if everything and enabled:
        metrics._keeper.start()
    elif everything:
        metrics.own = lambda event: None  # nobody counts
    await runtime.start()
    await runtime.vault.settled()
    return runtime


async def turns(runtime: Runtime, count: int) -> tuple[float, float]:
    """Milliseconds of CPU a turn took: of the loop, of all."""
    loop, whole = time.thread_time(), time.process_time()
    for _ in range(count):
        await runtime.run("session.new")
        await runtime.run("chat.send", "hi")
    await runtime.traces.written()
    metrics: Any = runtime.metrics
    if metrics._keeper._leave is not None:
        await metrics._keeper.written()
    return (time.thread_time() - loop) / count * 1e3, (time.process_time() - whole) / count * 1e3


async def measure(count: int, rounds: int, words: int, everything: bool) -> int:
    """Prints the figures; returns 1 where the promise is broken."""
    answers = [chat(*("word " for _ in range(words)))] * (count * (rounds + 1))
    with tempfile.TemporaryDirectory() as place:
        without = await opened(Path(place) / "a", False, answers, everything)
        traced = await opened(Path(place) / "b", True, answers, everything)
        try:
            for each in (without, traced):
                await turns(each, count)
            plain: list[tuple[float, float]] = []
            told: list[tuple[float, float]] = []
            for number in range(rounds):
                sides = [(without, plain), (traced, told)]
                for runtime, side in sides[:: 1 if number % 2 else -1]:
                    side.append(await turns(runtime, count))
            last = await (await traced.vault.get()).traces.get((await traced.traces.list(limit=1))[0].answer)
            print(
                f"{count * rounds} turns each, {words} deltas, {len(spans_of(last.spans))} spans, {len(last.spans)} B\n"
            )
            return report(plain, told)
        finally:
            await without.close()
            await traced.close()


def report(plain: Sequence[tuple[float, float]], told: Sequence[tuple[float, float]]) -> int:
    """The table, and whether the promise was kept."""
    rows, worst = [], 0.0
    for at, name in enumerate(("loop", "all")):
        one, other = (statistics.median(each[at] for each in side) for side in (plain, told))
        shown = {"without": f"{one:.3f}", "with": f"{other:.3f}", "more": f"{other - one:+.3f}"}
        rows.append({"ms of CPU a turn": name, **shown, "ratio": f"{other / one:.3f}"})
        worst = max(worst, other - one)
    print(table(rows))
    print(f"\n{'kept' if worst <= PROMISE_MS else 'BROKEN'}: at most {PROMISE_MS:g} ms more")
    return int(worst > PROMISE_MS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--words", type=int, default=200)
    parser.add_argument("--all", action="store_true")
    given = parser.parse_args()
    return asyncio.run(measure(given.turns, given.rounds, given.words, given.all))


if __name__ == "__main__":
    raise SystemExit(main())
