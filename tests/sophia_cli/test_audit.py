"""`sophia audit`: shows, proves and exports the log; 3 says that somebody changed it."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest

from local_store import Store, StorePaths, open_store
from sophia_cli.audit import audit
from sophia_cli.exits import OK, STORE, USAGE, Quit
from sophia_cli.parser import parse
from sophia_core.settings import Loaded
from tests.sophia_cli.harness import Piped, Program, piped


def paths(loaded: Loaded) -> StorePaths:
    return StorePaths(loaded.paths.store_dir, loaded.paths.device_dir)


async def filled(loaded: Loaded, count: int = 3) -> None:
    store: Store = await open_store(paths(loaded), allow_keyring=False)
    for number in range(1, count + 1):
        await store.audit.append("session.delete", f"s{number}", {"outcome": "done", "odd": "\x1b[31mé"})
    await store.close()


async def run(loaded: Loaded, pipe: Piped, *words: str) -> int:
    _, args = parse("audit", words)
    return await audit(args, loaded, pipe.console)


async def test_entries_are_shown_newest_first(loaded: Loaded, pipe: Piped) -> None:
    await filled(loaded)
    assert await run(loaded, pipe, "show", "--limit", "2") == OK
    heading, *rows = pipe.out.splitlines()
    assert heading.split() == ["ENTRY", "WHEN", "WHAT", "SUBJECT", "DETAIL"]
    assert [row.split()[0] for row in rows] == ["3", "2"]
    assert "\x1b" not in pipe.out


async def test_entries_are_shown_by_default_also_as_json(loaded: Loaded, pipe: Piped) -> None:
    await filled(loaded)
    assert await run(loaded, pipe, "--json") == OK
    rows = json.loads(pipe.out)
    assert [(row["seq"], row["subject"]) for row in rows] == [(3, "s3"), (2, "s2"), (1, "s1")]
    assert rows[0]["detail"] == {"outcome": "done", "odd": "\x1b[31mé"}


async def test_a_sound_log_verifies(loaded: Loaded, pipe: Piped) -> None:
    await filled(loaded)
    assert await run(loaded, pipe, "verify") == OK
    assert "3 entries" in pipe.out


@pytest.mark.parametrize("words", [("verify",), ("verify", "--json")])
async def test_a_log_that_was_cut_short_is_store_trouble(loaded: Loaded, pipe: Piped, words: tuple[str, ...]) -> None:
    await filled(loaded)
    copy = paths(loaded).database.read_bytes()
    await filled(loaded)
    paths(loaded).database.write_bytes(copy)
    assert await run(loaded, pipe, *words) == STORE
    if "--json" in words:
        (report,) = pipe.events
        assert (report["ok"], report["fault"], report["first"], report["entries"]) == (False, "truncated", 5, 4)
    else:
        assert "truncated at entry 5" in pipe.err and "audit.accept" in pipe.err


async def test_an_export_has_a_line_an_entry(loaded: Loaded, pipe: Piped, tmp_path: Path) -> None:
    await filled(loaded, 5)
    assert await run(loaded, pipe, "export", "-") == OK
    assert [line["seq"] for line in pipe.events] == [1, 2, 3, 4, 5]
    target = tmp_path / "log.jsonl"
    assert await run(loaded, pipe, "export", str(target)) == OK
    assert target.read_text("ascii") == pipe.out
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


async def test_no_file_is_overwritten(loaded: Loaded, pipe: Piped, tmp_path: Path) -> None:
    await filled(loaded)
    target = tmp_path / "log.jsonl"
    target.write_text("mine")
    for name in (str(target), str(tmp_path / "missing" / "log.jsonl"), "a\0b"):
        with pytest.raises(Quit) as ending:
            await run(loaded, pipe, "export", name)
        assert ending.value.code == USAGE
    assert target.read_text() == "mine"


async def test_an_export_that_is_cut_short_leaves_no_file(
    loaded: Loaded, pipe: Piped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(loaded)

    async def interrupted(*_: object) -> int:
        raise asyncio.CancelledError

    monkeypatch.setattr("local_store.audit.Audit.export", interrupted)
    with pytest.raises(asyncio.CancelledError):
        await run(loaded, pipe, "export", str(tmp_path / "log.jsonl"))
    assert not (tmp_path / "log.jsonl").exists()


async def test_without_a_store_there_is_nothing_and_none_is_made(loaded: Loaded, pipe: Piped) -> None:
    for words in (("show",), ("verify",), ("export", "-")):
        with pytest.raises(Quit) as ending:
            await run(loaded, pipe, *words)
        assert ending.value.code == STORE
    assert not paths(loaded).root.exists()


async def test_an_empty_log_is_shown_as_nothing(loaded: Loaded) -> None:
    await filled(loaded, 0)
    with piped(err_terminal=True) as shown:
        assert await run(loaded, shown) == OK
        assert (shown.out, shown.err) == ("", "(none)\n")


async def test_the_program_verifies(sophia: Program) -> None:
    assert (await sophia.run("init", "--yes")).code == OK
    ended = await sophia.run("audit", "verify", "--json")
    assert (ended.code, json.loads(ended.out)["ok"]) == (OK, True)
    assert (await sophia.run("audit", "steal")).code == USAGE
