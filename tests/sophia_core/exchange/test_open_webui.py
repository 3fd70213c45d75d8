"""Open WebUI's export: the tree of `history`, older lists, reasoning in the text, files and sources."""

from __future__ import annotations

from typing import Any

from local_store import Usage
from local_store.imports import Conversation, ImportMessage, Skipped
from sophia_core.exchange import open_webui
from sophia_core.exchange.open_webui import SOURCES
from sophia_core.exchange.pieces import MEDIA


def read(chat: dict[str, Any], **more: Any) -> Conversation:
    item = {"id": "c", "title": "T", "chat": chat, "created_at": 1_700_000_000, "updated_at": 1_700_000_100, **more}
    assert open_webui.knows(item)
    found = open_webui.conversation(item)
    assert isinstance(found, Conversation)
    return found


def history(messages: dict[str, dict[str, Any]], current: str | None = None) -> dict[str, Any]:
    return {"models": ["m"], "history": {"messages": messages, "currentId": current}}


def only(**message: Any) -> tuple[ImportMessage, dict[str, int]]:
    found = read(history({"a": {"role": "assistant", "timestamp": 1_700_000_001, **message}}))
    return found.messages[0], dict(found.remarks)


def test_the_tree_and_what_is_known_of_a_chat() -> None:
    messages: dict[str, dict[str, Any]] = {
        "q": {"parentId": None, "childrenIds": ["a", "b"], "role": "user", "content": "hi", "models": ["m"]},
        "a": {"parentId": "q", "role": "assistant", "content": "one", "model": "llama3", "done": True},
        "b": {"role": "assistant", "content": "two", "done": False, "timestamp": 1_700_000_002},
    }
    found = read(
        history(messages, "a"),
        pinned=True,
        archived=True,
        meta={"tags": ["work", "work"]},
    )
    assert [(m.key, m.parent, m.status, m.model) for m in found.messages] == [
        ("q", None, "complete", None),
        ("a", "q", "complete", "llama3"),
        ("b", "q", "interrupted", None),
    ]
    assert (found.active, found.pinned, found.archived, found.tags) == ("a", True, True, ("work",))
    assert (found.created_at, found.updated_at) == (1_700_000_000_000, 1_700_000_100_000)


def test_an_old_chat_is_a_list() -> None:
    found = read({"messages": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]})
    assert [(m.text, m.parent) for m in found.messages] == [("1", None), ("2", "message-0")]


def test_a_chat_without_its_record() -> None:
    item = {"id": "x", "title": "bare", **history({"a": {"role": "user", "content": "hi"}})}
    assert open_webui.knows(item)
    found = open_webui.conversation(item)
    assert isinstance(found, Conversation)
    assert (found.source_id, found.title) == ("x", "bare")


def test_the_system_prompt_comes_first() -> None:
    found = read(history({"a": {"role": "user", "content": "hi"}}) | {"params": {"system": "Be brief"}})
    assert [(m.role, m.parent) for m in found.messages] == [("system", None), ("user", "system prompt")]


def test_reasoning_is_taken_out_of_the_text() -> None:
    content = (
        '<details type="reasoning" done="true" duration="3">\n<summary>Thought for 3 seconds</summary>\n'
        "> first &lt;b&gt;\n> second\n</details>\nThe answer"
    )
    said, _ = only(content=content)
    assert (said.text, said.reasoning) == ("The answer", "first <b>\nsecond")


def test_errors_usage_files_and_sources() -> None:
    said, remarks = only(
        content="",
        error={"content": "no such model"},
        usage={"prompt_eval_count": 5, "eval_count": 7},
        files=[{"type": "image", "url": "data:image/png;base64,aGk="}, {"type": "file", "name": "a.pdf"}],
        sources=[{"source": {"name": "wiki"}}, {"source": {"name": "wiki"}}],
    )
    assert (said.status, said.error, said.usage) == ("failed", "no such model", Usage(5, 7))
    assert said.text == "[file: a.pdf; not imported]\n\n[sources: wiki]"
    assert remarks == {MEDIA: 1, SOURCES: 1}
    assert [(each.kind, each.content, each.media_type) for each in said.parts] == [("image", b"hi", "image/png")]
    said, _ = only(content="x", usage={"prompt_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 2}})
    assert said.usage == Usage(1, 0, 2)


def test_content_in_parts_and_as_output() -> None:
    said, _ = only(content=[{"type": "text", "text": "a"}, {"type": "image_url"}])
    assert said.text == "a\n\n[image_url; not imported]"
    calls = [
        {"type": "function_call", "name": "f", "arguments": "{}"},
        {"type": "message", "content": [{"type": "output_text", "text": "done"}]},
    ]
    said, _ = only(content="", output=calls)
    assert said.text == "[called f({})]\n\ndone"


def test_nothing_and_nonsense() -> None:
    assert isinstance(open_webui.conversation({"id": 5, "chat": {"history": {"messages": {}}}}), Skipped)
    found = read(history({"a": None, "b": 5, "c": {"role": 3, "content": 7, "parentId": ["x"]}}))  # type: ignore[dict-item]
    assert [each.text for each in found.messages] == ["[somebody]\n", "[somebody]\n", "[3]\n7"]
    assert not open_webui.knows({"chat": 5})
