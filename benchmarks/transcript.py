"""How the transcript holds up against a fast model, beside Textual's own ways, in one run of about a minute.

    python benchmarks/transcript.py            every part
    python benchmarks/transcript.py --full     streams at the real 200 tokens a second (six minutes)
    python benchmarks/transcript.py --part paced --doc code --tokens 4000 --rate 200

Every part runs in a process of its own with a driver that renders everything and counts the bytes instead of writing
them. CPU is process time, so a busy machine changes little; `block` is the CPU that the event loop spent between two
ticks of a 4 ms ticker, which is never less than the longest single block. A token is four characters.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from textual.app import App, ComposeResult
from textual.drivers.headless_driver import HeadlessDriver
from textual.pilot import Pilot
from textual.widgets import Input, Markdown, RichLog

from sophia_tui.transcript import Entry, Transcript, calm_collector

TOKEN = 4
FRAME = 0.05
DOCS = ("mix", "plain", "code", "list", "table")
WORDS = tuple(
    "a model writes and the reader waits for text that keeps moving down to the end of a long dark screen".split()  # noqa: SIM905
)


def paragraph(seed: int, words: int = 60) -> str:
    return " ".join(WORDS[(seed * 5 + index * 3) % len(WORDS)] for index in range(words)) + ".\n\n"


def section(seed: int) -> str:
    code = "".join(f"    total_{line} = measure({seed}, step={line}.5)  # part {line}\n" for line in range(14))
    items = "".join(f"- point {seed}.{line}: {WORDS[line % len(WORDS)]} and more\n" for line in range(6))
    rows = "".join(f"| row {line} | {seed * line} | {WORDS[line]} |\n" for line in range(4))
    return (
        f"## Part {seed}\n\n{paragraph(seed)}Some **bold {seed}**, *italic* and `code_{seed}`:\n\n{items}\n"
        f"```python\ndef part_{seed}(n: int) -> int:\n{code}    return n\n```\n\n"
        f"| name | value | note |\n|---|---|---|\n{rows}\n{paragraph(seed + 3, 40)}"
    )


def document(tokens: int, kind: str) -> str:
    """A text of `tokens` tokens that ends where a line ends."""
    makers: dict[str, Callable[[int], str]] = {
        "mix": section,
        "plain": paragraph,
        "code": lambda n: f"    total_{n} = measure({n}, step={n % 9}.5)  # part {n}\n",
        "list": lambda n: f"- point {n}: {WORDS[n % len(WORDS)]} with a few more words behind it\n",
        "table": lambda n: f"| row {n} | {n * 3} | {WORDS[n % len(WORDS)]} |\n",
    }
    heads = {"code": "```python\n", "table": "| name | value | note |\n|---|---|---|\n"}
    pieces, size, number = [heads.get(kind, "")], 0, 0
    while size < tokens * TOKEN:
        pieces.append(makers[kind](number))
        size += len(pieces[-1])
        number += 1
    return "".join(pieces)[: tokens * TOKEN]


class CountingDriver(HeadlessDriver):
    """Takes everything a terminal would get, and counts it."""

    written = 0

    @property
    def is_headless(self) -> bool:
        return False

    def write(self, data: str) -> None:
        CountingDriver.written += len(data.encode())


class Stage(App[None]):
    """A prompt under whatever shows the text."""

    CSS = "#view { height: 1fr; }"

    def __init__(self, kind: str, fps: float) -> None:
        super().__init__(driver_class=CountingDriver)
        self.kind = kind
        self.fps = fps
        self.typed = asyncio.Event()

    def compose(self) -> ComposeResult:
        if self.kind == "transcript":
            yield Transcript(id="view", fps=self.fps)
        elif self.kind == "markdown":
            yield Markdown(id="view")
        else:
            yield RichLog(id="view", wrap=True)
        yield Input(placeholder="type here")

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def on_input_changed(self) -> None:
        self.typed.set()


class Ticker:
    """CPU that the loop spends between two ticks."""

    def __init__(self) -> None:
        self.blocks: list[float] = []

    async def run(self) -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0.004)
            now = time.thread_time()
            self.blocks.append((now - last) * 1000)
            last = now


async def tokens_of(text: str, rate: float) -> AsyncIterator[str]:
    """Pieces of four characters at `rate` a second; 0: as fast as they are taken."""
    start = time.monotonic()
    for number in range(0, len(text), TOKEN):
        if rate:
            wait = start + number / TOKEN / rate - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
        elif number % (32 * TOKEN) == 0:
            await asyncio.sleep(0)
        yield text[number : number + TOKEN]


async def stream(app: Stage, text: str, rate: float) -> None:
    """Show the text the way the stage can."""
    if app.kind == "transcript":
        view = app.query_one(Transcript)
        view.append(Entry("question", "user", "Tell me everything."))
        view.begin(Entry("answer", "assistant", "", status="streaming"))
        async for token in tokens_of(text, rate):
            view.feed("answer", token)
        view.finish("answer", text=text)
        return
    waiting: list[str] = []
    drawn = time.monotonic()
    async for token in tokens_of(text, rate):
        waiting.append(token)
        if time.monotonic() - drawn >= FRAME:
            await show(app, "".join(waiting))
            waiting.clear()
            drawn = time.monotonic()
    await show(app, "".join(waiting))


async def show(app: Stage, text: str) -> None:
    """One frame of a baseline."""
    if app.kind == "markdown":
        markdown = app.query_one(Markdown)
        await markdown.append(text)
        markdown.scroll_end(animate=False)
    else:
        app.query_one(RichLog).write(text)


async def typing(app: Stage, echoes: list[float]) -> None:
    """One key every 0.4 s; the time until it is on the screen."""
    field = app.query_one(Input)
    while True:
        await asyncio.sleep(0.4)
        began, shown = time.monotonic(), asyncio.Event()
        app.typed.clear()
        app.simulate_key("x")
        await app.typed.wait()
        field.call_after_refresh(shown.set)
        await shown.wait()
        echoes.append((time.monotonic() - began) * 1000)
        field.value = ""


def rank(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] if values else 0.0


async def streamed(kind: str, doc: str, tokens: int, rate: float, *, fps: float, calm: bool) -> dict[str, Any]:
    """One stream from first token to last frame."""
    text = document(tokens, doc)
    found: dict[str, Any] = {"view": kind, "doc": doc, "tokens": tokens, "rate": rate}

    async def drive(pilot: Pilot[object]) -> None:
        app = pilot.app
        assert isinstance(app, Stage)
        await pilot.pause(0.3)
        if calm:
            calm_collector()
        ticker, echoes = Ticker(), []  # type: tuple[Ticker, list[float]]
        helpers = [asyncio.create_task(ticker.run())]
        if rate:
            helpers.append(asyncio.create_task(typing(app, echoes)))
        CountingDriver.written = 0
        cpu, wall = time.process_time(), time.monotonic()
        await stream(app, text, rate)
        await pilot.pause()
        found.update(
            seconds=round(time.monotonic() - wall, 2),
            cpu_s=round(time.process_time() - cpu, 2),
            bytes_per_token=round(CountingDriver.written / tokens),
        )
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        busy = [block for block in ticker.blocks if block > 1]
        found.update(
            block_p95_ms=round(rank(busy, 0.95), 1),
            block_max_ms=round(max(ticker.blocks, default=0.0), 1),
            echo_p95_ms=round(rank(echoes, 0.95), 1),
            peak_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        )
        app.exit()

    await Stage(kind, fps).run_async(size=(160, 48), auto_pilot=drive)
    return found


async def history(messages: int) -> dict[str, Any]:
    """A long conversation: opening it, moving about in it, typing beside it."""
    body = document(250, "mix")
    entries = [Entry(f"{n}", "user" if n % 2 == 0 else "assistant", body if n % 2 else "And?") for n in range(messages)]
    found: dict[str, Any] = {"messages": messages}

    async def drive(pilot: Pilot[object]) -> None:
        await pilot.pause(0.3)
        view = pilot.app.query_one(Transcript)
        cpu = time.process_time()
        view.show(entries)
        await pilot.pause()
        found["open_s"] = round(time.process_time() - cpu, 3)
        steps: list[float] = []
        for _ in range(40):
            cpu = time.process_time()
            view.scroll_page_up(animate=False)
            await pilot.pause()
            steps.append((time.process_time() - cpu) * 1000)
        keys: list[float] = []
        for _ in range(20):
            cpu = time.process_time()
            await pilot.press("x")
            keys.append((time.process_time() - cpu) * 1000)
        found.update(
            page_up_ms=round(statistics.median(steps), 1),
            key_cpu_ms=round(statistics.median(keys), 1),
            peak_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        )
        pilot.app.exit()

    await Stage("transcript", 15).run_async(size=(160, 48), auto_pilot=drive)
    return found


def part(name: str, **options: object) -> dict[str, Any]:
    """Run one part in a process of its own."""
    command = [sys.executable, __file__, "--part", name]
    for key, value in options.items():
        command += [f"--{key}"] if value is True else [f"--{key}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def table(rows: list[dict[str, Any]]) -> None:
    """Print rows of equal keys."""
    keys = list(rows[0])
    widths = [max(len(key), *(len(str(row.get(key, ""))) for row in rows)) for key in keys]
    print("  ".join(key.ljust(width) for key, width in zip(keys, widths, strict=True)))
    for row in rows:
        print(
            "  ".join(str(row.get(key, "")).ljust(width) for key, width in zip(keys, widths, strict=True)), flush=True
        )
    print()


def everything(full: bool) -> None:
    """All parts, and the ratios to the baselines."""
    print("1,000 tokens at 200/s, document mix, beside Textual's own ways (20 frames a second)")
    rows = [
        part("paced", view=view, doc="mix", tokens=1000, rate=200) for view in ("transcript", "markdown", "richlog")
    ]
    table(rows)
    ours = rows[0]
    for other in rows[1:]:
        print(
            f"  of {other['view']}: CPU {ours['cpu_s'] / other['cpu_s']:.0%}, "
            f"bytes {ours['bytes_per_token'] / other['bytes_per_token']:.0%}, "
            f"longest block {ours['block_max_ms'] / other['block_max_ms']:.0%}"
        )
    rate = 200 if full else 2000
    tokens = 20_000 if full else 8_000
    print(f"\n{tokens:,} tokens at {rate:,}/s")
    table([part("paced", view="transcript", doc=doc, tokens=tokens, rate=rate) for doc in DOCS])
    print("20,000 tokens at 20,000/s, which a frame cannot take in at once")
    table([part("paced", view="transcript", doc=doc, tokens=20_000, rate=20_000) for doc in DOCS])
    print("20,000 tokens in one go")
    table([part("paced", view="transcript", doc=doc, tokens=20_000, rate=0) for doc in DOCS])
    print("A conversation of 5,000 messages")
    table([part("history", tokens=5000)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["paced", "history"])
    parser.add_argument("--view", default="transcript", choices=["transcript", "markdown", "richlog"])
    parser.add_argument("--doc", default="mix", choices=DOCS)
    parser.add_argument("--tokens", type=int, default=4000)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--fps", type=float, default=15)
    parser.add_argument("--plain-gc", action="store_true", help="leave the garbage collector as it is")
    parser.add_argument("--full", action="store_true")
    args = parser.parse_args()
    if args.part is None:
        everything(args.full)
    elif args.part == "history":
        print(json.dumps(asyncio.run(history(args.tokens))))
    else:
        gc.enable()
        calm = not args.plain_gc
        print(json.dumps(asyncio.run(streamed(args.view, args.doc, args.tokens, args.rate, fps=args.fps, calm=calm))))


if __name__ == "__main__":
    main()
