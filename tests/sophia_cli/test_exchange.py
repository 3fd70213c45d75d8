"""`sophia export` and `sophia import`, as a shell runs them."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.sophia_cli.harness import Program

CHAT: dict[str, Any] = {
    "uuid": "c",
    "name": "Größe \x1b[31m",
    "chat_messages": [
        {"uuid": "a", "sender": "human", "text": "hi", "created_at": "2024-05-01T10:00:00Z"},
        {"uuid": "b", "sender": "assistant", "text": "hello", "created_at": "2024-05-01T10:00:01Z"},
    ],
}


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "home")


def chats(path: Path, *items: object) -> Path:
    path.write_text(json.dumps(items))
    return path


async def test_there_and_back(program: Program, tmp_path: Path) -> None:
    path = chats(tmp_path / "conversations.json", CHAT)
    came = await program.run("import", str(path))
    assert (came.code, came.out) == (0, "Imported 1 new session from Claude with 2 messages.\n")
    shown = await program.run("export")
    assert shown.code == 0
    assert shown.out.startswith("# Größe ␛\\[31m\n")
    assert "### 2 · Answer" in shown.out

    file = tmp_path / "all.json"
    wrote = await program.run("export", "--all", "--to", str(file))
    assert (wrote.code, wrote.out, stat.S_IMODE(file.stat().st_mode)) == (0, "", 0o600)
    other = Program(tmp_path / "other")
    back = await other.run("import", str(file), "--json")
    assert (back.code, back.json["report"]["added"], back.json["kind"]) == (0, 1, "SOPHIA")
    assert (await other.run("export", "--all", "--format", "json")).json["sessions"] == json.loads(file.read_text())[
        "sessions"
    ]


async def test_json_survives_a_pipe_that_is_not_utf8(program: Program, tmp_path: Path) -> None:
    await program.run("import", str(chats(tmp_path / "c.json", CHAT)))
    ended = await program.run("export", "--format", "json", PYTHONIOENCODING="latin-1", LC_ALL="C", PYTHONUTF8="0")
    assert ended.json["sessions"][0]["title"] == CHAT["name"]


async def test_a_dry_run_changes_nothing(program: Program, tmp_path: Path) -> None:
    assert (await program.run("init", "--yes")).code == 0
    tried = await program.run("import", str(chats(tmp_path / "c.json", CHAT)), "--dry-run")
    assert (tried.code, tried.out) == (0, "Would import 1 new session from Claude with 2 messages.\n")
    assert (await program.run("sessions", "--json")).json == []


async def test_what_goes_wrong_has_an_exit_code_and_a_sentence(program: Program, tmp_path: Path) -> None:
    assert (await program.run("export")).code == 3
    assert (await program.run("init", "--yes")).code == 0
    assert (await program.run("export")).code == 1
    assert (await program.run("export", "x", "--all")).code == 2
    missing = await program.run("import", str(tmp_path / "missing"))
    assert (missing.code, "there is no file" in missing.err.lower()) == (1, True)
    odd = tmp_path / "odd"
    odd.write_text("hello")
    refused = await program.run("import", str(odd))
    assert (refused.code, "no JSON" in refused.err) == (1, True)
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps([CHAT, CHAT])[:-20])
    half = await program.run("import", str(broken))
    assert (half.code, "Imported 1 new session" in half.out, "cut off" in half.out) == (1, True, True)
    again = await program.run("export", "--to", str(odd))
    assert (again.code, "exists already" in again.err, odd.read_text()) == (1, True, "hello")
