"""A session of 10,000 messages beside one of 10, in the real app without a terminal.

    python -m benchmarks.long_session [--messages 10000]

Each length has a process of its own on the same store. Opening ends when the last message is laid out and drawn; then
the reader turns every page up to the first message, goes back to the end, and jumps into the middle as a search does.
Memory is what is resident when the app has been idle, after the opening, and after all of that.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from textual.pilot import Pilot

from benchmarks import COLUMNS, ROOT, ROWS, child_env, rank, table
from benchmarks.store_reading import conversations
from sophia_core.first_look import FirstLook
from sophia_core.settings import load_settings
from sophia_tui.app import SophiaApp

SHORT, LONG = 10, 10_000
OPEN_MS, MEMORY_RATIO = 300.0, 1.3
MOST_PAGES = 200
"""Pages that are measured one by one; the others are turned in the same way, several at once."""
WAIT_S = 120.0


def _app(home: Path) -> SophiaApp:
    loaded = load_settings({"SOPHIA_HOME": str(home), "SOPHIA_BASE_URL": "http://127.0.0.1:9/v1", "SOPHIA_MODEL": "m"})
    return SophiaApp(FirstLook.of(loaded), lambda: loaded)


async def _fill(home: Path, lengths: list[int]) -> None:
    app = _app(home)
    async with app.run_test(size=(COLUMNS, ROWS)):
        await app.ready.wait()
        store = await app.runtime.vault.get()
        await store.bulk.add(conversations("long", lengths))
    await app.runtime.close()


def _resident_mb() -> float:
    """All that is resident, the pages of files included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


async def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        if time.monotonic() > end:
            raise TimeoutError("nothing came")
        await asyncio.sleep(0.002)


def _shown(app: SophiaApp, message_id: str) -> bool:
    """Whether the message is on the screen, with its words."""
    transcript = app.chat.transcript
    numbers = {row.number for row in transcript._rows if row.part is not None and row.part.kind in ("plain", "block")}
    return any(transcript._flow.views[number].entry.id == message_id for number in numbers if number >= 0)


async def _open(app: SophiaApp, session_id: str, last: str) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    app.dispatcher.submit(f"/open {session_id}")
    await _until(lambda: _shown(app, last))
    return (time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000


async def _scroll(app: SophiaApp, pilot: Pilot[int], first: str) -> list[float]:
    """CPU of each page, from the end to the first message."""
    pages: list[float] = []
    transcript = app.chat.transcript
    while not (transcript.scroll_offset.y <= 0 and _shown(app, first)):
        began = time.thread_time()
        if len(pages) < MOST_PAGES:
            transcript.scroll_page_up(animate=False)
        else:
            transcript.scroll_relative(y=-max(ROWS, transcript._flow.height // 400), animate=False)
        await pilot.pause()
        pages.append((time.thread_time() - began) * 1000)
    return pages


async def _measure(home: Path, length: int) -> dict[str, float]:
    app = _app(home)
    async with app.run_test(size=(COLUMNS, ROWS)) as pilot:
        await app.ready.wait()
        store = await app.runtime.vault.get()
        await pilot.pause()
        sessions = await store.sessions.list(10)
        session = next(each for each in sessions if each.message_count == length)
        small = next(each for each in sessions if each.message_count != length)
        ids = [node.id for node in (await store.bulk.outline(session.id)).nodes]
        await asyncio.sleep(1.5)
        gc.collect()
        idle = _resident_mb()
        wall, cpu = await _open(app, session.id, ids[-1])
        await asyncio.sleep(0.5)
        opened = _resident_mb()
        pages = await _scroll(app, pilot, ids[0])
        app.chat.transcript.follow()
        await _until(lambda: _shown(app, ids[-1]))
        scrolled = _resident_mb()
        jumps = []
        for part in (0.5, 0.25, 0.75):
            app.dispatcher.submit(f"/open {small.id}")
            await _until(lambda: app.chat.session_id == small.id)
            await pilot.pause()
            app.feed.jump_to = ids[int(len(ids) * part)]
            began = time.process_time()
            app.dispatcher.submit(f"/open {session.id}")
            await _until(lambda goal=app.feed.jump_to or "": _shown(app, goal))  # type: ignore[misc]
            jumps.append((time.process_time() - began) * 1000)
        ended = _resident_mb()
    await app.runtime.close()
    return {
        "open_ms": wall,
        "open_cpu_ms": cpu,
        "page_ms": median(pages),
        "worst_page_ms": rank(pages, 0.99),
        "jump_cpu_ms": median(jumps),
        "idle_mb": idle,
        "opened_mb": opened,
        "scrolled_mb": scrolled,
        "ended_mb": ended,
    }


def _child(home: Path, length: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.long_session", "--child", str(home), "--messages", str(length)]
    done = subprocess.run(command, cwd=ROOT, env=child_env(), stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _report(short: dict[str, float], long: dict[str, float], length: int) -> int:
    rows = [
        {"": name.replace("_", " "), f"{SHORT} messages": short[name], f"{length:,}": long[name]}
        | {"ratio": long[name] / (short[name] or 1)}
        for name in short
    ]
    print(table(rows))
    ratio = long["opened_mb"] / short["idle_mb"]
    print(f"  open: {long['open_ms']:.0f} ms (at most {OPEN_MS:.0f}), {long['open_cpu_ms']:.0f} ms of CPU")
    print(f"  memory of the empty app: ×{ratio:.2f} opened, ×{long['ended_mb'] / short['idle_mb']:.2f} at the end")
    return int(long["open_cpu_ms"] > OPEN_MS or ratio > MEMORY_RATIO)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=LONG)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        print(json.dumps(asyncio.run(_measure(args.child, args.messages))))
        return 0
    with tempfile.TemporaryDirectory() as home:
        asyncio.run(_fill(Path(home), [SHORT, args.messages]))
        return _report(_child(Path(home), SHORT), _child(Path(home), args.messages), args.messages)


if __name__ == "__main__":
    raise SystemExit(main())
