"""The process that asks this machine's GPUs through NVML, so that a driver that hangs or crashes stops nobody else.

It is run by file path with the id of its parent and the seconds between two looks, and says one line of JSON after each
until stdin ends: its parent stops it or is gone. What a GPU does not support is left out of its line.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

PR_SET_PDEATHSIG: Final = 1
SIGTERM: Final = 15
MOST_GPUS: Final = 32
MIB: Final = 1 << 20
NO_DRIVER: Final = 3
"""The exit status where NVML itself cannot be used; the last line says why."""


def main() -> None:
    """Looks until stdin ends."""
    _end_with(int(sys.argv[1]))
    interval = float(sys.argv[2])
    pynvml: Any = importlib.import_module("pynvml")
    try:
        pynvml.nvmlInit()
        gpus = Gpus(pynvml)
    except pynvml.NVMLError as error:
        _say({"error": str(error)})
        os._exit(NO_DRIVER)
    due = time.monotonic()
    while True:
        started = time.monotonic()
        told = gpus.look()
        _say({"took": time.monotonic() - started, "gpus": told})
        due = max(due + interval, time.monotonic())
        if select.select([0], [], [], max(0.0, due - time.monotonic()))[0] and not os.read(0, 1):
            os._exit(0)


def _end_with(parent: int) -> None:
    """The child of a process that is killed ends, too; and the processor is left to others first."""
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGTERM)
        os.nice(5)
    if os.getppid() != parent:
        os._exit(0)


def _say(told: dict[str, object]) -> None:
    os.write(1, json.dumps(told).encode() + b"\n")


class Gpus:
    """All GPUs of the machine; `library` is pynvml, initialised."""

    def __init__(self, library: Any) -> None:
        self._library = library
        count = min(library.nvmlDeviceGetCount(), MOST_GPUS)
        self._gpus = [_Gpu(library, library.nvmlDeviceGetHandleByIndex(number)) for number in range(count)]

    def look(self) -> list[dict[str, object]]:
        """What each GPU tells now."""
        return [each.look() for each in self._gpus]


class _Gpu:
    def __init__(self, library: Any, handle: Any) -> None:
        self._library, self._handle = library, handle
        self._missing: set[str] = set()
        """What this GPU does not support is not asked again."""
        self._name = self._ask("name", lambda: _text(library.nvmlDeviceGetName(handle)))
        self._numa = self._ask("numa", lambda: library.nvmlDeviceGetNumaNodeId(handle))
        self._traffic = _Traffic(library, handle)

    def look(self) -> dict[str, object]:
        told = {name: value for name, ask in self._questions() if (value := self._ask(name, ask)) is not None}
        # A node of its own that memory of the system may come from: what is used there is not only what programs use.
        return {"name": self._name or "", "numa": self._numa is not None and self._numa >= 0, **told}

    def _questions(self) -> Iterator[tuple[str, Callable[[], float | None]]]:
        ours, handle = self._library, self._handle
        yield "busy", lambda: ours.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        yield "memory", lambda: ours.nvmlDeviceGetMemoryInfo(handle).used
        yield "memory_total", lambda: ours.nvmlDeviceGetMemoryInfo(handle).total
        yield "power", lambda: ours.nvmlDeviceGetPowerUsage(handle) / 1000
        yield "power_limit", lambda: ours.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000
        yield "temperature", lambda: ours.nvmlDeviceGetTemperature(handle, ours.NVML_TEMPERATURE_GPU)
        yield "memory_temperature", lambda: self._field(ours.NVML_FI_DEV_MEMORY_TEMP, 0)
        yield "module_power", self._module_power
        yield "c2c_received", lambda: self._traffic.look(ours.NVML_GPM_METRIC_C2C_TOTAL_RX_PER_SEC, again=True)
        yield "c2c_sent", lambda: self._traffic.look(ours.NVML_GPM_METRIC_C2C_TOTAL_TX_PER_SEC)

    def _module_power(self) -> float | None:
        """Of GPU, CPU and memory together, which only a superchip tells."""
        ours = self._library
        watts = self._field(ours.NVML_FI_DEV_POWER_INSTANT, ours.NVML_POWER_SCOPE_MODULE)
        return None if watts is None else watts / 1000

    def _field(self, field: int, scope: int) -> float | None:
        told = self._library.nvmlDeviceGetFieldValues(self._handle, [(field, scope)])[0]
        if told.nvmlReturn != self._library.NVML_SUCCESS:
            raise self._library.NVMLError(told.nvmlReturn)
        kinds = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}
        kind = kinds.get(told.valueType)
        return None if kind is None else float(getattr(told.value, kind))

    def _ask(self, name: str, ask: Callable[[], Any]) -> Any:
        if name in self._missing:
            return None
        try:
            return ask()
        except self._library.NVMLError as error:
            # Whatever else went wrong may be right the next time.
            if getattr(error, "value", None) in self._never():
                self._missing.add(name)
            return None
        except AttributeError:  # a library that is older than the question
            self._missing.add(name)
            return None

    def _never(self) -> tuple[int, ...]:
        ours = self._library
        return (ours.NVML_ERROR_NOT_SUPPORTED, ours.NVML_ERROR_FUNCTION_NOT_FOUND, ours.NVML_ERROR_INVALID_ARGUMENT)


class _Traffic:
    """What went over the link between GPU and CPU: NVML tells it as the difference of two samples."""

    def __init__(self, library: Any, handle: Any) -> None:
        self._library, self._handle = library, handle
        self._before: Any = None
        self._now: Any = None

    def look(self, metric: int, *, again: bool = False) -> float | None:
        """Bytes a second of one direction, since the look before; `again` takes a new sample first."""
        ours = self._library
        if self._now is None or again:
            self._next()
        if self._before is None:
            return None
        asked = ours.c_nvmlGpmMetricsGet_t()
        asked.version, asked.numMetrics = ours.NVML_GPM_METRICS_GET_VERSION, 1
        asked.sample1, asked.sample2 = self._before, self._now
        asked.metrics[0].metricId = metric
        told = ours.nvmlGpmMetricsGet(asked).metrics[0]
        return float(told.value) * MIB if told.nvmlReturn == ours.NVML_SUCCESS else None

    def _next(self) -> None:
        ours = self._library
        if not ours.nvmlGpmQueryDeviceSupport(self._handle).isSupportedDevice:
            raise ours.NVMLError(ours.NVML_ERROR_NOT_SUPPORTED)
        sample = self._before or ours.nvmlGpmSampleAlloc()
        ours.nvmlGpmSampleGet(self._handle, sample)
        self._before, self._now = self._now, sample


def _text(name: str | bytes) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


if __name__ == "__main__":
    main()
