"""Killed processes lose nothing of what a store has acknowledged; the benchmark does it hundreds of times."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.store_promise import promise, verify
from benchmarks.store_work import Base, Fact, prepare

ROOT = Path(__file__).parents[2]


def test_ten_kills_while_writing_migrating_rotating_backing_up_and_importing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.store_kills", "--times", "10", "--within", "0.3"]
    command += ["--folder", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "every acknowledged write found" in ended.stdout


async def test_a_lost_write_is_found(tmp_path: Path) -> None:
    base = Base(tmp_path / "base")
    await prepare(base, "write", 0)
    await verify(base, base.facts())
    base.tell(message="01NEVER", session="01S", text="never written")
    with pytest.raises(AssertionError, match="a message of 01S is lost"):
        await verify(base, base.facts())


async def test_a_lost_title_draft_and_audit_entry_are_found(tmp_path: Path) -> None:
    base = Base(tmp_path / "base")
    await prepare(base, "write", 0)
    facts = base.facts()
    for fact, complaint in (
        ({"session": "01S", "title": "Never made"}, "'Never made' is lost"),
        ({"draft": "k", "number": 3}, "the draft 'k' is older"),
        ({"audit": 1_000_000}, "an audit entry is lost"),
        ({"backup": "sophia-00000000-x.sophia-backup"}, "an acknowledged backup is lost"),
        ({"gone": facts[0]["session"]}, "is back"),
    ):
        with pytest.raises(AssertionError, match=complaint):
            await verify(base, [*facts, fact])


def test_what_was_going_may_be_there_or_not() -> None:
    made = promise([{"session": "a", "title": "A"}, {"going": "a"}])
    assert made.optional == {"a"} and not made.gone


def test_a_restore_that_began_may_have_ended() -> None:
    facts: list[Fact] = [{"session": "a", "title": "A"}, {"since": True}, {"session": "b", "title": "B"}]
    assert not promise(facts).optional
    assert promise([*facts, {"restoring": True}]).optional == {"b"}
    assert promise([*facts, {"restoring": True}, {"restored": True}]).gone == {"b"}
