"""The databases of llm and oterm: every schema there was, and files that are not what they say."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from local_store import BadValue, NotFound, Usage
from local_store.foreign import is_sqlite, kind_of, read
from local_store.foreign_oterm import IMAGES, UNKNOWN_ROLE
from local_store.imports import Conversation, ImportMessage, Skipped

AT = "2024-05-01T10:00:00.250000"
AT_MS = 1_714_557_600_250

LLM_OLDER = """
CREATE TABLE conversations (id TEXT PRIMARY KEY, name TEXT, model TEXT);
CREATE TABLE responses (id TEXT PRIMARY KEY, model TEXT, prompt TEXT, system TEXT, prompt_json TEXT,
    options_json TEXT, response TEXT, response_json TEXT, conversation_id TEXT, duration_ms INTEGER,
    datetime_utc TEXT, input_tokens INTEGER, output_tokens INTEGER, token_details TEXT, schema_id TEXT,
    resolved_model TEXT, reasoning TEXT);
CREATE TABLE attachments (id TEXT PRIMARY KEY, type TEXT, path TEXT, url TEXT, content BLOB);
CREATE TABLE prompt_attachments (response_id TEXT, attachment_id TEXT, "order" INTEGER);
CREATE TABLE fragments (id INTEGER PRIMARY KEY, hash TEXT, content TEXT, datetime_utc TEXT, source TEXT);
CREATE TABLE prompt_fragments (response_id TEXT, fragment_id INTEGER, "order" INTEGER);
CREATE TABLE system_fragments (response_id TEXT, fragment_id INTEGER, "order" INTEGER);
CREATE TABLE tool_calls (id INTEGER PRIMARY KEY, response_id TEXT, tool_id INTEGER, name TEXT, arguments TEXT);
CREATE TABLE tool_results (id INTEGER PRIMARY KEY, response_id TEXT, tool_id INTEGER, name TEXT, output TEXT);
"""
LLM_NEWER = """
CREATE TABLE threads (id TEXT PRIMARY KEY, name TEXT, tip_message_hash TEXT, forked_from TEXT, datetime_utc TEXT);
CREATE TABLE turns (id TEXT PRIMARY KEY, thread_id TEXT, parent_message_hash TEXT, tip_message_hash TEXT, model TEXT,
    resolved_model TEXT, options_json TEXT, schema_id TEXT, input_tokens INTEGER, output_tokens INTEGER,
    token_details TEXT, duration_ms INTEGER, datetime_utc TEXT, response_json TEXT);
CREATE TABLE messages (hash TEXT PRIMARY KEY, parent_hash TEXT, role TEXT, provider_metadata TEXT);
CREATE TABLE parts (id INTEGER PRIMARY KEY, message_hash TEXT, position INTEGER, type TEXT, tool_name TEXT,
    text TEXT, payload TEXT);
"""
OTERM_OLDER = """
CREATE TABLE chat (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, model TEXT NOT NULL, context TEXT NOT NULL,
    system TEXT, format TEXT, keep_alive INTEGER);
CREATE TABLE message (id INTEGER PRIMARY KEY AUTOINCREMENT, chat_id INTEGER NOT NULL, author TEXT NOT NULL,
    text TEXT NOT NULL);
"""
OTERM_NEWER = """
CREATE TABLE chat (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, model TEXT NOT NULL, system TEXT,
    provider TEXT DEFAULT "ollama", parameters TEXT, tools TEXT, thinking BOOLEAN);
CREATE TABLE message (id INTEGER PRIMARY KEY AUTOINCREMENT, chat_id INTEGER NOT NULL, author TEXT NOT NULL,
    text TEXT NOT NULL, images TEXT DEFAULT "[]");
"""


def database(path: Path, script: str, *rows: tuple[str, Iterable[object]]) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
        for table, values in rows:
            values = list(values)
            connection.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(values))})", values)  # noqa: S608
        connection.commit()
    return path


def found(path: Path) -> list[Conversation]:
    kind = kind_of(path)
    assert kind is not None
    everything = list(read(path, kind))
    assert all(isinstance(each, Conversation) for each in everything)
    return [each for each in everything if isinstance(each, Conversation)]


def by_text(conversation: Conversation) -> dict[str, ImportMessage]:
    return {each.text: each for each in conversation.messages}


def response(id: str, prompt: str, answer: str, conversation: str | None = "c", **more: object) -> tuple[object, ...]:
    values = {
        "id": id,
        "model": "gpt-4o",
        "prompt": prompt,
        "system": None,
        "prompt_json": None,
        "options_json": "{}",
        "response": answer,
        "response_json": None,
        "conversation_id": conversation,
        "duration_ms": 1500,
        "datetime_utc": AT,
        "input_tokens": None,
        "output_tokens": None,
        "token_details": None,
        "schema_id": None,
        "resolved_model": None,
        "reasoning": None,
    }
    return tuple((values | more).values())


def test_an_older_llm_log(tmp_path: Path) -> None:
    details = json.dumps({"completion_tokens_details": {"reasoning_tokens": 3}})
    path = database(
        tmp_path / "logs.db",
        LLM_OLDER,
        ("conversations", ("c", "The name", "gpt-4o")),
        ("responses", response("r1", "first", "one", system="Be brief", reasoning="hm")),
        (
            "responses",
            response("r2", "second", "two", system="Be brief", input_tokens=7, output_tokens=9, token_details=details),
        ),
        ("responses", response("r3", "alone", "three", None, resolved_model="gpt-4o-mini")),
        ("attachments", ("a1", "image/png", "/home/me/cat.png", None, b"...")),
        ("prompt_attachments", ("r1", "a1", 0)),
        ("fragments", (5, "h", "the long file", AT, "file.txt")),
        ("prompt_fragments", ("r2", 5, 0)),
        ("tool_calls", (1, "r1", 1, "weather", '{"city": "Bern"}')),
        ("tool_results", (1, "r2", 1, "weather", "sunny")),
    )
    one, alone = found(path)
    assert (one.source, one.source_id, one.title, one.created_at) == ("llm", "c", "The name", AT_MS)
    assert [(each.role, each.text) for each in one.messages] == [
        ("system", "Be brief"),
        ("user", "first"),
        ("assistant", 'one\n\n[called weather({"city": "Bern"})]'),
        ("tool", "[weather]\nsunny"),
        ("user", "the long file\nsecond"),
        ("assistant", "two"),
    ]
    keys = [each.key for each in one.messages]
    assert [each.parent for each in one.messages] == [None, *keys[:-1]]
    assert (one.messages[2].reasoning, one.messages[2].model, one.messages[2].finished_at) == (
        "hm",
        "gpt-4o",
        AT_MS + 1500,
    )
    assert one.messages[5].usage == Usage(7, 9, 3, None)
    assert dict(one.remarks) == {}
    (picture,) = one.messages[1].parts
    assert (picture.kind, picture.content, picture.media_type) == ("image", b"...", "image/png")
    assert (alone.source_id, alone.messages[-1].model) == ("r3", "gpt-4o-mini")


def test_the_first_llm_log_with_few_columns(tmp_path: Path) -> None:
    script = """
        CREATE TABLE conversations (id TEXT PRIMARY KEY, name TEXT, model TEXT);
        CREATE TABLE responses (id TEXT PRIMARY KEY, model TEXT, prompt TEXT, system TEXT, prompt_json TEXT,
            options_json TEXT, response TEXT, response_json TEXT, conversation_id TEXT, duration_ms INTEGER,
            datetime_utc TEXT);
    """
    values = ("r", "m", "hi", None, None, None, "hello", None, "c", 1, AT)
    (one,) = found(database(tmp_path / "logs.db", script, ("responses", values)))
    assert [each.text for each in one.messages] == ["hi", "hello"]


def test_a_newer_llm_log_is_a_tree(tmp_path: Path) -> None:
    reference = json.dumps({"text_ref": [{"literal": "see "}, {"fragment": 5}, {"fragment": 6}]})
    result = json.dumps({"name": "weather", "output": "sunny", "exception": "late", "attachments": [{"id": "a1"}]})
    turn = ("gpt-5", None, None, None, 11, 12, None, 100, AT, None)
    path = database(
        tmp_path / "logs.db",
        LLM_NEWER + LLM_OLDER,
        ("threads", ("t", "A thread", "m4", None, AT)),
        ("turns", ("t1", "t", "m1", "m2", *turn)),
        ("turns", ("t2", "t", "m1", "m3", *turn)),
        ("turns", ("t3", "t", "m3", "m4", *turn)),
        ("messages", ("m0", None, "system", None)),
        ("messages", ("m1", "m0", "user", None)),
        ("messages", ("m2", "m1", "assistant", None)),
        ("messages", ("m3", "m1", "assistant", None)),
        ("messages", ("m4", "m3", "tool", None)),
        ("parts", (1, "m0", 0, "text", None, "Be brief", None)),
        ("parts", (2, "m1", 0, "text", None, None, reference)),
        ("parts", (3, "m2", 0, "reasoning", None, "hm", None)),
        ("parts", (4, "m2", 1, "text", None, "one", None)),
        ("parts", (5, "m3", 0, "tool_call", "weather", None, '{"name": "weather", "arguments": {"city": "Bern"}}')),
        ("parts", (6, "m4", 0, "tool_result", "weather", None, result)),
        ("parts", (7, "m4", 1, "hologram", None, "shape", '{"a": 1}')),
        ("fragments", (5, "h", "the file", AT, "file.txt")),
        ("attachments", ("a1", "image/png", None, "http://x/cat.png", None)),
    )
    (one,) = found(path)
    messages = {each.key: each for each in one.messages}
    assert (one.source_id, one.title, one.active) == ("t", "A thread", "m4")
    assert {key: each.parent for key, each in messages.items()} == {
        "m0": None,
        "m1": "m0",
        "m2": "m1",
        "m3": "m1",
        "m4": "m3",
    }
    assert messages["m1"].text == "see the file[a fragment that is missing]"
    assert (messages["m2"].text, messages["m2"].reasoning, messages["m2"].usage) == ("one", "hm", Usage(11, 12))
    assert messages["m3"].text == '[called weather({"city": "Bern"})]'
    assert messages["m4"].text.startswith("[weather]\nsunny\n[failed: late]\n[attachment: image/png, http://x/cat.png;")
    assert '[hologram] shape {"a": 1}' in messages["m4"].text
    assert (messages["m2"].model, messages["m2"].created_at) == ("gpt-5", AT_MS)


def test_a_circle_of_hashes_ends(tmp_path: Path) -> None:
    path = database(
        tmp_path / "logs.db",
        LLM_NEWER,
        ("threads", ("t", "x", "m1", None, AT)),
        ("messages", ("m1", "m2", "user", None)),
        ("messages", ("m2", "m1", "user", None)),
        ("parts", (1, "m1", 0, "text", None, "a", None)),
    )
    (one,) = found(path)
    assert len(one.messages) == 2


@pytest.mark.parametrize("script", [OTERM_OLDER, OTERM_NEWER])
def test_oterm_of_all_ages(tmp_path: Path, script: str) -> None:
    newer = script is OTERM_NEWER
    beside = (None, "ollama", "{}", "[]", 0) if newer else ("[]", "Be brief", "", 5)
    images = [('["aGk=", "aGk="]',), ("not json",)] if newer else [(), ()]
    path = database(
        tmp_path / "store.db",
        script,
        ("chat", (1, "First", "llama3", *(("Be brief", *beside[1:]) if newer else beside))),
        ("chat", (2, "Empty", "llama3", *beside)),
        ("message", (1, 1, "user" if newer else "me", "hi", *images[0])),
        ("message", (2, 1, "assistant" if newer else "ollama", "hello", *images[1])),
        ("message", (3, 1, "narrator", "once", *images[1])),
        ("message", (4, 9, "user", "left behind", *images[1])),
    )
    assert kind_of(path) == "oterm"
    one, empty, behind = list(read(path, "oterm"))
    assert isinstance(one, Conversation)
    assert isinstance(empty, Skipped)
    assert isinstance(behind, Conversation)
    assert (one.source, one.title, empty.title) == ("oterm", "First", "Empty")
    roles = [each.role for each in one.messages]
    assert roles == ["system", "user", "assistant", "user"]
    assert one.messages[1].text == ("hi\n[image: not imported]\n[image: not imported]" if newer else "hi")
    assert (one.messages[2].model, one.messages[3].text) == ("llama3", "[narrator]\nonce")
    assert dict(one.remarks) == {UNKNOWN_ROLE: 1} | ({IMAGES: 1} if newer else {})
    assert [each.text for each in behind.messages] == ["left behind"]


def test_chats_of_two_databases_are_not_taken_for_one(tmp_path: Path) -> None:
    ids: set[str] = set()
    for name, beginning in (("a", "hi"), ("b", "hello")):
        rows = (("chat", (1, "x", "m", None, None, None, None, 0)), ("message", (1, 1, "user", beginning, "[]")))
        ids.update(each.source_id for each in found(database(tmp_path / name, OTERM_NEWER, *rows)))
    assert len(ids) == 2


def test_wrong_types_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = database(
        tmp_path / "logs.db",
        LLM_OLDER,
        ("responses", response("r", b"\xff\xfe blob", 17, 5, duration_ms="soon", datetime_utc=-1, input_tokens="x")),  # type: ignore[arg-type]
    )
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE responses SET prompt = CAST(x'ff41' AS TEXT)")
        connection.commit()
    (one,) = found(path)
    assert [each.text for each in one.messages] == ["�A", "17"]
    assert (one.messages[1].usage, one.messages[1].finished_at) == (None, None)


def test_a_view_or_virtual_table_is_not_read(tmp_path: Path) -> None:
    path = database(
        tmp_path / "logs.db",
        "CREATE VIEW responses AS WITH RECURSIVE n (prompt) AS (SELECT 1 UNION ALL SELECT prompt FROM n)"
        " SELECT prompt, prompt AS response FROM n",
    )
    assert kind_of(path) is None


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "a.db"
    text.write_text("hello")
    assert not is_sqlite(text)
    broken = tmp_path / "b.db"
    broken.write_bytes(b"SQLite format 3\0" + bytes(2000))
    assert is_sqlite(broken)
    with pytest.raises(BadValue, match="cannot be read as SQLite"):
        kind_of(broken)
    with pytest.raises(NotFound):
        kind_of(tmp_path / "missing.db")


def test_a_damaged_database_gives_what_can_be_read(tmp_path: Path) -> None:
    rows = [("responses", response(f"r{n:03}", "p" * 3000, "a" * 3000, f"c{n:03}")) for n in range(100)]
    path = database(tmp_path / "logs.db", LLM_OLDER, *rows)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xaa" * 40_000)
    everything = list(read(path, "llm"))
    assert isinstance(everything[-1], Skipped)
    assert "the rest cannot be read" in everything[-1].reason


def test_what_still_stands_in_the_log_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "logs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(LLM_OLDER)
        connection.execute(
            f"INSERT INTO responses VALUES ({','.join('?' * 17)})",  # noqa: S608
            response("r", "in the log", "x"),
        )
        connection.commit()
        (one,) = found(path)
    assert "in the log" in by_text(one)
