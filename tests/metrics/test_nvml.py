"""This machine's own GPUs: what the process that asks them makes of NVML, and what the app makes of the process."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from backend_client.scraping import types as signals
from sophia_core.metrics import nvml
from sophia_core.metrics.nvml import LONGEST_LINE, NUMA, Gpus, reading_of, why_not
from sophia_core.metrics.nvml_child import Gpus as Asked
from sophia_core.metrics.ports import Reading
from tests.metrics.fake_nvml import Library

GH200 = json.loads(Path(__file__).with_name("gh200.json").read_text())


def test_a_superchip_tells_everything_from_its_second_look_on() -> None:
    gpus = Asked(Library())
    (first,) = gpus.look()
    assert "c2c_sent" not in first, "traffic is the difference of two looks"
    (second,) = gpus.look()
    (recorded,) = GH200["gpus"]
    assert {name: second[name] for name in recorded if not name.startswith("c2c")} == {
        name: value for name, value in recorded.items() if not name.startswith("c2c")
    }
    assert (second["c2c_received"], second["c2c_sent"]) == (101 * 2**20, 100 * 2**20)
    assert set(gpus.look()[0]) == set(recorded)


def test_what_a_gpu_does_not_support_is_left_out_and_not_asked_again() -> None:
    library = Library(refused=frozenset({"numa", "field 186", "gpm"}))
    gpus = Asked(library)
    gpus.look()
    asked = len(library.calls)
    (told,) = gpus.look()
    assert told["numa"] is False and told["busy"] == 0.87
    assert not {"module_power", "c2c_sent", "c2c_received"} & told.keys()
    assert not {"field 186", "gpm", "numa"} & set(library.calls[asked:])


def test_what_fails_this_time_is_asked_again_and_takes_nothing_else_along() -> None:
    library = Library(broken=frozenset({"power"}))
    gpus = Asked(library)
    assert "power" not in gpus.look()[0] and gpus.look()[0]["temperature"] == 58
    assert library.calls.count("power") == 2


def test_a_library_older_than_a_question_is_asked_the_others() -> None:
    library = Library()
    library.NVML_POWER_SCOPE_MODULE = None  # type: ignore[assignment]
    del Library.NVML_POWER_SCOPE_MODULE  # what an older one does not have
    try:
        del library.NVML_POWER_SCOPE_MODULE
        assert "module_power" not in Asked(library).look()[0]
    finally:
        Library.NVML_POWER_SCOPE_MODULE = 1


def test_the_recorded_superchip_becomes_a_reading_with_its_caveat() -> None:
    reading = reading_of(GH200, 5.0)
    assert (reading.target, reading.at, reading.health, reading.reason) == ("gpus", 5.0, "up", NUMA)
    assert reading.values[signals.GPU_MODULE_POWER] == 689.4 and reading.values[signals.GPU_BUSY] == 0.87
    assert reading.by["gpu"]["0"] == reading.values


def test_several_gpus_are_added_averaged_and_the_hottest_counts() -> None:
    one = {"busy": 1.0, "memory": 10, "power": 100, "temperature": 40}
    reading = reading_of({"gpus": [one, {"busy": 0.0, "memory": 30, "power": 50, "temperature": 80}]}, 1.0)
    assert reading.values[signals.GPU_BUSY] == 0.5
    assert (reading.values[signals.GPU_MEMORY], reading.values[signals.GPU_POWER]) == (40, 150)
    assert reading.values[signals.GPU_TEMPERATURE] == 80


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"gpus": 7, "took": "x"},
        {"gpus": [None, 3, {"busy": "x", "power": -1, "memory": 1e30, "temperature": float("nan")}]},
    ],
)
def test_nonsense_is_no_number(told: dict[str, object]) -> None:
    assert reading_of(told, 1.0).values == {}


def test_why_there_are_no_gpus() -> None:
    assert "off" in why_not("off", lambda: True)
    assert why_not("auto", lambda: False) == nvml.NO_GPU


class Listening:
    """Runs what asks the GPUs with another program in the child's place, until it told enough."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.slept: list[float] = []
        self.children: list[asyncio.subprocess.Process] = []
        self.enough = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) == 3:
            self.enough.set()
            await asyncio.Event().wait()

    def begin(self, program: str) -> Callable[[float], Awaitable[asyncio.subprocess.Process]]:
        async def started(interval_s: float) -> asyncio.subprocess.Process:
            pipe = asyncio.subprocess.PIPE
            words = (sys.executable, "-S", "-E", "-c", program)
            child = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, limit=LONGEST_LINE)
            self.children.append(child)
            return child

        return started

    async def run(self, program: str, *, silent_s: float = 60.0) -> None:
        gpus = Gpus(self.readings.append, 0.01, begin=self.begin(program), sleep=self.sleep, silent_s=silent_s)
        task = asyncio.create_task(gpus.run())
        async with asyncio.timeout(60):
            await self.enough.wait()
        task.cancel()
        await asyncio.wait([task])
        assert all(child.returncode is not None for child in self.children), "nobody is left behind"


async def test_a_process_that_ends_is_started_again_ever_later() -> None:
    heard = Listening()
    await heard.run(f"print({json.dumps(GH200)!r}); print({json.dumps(GH200)!r})")
    assert [each.health for each in heard.readings] == ["up", "up", "down"] * 3
    assert heard.slept == [2.0, 2.0, 2.0] and "ended" in heard.readings[2].reason


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("print('[]')", "no sense"),
        ("print('x' * 1000000)", "no sense"),
        ("""print('{"error": "Driver Not Loaded"}')""", "Driver Not Loaded"),
    ],
)
async def test_a_process_that_says_nonsense_is_given_up_and_tried_again(program: str, reason: str) -> None:
    heard = Listening()
    await heard.run(program)
    assert [each.health for each in heard.readings] == ["down"] * 3 and heard.slept == [2.0, 4.0, 8.0]
    assert all(reason in each.reason for each in heard.readings)


async def test_a_driver_that_hangs_is_said_to() -> None:
    heard = Listening()
    await heard.run("import time; time.sleep(600)", silent_s=0.05)
    assert "does not answer" in heard.readings[0].reason


async def test_the_real_child_says_why_and_ends_where_there_is_no_driver() -> None:
    if nvml.has_driver():
        pytest.skip("this machine has GPUs")
    pytest.importorskip("pynvml")
    child = await nvml.started(0.1)
    async with asyncio.timeout(60):
        assert child.stdout is not None
        told = json.loads(await child.stdout.readline())
        assert "error" in told and await child.wait() == 3
