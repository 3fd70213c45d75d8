"""Approvals: what waits, what is said to it, and the rules that answer instead."""

from __future__ import annotations

from sophia_core.gate.asking import on_behalf, request
from sophia_core.swarm.log import StoreApprovals
from tests.sophia_tui.every.walk import Walk, scene


@scene(
    "approval.list",
    "approval.show",
    "approval.allow",
    "approval.deny",
    "approval.rules",
    "approval.rule",
    "approval.forget",
    "approval.mode",
)
async def approvals(walk: Walk) -> None:
    store = walk.app.runtime.vault.store
    assert store is not None
    asked = request("run", "run", "Run a command.", command="make test", boxed=True)
    first, second = (on_behalf(asked, "chat", "none", call=call) for call in "12")
    for each in (first, second):
        await StoreApprovals(store).ask(each)
    assert "make test" in await walk.do("/approvals")
    assert "$ make test" in await walk.do(f"/approval.show {first.id}")
    assert "from now on" in await walk.dare(f"/approval.allow {first.id} rule")
    assert "Refused" in await walk.do(f"/approval.deny {second.id} not today")
    assert "make test" in await walk.do("/approval.rules")
    assert "deny run" in await walk.dare("/approval.rule deny run rm")
    kept = await store.approvals.rules.list()
    assert "Forgotten" in await walk.dare(f"/approval.forget {kept[0].id}")
    assert "The mode is plan" in await walk.dare("/approval.mode plan")
