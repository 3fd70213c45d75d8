"""Files of every kind, found out by themselves, and files that mean harm."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from local_store.imports import Conversation, Skipped
from sophia_core.exchange import sources
from sophia_core.exchange.items import BadFile, Items
from sophia_core.exchange.reading import NOT_UTF8, Kind, Reading

CHATGPT = {
    "id": "c",
    "title": "A",
    "mapping": {"a": {"message": {"content": {"parts": ["hi"]}, "author": {"role": "user"}}}},
}
CLAUDE = {"uuid": "c", "name": "B", "chat_messages": [{"uuid": "a", "sender": "human", "text": "hi"}]}
OPEN_WEBUI = {"id": "c", "title": "C", "chat": {"history": {"messages": {"a": {"role": "user", "content": "hi"}}}}}
OURS = {"id": "c", "title": "D", "active_leaf": "a", "messages": [{"id": "a", "role": "user", "text": "hi"}]}


def file(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def archive(path: Path, **members: object) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            zipped.writestr(name, content if isinstance(content, str | bytes) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("item", "kind"), [(CHATGPT, "chatgpt"), (CLAUDE, "claude"), (OPEN_WEBUI, "open-webui"), (OURS, "sophia")]
)
def test_every_kind_is_found_out(tmp_path: Path, item: object, kind: Kind) -> None:
    for content in ([item], item, {"conversations": [item]}):
        reading = Reading(file(tmp_path / "x.json", content))
        (found,) = reading
        assert isinstance(found, Conversation)
        assert (found.source, found.messages[0].text, reading.kind) == (kind, "hi", kind)
    told = Reading(tmp_path / "x.json", kind)
    assert [type(each) for each in told] == [Conversation]


def test_an_archive_is_read_without_unpacking_it(tmp_path: Path) -> None:
    members: dict[str, Any] = {
        "../../conversations-000.json": [CHATGPT],
        "deep/folder/conversations-001.json": [CHATGPT | {"id": "d"}],
        "user.json": {"email": "x"},
        "chat.html": "<html>",
    }
    reading = Reading(archive(tmp_path / "x.zip", **members))
    assert [each.source_id for each in reading] == ["c", "d"]
    assert reading.progress is not None
    assert reading.progress.done == reading.progress.total > 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["x.zip"]


def test_what_fits_nothing_is_skipped_by_name(tmp_path: Path) -> None:
    path = file(tmp_path / "x.json", [CLAUDE, {"title": "odd one"}, 5, "x", None, CHATGPT])
    skipped = [each for each in Reading(path) if isinstance(each, Skipped)]
    assert [each.title for each in skipped] == ["odd one", "", "", "", "A"]
    assert "no conversation of Claude" in skipped[0].reason


def test_a_truncated_file_gives_what_it_has(tmp_path: Path) -> None:
    text = json.dumps([CHATGPT, CHATGPT])
    reading = Reading(file(tmp_path / "x.json", text[:-40]))
    first, last = reading
    assert isinstance(first, Conversation)
    assert isinstance(last, Skipped)
    assert "cut off" in last.reason
    assert "cut off" in reading.problem


def test_text_that_is_no_unicode_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(json.dumps([CLAUDE | {"name": "größe"}], ensure_ascii=False).encode("latin-1"))
    (found,) = Reading(path)
    assert isinstance(found, Conversation)
    assert dict(found.remarks) == {NOT_UTF8: 1}


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"hello", "no JSON"), (b"PK\x03\x04 but no more", "damaged"), (b"\x1f\x8b\x08\x00 gzip", "no JSON")],
)
def test_what_is_nothing_known_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(BadFile, match=reason):
        list(Reading(path))


def test_a_folder_or_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(BadFile, match="cannot be read"):
            list(Reading(path))


def test_a_bomb_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BOMB_BYTES", 1_000_000)
    text = '[{"text": "' + "x" * 20_000_000 + '"}]'
    with pytest.raises(BadFile, match="two hundred times"):
        list(Reading(archive(tmp_path / "x.zip", **{"conversations.json": text})))


def test_archives_that_lie_or_are_locked(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", **{"conversations.json": [CHATGPT] * 2000})
    raw = bytearray(path.read_bytes())
    raw[200:260] = bytes(60)
    path.write_bytes(raw)
    found = []
    try:
        found = list(Reading(path))
    except BadFile as error:
        assert "damaged" in str(error)
    assert not found or isinstance(found[-1], Skipped)

    locked = archive(tmp_path / "y.zip", **{"conversations.json": [CHATGPT]})
    raw = bytearray(locked.read_bytes())
    raw[6] |= 1
    raw[raw.rindex(b"PK\x01\x02") + 8] |= 1
    locked.write_bytes(raw)
    with pytest.raises(BadFile, match="password"):
        list(Reading(locked))
    with pytest.raises(BadFile, match="no JSON file"):
        list(Reading(archive(tmp_path / "z.zip", **{"a.txt": "hi"})))


def test_a_huge_text_costs_only_its_conversation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Items.__init__, "__kwdefaults__", {"longest": 1000})
    huge = CLAUDE | {"chat_messages": [{"uuid": "a", "sender": "human", "text": "x" * 5000}]}
    skipped, found = Reading(file(tmp_path / "x.json", [huge, CLAUDE]))
    assert isinstance(skipped, Skipped)
    assert "longer than" in skipped.reason
    assert isinstance(found, Conversation)


def test_repeated_ids_are_all_kept(tmp_path: Path) -> None:
    message = '{"message": {"author": {"role": "user"}, "content": {"parts": ["%s"]}}}'
    text = f'[{{"id": "c", "mapping": {{"a": {message % "one"}, "a": {message % "two"}}}}}]'
    (found,) = Reading(file(tmp_path / "x.json", text))
    assert isinstance(found, Conversation)
    assert [each.text for each in found.messages] == ["one", "two"]


def test_a_pipe_a_folder_and_a_device_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    for path in (tmp_path / "pipe.json", tmp_path / "folder.json", Path("/dev/zero")):
        with pytest.raises(BadFile, match="it is no file"):
            list(Reading(path))
