"""What is measured, for a collector: told now and then over OTLP/HTTP, where `metrics.otlp_endpoint` names one.

The same numbers and names as `sophia metrics serve`, of this process alone, and those of OpenTelemetry's conventions
for generative AI. Sent by the thread of otlp.py under its rules: nobody waits, what waits is bounded, failing is told
once. Everything is a sum since the start, so that what could not be sent is in what is sent next.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sophia_core.events import FREQUENT, Notice
from sophia_core.metrics.exposing import told_by
from sophia_core.metrics.genai import Family, GenAi, Point
from sophia_core.metrics.otlp import TIMEOUT_S, Exporter, Send, Signal, session_for, this_app
from sophia_core.metrics.own import BOUNDS, NAMES, Own
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from sophia_core.events import Bus
    from sophia_core.metrics.ports import Reading, Target

METRICS: Final = Signal("metrics", "/v1/metrics", "metrics.otlp_endpoint", most_waiting=4, most_at_once=1)
LONGEST: Final = 200
NANO: Final = 10**9


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All numbers of one moment, counted since another; seconds since the epoch."""

    since: float
    at: float
    families: tuple[Family, ...]


class MetricsExport:
    """Tells a collector, now and then and at the end. `listen` begins to count, `attend` to tell while the app runs."""

    def __init__(
        self,
        endpoint: str,
        headers: str,
        bus: Bus,
        own: Own,
        seen: Callable[[], tuple[Iterable[Target], Mapping[str, Reading]]],
        *,
        every_s: float = 60.0,
        old_names: bool = False,
        clock: Callable[[], float] = time.time,
        make: Callable[[str, Mapping[str, str], bool], Send] | None = None,
    ) -> None:
        """`seen` tells the targets and what they told last."""
        self._bus, self._own, self._seen, self._every_s, self._clock = bus, own, seen, every_s, clock
        self._genai = GenAi(old_names=old_names)
        self._timer: asyncio.TimerHandle | None = None
        self._endpoint, self._headers, self._old, self._make = endpoint, headers, old_names, make or sender
        self._exporter: Exporter | None = None

    def listen(self) -> None:
        """Count from now on."""
        self._bus.subscribe(self._genai, without=FREQUENT)

    def attend(self) -> None:
        """A person is here: tell now and then."""
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._due)

    def _due(self) -> None:
        self.attend()
        self.tell()

    def tell(self) -> None:
        """Send what there is now; nothing where nothing was measured."""
        families = tuple(self._families())
        if not families:
            return
        if self._exporter is None:
            self._exporter = self._made()
        self._exporter.put([Snapshot(self._own.started, max(self._own.started, self._clock()), families)])

    def _made(self) -> Exporter:
        loop = asyncio.get_running_loop()

        def tell(text: str, hint: str) -> None:
            loop.call_soon_threadsafe(self._bus.publish, Notice("warning", text, hint))

        old, make = self._old, self._make
        return Exporter(self._endpoint, self._headers, old_names=old, tell=tell, make=make, signal=METRICS)

    def _families(self) -> Iterator[Family]:
        yield from (each for each in own_families(self._own) if each.points)
        yield from self._genai.families()
        yield from target_families(*self._seen())

    async def close(self) -> None:
        """Tell how it stands at the end, for a short while."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._own.counted or self._exporter is not None:
            self.tell()
        if self._exporter is not None:
            await self._exporter.close()


def own_families(own: Own) -> Iterator[Family]:
    """What the app counted of itself."""
    for name, about in NAMES.items():
        unit = "s" if "_seconds" in name else "1"
        if about.kind == "histogram":
            found = own.histograms.get(name)
            points = (Point((), found.sum, tuple(found.counts)),) if found is not None else ()
            yield Family(name, "histogram", about.help, unit, points, BOUNDS)
            continue
        values = own.counters if about.kind == "counter" else own.gauges
        told = tuple(Point(labels, value) for (each, labels), value in values.items() if each == name)
        yield Family(name, about.kind, about.help, unit, told)


def target_families(targets: Iterable[Target], readings: Mapping[str, Reading]) -> Iterator[Family]:
    """What servers and GPUs told last."""
    found: dict[str, Family] = {}
    points: dict[str, list[Point]] = {}
    for name, about, labels, value in told_by(targets, readings):
        found.setdefault(name, Family(name, "gauge", about.help, "1", ()))
        pairs = tuple(pair for pair in zip(about.labels, labels, strict=True) if pair[1])
        points.setdefault(name, []).append(Point(pairs, value))
    yield from (replace(each, points=tuple(points[name])) for name, each in found.items())


def sender(address: str, headers: Mapping[str, str], old_names: bool) -> Send:
    """A function that sends snapshots with the official exporter. Raises ImportError where that is not installed."""
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import MetricExportResult

    session, said = session_for(address, headers)
    exporter = OTLPMetricExporter(
        endpoint=address, headers=dict(headers), timeout=TIMEOUT_S, compression=Compression.Gzip, session=session
    )
    resource = this_app()

    def send(snapshots: Sequence[Snapshot]) -> str:
        for each in snapshots:
            said.clear()
            if exporter.export(encoded(each, resource)) is not MetricExportResult.SUCCESS or said:
                return said[-1] if said else "nobody answers"
        return ""

    return send


def encoded(snapshot: Snapshot, resource: Any) -> Any:
    """A snapshot in the values of the SDK."""
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    metrics = [_metric(each, int(snapshot.since * NANO), int(snapshot.at * NANO)) for each in snapshot.families]
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(InstrumentationScope("sophia"), metrics, "")], "")])


def _metric(family: Family, since: int, at: int) -> Any:
    from opentelemetry.sdk.metrics import export as sdk

    cumulative = sdk.AggregationTemporality.CUMULATIVE
    data: Any
    if family.kind == "histogram":
        data = sdk.Histogram([_sizes(each, family.bounds, since, at) for each in family.points], cumulative)
    else:
        points = [sdk.NumberDataPoint(_named(each), since, at, each.value) for each in family.points]
        data = sdk.Gauge(points) if family.kind == "gauge" else sdk.Sum(points, cumulative, is_monotonic=True)
    return sdk.Metric(family.name, family.help, family.unit, data)


def _sizes(point: Point, bounds: tuple[float, ...], since: int, at: int) -> Any:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint

    # Neither the smallest nor the largest is known; the convention's way to say so is to leave them out.
    unknown: Any = None
    count = sum(point.counts)
    return HistogramDataPoint(_named(point), since, at, count, point.value, point.counts, bounds, unknown, unknown)


def _named(point: Point) -> dict[str, str]:
    """Labels are whatever a stranger wrote."""
    return {name: one_line(value, LONGEST) for name, value in point.attributes}
