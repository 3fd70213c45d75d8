"""What SOPHIA did by itself, why, and how to put it back."""

from __future__ import annotations

from tests.scripted import ScriptedReply, chat
from tests.sophia_tui.every.servers import TWO
from tests.sophia_tui.every.walk import Walk, scene

FULL = ScriptedReply(
    (b'vllm:kv_cache_usage_perc{model_name="m"} 0.99\nvllm:num_requests_waiting{model_name="m"} 3\n',),
    headers={"content-type": "text/plain; version=0.0.4"},
)


@scene(
    "healing.show",
    "healing.state",
    "healing.undo",
    "healing.off",
    "healing.on",
    script=(chat("one"),),
    config=TWO,
)
async def what_was_done_and_undone(walk: Walk) -> None:
    healing = walk.app.runtime.healing
    assert walk.app.runtime.alerts.sources.anomalies == healing.scores
    assert "Nothing was changed" in await walk.do("/healing")
    await walk.ask()
    assert "near" in await walk.do("/healing.state")
    healing.doing.do("near", "behaves oddly", 2.0, "first token: 9.0 deviations above its usual")
    assert "9.0 deviations" in await walk.do("/healing")
    assert "2.00 behaves oddly" in " ".join((await walk.do("/route")).split())
    assert "not set behind again" in await walk.do("/healing.undo 1")
    assert "oddly" not in await walk.do("/route")
    assert "off" in await walk.do("/healing.off")
    assert not healing.on
    assert "on" in await walk.do("/healing.on")
    assert healing.on


@scene(
    "healing.show",
    "settings.set",
    config=TWO.replace('name = "near"', 'name = "near"\nkind = "vllm"'),
    pages={"near/metrics": FULL},
)
async def a_server_that_says_that_it_is_full_is_asked_later(walk: Walk) -> None:
    near = walk.app.runtime.client.fleet.stations["near"]
    await walk.until(lambda: near.saturating_s, "the first numbers")
    assert "its KV cache is full" in " ".join((await walk.do("/healing")).split())
    assert "far asked first" in " ".join((await walk.do("/route")).split())
    await walk.do("/settings.set healing.enabled false")
    assert not near.saturating_s
