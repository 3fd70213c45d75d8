"""Where bridges are found: private files of processes that live, and nothing else."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sophia_core.voice.bridge.places import Place, announced, find, is_token, new_socket, parse_address, tidy
from sophia_core.voice.bridge.wire import new_token

NOBODY: dict[str, str] = {}


def test_an_announced_bridge_is_found_until_it_ends(tmp_path: Path) -> None:
    folder, place = tmp_path / "v", Place("8767", new_token(), "laptop")
    with announced(folder, place) as path:
        assert find(folder, NOBODY) == [place]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        with announced(folder, Place("9000", new_token(), "newer")) as newer:
            os.utime(newer, ns=(2**61, 2**61))
            assert [each.name for each in find(folder, NOBODY)] == ["newer", "laptop"]
    assert find(folder, NOBODY) == []
    assert list(folder.iterdir()) == []


def test_a_token_is_not_shown(tmp_path: Path) -> None:
    token = new_token()
    assert token not in repr(Place("1", token))


@pytest.mark.parametrize("spoil", ["mode", "link", "dead", "json", "address", "token", "huge", "pipe"])
def test_a_file_that_is_not_quite_right_is_passed_over(tmp_path: Path, spoil: str) -> None:
    folder = tmp_path / "v"
    with announced(folder, Place("8767", new_token())) as path:
        words = json.loads(path.read_text())
        match spoil:
            case "mode":
                path.chmod(0o640)
            case "link":
                path.rename(tmp_path / "elsewhere")
                path.symlink_to(tmp_path / "elsewhere")
            case "dead":
                gone = subprocess.Popen([sys.executable, "-c", ""])
                gone.wait()
                path.write_text(json.dumps(words | {"pid": gone.pid}))
            case "json":
                path.write_text("[" * 4_000)
            case "address":
                path.write_text(json.dumps(words | {"address": "example.org:80"}))
            case "token":
                path.write_text(json.dumps(words | {"token": "short"}))
            case "huge":
                path.write_text(" " * 5_000 + json.dumps(words))
            case "pipe":
                path.unlink()
                os.mkfifo(path, 0o600)
        assert find(folder, NOBODY) == []


def test_the_environment_comes_first_and_its_token_may_be_a_file(tmp_path: Path) -> None:
    token, file = new_token(), tmp_path / "token"
    file.write_text(f"{token}\n")
    env = {"SOPHIA_VOICE_BRIDGE": "127.0.0.1:8767", "SOPHIA_VOICE_TOKEN_FILE": str(file)}
    file.chmod(0o644)
    assert find(tmp_path, env) == []  # others can read it
    file.chmod(0o600)
    assert find(tmp_path, env) == [Place("8767", token)]
    assert find(tmp_path, env | {"SOPHIA_VOICE_TOKEN": "wrong"}) == []


@pytest.mark.parametrize(
    ("text", "is_it"),
    [
        ("8767", "8767"),
        ("127.0.0.1:8767", "8767"),
        ("localhost:1", "1"),
        ("/run/x.voice", "/run/x.voice"),
        ("0", None),
        ("70000", None),
        ("10.0.0.1:8767", None),
        ("x.voice", None),
        ("/" + "x" * 200, None),
        ("²", None),
        ("", None),
    ],
)
def test_an_address_is_a_port_here_or_a_path(text: str, is_it: str | None) -> None:
    assert parse_address(text) == is_it


def test_sockets_of_killed_processes_are_removed_and_those_of_others_kept(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    folder = tmp_path / "v"
    folder.mkdir()
    mine = folder / f"{os.getpid()}-00.voice"
    mine.touch()
    (folder / f"{gone.pid}-00.voice").touch()
    (folder / "strange.voice").touch()
    (folder / "x.bridge").write_text("{}")
    tidy(folder)
    assert [each.name for each in folder.iterdir()] == [mine.name]


def test_a_folder_of_somebody_else_or_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "v").symlink_to(tmp_path / "real")
    with pytest.raises(PermissionError):
        new_socket(tmp_path / "v")


def test_a_path_that_is_too_long_for_a_socket_is_none(tmp_path: Path) -> None:
    assert new_socket(tmp_path / ("x" * 90)) is None


def test_a_token_is_64_hexadecimal_digits() -> None:
    assert is_token(new_token())
    assert not is_token(new_token()[:-1])
    assert not is_token("x" * 64)
