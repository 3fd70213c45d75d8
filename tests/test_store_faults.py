"""What the page tells of the store's faults is what happens when they are let happen."""

from __future__ import annotations

from tools import store_faults


async def test_every_fault_of_the_store_says_what_the_page_says() -> None:
    told = store_faults.PAGE.read_text("utf-8")
    made = await store_faults.rows()
    assert [row for row in made if row not in told.splitlines()] == [], "run `python -m tools.store_faults`"
    assert store_faults.page(told, made) == told


def test_every_fault_has_a_next_step() -> None:
    rows = [line.split(" | ") for line in store_faults.PAGE.read_text("utf-8").splitlines() if line.count(" | ") == 3]
    assert len(rows) >= len(store_faults.FAULTS)
    assert [row[0] for row in rows if not row[3].rstrip("| ")] == []
