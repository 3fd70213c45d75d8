"""How long SOPHIA takes to start, beside the interpreter alone and a minimal Textual app.

    python -m benchmarks.startup [--rounds 5] [--imports]

Warm is the median of several starts, cold a start that finds no byte code. The app's start ends when its prompt is on
the screen of a tmux; CPU and memory are those of the process at that moment, and a second later. `--imports` prints
only what the app's imports cost.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import ROOT, child_env, cpu_seconds, resident_mb, table
from benchmarks.streaming_server import serving
from benchmarks.terminal import BARE_READY, READY, SOPHIA, bare_app, fresh_home, has_tmux, screen

WALL_BUDGET_S, CPU_BUDGET_S, MEMORY_BUDGET_MB = 0.9, 0.6, 80.0
SETTLED_SECONDS = 1.5
APP_IMPORTS = "import sophia_cli.main, sophia_core.settings, sophia_tui.start"
TOP = 10


@dataclass(frozen=True, slots=True)
class Start:
    """One start: seconds until it was done or usable, and what it took."""

    wall_s: float
    cpu_s: float
    memory_mb: float = 0.0
    """Resident when the prompt was there; 0.0 for what ends at once."""
    settled_mb: float = 0.0
    settled_cpu_s: float = 0.0


def run_once(command: Sequence[str], env: dict[str, str]) -> Start:
    """Runs a command to its end."""
    before, began = _children_cpu(), time.monotonic()
    subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, check=True)
    return Start(time.monotonic() - began, _children_cpu() - before)


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def show_once(command: Sequence[str], env: dict[str, str], ready: str) -> Start:
    """Starts an app in tmux and waits for its prompt, and a little longer for what follows."""
    with screen(command, env) as running:
        wall = running.wait_for(ready, 60)
        cpu, memory = cpu_seconds(running.pid), resident_mb(running.pid)
        time.sleep(SETTLED_SECONDS)
        return Start(wall, cpu, memory, resident_mb(running.pid), cpu_seconds(running.pid))


def median(starts: Sequence[Start]) -> Start:
    """The median of each figure."""
    return Start(
        statistics.median(each.wall_s for each in starts),
        statistics.median(each.cpu_s for each in starts),
        statistics.median(each.memory_mb for each in starts),
        statistics.median(each.settled_mb for each in starts),
        statistics.median(each.settled_cpu_s for each in starts),
    )


def cold_and_warm(start: Callable[[dict[str, str]], Start], env: dict[str, str], rounds: int) -> tuple[Start, Start]:
    """A start without byte code, then the median of starts with it."""
    with fresh_home() as cache:
        cold = start(env | {"PYTHONPYCACHEPREFIX": str(cache)})
    start(env)
    return cold, median([start(env) for _ in range(rounds)])


def commands(rounds: int) -> None:
    """Measures what ends at once."""
    python = sys.executable
    measured = {
        "python -c pass": (python, "-c", "pass"),
        "sophia --version": (*SOPHIA, "--version"),
        "sophia --help": (*SOPHIA, "--help"),
        "sophia ask --help": (*SOPHIA, "ask", "--help"),
    }
    rows, base = [], 0.0
    with fresh_home() as home:
        for name, command in measured.items():
            cold, warm = cold_and_warm(lambda env, run=command: run_once(run, env), child_env(home), rounds)  # type: ignore[misc]
            base = base or warm.cpu_s
            rows.append(
                {
                    "": name,
                    "cold ms": round(cold.wall_s * 1000),
                    "warm ms": round(warm.wall_s * 1000),
                    "CPU ms": round(warm.cpu_s * 1000),
                    "× python": warm.cpu_s / base if base else 0.0,
                }
            )
    print(table(rows))


def apps(rounds: int) -> None:
    """Measures what shows a prompt."""
    minimal = (sys.executable, "-m", "benchmarks.startup", "--minimal")
    rows: list[dict[str, object]] = []
    with serving() as url, fresh_home() as home:
        env = child_env(home, url)
        first = show_once(SOPHIA, env, READY)
        found = {}
        for name, command, ready in (("minimal Textual", minimal, BARE_READY), ("SOPHIA", SOPHIA, READY)):
            found[name] = cold_and_warm(lambda env, c=command, r=ready: show_once(c, env, r), env, rounds)  # type: ignore[misc]
    for name, (cold, warm) in found.items():
        rows.append(
            {
                "": name,
                "cold s": cold.wall_s,
                "warm s": warm.wall_s,
                "CPU s": warm.cpu_s,
                "CPU s after": warm.settled_cpu_s,
                "RSS MB": round(warm.memory_mb, 1),
                "RSS MB after": round(warm.settled_mb, 1),
            }
        )
    print(table(rows))
    ours, base = found["SOPHIA"][1], found["minimal Textual"][1]
    print(
        f"  SOPHIA of the minimal app: wall ×{ours.wall_s / base.wall_s:.2f}, "
        f"CPU ×{ours.cpu_s / (base.cpu_s or 1):.2f}, memory ×{ours.settled_mb / (base.settled_mb or 1):.2f}; "
        f"the very first start, which makes the store: {first.wall_s:.2f} s"
    )
    print(
        f"  of the budgets: wall {ours.wall_s / WALL_BUDGET_S:.0%}, CPU {ours.cpu_s / CPU_BUDGET_S:.0%}, "
        f"memory {ours.settled_mb / MEMORY_BUDGET_MB:.0%}"
    )


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, in milliseconds."""

    name: str
    own: float
    total: float
    """With what it imported first."""


def imports(code: str = APP_IMPORTS) -> list[Import]:
    """What every module costs that the code imports, of the quicker of two runs."""
    best: list[Import] = []
    for _ in range(3):  # the first writes the byte code
        command = [sys.executable, "-X", "importtime", "-c", code]
        done = subprocess.run(command, cwd=ROOT, env=child_env(), stderr=subprocess.PIPE, text=True, check=True)
        found = [_import(line) for line in done.stderr.splitlines() if line.count("|") == 2 and "[us]" not in line]
        if not best or sum(each.own for each in found) < sum(each.own for each in best):
            best = found
    return best


def _import(line: str) -> Import:
    own, total, name = line.removeprefix("import time:").split("|")
    return Import(name.strip(), int(own) / 1000, int(total) / 1000)


def importing() -> None:
    """Prints what the app's imports cost, by package and for the dearest modules."""
    found = imports()
    everything = sum(each.own for each in found)
    packages: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for each in found:
        package = each.name.split(".")[0]
        package = package if package not in sys.stdlib_module_names else "(standard library)"
        packages[package] += each.own
        counts[package] += 1
    print(f"  the app's imports: {everything:.0f} ms in {len(found)} modules")
    dearest = sorted(packages.items(), key=lambda item: -item[1])[:TOP]
    modules = sorted(found, key=lambda each: -each.own)[:TOP]
    print(
        table(
            [
                {
                    "package": name,
                    "own ms": round(cost, 1),
                    "share": f"{cost / everything:.0%}",
                    "modules": counts[name],
                    "   dearest single modules": f"   {module.name}",
                    "ms": round(module.own, 1),
                }
                for (name, cost), module in zip(dearest, modules, strict=False)
            ]
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--imports", action="store_true", help="only the imports of the app")
    parser.add_argument("--minimal", action="store_true", help="run the baseline app itself")
    args = parser.parse_args()
    if args.minimal:
        asyncio.run(bare_app("").run_async())
        return
    if not args.imports:
        print(f"startup: medians of {args.rounds} warm starts; cold finds no byte code")
        commands(args.rounds)
        if has_tmux():
            apps(args.rounds)
        else:
            print("  without tmux the app's start is not measured")
    importing()


if __name__ == "__main__":
    main()
