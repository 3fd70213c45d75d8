"""ChatGPT: `conversations.json` or `conversations-000.json` … of the official export.

A conversation is `mapping`, a tree of nodes by id, and `current_node`, the end of the branch being read. A node has its
`parent` and, in older exports, its `children`. Nodes without a message hold the tree together and are taken out;
`thoughts` become the reasoning of the answer that follows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from local_store.imports import Conversation, ImportMessage, Skipped, milliseconds
from local_store.types import PartKind, Role, Status
from sophia_core.exchange import pieces
from sophia_core.exchange.media import Media
from sophia_core.exchange.pieces import Remarks, joined, listed, mapping, string

SOURCE: Final = "chatgpt"
ROLES: Final[Mapping[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system", "tool": "tool"}
STATUSES: Final[Mapping[str, Status]] = {
    "in_progress": "interrupted",
    "finished_partial_completion": "partial",
    "error": "failed",
}
POINTERS: Final[Mapping[str, str]] = {
    "image_asset_pointer": "image",
    "audio_asset_pointer": "sound",
    "video_container_asset_pointer": "video",
    "real_time_user_audio_video_asset_pointer": "sound and video",
}
THINKING: Final = frozenset({"thoughts", "reasoning_recap"})
CONTEXT: Final = frozenset({"user_editable_context", "model_editable_context"})


def knows(item: Mapping[str, Any]) -> bool:
    """Whether an element of the file looks like a conversation of ChatGPT."""
    return isinstance(item.get("mapping"), dict | list)


def conversation(item: Mapping[str, Any], media: Media | None = None) -> Conversation | Skipped:
    """The conversation as the store takes it, with those of its images and files that the export has."""
    remarks = Remarks(media)
    nodes = _nodes(item["mapping"])
    title = string(item.get("title"))
    default_model = string(item.get("default_model_slug")) or None
    tree = _Tree(nodes)
    messages = [_message(nodes[key], tree, default_model, remarks) for key in tree.kept]
    began, ended = pieces.span(messages)
    told_id = item.get("conversation_id") or item.get("id")
    return pieces.finished(
        Conversation(
            SOURCE,
            pieces.identity(told_id, title, item.get("create_time"), *list(nodes)[:3]),
            title,
            messages,
            milliseconds(item.get("create_time")) or began,
            milliseconds(item.get("update_time")) or ended,
            tree.above(string(item.get("current_node")) or None),
            pinned=item.get("is_starred") is True,
            archived=item.get("is_archived") is True,
            remarks=remarks.told(),
        )
    )


class _Node:
    """A node of the tree with what is asked of it again and again."""

    __slots__ = ("author", "children", "content", "key", "kind", "message", "metadata", "parent", "role")

    def __init__(self, key: str, node: Mapping[str, Any]) -> None:
        self.key = key
        self.parent, self.children = string(node.get("parent")), listed(node.get("children"))
        self.message = mapping(node.get("message"))
        self.content = mapping(self.message.get("content"))
        self.metadata, self.author = mapping(self.message.get("metadata")), mapping(self.message.get("author"))
        self.kind, self.role = string(self.content.get("content_type")), string(self.author.get("role"))

    @property
    def says_anything(self) -> bool:
        """False for nodes that only hold the tree together: without a message, or an empty one of the program."""
        if not self.message:
            return False
        if self.kind not in ("text", "multimodal_text", "") or self.role not in ("system", "assistant"):
            return True
        shown = any(part not in ("", None) for part in listed(self.content.get("parts")))
        return shown or bool(self.content.get("text") or self.metadata.get("attachments") or _context(self))


def _nodes(found: object) -> dict[str, _Node]:
    if isinstance(found, dict):
        return {key: _Node(key, mapping(node)) for key, node in found.items()}
    told = [(string(mapping(node).get("id")) or str(n), mapping(node)) for n, node in enumerate(listed(found))]
    return {key: _Node(key, node) for key, node in told}


class _Tree:
    """Which nodes become messages, and what comes before each of them."""

    def __init__(self, nodes: Mapping[str, _Node]) -> None:
        self._nodes = nodes
        self._parents = _parents(nodes)
        gone = {key for key, node in nodes.items() if not node.says_anything}
        thinking = {key for key, node in nodes.items() if node.kind in THINKING}
        self._absorbed = self._led_to_answer(thinking, gone) if thinking else set()
        self._left_out = gone | self._absorbed
        self.kept = [key for key in nodes if key not in self._left_out]

    def _led_to_answer(self, thinking: set[str], gone: set[str]) -> set[str]:
        """Thoughts with an answer right below; those that nothing came of stay messages of their own."""
        absorbed: set[str] = set()
        for key, node in self._nodes.items():
            if node.role != "assistant" or key in thinking or key in gone:
                continue
            above = self._parents.get(key)
            while above in thinking and above not in absorbed:
                absorbed.add(above)
                above = self._parents.get(above)
        return absorbed

    def parent(self, key: str) -> str | None:
        """The nearest node above that becomes a message."""
        return self.above(self._parents.get(key))

    def above(self, key: str | None) -> str | None:
        """The node itself or the nearest above that becomes a message; a name that is no node stays."""
        if key not in self._left_out:
            return key
        seen: set[str] = set()
        while key is not None and key in self._left_out and key not in seen:
            seen.add(key)
            key = self._parents.get(key)
        return None if key in seen else key

    def thoughts(self, key: str) -> str:
        """What was thought right before this answer."""
        found: list[str] = []
        above = self._parents.get(key)
        while above in self._absorbed and len(found) < len(self._absorbed):
            found.append(_thoughts(self._nodes[above].content))
            above = self._parents.get(above)
        return joined(*reversed(found))


def _parents(nodes: Mapping[str, _Node]) -> dict[str, str]:
    """The parent of each node, from its own word or else from its parent's."""
    told = {child: node.key for node in nodes.values() for child in node.children if isinstance(child, str)}
    return {key: parent for key, node in nodes.items() if (parent := node.parent or told.get(key, ""))}


def _message(node: _Node, tree: _Tree, default_model: str | None, remarks: Remarks) -> ImportMessage:
    role = ROLES.get(node.role)
    said = _said(node, remarks)
    if role is None:
        role, said = "user", f"[{node.role or 'somebody'}]\n{said}"
        remarks[pieces.UNKNOWN_ROLE] += 1
    if role == "user" and (node.kind in CONTEXT or node.metadata.get("is_visually_hidden_from_conversation") is True):
        role = "system"
        remarks[pieces.HIDDEN] += 1
    if role == "tool" and (name := string(node.author.get("name"))):
        said = f"[{name}]\n{said}"
    parent, at = tree.parent(node.key), milliseconds(node.message.get("create_time"))
    if role != "assistant":
        return ImportMessage(node.key, role, said, parent, created_at=at, parts=remarks.parts())
    return ImportMessage(
        node.key,
        role,
        said,
        parent,
        _thoughts(node.content) if node.kind in THINKING else tree.thoughts(node.key),
        STATUSES.get(string(node.message.get("status")), "complete"),
        model=string(node.metadata.get("model_slug")) or default_model,
        finish_reason=string(mapping(node.metadata.get("finish_details")).get("type")) or None,
        created_at=at,
        parts=remarks.parts(),
    )


def _said(node: _Node, remarks: Remarks) -> str:
    said = _content(node.content, remarks)
    recipient = node.message.get("recipient")
    if recipient not in (None, "", "all") and said:
        said = f"[to {string(recipient)}]\n{said}"
    context = _context(node)
    attached = listed(node.metadata.get("attachments"))
    if not context and not attached:
        return said
    shown = {string(mapping(part).get("asset_pointer")) for part in listed(node.content.get("parts"))}
    notes = [_attached(each, shown, remarks) for each in map(mapping, attached)]
    remarks[pieces.MEDIA] += any(notes)
    return joined(said, context, *notes)


def _attached(told: Mapping[str, Any], shown: set[str], remarks: Remarks) -> str:
    """Take the file over, or return a note in its place; an image that the message shows is there already."""
    id, name, media_type = string(told.get("id")), string(told.get("name")), string(told.get("mime_type"))
    if id and any(pointer.endswith(f"/{id}") for pointer in shown):
        return ""
    kind: PartKind = "image" if media_type.startswith("image/") else "file"
    if remarks.found(remarks.media.find(id, kind, name, media_type)):
        return ""
    return pieces.note("file", name, media_type)


def _context(node: _Node) -> str:
    """Custom instructions of older exports, which stand in the metadata."""
    told = node.metadata.get("user_context_message_data")
    if not isinstance(told, dict) or node.kind in CONTEXT:
        return ""
    return joined(string(told.get("about_user_message")), string(told.get("about_model_message")))


def _content(content: Mapping[str, Any], remarks: Remarks) -> str:
    match string(content.get("content_type")):
        case "text" | "multimodal_text" | "":
            parts = listed(content.get("parts"))
            if len(parts) == 1 and isinstance(parts[0], str) and "text" not in content:
                return parts[0]
            return joined(*(_part(part, remarks) for part in parts), string(content.get("text")))
        case "code":
            code = string(content.get("text")) or "\n".join(map(string, listed(content.get("parts"))))
            return pieces.fenced(code, string(content.get("language")))
        case "execution_output":
            return pieces.fenced(string(content.get("text")))
        case "thoughts" | "reasoning_recap":
            return ""
        case "tether_quote":
            where = joined(string(content.get("title")) or string(content.get("domain")), string(content.get("url")))
            return joined(where, string(content.get("text")))
        case "tether_browsing_display":
            return joined(string(content.get("summary")), string(content.get("result")))
        case "user_editable_context":
            return joined(string(content.get("user_profile")), string(content.get("user_instructions")))
        case "model_editable_context":
            return string(content.get("model_set_context"))
        case "system_error":
            return joined(f"[error {string(content.get('name'))}]", string(content.get("text")))
        case kind:
            remarks[pieces.UNKNOWN_CONTENT] += 1
            return f"[{kind}]\n{pieces.as_json(content)}"


def _part(part: object, remarks: Remarks) -> str:
    if not isinstance(part, dict):
        return string(part)
    kind = string(part.get("content_type"))
    if kind in POINTERS:
        pointer = string(part.get("asset_pointer"))
        image: PartKind = "image" if POINTERS[kind] == "image" else "file"
        if remarks.found(remarks.media.find(pointer, image)):
            return ""
        remarks[pieces.MEDIA] += 1
        size = f"{string(part.get('width'))}×{string(part.get('height'))}" if _has_size(part) else ""
        prompt = mapping(mapping(part.get("metadata")).get("dalle")).get("prompt")
        return pieces.note(POINTERS[kind], size, part.get("asset_pointer"), prompt)
    for name in ("text", "result"):
        if found := string(part.get(name)):
            return found
    if not part:
        return ""
    remarks[pieces.UNKNOWN_CONTENT] += 1
    return f"[{kind or 'content'}]\n{pieces.as_json(part)}"


def _has_size(part: Mapping[str, Any]) -> bool:
    return bool(pieces.count(part.get("width")) and pieces.count(part.get("height")))


def _thoughts(content: Mapping[str, Any]) -> str:
    found = [string(content.get("content"))]
    for each in listed(content.get("thoughts")):
        thought = mapping(each)
        found.append(joined(string(thought.get("summary")), string(thought.get("content")) or string(each)))
    found += [string(part) for part in listed(content.get("parts"))]
    return joined(*found)
