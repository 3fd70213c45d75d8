"""Finding by meaning: how long it takes beside a million vectors, and how much is found.

python -m benchmarks store_meaning [--count 1000000] [--texts 2000]

Speed is measured on a real store with made-up messages and vectors, each question by the real model. What is found is
measured on real texts: the docstrings of Python's library as what was said, and questions in other words.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import random
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import cpu_seconds, resident_mb, spread, table
from benchmarks.said import SAID
from local_store import Argon2Cost, KeyPolicy, Store, StorePaths, open_store
from local_store.query import parse
from local_store.vectors import Batch
from sophia_core.events import Bus
from sophia_core.memory.embedder import MODEL, Embedder
from sophia_core.memory.memory import Memory
from sophia_core.memory.model import Model, quantised, scores
from sophia_core.settings import MemorySettings
from sophia_core.state import Current
from sophia_core.vault import Vault

if TYPE_CHECKING:
    from sqlite3 import Connection

CHEAP = KeyPolicy(argon2=Argon2Cost(memory_kib=64, iterations=1, lanes=1))
SLICE = 20_000
CLUSTERS = 1_999
DICE = random.Random(11)
PARTS = ("lum", "ker", "tos", "vin", "qua", "bel", "dri", "hof", "mun", "sya")
WORDS = [f"{one}{two}{three}" for one in PARTS for two in PARTS for three in PARTS]
OFTEN = [1 / place for place in range(1, len(WORDS) + 1)]
"""As in any language, a few words are in most texts and most words in few."""
TEXTS = [" ".join(DICE.choices(WORDS, OFTEN, k=16)) for _ in range(20_011)]


def fill(connection: Connection, number: int, first: int, count: int, centres: np.ndarray, noise: np.ndarray) -> None:
    """Write messages and vectors from `first` on."""
    near = centres[np.arange(first, first + count) % CLUSTERS] + np.roll(noise, first * 7 % 383, axis=1)[:count]
    vectors = np.clip(near, -127, 127).astype(np.int8)
    codes = np.packbits(vectors > 0, axis=1)
    messages = (
        (seq, f"M{seq:08}", f"S{seq // 1000:06}", "user", TEXTS[seq * 31 % len(TEXTS)])
        for seq in range(first, first + count)
    )
    connection.executemany(
        "INSERT INTO message (seq, id, session_id, role, text, status, created_at) "
        "VALUES (?, ?, ?, ?, ?, 'complete', 1)",
        messages,
    )
    rows = ((first + at, first + at, number, codes[at].tobytes(), vectors[at].tobytes()) for at in range(count))
    connection.executemany("INSERT INTO embedding VALUES (?, ?, ?, 0, 20, ?, ?)", rows)


async def filled(store: Store, count: int) -> None:
    """Bring the store to `count` messages with vectors."""
    random_numbers = np.random.default_rng(1)
    centres, noise = random_numbers.normal(0, 40, (CLUSTERS, 384)), random_numbers.normal(0, 40, (SLICE, 384))
    await store.vectors.missing(MODEL)
    sessions = [(f"S{each:06}", f"s{each}") for each in range(count // 1000 + 1)]
    insert = "INSERT INTO session (id, title, title_key, created_at, updated_at) VALUES (?, ?2, ?2, 1, 1)"
    await store._database.write(lambda db: db.executemany(insert, sessions).rowcount)
    await store.search.indexing.defer()
    for first in range(1, count + 1, SLICE):
        size = min(SLICE, count + 1 - first)
        await store._database.write(lambda db, at=first, most=size: fill(db, 1, at, most, centres, noise))  # type: ignore[misc]
    await store.vectors.add(MODEL, Batch((), 1, count), {})
    made = "UPDATE embedding_model SET made = ?"
    await store._database.write(lambda db: db.execute(made, [count]).rowcount)


async def speed(count: int, questions: int) -> list[dict[str, object]]:
    """Measure questions beside so many vectors."""
    with tempfile.TemporaryDirectory() as folder:
        paths = StorePaths(Path(folder) / "store", Path(folder) / "device")
        vault = Vault(paths, Bus(), allow_keyring=False)
        vault.store = store = await open_store(paths, allow_keyring=False, policy=CHEAP)
        vault._settle("open")
        began = time.monotonic()
        await filled(store, count)
        size = paths.database.stat().st_size / 1e6
        print(
            f"  {count:,} messages and vectors written in {time.monotonic() - began:.0f} s, {size:,.0f} MB\n",
            flush=True,
        )
        embedder = Embedder()
        memory = Memory(vault, vault._bus, Current(), MemorySettings(), embedder=embedder, calm_s=0)
        try:
            await embedder.ready()
            pid = embedder.pid or 0
            before = resident_mb(pid)
            began, used = time.perf_counter(), time.thread_time()
            await memory._recall.fill(store)
            print(
                f"  codes into memory: {time.perf_counter() - began:.2f} s, {time.thread_time() - used:.3f} s CPU "
                f"in the loop's thread; {resident_mb(pid) - before:.0f} MB more, {resident_mb(pid):.0f} MB in all\n"
            )
            rows = [await timed(memory, store, pid, "meaning", questions)]
            print(table(rows), "\n", flush=True)
            began = time.monotonic()
            store.search.indexing.settle()
            while await store.search.indexing.pending():  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.2)
            print(f"  words of all indexed in {time.monotonic() - began:.0f} s\n", flush=True)
            return [*rows, *[await timed(memory, store, pid, kind, questions) for kind in ("words", "both")]]
        finally:
            await memory.close()
            await store.close()


async def timed(memory: Memory, store: Store, pid: int, kind: str, questions: int) -> dict[str, object]:
    """Ask so many questions in one way."""
    walls, before, ours = [], cpu_seconds(pid), time.process_time()
    for _ in range(questions):
        question = " ".join(DICE.choices(WORDS, k=2))
        began = time.perf_counter()
        match kind:
            case "meaning":
                await memory._recall.by_meaning(store, parse(question), 20)
            case "words":
                await memory._by_words(store, question, 20)
            case _:
                await memory.search(question)
        walls.append((time.perf_counter() - began) * 1e3)
    cpu = cpu_seconds(pid) - before + time.process_time() - ours
    told = spread(walls)
    return {
        "found by": kind,
        "p50 ms": told.p50,
        "p95 ms": told.p95,
        "worst ms": told.most,
        "CPU ms each": cpu * 1e3 / questions,
    }


def docstrings(most: int) -> Iterator[str]:
    """Docstrings of Python's library."""
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    texts: set[str] = set()
    for path in DICE.sample(paths, len(paths)):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            text = ast.get_docstring(node)
            if text and 40 < len(text) < 600 and text not in texts:
                texts.add(text)
                yield f"{path.stem}.{node.name}: {text}"
                if len(texts) == most:
                    return


def found(count: int) -> list[dict[str, object]]:
    """Measure how many of the ten nearest by the exact vectors the codes and the kept vectors find."""
    model, texts = Model(), list(docstrings(count))
    began = time.process_time()
    exact = np.array([model.question(text) for text in texts])
    each = (time.process_time() - began) / len(texts)
    print(f"  {len(texts):,} texts embedded with {each * 1e3:.1f} ms CPU each: {0.25 / each:.0f} a second at 25 %\n")
    made = [quantised(vector) for vector in exact]
    codes = np.unpackbits(np.frombuffer(b"".join(code for code, _ in made), np.uint8).reshape(-1, 48), axis=1)
    kept = b"".join(vector for _, vector in made)
    asked = [model.question(question) for _, question in SAID] + list(exact[:: len(exact) // 100])
    rows: list[dict[str, object]] = []
    for most in (20, 40, 100, 400):
        hits = 0
        for question in asked:
            truth = set(np.argsort(-(exact @ question))[:10].tolist())
            bits = np.unpackbits(np.frombuffer(quantised(question)[0], np.uint8))
            near = np.argsort((codes != bits).sum(axis=1), kind="stable")[:most]
            ranked = scores(question, b"".join(kept[at * 384 : at * 384 + 384] for at in near))
            hits += len(truth & set(near[np.argsort(-ranked)[:10]].tolist()))
        rows.append({"candidates": most, "of the 10 nearest": hits / len(asked), "share": hits / len(asked) / 10})
    return rows


async def in_other_words(count: int) -> list[dict[str, object]]:
    """Measure how often the thing that was meant is found, among so many docstrings."""
    with tempfile.TemporaryDirectory() as folder:
        paths = StorePaths(Path(folder) / "store", Path(folder) / "device")
        vault = Vault(paths, Bus(), allow_keyring=False)
        await vault.open()
        store = await vault.get()
        memory = Memory(vault, vault._bus, Current(), MemorySettings(), calm_s=0)
        session = await store.sessions.create()
        try:
            for text in (*(said for said, _ in SAID), *docstrings(count)):
                turn = await store.turns.begin(session.id, None, text, request_id="r")
                await store.turns.finish(turn.answer.id, text="", status="complete")
            await memory.index()
            return [await placed(memory, store, kind) for kind in ("words", "meaning", "both")]
        finally:
            await memory.close()
            await vault.close()


async def placed(memory: Memory, store: Store, kind: str) -> dict[str, object]:
    """Ask all questions in one way."""
    first = among_five = 0
    for said, question in SAID:
        match kind:
            case "words":
                texts = [hit.snippet for hit in await memory._by_words(store, question, 5)]
            case "meaning":
                texts = [near.text for near, _ in await memory._recall.by_meaning(store, parse(question), 5)]
            case _:
                texts = [each.snippet for each in await memory.search(question, limit=5)]
        places = [text[:30] == said[:30] for text in texts]
        first += places[:1] == [True]
        among_five += any(places)
    return {"found by": kind, "first": f"{first} of {len(SAID)}", "among five": f"{among_five} of {len(SAID)}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="messages and vectors in the store")
    parser.add_argument("--texts", type=int, default=900, help="real texts to look among")
    parser.add_argument("--questions", type=int, default=100)
    chosen = parser.parse_args()
    print("Finding by meaning\n")
    if chosen.count:
        print(table(asyncio.run(speed(chosen.count, chosen.questions))), "\n")
    if chosen.texts:
        print(table(found(chosen.texts)), "\n")
        print(table(asyncio.run(in_other_words(chosen.texts // 3))), "\n")


if __name__ == "__main__":
    main()
