"""`sophia store` and `sophia sessions purge`, as a shell runs them."""

from __future__ import annotations

from local_store import StorePaths
from tests.local_store.damage_support import flip, layout
from tests.sophia_cli.harness import Program


async def test_a_damaged_store_is_salvaged(sophia: Program) -> None:
    assert (await sophia.run("ask", "first")).code == 0
    paths = StorePaths(sophia.home / "store", sophia.home / "device")
    flip(paths.database, layout(paths).root["message_by_parent"])
    checked = await sophia.run("store", "check", "--full")
    assert checked.code == 3 and "salvage" in checked.err
    done = await sophia.run("store", "salvage", "--yes")
    assert done.code == 0, done.err
    assert "Saved 2 messages in 1 session" in done.out and "Nothing was lost." in done.out
    assert "1 page of" in done.out and "store-before-restore-" in done.out
    repaired = await sophia.run("store", "repair", "--json")
    assert (repaired.code, repaired.json["repaired"]) == (0, [])


async def test_sessions_are_purged(sophia: Program) -> None:
    assert (await sophia.run("ask", "first")).code == 0
    (session,) = (await sophia.run("sessions", "--json")).json
    assert (await sophia.run("sessions", "purge", session["id"])).code == 2
    done = await sophia.run("sessions", "purge", session["id"], "--yes")
    assert (done.code, done.out) == (0, "Removed 1 session with 2 messages for good.\n")
