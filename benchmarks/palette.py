"""The command palette with 500 commands and 20,000 sessions: milliseconds until it is on the screen, and for each key.

python -m benchmarks palette
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from textual.pilot import Pilot
from textual.widgets import Input

from sophia_core.first_look import FirstLook
from sophia_core.settings import load_settings
from sophia_tui.app import SophiaApp
from sophia_tui.screens.finder import Rows
from sophia_tui.screens.palette_screen import PaletteScreen

COMMANDS, SESSIONS, TIMES = 500, 20_000, 15
WORDS = ("river", "mountain", "compiler", "garden", "protein", "orchestra", "harbour", "violin", "theorem", "bread")
TYPED = "orchestra 777"
MACRO = 'help = "Does {name} in some way."\n[[steps]]\nsay = "done"\n'
BAR_MS = 50.0


async def _filled(app: SophiaApp) -> None:
    store = await app.runtime.vault.get()
    for start in range(0, SESSIONS, 500):
        titles = (f"{WORDS[n % 10]} {WORDS[n // 10 % 10]} {n}" for n in range(start, start + 500))
        await asyncio.gather(*(store.sessions.create(title) for title in titles))


async def _until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - nothing tells when a screen is drawn
        await asyncio.sleep(0.001)


def _painted(app: SophiaApp) -> bool:
    screen = app.screen
    return isinstance(screen, PaletteScreen) and screen.is_mounted and screen.query_one(Rows).size.height > 1


async def _once(app: SophiaApp, pilot: Pilot[int]) -> tuple[float, float, float, list[float]]:
    """Until commands are listed (wall and CPU), until sessions are, and for each key until what fits is listed."""
    began, cpu = time.perf_counter(), time.thread_time()
    app.dispatcher.start("view.palette")
    await _until(lambda: _painted(app))
    opened, busy = time.perf_counter() - began, time.thread_time() - cpu
    screen = app.screen
    assert isinstance(screen, PaletteScreen)
    await _until(lambda: bool(screen._sessions))
    listed = time.perf_counter() - began
    keys = []
    for end in range(1, len(TYPED) + 1):
        at = time.thread_time()
        screen.query_one("#query", Input).value = TYPED[:end]
        await _until(lambda typed=TYPED[:end]: screen._typed == typed)  # type: ignore[misc]
        keys.append(time.thread_time() - at)
    await pilot.press("escape")
    await _until(lambda: len(app.screen_stack) == 1)
    return opened, busy, listed, keys


async def _measure(home: Path) -> int:
    (home / "macros").mkdir()
    loaded = load_settings({"SOPHIA_HOME": str(home), "SOPHIA_BASE_URL": "http://127.0.0.1:9/v1", "SOPHIA_MODEL": "m"})
    app = SophiaApp(FirstLook.of(loaded), lambda: loaded)
    async with app.run_test(size=(120, 40)) as pilot:
        await app.ready.wait()
        await app.runtime.vault.settled()
        for number in range(COMMANDS - len(list(app.runtime.registry))):
            (home / "macros" / f"macro_{number}.toml").write_text(MACRO.replace("{name}", str(number)))
        await _filled(app)
        await app.macro_guide.refresh()
        await pilot.pause()
        print(f"palette: {len(list(app.runtime.registry))} commands, {SESSIONS:,} sessions")
        runs = [await _once(app, pilot) for _ in range(TIMES)]
    await app.runtime.close()
    opened = sorted(run[0] * 1000 for run in runs[1:])
    busy = sorted(run[1] * 1000 for run in runs[1:])
    keys = sorted(key * 1000 for run in runs for key in run[3])
    print(f"  first time            {runs[0][0] * 1000:7.1f} ms")
    print(f"  open                  {median(opened):7.1f} ms   worst {opened[-1]:.1f}")
    print(f"  open, CPU             {median(busy):7.1f} ms   worst {busy[-1]:.1f}   (at most {BAR_MS:.0f})")
    print(f"  with sessions listed  {median(run[2] * 1000 for run in runs):7.1f} ms")
    print(f"  a key, CPU            {median(keys):7.1f} ms   worst {keys[-1]:.1f}")
    return int(median(busy) > BAR_MS)


def main() -> int:
    with tempfile.TemporaryDirectory() as home:
        return asyncio.run(_measure(Path(home)))


if __name__ == "__main__":
    raise SystemExit(main())
