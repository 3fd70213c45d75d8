"""Alerts: what stands, what is kept quiet, who is told, and what was not taken."""

from __future__ import annotations

from local_store.alerts import Standing
from local_store.deliveries import Post
from sophia_core.alerts.telling import packed
from sophia_core.metrics.ports import Alert
from tests.sophia_tui.every.walk import Walk, scene

RECEIVER = """[[receiver]]
name = "team"
kind = "slack"
secret_env = "NO_SUCH_VARIABLE"
"""


@scene(
    "alerts.list",
    "alerts.ack",
    "alerts.rules",
    "alerts.silence",
    "alerts.silences",
    "alerts.unsilence",
    "alerts.receivers",
    "alerts.test",
    "alerts.dead",
    "alerts.retry",
    "alerts.drop",
)
async def alerts(walk: Walk) -> None:
    (walk.home / "alerts.toml").write_text(RECEIVER)
    store = walk.app.runtime.vault.store
    assert store is not None
    await store.alerts.begin(Standing("hot/target=node", "hot", "error", "node is hot", "node", 1_000))
    assert "node is hot" in await walk.do("/alerts")
    assert "acknowledged" in await walk.do("/alerts.ack 1")
    assert "gpu hot" in await walk.do("/alerts.rules")
    assert "is quiet for 2h" in await walk.do("/alerts.silence target=node during=2h")
    assert "target=node" in await walk.do("/alerts.silences")
    assert "is told again" in await walk.do("/alerts.unsilence 1")
    assert "missing" in await walk.do("/alerts.receivers")
    assert "nothing is wrong" in await walk.do("/alerts.test screen")
    assert "its webhook address is not set" in await walk.do("/alerts.test team")
    (gone,) = await store.deliveries.post([Post("gone", "k", packed(Alert("k", "hot", "error", "s", "x", 0.0)))])
    assert "gone" in await walk.do("/alerts.dead")
    assert "told again" in await walk.do(f"/alerts.retry {gone}")
    assert "not told" in await walk.dare(f"/alerts.drop {gone}")
    assert "gone" not in [each.receiver for each in await store.deliveries.list()]
