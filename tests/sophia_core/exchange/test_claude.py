"""Claude's export: flat and as a tree, with blocks, pastes and tools."""

from __future__ import annotations

from typing import Any

import pytest

from local_store.imports import Conversation, ImportMessage, Skipped
from sophia_core.exchange import claude
from sophia_core.exchange.pieces import MEDIA, UNKNOWN_CONTENT, UNKNOWN_ROLE

NIL = "00000000-0000-4000-8000-000000000000"


def message(uuid: str, sender: str = "human", text: str = "", **more: Any) -> dict[str, Any]:
    return {"uuid": uuid, "sender": sender, "text": text, "created_at": "2024-05-01T10:00:00.25Z", **more}


def read(*messages: object, **more: Any) -> Conversation:
    found = claude.conversation({"uuid": "c", "name": "N", "chat_messages": list(messages), **more})
    assert isinstance(found, Conversation)
    return found


def only(*blocks: object, **more: Any) -> tuple[ImportMessage, dict[str, int]]:
    found = read(message("a", "assistant", "the flat text", content=list(blocks), **more))
    return found.messages[0], dict(found.remarks)


def test_an_older_export_is_one_line() -> None:
    found = read(message("a", text="hi"), message("b", "assistant", "hello"), created_at="2024-04-01T00:00:00Z")
    assert [(m.key, m.role, m.text, m.parent) for m in found.messages] == [
        ("a", "user", "hi", None),
        ("b", "assistant", "hello", "a"),
    ]
    assert (found.source_id, found.title, found.created_at) == ("c", "N", 1_711_929_600_000)
    assert found.updated_at == 1_714_557_600_250


def test_a_newer_export_is_a_tree() -> None:
    found = read(
        message("q", text="hi", parent_message_uuid=NIL),
        message("a", "assistant", "one", parent_message_uuid="q"),
        message("b", "assistant", "two", parent_message_uuid="q", model="claude-x"),
        current_leaf_message_uuid="a",
        model="claude-y",
        is_starred=True,
    )
    assert [each.parent for each in found.messages] == [None, "q", "q"]
    assert [each.model for each in found.messages] == [None, "claude-y", "claude-x"]
    assert (found.active, found.pinned) == ("a", True)


def test_blocks_say_more_than_the_flat_text() -> None:
    said, remarks = only(
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "first"},
        {"type": "tool_use", "name": "search", "input": {"q": "x"}},
        {"type": "tool_result", "name": "search", "content": [{"type": "text", "text": "found", "title": "T"}]},
        {"type": "tool_use", "name": "artifacts", "input": {"id": "a", "content": "print(1)"}},
        {"type": "tool_result", "name": "run", "content": "bad", "is_error": True},
        {"type": "text", "text": "last"},
    )
    assert said.reasoning == "hm"
    assert said.text == (
        'first\n\n[called search({"q": "x"})]\n\n[search]\n\nT\n\nfound\n\n'
        '[called artifacts({"id": "a"})]\n\n```\nprint(1)\n```\n\n[run failed]\n\nbad\n\nlast'
    )
    assert remarks == {}


def test_pastes_are_kept_and_files_noted() -> None:
    found = read(
        message(
            "a",
            attachments=[{"file_name": "", "extracted_content": "a long paste"}, {"file_name": "b.bin"}],
            files=[{"file_name": "cat.png"}, {"file_name": "b.bin"}],
            files_v2=[{"file_name": "cat.png"}],
        )
    )
    assert found.messages[0].text == (
        "[pasted text]\n```\na long paste\n```\n\n[file: b.bin; not imported]\n\n[file: cat.png; not imported]"
    )
    assert dict(found.remarks) == {MEDIA: 2}


def test_what_is_not_known_is_kept() -> None:
    said, remarks = only({"type": "hologram", "a": 1}, 5, "plain", {"type": "image", "file_name": "x.png"})
    assert said.text == '[hologram]\n{"type": "hologram", "a": 1}\n\n5\n\nplain\n\n[image: x.png; not imported]'
    assert remarks == {UNKNOWN_CONTENT: 1, MEDIA: 1}
    found = read(message("a", "critic", "hm"))
    assert (found.messages[0].role, found.messages[0].text) == ("user", "[critic]\nhm")
    assert dict(found.remarks) == {UNKNOWN_ROLE: 1}
    assert only()[0].text == "the flat text"


@pytest.mark.parametrize("messages", [[], [None, 5]])
def test_nothing_said(messages: list[object]) -> None:
    found = claude.conversation({"name": 5, "chat_messages": messages})
    if messages:
        assert isinstance(found, Conversation)
        assert [each.text for each in found.messages] == ["[somebody]\n"] * 2
    else:
        assert isinstance(found, Skipped)
