"""How long the event loop of the app is held up while it imports and somebody types.

    python -m benchmarks.loop_import [--sessions 400]      50 messages each

What a block is, see `loop_block`; `CPU` is what the loop's own thread spent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import table
from benchmarks.loop_block import BUDGET_MS, Watch, run_app, type_until

if TYPE_CHECKING:
    from textual.pilot import Pilot

MESSAGES = 50
WORDS = ("alpha", "beta", "gamma", "river", "lake", "mountain", "python", "rust", "kernel", "memory", "token", "stream")


def export(path: Path, sessions: int) -> None:
    """Writes a file as ChatGPT exports it."""
    path.write_text(json.dumps([_conversation(number) for number in range(sessions)]), encoding="utf-8")


def _conversation(number: int) -> dict[str, Any]:
    ids = [f"{number}-{place}" for place in range(MESSAGES)]
    mapping = {
        each: {
            "id": each,
            "parent": ids[place - 1] if place else None,
            "children": ids[place + 1 : place + 2],
            "message": {
                "id": each,
                "author": {"role": "assistant" if place % 2 else "user"},
                "create_time": 1.7e9 + number * 1000 + place,
                "content": {
                    "content_type": "text",
                    "parts": [" ".join(WORDS[(place + n) % len(WORDS)] for n in range(60))],
                },
            },
        }
        for place, each in enumerate(ids)
    }
    return {"id": str(number), "title": f"Imported {number}", "mapping": mapping, "current_node": ids[-1]}


def measure(home: Path, sessions: int) -> list[dict[str, Any]]:
    """Runs the app without a terminal: idle with typing, then with an import beside it."""
    from sophia_core.first_look import FirstLook
    from sophia_core.settings import load_settings
    from sophia_tui.app import SophiaApp

    rows: list[dict[str, Any]] = []
    export(home / "conversations.json", sessions)
    env = {"SOPHIA_HOME": str(home), "SOPHIA_BASE_URL": "http://127.0.0.1:9/v1", "SOPHIA_NO_KEYRING": "1"}
    loaded = load_settings(env)
    app = SophiaApp(FirstLook.of(loaded), lambda: loaded)

    async def drive(pilot: Pilot[int], watch: Watch) -> None:
        await app.ready.wait()
        await app.runtime.vault.get()
        await pilot.pause(1.0)
        async with watch.phase("typing", rows):
            await type_until(app, asyncio.sleep(3.0))
        work = asyncio.create_task(app.runtime.run("session.import", str(home / "conversations.json")))
        async with watch.phase("typing, import", rows):
            await type_until(app, work)
        async with watch.phase("typing, indexing", rows):
            await type_until(app, asyncio.sleep(3.0))

    run_app(app, drive, lambda: app.runtime.close())
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=400)
    sessions = parser.parse_args().sessions
    with tempfile.TemporaryDirectory(prefix="sophia-bench-") as folder:
        rows = measure(Path(folder), sessions)
    print(f"loop_import: {sessions * MESSAGES} messages; the longest block in each 1/15 s, ms")
    print(table([_line(each) for each in rows]))
    worst = max(each["longest"][1] for each in rows)
    print(f"  p95 of the longest block {worst:.1f} ms of CPU: ×{worst / BUDGET_MS:.2f} of the {BUDGET_MS:g} ms budget")


def _line(row: dict[str, Any]) -> dict[str, Any]:
    cpu = dict(
        zip(("CPU p50", "CPU p95", "CPU p99", "CPU max"), (round(each, 1) for each in row["longest"]), strict=False)
    )
    return {"": row["name"], **cpu, "wall p95": round(row["longest_wall"][1], 1), "load %": round(row["load"] * 100)}


if __name__ == "__main__":
    main()
