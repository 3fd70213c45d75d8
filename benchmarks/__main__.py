"""Runs the benchmarks, the short ones or the named ones, one after the other.

python -m benchmarks [NAME…]
"""

from __future__ import annotations

import argparse
import os
import runpy
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

from benchmarks import ROOT, child_env

ORDER = ("startup", "wire", "client", "terminal", "loop_block", "transcript", "palette", "long_session", "kills")
LONG = (
    "loop_import",
    "store",
    "store_search",
    "store_meaning",
    "store_metrics",
    "collecting",
    "store_kills",
    "power",
    "purging",
    "tracing",
    "soak",
    "fuzz_keys",
    "voice_engines",
    "voice_bridge",
    "voice_loop",
    "scraping",
    "alerts",
    "metrics_pane",
    "anomalies",
    "swarm",
    "swarm_kills",
    "swarm_forged",
    "swarm_machines",
)
"""Only when they are named: they take minutes, or make databases of a gigabyte."""
SECONDS_TO_LEAVE = 10


def run(name: str) -> int:
    """Runs one benchmark in a process of its own; returns its exit code. Ctrl-C ends it and all it started."""
    command = [sys.executable, "-m", "benchmarks", "--one", name]
    # In a group of its own, Ctrl-C reaches it once, through us, and it has time to end what it has started.
    with subprocess.Popen(command, cwd=ROOT, env=child_env(), start_new_session=True) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(SECONDS_TO_LEAVE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            raise


def main() -> int:
    if sys.argv[1:2] == ["--one"]:
        name = sys.argv.pop()
        sys.argv.pop()
        runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)
        return 0
    present = [name for name in (*ORDER, *LONG) if find_spec(f"benchmarks.{name}")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"some of {', '.join(present)}; the short ones when none is named"
    )
    names = parser.parse_args().names or [name for name in present if name not in LONG]
    if unknown := [name for name in names if name not in present]:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(present)}")
    failed = []
    for name in names:
        began = time.monotonic()
        if run(name):
            failed.append(name)
        print(f"  ({name}: {time.monotonic() - began:.0f} s)\n", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
