"""Search in a large store: how fast it takes messages in, how fast they can be found.

python -m benchmarks store_search [--messages N] [--keep FOLDER]

Times of searches are CPU time of the whole process, so other work on the machine hardly moves them. The words are
made up and as often as words are in a text: some in half of all messages, most in a few.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from local_store import Argon2Cost, KeyPolicy, Store, StorePaths, open_store
from local_store.imports import Conversation, ImportMessage

WORDS, TEXTS, PER_SESSION = 60_000, 20_000, 50
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
POLICY = KeyPolicy(argon2=Argon2Cost(memory_kib=64, iterations=1, lanes=1))
START, STEP = 1_640_000_000_000, 120_000
PASSPHRASE = "x"  # noqa: S105
BAR_MS, BAR_IMPORT = 25.0, 20_000
QUERIES = 60


class Corpus:
    """Made-up conversations, the same for the same size."""

    def __init__(self, messages: int) -> None:
        self.random = random.Random(7)
        draw = self.random
        made = {"".join(draw.choice(LETTERS) for _ in range(draw.randint(2, 10))) for _ in range(WORDS)}
        self.words = sorted(sorted(made), key=lambda word: (len(word) + draw.random() * 8, word))
        often = list(itertools.accumulate(1 / (rank + 2) for rank in range(len(self.words))))
        self._texts = [
            " ".join(draw.choices(self.words, cum_weights=often, k=draw.randint(20, 120))) for _ in range(TEXTS)
        ]
        self.sessions = messages // PER_SESSION

    def word(self) -> str:
        """A word, common ones as likely as rare ones."""
        return self.words[int(len(self.words) ** self.random.random()) - 1]

    def title(self, number: int) -> str:
        return " ".join(self.words[100 + (number * step) % 9_000] for step in (1, 31, 577, 7919))

    def conversations(self) -> Iterator[Conversation]:
        for number in range(self.sessions):
            at = START + number * PER_SESSION * STEP
            yield Conversation("chatgpt", f"c{number}", self.title(number), self._messages(number, at), at, at)

    def _messages(self, number: int, at: int) -> list[ImportMessage]:
        first = number * PER_SESSION
        return [
            ImportMessage(
                f"{n}",
                "assistant" if n % 2 else "user",
                self._texts[(first + n) * 7919 % TEXTS],
                f"{n - 1}" if n else None,
                provider="openai" if n % 2 else None,
                model=("often", "often", "often", "sometimes")[number % 4] if number % 997 or not n % 2 else "rare",
                created_at=at + n * STEP,
            )
            for n in range(PER_SESSION)
        ]


async def build(store: Store, corpus: Corpus) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    report = await store.bulk.add(corpus.conversations())
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"import            {report.messages / wall:9,.0f} messages/s   {report.messages / cpu:9,.0f} a CPU second")
    print(f"                  bar {BAR_IMPORT:,}; {await store.search.indexing.pending():,} are indexed afterwards")
    wall, cpu = time.perf_counter(), time.process_time()
    await store.search.indexing.run(rest=False)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"index after that  {report.messages / wall:9,.0f} messages/s   {report.messages / cpu:9,.0f} a CPU second")


def kinds(corpus: Corpus) -> dict[str, Callable[[], str]]:
    word, draw = corpus.word, corpus.random

    def whole() -> str:
        """A finished word: no beginnings are looked up."""
        return word() + " "

    return {
        "one word": whole,
        "two words": lambda: f"{word()} {whole()}",
        "a phrase": lambda: f'"{word()} {word()}"',
        "word -word": lambda: f"-{word()} {whole()}",
        "word + role": lambda: f"role:user {whole()}",
        "word + rare model": lambda: f"model:rare {whole()}",
        "word + model of none": lambda: f"model:nothing {whole()}",
        "word + a month": lambda: f"after:2022-03 before:2022-04 {whole()}",
        "word + before early": lambda: f"before:2022-01-03 {whole()}",
        "word + in:title": lambda: f"in:{corpus.title(draw.randrange(corpus.sessions)).split()[0]} {whole()}",
        "filters only": lambda: f"model:rare role:assistant before:{draw.choice(('2024', '2023', '7d'))}",
        "begun, 3 letters": lambda: word()[:3],
        "begun, 5 letters": lambda: word()[:5],
        "word, begun word": lambda: f"{word()} {word()[:4]}",
    }


async def measure(store: Store, corpus: Corpus) -> list[float]:
    every: list[float] = []
    for name, make in kinds(corpus).items():
        times, hits = [], 0
        for _ in range(QUERIES):
            query, begun = make(), time.process_time()
            found = await store.search.find(query)
            times.append((time.process_time() - begun) * 1000)
            hits += len(found.hits)
        every += times
        show(name, times, f"{hits / QUERIES:4.0f} hits")
    show("all of these", every, f"bar p95 {BAR_MS:.0f} ms")
    return every


async def measure_titles(store: Store, corpus: Corpus) -> None:
    draw, times, right = corpus.random, [], 0
    await store.search.sessions("warm")
    for _ in range(QUERIES * 2):
        number = draw.randrange(corpus.sessions)
        word = max(corpus.title(number).split(), key=len)
        at = draw.randrange(len(word) - 1)
        typed = word[:at] + word[at + 1] + word[at] + word[at + 2 :] if len(word) > 4 else word
        begun = time.process_time()
        found = await store.search.sessions(typed, limit=500)
        times.append((time.process_time() - begun) * 1000)
        right += any(corpus.title(number) == each.title for each in found)
    show(f"titles, mistyped ({corpus.sessions:,})", times, f"{right * 100 // len(times)} % found")


def show(name: str, times: list[float], note: str) -> None:
    ordered = sorted(times)
    middle, high = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
    print(f"{name:26} p50 {middle:7.2f}  p95 {high:7.2f}  max {ordered[-1]:7.2f} ms CPU   {note}", flush=True)


async def run(messages: int, folder: Path) -> bool:
    corpus = Corpus(messages)
    paths = StorePaths(folder / "store", folder / "device")
    fresh = not paths.database.exists()
    async with await open_store(paths, passphrase=PASSPHRASE, allow_keyring=False, policy=POLICY) as store:
        if fresh:
            await build(store, corpus)
        size = sum(each.stat().st_size for each in paths.root.glob("sophia.db*"))
        print(f"{messages:,} messages, {corpus.sessions:,} sessions, {size / 1e6:,.0f} MB\n")
        every = await measure(store, corpus)
        await measure_titles(store, corpus)
    return sorted(every)[int(len(every) * 0.95)] <= BAR_MS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000, help="how many (the bar is meant for 1,000,000)")
    parser.add_argument("--keep", type=Path, help="make the store here, or use the one that is here")
    args = parser.parse_args()
    folder = args.keep or Path(tempfile.mkdtemp(prefix="sophia-search-"))
    try:
        return 0 if asyncio.run(run(args.messages, folder)) else 1
    finally:
        if args.keep is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
