"""What this machine's apps and its targets measured, as Prometheus reads it: `sophia metrics serve`.

Covered are all apps with a screen on this store, by what they kept since this process began, and every target that is
asked. Names are those of sophia_core/metrics/own.py, `mcp_gpu_utilization`, and `sophia_…` for each signal of a target.
Labels are targets, GPUs, providers, models and outcomes; never persons or requests.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from backend_client.address import is_loopback
from local_store.errors import StoreError
from sophia_core.commands import CommandError
from sophia_core.metrics.history import TARGET
from sophia_core.metrics.keeping import OWN_TARGET
from sophia_core.metrics.own import BOUNDS, NAMES, OBJECTIVES, About, Labels
from sophia_core.metrics.ports import Reading, Target

if TYPE_CHECKING:
    from prometheus_client import Metric

    from sophia_core.metrics.metrics import Metrics
    from sophia_core.vault import Vault

LATE_MS: Final = 6_000
"""What apps count comes to the store a little later."""
READ_S: Final = 30.0
"""How often it is read when nobody asks: samples of a second are not kept for long."""
HEAD_BYTES: Final = 8192
HEAD_S: Final = 5.0
MOST_AT_ONCE: Final = 16
NEEDS: Final = "`sophia metrics serve` needs the extra `metrics`, which is not installed."
INSTALL: Final = "Install it with: pip install 'sophia-workstation[metrics]'"
BUCKET, SUM = "_bucket", "_sum"
UP: Final = "sophia_target_up"
BUSY_GPU: Final = "mcp_gpu_utilization"
ALWAYS: Final[Mapping[str, About]] = {
    UP: About("gauge", "1 where a target answered lately.", ("target", "kind")),
    BUSY_GPU: About("gauge", "How busy a GPU is, from 0 to 1.", ("target", "gpu")),
}
"""What is told of targets also where none tells it now."""


@dataclass(slots=True)
class Totals:
    """What all apps on this store counted since `since`, in milliseconds."""

    since: int
    counted: dict[tuple[str, Labels], float] = field(default_factory=dict)
    standing: dict[tuple[str, Labels], tuple[int, float]] = field(default_factory=dict)
    """Of gauges the newest, with when it was."""

    async def catch_up(self, vault: Vault, now_ms: int) -> None:
        """Read what came since the last time. A store that cannot be read is read the next time."""
        store, until = vault.store, (now_ms - LATE_MS) // 1000 * 1000
        if store is None or until <= self.since:
            return
        try:
            known = await store.metrics.series("", {TARGET: OWN_TARGET})
            series = {each.id: each for each in known if each.seen >= self.since - 3_600_000}
            told = await store.metrics.range(series, self.since, until, 1000)
        except StoreError:
            return
        for id_, points in told.points.items():
            labels = tuple(pair for pair in series[id_].labels if pair[0] != TARGET)
            for point in points:
                if self.since <= point.at < until:
                    self._add((series[id_].name, labels), point.sum, point.until, point.last)
        self.since = until

    def _add(self, key: tuple[str, Labels], came: float, at: int, last: float) -> None:
        about = NAMES.get(key[0])
        if about is not None and about.kind == "gauge":
            self.standing[key] = max(self.standing.get(key, (0, 0.0)), (at, last))
        else:
            self.counted[key] = self.counted.get(key, 0.0) + came


def families(totals: Totals, targets: Iterable[Target], readings: Mapping[str, Reading]) -> Iterator[Metric]:
    """Everything that is exposed, for prometheus_client."""
    yield from _counted(totals)
    yield from _measured(list(targets), readings)


def _counted(totals: Totals) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    for name, about in NAMES.items():
        if about.kind == "histogram":
            counts = {
                dict(labels).get("le"): count
                for (each, labels), count in totals.counted.items()
                if each == name + BUCKET
            }
            buckets, reached = [], 0.0
            for bound in (*map(repr, BOUNDS), "+Inf"):
                reached += counts.get(bound, 0.0)
                buckets.append((bound, reached))
            histogram = HistogramMetricFamily(name, about.help)
            histogram.add_metric([], buckets, totals.counted.get((name + SUM, ()), 0.0))
            yield histogram
            continue
        made = CounterMetricFamily if about.kind == "counter" else GaugeMetricFamily
        family: Any = made(name, about.help, labels=about.labels)
        values: Mapping[tuple[str, Labels], float] = (
            totals.counted if about.kind == "counter" else {key: last for key, (_, last) in totals.standing.items()}
        )
        rows = [(dict(labels), value) for (each, labels), value in values.items() if each == name]
        if not rows and not about.labels and about.kind == "counter":
            rows = [({}, 0.0)]
        if name == OBJECTIVES:
            rows += _not_yet(rows)
        for labels, value in rows:
            family.add_metric([labels.get(label, "") for label in about.labels], value)
        yield family


def _not_yet(rows: list[tuple[dict[str, str], float]]) -> list[tuple[dict[str, str], float]]:
    """What has not happened to an objective so far, as 0: Prometheus does not see the first step of what began at 1."""
    known = [labels for labels, _ in rows]
    return [
        ({"objective": name, "result": result}, 0.0)
        for name in sorted({labels["objective"] for labels in known})
        for result in ("good", "bad")
        if {"objective": name, "result": result} not in known
    ]


def _measured(targets: list[Target], readings: Mapping[str, Reading]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    numbers: dict[str, GaugeMetricFamily] = {}
    for name, about in ALWAYS.items():
        numbers[name] = GaugeMetricFamily(name, about.help, labels=about.labels)
    for name, about, labels, value in told_by(targets, readings):
        if name not in numbers:
            numbers[name] = GaugeMetricFamily(name, about.help, labels=about.labels)
        numbers[name].add_metric(labels, value)
    yield from numbers.values()


def told_by(
    targets: Iterable[Target], readings: Mapping[str, Reading]
) -> Iterator[tuple[str, About, tuple[str, ...], float]]:
    """Every number of a target under the name it is exposed by, with the values of its labels."""
    for target in targets:
        reading = readings.get(target.name)
        answered = reading is not None and reading.health == "up"
        yield UP, ALWAYS[UP], (target.name, target.kind), float(answered)
        for labels, signal, value in _series(reading) if reading is not None and answered else ():
            if signal == "gpu_utilization":
                yield BUSY_GPU, ALWAYS[BUSY_GPU], (target.name, labels.get("gpu", "")), value
                continue
            # What ends in `_total` is a counter in Prometheus; how much memory there is does not grow.
            name = f"sophia_{signal.removesuffix('_total')}{'_capacity' if signal.endswith('_total') else ''}"
            about = About("gauge", f"{signal.replace('_', ' ')}, as targets tell it.", ("target", "part"))
            yield name, about, (target.name, labels.get("part", "")), value


def _series(reading: Reading) -> Iterator[tuple[dict[str, str], str, float]]:
    gpus = reading.by.get("gpu", {})
    for signal, value in reading.values.items():
        if not (gpus and signal == "gpu_utilization"):
            yield {}, signal, value
    for signal, told in reading.quantiles.items():
        for name, at in (("p50", told.p50), ("p95", told.p95), ("p99", told.p99)):
            if at is not None:
                yield {}, f"{signal}_{name}_seconds", at
    for part in ("gpu", "model"):
        for label, values in reading.by.get(part, {}).items():
            for signal, value in values.items():
                yield {"part": f"{part} {label}", part: label}, signal, value


class Exposer:
    """Answers `GET /metrics`, and nothing else."""

    def __init__(self, metrics: Metrics, vault: Vault, *, clock: Callable[[], float] = time.time) -> None:
        self._metrics, self._vault, self._clock = metrics, vault, clock
        self._totals = Totals(int(clock() * 1000))
        self._reading = asyncio.Lock()
        self._at_once = 0

    async def text(self, accept: str = "") -> tuple[bytes, str]:
        """What is told now, and its content type. Raises CommandError where the library is missing."""
        try:
            from prometheus_client import CollectorRegistry
            from prometheus_client.exposition import choose_encoder
        except ImportError:
            raise CommandError(NEEDS, INSTALL) from None
        async with self._reading:
            await self._totals.catch_up(self._vault, int(self._clock() * 1000))
        told = list(families(self._totals, self._metrics.targets, self._metrics.readings()))
        registry = CollectorRegistry()
        registry.register(_Told(told))
        encode, kind = choose_encoder(accept)
        return encode(registry), kind

    async def serve(self, host: str, port: int, *, ready: Callable[[str, int], object]) -> None:
        """Answer until cancelled; `ready` hears where. Raises CommandError when that address cannot be had."""
        await self.text()  # whatever is missing is said before somebody asks
        try:
            # As many are let in at once as are answered: a crowd must not take all the files a process may have open.
            server = await asyncio.start_server(self._answer, host, port, limit=HEAD_BYTES, backlog=MOST_AT_ONCE)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise CommandError(f"{host}:{port} cannot be listened at: {reason}.", "Name another --port.") from None
        async with server:
            ready(*server.sockets[0].getsockname()[:2])
            while True:
                await asyncio.sleep(READ_S)
                async with self._reading:
                    await self._totals.catch_up(self._vault, int(self._clock() * 1000))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._at_once += 1
        try:
            async with asyncio.timeout(HEAD_S):
                here = is_local(writer.get_extra_info("sockname"))
                answer = self._reply(reader, local=here) if self._at_once <= MOST_AT_ONCE else None
                status, kind, body = await answer if answer is not None else BUSY
                head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
                writer.write(f"{head}x-content-type-options: nosniff\r\nconnection: close\r\n\r\n".encode() + body)
                await writer.drain()
        except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # Whoever does not ask properly is not answered; nor is anything kept for who does not take his answer.
            writer.transport.abort()
        finally:
            self._at_once -= 1
            writer.close()

    async def _reply(self, reader: asyncio.StreamReader, *, local: bool) -> tuple[str, str, bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, _, rest = first.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in ("GET", "HEAD"):
            return "405 Method Not Allowed", PLAIN, b"only GET\n"
        if path != "/metrics":
            return "404 Not Found", PLAIN, b"see /metrics\n"
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if local and not is_this_machine(fields.get("host", "")):
            return "421 Misdirected Request", PLAIN, b"ask for localhost or 127.0.0.1\n"
        body, kind = await self.text(fields.get("accept", ""))
        return "200 OK", kind, b"" if method == "HEAD" else body


PLAIN: Final = "text/plain; charset=utf-8"
BUSY: Final = ("503 Service Unavailable", PLAIN, b"too many at once\n")


def is_local(address: object) -> bool:
    """Whether a connection came to an address that only this machine has."""
    return isinstance(address, tuple) and is_loopback(
        f"http://[{address[0]}]" if ":" in address[0] else f"http://{address[0]}"
    )


def is_this_machine(host: str) -> bool:
    """Whether a request asks for this machine. A page in a browser can make a name of its own lead here, and would
    read what is told: its requests ask for that name."""
    try:
        return not host or is_loopback(f"http://{host}")
    except ValueError:
        return False


class _Told:
    """What prometheus_client calls a collector."""

    def __init__(self, told: list[Metric]) -> None:
        self._told = told

    def collect(self) -> Iterable[Metric]:
        return self._told
