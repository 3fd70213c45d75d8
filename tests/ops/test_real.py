"""The real thing: `sophia metrics serve`, Prometheus with our rules and routes, Alertmanager, and whoever is told."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import sys
import time
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from backend_client.scraping.histograms import histogram_of, quantile
from local_store.samples import Sample
from sophia_core.metrics.exposing import Exposer
from sophia_core.metrics.own import BOUNDS, FIRST_TOKEN
from tests.metrics.bench import Measuring, until
from tests.ops.known import OPS, RULES
from tests.programs import program

pytest.importorskip("prometheus_client")
SOON = "500ms"
NOBODY = "127.0.0.1:9"
ADDRESS = r"(127\.0\.0\.1:[1-9]\d*)"
LISTENING = rf"Listening on.*address={ADDRESS}"


@asynccontextmanager
async def running(said: str, *words: str | Path, **env: str) -> AsyncIterator[str]:
    """A program, until it is no longer wanted; where it listens, as it says."""
    process = await asyncio.create_subprocess_exec(
        *map(str, words), env=os.environ | env, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    lines, reading = list[str](), None
    try:
        async with asyncio.timeout(60):
            while not (found := re.search(said, "".join(lines[-1:]))):
                lines.append((await process.stderr.readline()).decode())
                assert lines[-1], "".join(lines)
        reading = asyncio.create_task(process.stderr.read())  # so that it never waits for somebody to read
        yield found[1]
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        if reading is not None:
            await reading


@contextmanager
def listening() -> Iterator[tuple[int, dict[str, set[str]], list[dict[str, Any]]]]:
    """Somebody who is told: at which port, by whom of which alerts, and each alert as it was told."""
    heard: defaultdict[str, set[str]] = defaultdict(set)
    alerts: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["content-length"])))
            alerts.extend(told["alerts"])
            heard[self.path.strip("/")] |= {each["labels"]["alertname"] for each in told["alerts"]}
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1], heard, alerts
        finally:
            server.shutdown()
            thread.join()


def routes(folder: Path, port: int) -> Path:
    """The routes as they are shipped, but that everybody is reached at one port, and soon."""
    told = yaml.safe_load((OPS / "alertmanager/alertmanager.yml").read_text("utf-8"))
    for each in told["receivers"]:
        name = each["name"]
        each.clear()
        each |= {"name": name, "webhook_configs": [{"url": f"http://127.0.0.1:{port}/{name}"}]}
    told["route"] |= {"group_wait": "10ms", "group_interval": SOON}
    path = folder / "alertmanager.yml"
    path.write_text(json.dumps(told))
    return path


def watching(folder: Path, manager: str, sophia: list[str]) -> Path:
    """The configuration as it is shipped, with the addresses of this test, and rules that do not wait."""
    told = yaml.safe_load((OPS / "prometheus/prometheus.yml").read_text("utf-8"))
    for path in RULES:
        (folder / path.name).write_text(
            re.sub(r"^( +)for: .*$", r"\1for: 0s", path.read_text("utf-8"), flags=re.MULTILINE)
        )
    told["global"] |= {"scrape_interval": SOON, "scrape_timeout": SOON, "evaluation_interval": SOON}
    told["rule_files"] = [path.name for path in RULES]
    told["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [manager]
    addresses = {"vllm": [NOBODY], "sophia": sophia}
    told["scrape_configs"] = [job for job in told["scrape_configs"] if job["job_name"] in addresses]
    for job in told["scrape_configs"]:
        job |= {"scrape_interval": SOON, "scrape_timeout": SOON}
        # On two machines: where a model server is down it goes without saying that SOPHIA there gets no numbers.
        job["static_configs"] = [{"targets": addresses[job["job_name"]], "labels": {"node": job["job_name"]}}]
    path = folder / "prometheus.yml"
    path.write_text(json.dumps(told))
    return path


async def asked(at: str, query: str) -> dict[str, float]:
    """What Prometheus answers, by `instance`."""

    def ask() -> Any:
        with urllib.request.urlopen(f"http://{at}/api/v1/query?query={urllib.parse.quote(query)}", timeout=30) as reply:
            return json.load(reply)

    told = await asyncio.to_thread(ask)
    return {each["metric"].get("instance", ""): float(each["value"][1]) for each in told["data"]["result"]}


@asynccontextmanager
async def measured(home: Path) -> AsyncIterator[tuple[str, Exposer]]:
    """First tokens of some turns, told by an exposer of this process; where, and itself."""
    measuring, dice = Measuring(home, config=""), random.Random(5)  # noqa: S311
    await measuring.vault.open()
    start = time.time()
    exposer = Exposer(measuring.metrics, measuring.vault, clock=lambda: start + 30)
    exposer._totals.since = int(start * 1000)
    assert measuring.vault.store is not None
    told = [
        Sample(f"{FIRST_TOKEN}_bucket", float(dice.randrange(9)), {"target": "sophia", "le": bound})
        for bound in (*map(repr, BOUNDS), "+Inf")
    ]
    await measuring.vault.store.metrics.append(told, int(start * 1000) + 2000)
    where = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(exposer.serve("127.0.0.1", 0, ready=lambda host, port: where.set_result(port)))
    try:
        yield f"127.0.0.1:{await where}", exposer
    finally:
        task.cancel()
        await asyncio.wait([task])
        await measuring.close()


async def test_prometheus_reads_us_its_rules_fire_and_the_right_ones_are_told(tmp_path: Path) -> None:
    prometheus, alertmanager = program("prometheus"), program("prometheus-alertmanager")
    home, rules = tmp_path / "sophia", tmp_path / "rules"
    home.mkdir()
    rules.mkdir()
    (home / "config.toml").write_text(
        f'[metrics]\nserve_port = 0\ngpu = "off"\nproviders = false\n[[metrics.targets]]\nname = "gone"\nurl = "http://{NOBODY}/metrics"\n'
    )
    serve = (sys.executable, "-m", "sophia_cli", "metrics", "serve")
    storing = (f"--storage.path={tmp_path / 'alerts'}", "--web.listen-address=127.0.0.1:0", "--cluster.listen-address=")
    # What was told before Alertmanager was found is told again soon.
    telling = ("--web.listen-address=127.0.0.1:0", f"--rules.alert.resend-delay={SOON}")
    keeping = (f"--storage.tsdb.path={tmp_path / 'series'}", *telling)
    with listening() as (port, heard, alerts):
        async with (
            running(rf"http://{ADDRESS}/metrics", *serve, SOPHIA_HOME=str(home), SOPHIA_NO_KEYRING="1") as sophia,
            running(LISTENING, alertmanager, f"--config.file={routes(tmp_path, port)}", *storing) as manager,
            measured(tmp_path / "measured") as (ours, exposer),
            running(LISTENING, prometheus, f"--config.file={watching(rules, manager, [sophia, ours])}", *keeping) as at,
        ):
            await until(lambda: "ModelServerDown" in heard["pager"])
            await until(lambda: {"ModelServerDown", "SophiaTargetDown"} <= heard["channel"])
            await until(lambda: heard["dead-mans-switch"] == {"Watchdog"})
            assert await asked(at, 'up{job="sophia"}') == {sophia: 1.0, ours: 1.0}
            page = (await exposer.text())[0].decode()
            for q in (0.05, 0.5, 0.95, 0.99, 1.0):
                theirs = await asked(at, f"histogram_quantile({q}, {FIRST_TOKEN}_bucket)")
                assert theirs[ours] == pytest.approx(told(page, q), rel=0.01)
    (silent,) = {
        json.dumps(each["annotations"]) for each in alerts if each["labels"]["alertname"] == "SophiaTargetDown"
    }
    assert json.loads(silent)["summary"] == "SOPHIA gets no numbers from gone (other)."
    assert json.loads(silent)["runbook"] == "docs/runbooks/alerts/target-down.md"
    assert heard["pager"] == {"ModelServerDown"}, "what is no emergency wakes nobody"


def told(page: str, q: float) -> float | None:
    """A quantile of a page, reckoned by ourselves."""
    buckets = re.findall(rf'^{FIRST_TOKEN}_bucket{{le="([^"]+)"}} (\S+)$', page, re.MULTILINE)
    read = histogram_of(((bound, float(count)) for bound, count in buckets), 0.0, float(buckets[-1][1]))
    assert read is not None and read.count > 50
    return quantile(q, read)
