"""ChatGPT's export: the tree, every kind of content, and nothing lost without a word."""

from __future__ import annotations

from typing import Any

import pytest

from local_store.imports import Conversation, ImportMessage, Skipped
from sophia_core.exchange import chatgpt
from sophia_core.exchange.pieces import HIDDEN, MEDIA, UNKNOWN_CONTENT, UNKNOWN_ROLE


def node(
    parent: str | None, role: str, content: object, *, children: list[str] | None = None, **message: Any
) -> dict[str, Any]:
    content = {"content_type": "text", "parts": [content]} if isinstance(content, str) else content
    said = {"author": {"role": role, "name": None}, "content": content, "create_time": 1_700_000_000.5, **message}
    return {"parent": parent, "message": said, **({"children": children} if children is not None else {})}


def read(mapping: object, **more: Any) -> Conversation:
    found = chatgpt.conversation({"conversation_id": "c", "title": "T", "mapping": mapping, **more})
    assert isinstance(found, Conversation)
    return found


def by_key(found: Conversation) -> dict[str, ImportMessage]:
    return {each.key: each for each in found.messages}


def only(content: object, role: str = "assistant", **message: Any) -> tuple[ImportMessage, dict[str, int]]:
    found = read({"a": node(None, role, content, **message)})
    return found.messages[0], dict(found.remarks)


def test_a_tree_with_its_placeholders_taken_out() -> None:
    mapping = {
        "root": {"message": None, "parent": None, "children": ["sys"]},
        "sys": node("root", "system", ""),
        "q": node("sys", "user", "question"),
        "a": node("q", "assistant", "one", metadata={"model_slug": "gpt-4o", "finish_details": {"type": "stop"}}),
        "b": node("q", "assistant", "two", status="in_progress"),
    }
    found = read(mapping, current_node="b", create_time=1_600_000_000, default_model_slug="gpt-5", is_archived=True)
    messages = by_key(found)
    assert list(messages) == ["q", "a", "b"]
    assert [messages[key].parent for key in "qab"] == [None, "q", "q"]
    assert (messages["a"].model, messages["a"].finish_reason, messages["b"].model) == ("gpt-4o", "stop", "gpt-5")
    assert (messages["b"].status, messages["q"].model, messages["q"].created_at) == (
        "interrupted",
        None,
        1_700_000_000_500,
    )
    assert (found.active, found.archived, found.created_at) == ("b", True, 1_600_000_000_000)


def test_parents_are_found_by_children_where_only_they_are_told() -> None:
    mapping: dict[str, Any] = {"a": node(None, "user", "1", children=["b"]), "b": node(None, "assistant", "2")}
    del mapping["b"]["parent"]
    assert by_key(read(mapping))["b"].parent == "a"


def test_a_list_of_nodes_is_taken_too() -> None:
    found = read([node(None, "user", "1") | {"id": "x"}, node("x", "assistant", "2") | {"id": "y"}])
    assert by_key(found)["y"].parent == "x"


def test_thoughts_become_the_reasoning_of_the_answers_after_them() -> None:
    thoughts = {"content_type": "thoughts", "thoughts": [{"summary": "S", "content": "C"}, {"content": "D"}]}
    recap = {"content_type": "reasoning_recap", "content": "Thought for 2s"}
    mapping = {
        "q": node(None, "user", "q"),
        "t": node("q", "assistant", thoughts),
        "r": node("t", "assistant", recap),
        "a": node("r", "assistant", "answer"),
        "b": node("r", "assistant", "another"),
        "dead end": node("q", "assistant", thoughts),
    }
    messages = by_key(read(mapping, current_node="r"))
    assert list(messages) == ["q", "a", "b", "dead end"]
    assert messages["a"].reasoning == messages["b"].reasoning == "S\n\nC\n\nD\n\nThought for 2s"
    assert (messages["a"].parent, messages["dead end"].reasoning) == ("q", "S\n\nC\n\nD")
    assert read(mapping, current_node="r").active == "q"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"content_type": "text", "parts": ["a", "", "b"]}, "a\n\nb"),
        ({"content_type": "code", "language": "python", "text": "x = 1"}, "```python\nx = 1\n```"),
        ({"content_type": "code", "language": "unknown", "text": "a ``` b"}, "````\na ``` b\n````"),
        ({"content_type": "execution_output", "text": "42"}, "```\n42\n```"),
        ({"content_type": "tether_quote", "title": "T", "url": "http://x", "text": "q"}, "T\n\nhttp://x\n\nq"),
        ({"content_type": "tether_browsing_display", "result": "r", "summary": None}, "r"),
        ({"content_type": "system_error", "name": "E", "text": "why"}, "[error E]\n\nwhy"),
        ({"content_type": "model_editable_context", "model_set_context": "m"}, "m"),
    ],
)
def test_kinds_of_content(content: object, text: str) -> None:
    message, remarks = only(content, role="tool")
    assert (message.text, remarks) == (text, {})


def test_pictures_sound_and_files_are_noted() -> None:
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://f", "width": 10, "height": 20}
    sound = {"content_type": "audio_transcription", "text": "spoken words"}
    message, remarks = only(
        {"content_type": "multimodal_text", "parts": [picture, sound, "look"]},
        role="user",
        metadata={"attachments": [{"name": "a.pdf", "mime_type": "application/pdf"}]},
    )
    assert message.text == (
        "[image: 10×20, file-service://f; not imported]\n\nspoken words\n\nlook\n\n"
        "[file: a.pdf, application/pdf; not imported]"
    )
    assert remarks == {MEDIA: 2}


def test_what_is_not_known_is_kept_as_it_is() -> None:
    message, remarks = only({"content_type": "hologram", "depth": 3})
    assert message.text == '[hologram]\n{"content_type": "hologram", "depth": 3}'
    part, _ = only({"content_type": "text", "parts": [{"content_type": "shape", "sides": 3}, 7, None]})
    assert part.text == '[shape]\n{"content_type": "shape", "sides": 3}\n\n7'
    assert remarks == {UNKNOWN_CONTENT: 1}
    message, remarks = only("hi", role="critic")
    assert (message.role, message.text, remarks) == ("user", "[critic]\nhi", {UNKNOWN_ROLE: 1})


def test_calls_of_tools_name_them() -> None:
    message, _ = only({"content_type": "code", "language": "json", "text": "{}"}, recipient="web.run")
    assert message.text == "[to web.run]\n```json\n{}\n```"
    message, _ = only("found", role="tool", author={"role": "tool", "name": "web.run"})
    assert (message.role, message.text) == ("tool", "[web.run]\nfound")


def test_hidden_instructions_are_no_questions() -> None:
    hidden = {"content_type": "user_editable_context", "user_profile": "P", "user_instructions": "I"}
    message, remarks = only(hidden, role="user")
    assert (message.role, message.text, remarks) == ("system", "P\n\nI", {HIDDEN: 1})
    older = {"user_context_message_data": {"about_user_message": "P", "about_model_message": "I"}}
    message, _ = only("", role="system", metadata=older)
    assert message.text == "P\n\nI"


@pytest.mark.parametrize(
    "mapping",
    [
        {},
        {"a": None},
        {"a": {"message": {}}},
        {"a": {"message": 5, "parent": ["x"], "children": {"a": 1}}},
        [None, 5, "x"],
        {"a": {"parent": "b"}, "b": {"parent": "a"}},
    ],
)
def test_conversations_without_messages_are_skipped_by_name(mapping: object) -> None:
    found = chatgpt.conversation({"title": "Nothing", "mapping": mapping})
    assert isinstance(found, Skipped)
    assert (found.title, found.reason) == ("Nothing", "it has no messages")


def test_circles_of_placeholders_end() -> None:
    mapping = {"a": node("b", "user", "1"), "b": {"parent": "c"}, "c": {"parent": "b"}}
    assert read(mapping, current_node="c").messages[0].parent is None
    message, _ = only(
        {"content_type": "text", "parts": None}, role="user", create_time="soon", metadata=[], author=None
    )
    assert message.created_at == 0
