"""This machine's own GPUs as a target: starts the process that asks them, and makes readings of what it says."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from backend_client.scraping import types as signals
from sophia_core.children import spawn
from sophia_core.metrics.ports import Reading, Target
from sophia_core.metrics.targets import GPUS
from sophia_core.sanitize import one_line

CHILD: Final = Path(__file__).with_name("nvml_child.py")
TRACES: Final = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/usr/lib/wsl/lib/libnvidia-ml.so.1")
"""One of these is there where a driver is."""
NO_GPU: Final = "No NVIDIA driver is on this machine."
NOT_INSTALLED: Final = "This machine's GPUs need the extra `metrics`: pip install 'sophia-workstation[metrics]'"
OFF: Final = "This machine's GPUs are not asked: `metrics.gpu` is off."
NUMA: Final = "GPU memory is part of the system's own here: its page cache may be among what is used."
AGAIN_S: Final = 600.0
"""How often a machine without a GPU is looked at again."""
LONGEST_LINE: Final = 1 << 18
SILENT_S: Final = 10.0
"""Beyond the interval: a driver that hangs says nothing at all."""
LONGEST_PAUSE_S: Final = 60.0
FROM_CHILD: Final[Mapping[str, str]] = {
    "busy": signals.GPU_BUSY,
    "memory": signals.GPU_MEMORY,
    "memory_total": signals.GPU_MEMORY_TOTAL,
    "power": signals.GPU_POWER,
    "power_limit": signals.GPU_POWER_LIMIT,
    "temperature": signals.GPU_TEMPERATURE,
    "memory_temperature": signals.GPU_MEMORY_TEMPERATURE,
    "module_power": signals.GPU_MODULE_POWER,
    "c2c_received": signals.GPU_C2C_RECEIVED,
    "c2c_sent": signals.GPU_C2C_SENT,
}
MEANS: Final = frozenset({signals.GPU_BUSY})
HIGHEST: Final = frozenset({signals.GPU_TEMPERATURE, signals.GPU_MEMORY_TEMPERATURE})
LARGEST: Final = 1e18

Spawn = Callable[[float], Awaitable[asyncio.subprocess.Process]]


def has_driver() -> bool:
    """Whether this machine looks like one with an NVIDIA GPU; nothing is loaded or started."""
    return any(Path(each).exists() for each in TRACES)


def why_not(setting: str, driver: Callable[[], bool] = has_driver) -> str:
    """Why the GPUs of this machine are not asked, as a sentence; empty where they are."""
    if setting == "off":
        return OFF
    if not driver():
        return NO_GPU
    return "" if importlib.util.find_spec("pynvml") else NOT_INSTALLED


async def started(interval_s: float) -> asyncio.subprocess.Process:
    """The process that asks the GPUs. Raises OSError."""
    return await spawn(CHILD, str(interval_s), limit=LONGEST_LINE, without=("_KEY", "_TOKEN", "_SECRET", "_PASSWORD"))


class Gpus:
    """Asks the GPUs while `run` runs, and tells a reading after each look."""

    def __init__(
        self,
        heard: Callable[[Reading], None],
        interval_s: float,
        *,
        begin: Spawn = started,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        silent_s: float = SILENT_S,
    ) -> None:
        self._heard, self._begin, self._clock, self._sleep = heard, begin, clock, sleep
        self._silent_s = silent_s
        self._failures = 0
        self.target = Target(GPUS, "nvml", interval_s=interval_s)

    async def run(self) -> None:
        """Ask until cancelled; a process that ends is started again, less and less often."""
        while True:
            reason = await self._once()
            self._failures += 1
            self._heard(Reading(GPUS, self._clock(), "down", reason=reason))
            await self._sleep(min(2.0**self._failures, LONGEST_PAUSE_S))

    async def _once(self) -> str:
        """Why one process told no more."""
        try:
            child = await self._begin(self.target.interval_s)
        except OSError as error:
            return f"What asks the GPUs did not start: {one_line(str(error), 200)}."
        try:
            return await self._listen(child)
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()

    async def _listen(self, child: asyncio.subprocess.Process) -> str:
        assert child.stdout is not None  # noqa: S101 - the child is made with pipes
        while True:
            try:
                async with asyncio.timeout(self.target.interval_s + self._silent_s):
                    line = await child.stdout.readline()
            except TimeoutError:
                return "The GPU driver does not answer."
            except ValueError:
                return "What asks the GPUs says what makes no sense."
            if not line:
                return "What asks the GPUs has ended."
            told = _read(line)
            if told is None:
                return "What asks the GPUs says what makes no sense."
            if error := told.get("error"):
                return f"The GPUs cannot be asked: {one_line(str(error), 200)}."
            self._failures = 0
            self._heard(reading_of(told, self._clock()))


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def reading_of(told: Mapping[str, Any], at: float) -> Reading:
    """A reading of what the process said."""
    given = told.get("gpus")
    gpus = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    by = {str(number): _signals(each) for number, each in enumerate(gpus)}
    took = told.get("took")
    return Reading(
        GPUS,
        at,
        "up",
        took_s=float(took) if isinstance(took, int | float) else 0.0,
        reason=NUMA if any(each.get("numa") is True for each in gpus) else "",
        values=_together(list(by.values())),
        by={"gpu": by} if by else {},
    )


def _signals(gpu: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for name, signal in FROM_CHILD.items():
        value = gpu.get(name)
        if isinstance(value, int | float) and math.isfinite(value) and 0 <= value < LARGEST:
            found[signal] = float(value)
    return found


def _together(gpus: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of all GPUs: the mean of how busy they are, the hottest, the sum of everything else."""
    found: dict[str, float] = {}
    for signal in FROM_CHILD.values():
        values = [each[signal] for each in gpus if signal in each]
        if values:
            total = max(values) if signal in HIGHEST else sum(values)
            found[signal] = total / len(values) if signal in MEANS else total
    return found
