"""Costs: what was spent, budgets, the month to come, prices, and who used how much."""

from __future__ import annotations

from local_store.booking import Booking
from local_store.types import Usage
from tests.sophia_tui.every.walk import Walk, scene

CONFIG = """
[[providers]]
name = "router"
base_url = "http://router.test/v1"
model = "m"
[[costs.budgets]]
name = "team"
usd = 0.5
"""


@scene(
    "cost.show",
    "cost.budgets",
    "cost.forecast",
    "cost.override",
    "cost.prices",
    "metrics.business",
    config=CONFIG,
)
async def costs(walk: Walk) -> None:
    store = walk.app.runtime.vault.store
    assert store is not None
    booking = Booking("reported", 2.0, "macro digest")
    await store.usage.record(Usage(1000, 200, cost_usd=0.25), provider="router", model="m", booking=booking)
    assert "reported" in await walk.do("/cost")
    assert "macro digest" in await walk.do("/cost.show task since=month")
    assert "50%" in await walk.do("/cost.budgets")
    assert "too few" in await walk.do("/cost.forecast")
    assert "may be exceeded until" in await walk.do("/cost.override 2h")
    assert "gpt-4o" in await walk.do("/cost.prices")
    assert "macro digest" in await walk.do("/metrics.business")
