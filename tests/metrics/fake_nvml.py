"""A library like NVML's for Python, of a machine with a superchip: what its calls give, and what they refuse."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    """As the library raises it."""

    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


class Library:
    """The calls that are used; `refused` are calls that are not supported, `broken` fail for another reason."""

    NVMLError = NVMLError
    NVML_SUCCESS, NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_FUNCTION_NOT_FOUND, NVML_ERROR_INVALID_ARGUMENT = 0, 3, 13, 2
    NVML_TEMPERATURE_GPU, NVML_FI_DEV_MEMORY_TEMP, NVML_FI_DEV_POWER_INSTANT, NVML_POWER_SCOPE_MODULE = 0, 82, 186, 1
    NVML_GPM_METRIC_C2C_TOTAL_RX_PER_SEC, NVML_GPM_METRIC_C2C_TOTAL_TX_PER_SEC, NVML_GPM_METRICS_GET_VERSION = (
        101,
        100,
        1,
    )

    def __init__(self, *, gpus: int = 1, refused: frozenset[str] = frozenset(), broken: frozenset[str] = frozenset()):
        self._gpus, self._refused, self._broken = gpus, refused, broken
        self.calls: list[str] = []
        self._samples = 0

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self._refused:
            raise NVMLError(self.NVML_ERROR_NOT_SUPPORTED)
        if name in self._broken:
            raise NVMLError(999)

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return self._gpus

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:  # noqa: N802
        return number

    def nvmlDeviceGetName(self, handle: int) -> bytes:  # noqa: N802
        return b"NVIDIA GH200 480GB"

    def nvmlDeviceGetNumaNodeId(self, handle: int) -> int:  # noqa: N802
        self._call("numa")
        return 1

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:  # noqa: N802
        self._call("busy")
        return SimpleNamespace(gpu=87, memory=40)

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        self._call("memory")
        return SimpleNamespace(used=91268055040, total=102625181696, free=1)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        self._call("power")
        return 512318

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:  # noqa: N802
        return 700000

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:  # noqa: N802
        return 58

    def nvmlDeviceGetFieldValues(self, handle: int, fields: list[tuple[int, int]]) -> list[Any]:  # noqa: N802
        ((field, _),) = fields
        self._call(f"field {field}")
        value = SimpleNamespace(uiVal=71 if field == 82 else 689400, siVal=71)
        return [SimpleNamespace(nvmlReturn=0, valueType=1, value=value)]

    def nvmlGpmQueryDeviceSupport(self, handle: int) -> Any:  # noqa: N802
        self._call("gpm")
        return SimpleNamespace(isSupportedDevice=1)

    def nvmlGpmSampleAlloc(self) -> list[int]:  # noqa: N802
        return [0]

    def nvmlGpmSampleGet(self, handle: int, sample: list[int]) -> list[int]:  # noqa: N802
        self._samples += 1
        sample[0] = self._samples
        return sample

    def c_nvmlGpmMetricsGet_t(self) -> Any:  # noqa: N802
        return SimpleNamespace(metrics=[SimpleNamespace(nvmlReturn=0, value=0.0)])

    def nvmlGpmMetricsGet(self, asked: Any) -> Any:  # noqa: N802
        assert asked.sample2[0] == asked.sample1[0] + 1, "two looks that follow each other"
        asked.metrics[0].value = float(asked.metrics[0].metricId)
        return asked
