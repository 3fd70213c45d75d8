"""Values that no column holds, titles that no list shows, and files of others that refer to the same text for ever."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from local_store import BadValue, Store, foreign, foreign_llm
from local_store.foreign_tables import Tables
from local_store.imports import Conversation, ImportMessage, Skipped, whole
from local_store.text import LONGEST_TITLE

LONE = "x\ud800y"


async def test_an_id_that_is_no_text_is_refused_as_such(store: Store) -> None:
    session = await store.sessions.create("t")
    with pytest.raises(BadValue):
        await store.messages.get(LONE)
    with pytest.raises(BadValue):
        await store.turns.begin(session.id, None, "question", request_id=LONE)
    with pytest.raises(BadValue):
        await store.turns.begin(LONE, None, "question", request_id="r")
    assert (await store.sessions.get(session.id)).message_count == 0


async def test_a_title_as_long_as_a_book_is_refused_and_the_longest_is_kept(store: Store) -> None:
    session = await store.sessions.create("t" * LONGEST_TITLE)
    with pytest.raises(BadValue, match="a title has at most"):
        await store.sessions.rename(session.id, "t" * (LONGEST_TITLE + 1))
    with pytest.raises(BadValue):
        await store.sessions.create("t" * 10_000_000)
    assert (await store.sessions.get(session.id)).title == "t" * LONGEST_TITLE


async def test_an_import_cuts_a_title_and_says_so(store: Store) -> None:
    told = Conversation("chatgpt", "c", "t" * 5_000, [ImportMessage("m", "user", "hello")], folder="f" * 5_000)
    report = await store.bulk.add(iter([told]))
    assert report.added == 1
    assert any("too long" in remark for remark, _ in report.remarks)
    assert (await store.sessions.list())[0].title == "t" * LONGEST_TITLE


async def test_a_search_for_ten_million_letters_is_answered(store: Store) -> None:
    await store.sessions.create("needle")
    assert (await store.search.find("x" * 10_000_000)).hits == ()


def test_thirty_thousand_messages_with_one_id_are_told_apart_at_once() -> None:
    told = whole(Conversation("chatgpt", "c", "t", [ImportMessage("same", "user", "x")] * 30_000))
    assert len({each.key for each in told.messages}) == 30_000
    assert told.messages[-1].key == "same (30000)"


def of_llm(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE responses (id, prompt, response, conversation_id);"
        "CREATE TABLE fragments (id INTEGER PRIMARY KEY, content TEXT);"
        "CREATE TABLE prompt_fragments (response_id, fragment_id);"
        "INSERT INTO responses VALUES ('bomb', 'p', 'r', NULL), ('small', 'q', 's', NULL);"
    )
    connection.execute("INSERT INTO fragments VALUES (1, ?)", ["a" * 1000])
    connection.executemany("INSERT INTO prompt_fragments VALUES ('bomb', 1)", [()] * 500)
    connection.commit()
    return connection


def test_a_text_that_is_referred_to_for_ever_costs_its_conversation_only(tmp_path: Path) -> None:
    tables = Tables(of_llm(tmp_path / "logs.db"), largest=100_000)
    bomb, small = foreign_llm.conversations(tables)
    assert isinstance(bomb, Skipped)
    assert "larger than" in bomb.reason
    assert isinstance(small, Conversation)
    assert [each.text for each in small.messages] == ["q", "s"]


def test_a_virtual_table_behind_a_comment_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    connection = sqlite3.connect(path)
    for name, columns in (("chat", "id, name"), ("message", "chat_id, text")):
        connection.execute(f"CREATE VIRTUAL TABLE {name} USING fts5({columns})")
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(
        "UPDATE sqlite_schema"
        " SET sql = replace(sql, 'CREATE VIRTUAL', 'CREATE /*' || hex(zeroblob(40)) || '*/ VIRTUAL')"
        " WHERE name IN ('chat', 'message')"
    )
    connection.commit()
    connection.close()
    assert foreign.kind_of(path) is None
