"""Conversations of llm: a row for each prompt and answer up to version 0.31, a tree of hashed messages since."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from local_store.foreign_tables import Tables, TooLarge, from_json, number, text
from local_store.import_parts import ImportPart
from local_store.imports import Conversation, ImportMessage, Skipped, milliseconds
from local_store.types import PartKind, Role, Usage

ROLES: Final[frozenset[str]] = frozenset({"system", "user", "assistant", "tool"})
ATTACHMENTS = "had attachments, which are not imported: the text says so"
TOO_MUCH = "too large together with the others of its conversation"
UNKNOWN_PART = "had parts of a kind that is not known: kept as JSON"
RESPONSE = (
    "id",
    "model",
    "resolved_model",
    "prompt",
    "system",
    "response",
    "reasoning",
    "conversation_id",
    "duration_ms",
    "datetime_utc",
    "input_tokens",
    "output_tokens",
    "token_details",
)
TURN = (
    "thread_id",
    "parent_message_hash",
    "tip_message_hash",
    "model",
    "resolved_model",
    "input_tokens",
    "output_tokens",
    "token_details",
    "duration_ms",
    "datetime_utc",
)


def conversations(tables: Tables) -> Iterator[Conversation | Skipped]:
    """Everything that was logged; what a conversation has in both forms comes as two branches of it."""
    older, newer = _Older(tables), _Newer(tables)
    for id in dict.fromkeys([*older.ids, *newer.ids]):
        remarks: Counter[str] = Counter()
        tables.begin()
        title = newer.title(id) or older.title(id)
        try:
            messages = [*older.messages(id, remarks), *newer.messages(id, remarks)]
        except TooLarge as error:
            yield Skipped(id, title, str(error))
            continue
        if not messages:
            yield Skipped(id, title, "it has no messages")
            continue
        times = [each.created_at for each in messages if each.created_at]
        began, ended = min(times, default=0), max(times, default=0)
        active = newer.tip(id) or messages[-1].key
        yield Conversation("llm", id, title, messages, began, ended, active, remarks=tuple(remarks.items()))


def usage_of(row: Mapping[str, Any]) -> Usage | None:
    """What a call used; None when it was not reported."""
    asked, answered = number(row["input_tokens"]), number(row["output_tokens"])
    if asked is None and answered is None:
        return None
    details = from_json(row["token_details"])
    found = _numbers(details) if isinstance(details, dict) else {}
    return Usage(asked or 0, answered or 0, found.get("reasoning_tokens"), found.get("cached_tokens"))


def _numbers(details: dict[str, Any]) -> dict[str, int]:
    flat = {key: value for key, value in details.items() if number(value) is not None}
    for inner in details.values():
        if isinstance(inner, dict):
            flat.update({key: value for key, value in inner.items() if number(value) is not None})
    return flat


class _Attachments:
    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def part(self, id: object) -> ImportPart | None:
        """The attachment where the database holds its content; a path or an address in it is not followed."""
        size = self._tables.size("attachments", "id", id, "content")
        row = None if size is None else self._tables.one("attachments", "id", id, "type", "path")
        if size is None or row is None:
            return None
        kind: PartKind = "image" if text(row["type"]).startswith("image/") else "file"
        name, media_type = text(row["path"]) or text(id), text(row["type"])
        if not self._tables.fits(size):
            return ImportPart(kind, name, media_type=media_type, lost=TOO_MUCH)
        held = self._tables.one("attachments", "id", id, "content")
        return None if held is None else ImportPart(kind, name, content=held["content"], media_type=media_type)

    def note(self, id: object) -> str:
        """One line about an attachment."""
        row = self._tables.one("attachments", "id", id, "type", "path", "url")
        named = "" if row is None else ", ".join(text(row[name]) for name in ("type", "path", "url") if row[name])
        return f"[attachment: {named or 'of unknown kind'}; not imported]"


class _Older:
    """`conversations` and `responses`."""

    def __init__(self, tables: Tables) -> None:
        self._tables, self._attachments = tables, _Attachments(tables)
        self._groups: dict[str, list[int]] = defaultdict(list)
        for rowid, id, conversation in tables.keys("responses", "id", "conversation_id"):
            self._groups[text(conversation) or text(id)].append(rowid)
        self._beside = {
            name: tables.grouped(name, "response_id")
            for name in ("prompt_fragments", "system_fragments", "prompt_attachments", "tool_calls", "tool_results")
        }
        self.ids = list(self._groups)

    def title(self, id: str) -> str:
        row = self._tables.one("conversations", "id", id, "name")
        return text(row["name"]) if row else ""

    def messages(self, id: str, remarks: Counter[str]) -> Iterator[ImportMessage]:
        parent: str | None = None
        system = ""
        for rowid in self._groups.get(id, ()):
            for row in self._tables.rows("responses", [rowid], *RESPONSE):
                instructions = self._with_fragments("system_fragments", row["id"], row["system"])
                for message in self._turn(row, parent, "" if instructions == system else instructions, remarks):
                    yield message
                    parent = message.key
                system = instructions

    def _turn(
        self, row: Mapping[str, Any], parent: str | None, system: str, remarks: Counter[str]
    ) -> Iterator[ImportMessage]:
        id, at = text(row["id"]), milliseconds(row["datetime_utc"])
        if system:
            yield ImportMessage(f"{id}:system", "system", system, parent, created_at=at)
            parent = f"{id}:system"
        for place, (name, output) in enumerate(self._tools("tool_results", id, "output")):
            key = f"{id}:tool:{place}"
            yield ImportMessage(key, "tool", f"[{name}]\n{output}", parent, created_at=at)
            parent = key
        prompt, parts = self._prompt(id, row["prompt"], remarks)
        if prompt or parts or parent is None:
            yield ImportMessage(f"{id}:prompt", "user", prompt, parent, created_at=at, parts=parts)
            parent = f"{id}:prompt"
        calls = [f"[called {name}({arguments})]" for name, arguments in self._tools("tool_calls", id, "arguments")]
        said = "\n\n".join([*filter(None, [text(row["response"])]), *calls])
        yield _answer(f"{id}:response", said, text(row["reasoning"]), parent, row, at)

    def _prompt(self, id: str, prompt: object, remarks: Counter[str]) -> tuple[str, tuple[ImportPart, ...]]:
        lines = [self._with_fragments("prompt_fragments", id, prompt)]
        parts: list[ImportPart] = []
        rowids = self._beside["prompt_attachments"].get(id, [])
        for row in self._tables.rows("prompt_attachments", rowids, "attachment_id"):
            if (part := self._attachments.part(row["attachment_id"])) is not None:
                parts.append(part)
                continue
            lines.append(self._attachments.note(row["attachment_id"]))
            remarks[ATTACHMENTS] += 1
        return "\n".join(filter(None, lines)), tuple(parts)

    def _with_fragments(self, table: str, id: str, said: object) -> str:
        rowids = self._beside[table].get(id, [])
        found = [
            self._tables.one("fragments", "id", row["fragment_id"], "content")
            for row in self._tables.rows(table, rowids, "fragment_id")
        ]
        return "\n".join(filter(None, [*(text(each["content"]) for each in found if each), text(said)]))

    def _tools(self, table: str, id: str, column: str) -> list[tuple[str, str]]:
        rows = self._tables.rows(table, self._beside[table].get(id, []), "name", column)
        return [(text(row["name"]), text(row[column])) for row in rows]


def _answer(key: str, said: str, reasoning: str, parent: str | None, row: Mapping[str, Any], at: int) -> ImportMessage:
    duration = number(row["duration_ms"])
    return ImportMessage(
        key,
        "assistant",
        said,
        parent,
        reasoning,
        model=text(row["resolved_model"]) or text(row["model"]) or None,
        created_at=at,
        finished_at=at + duration if at and duration is not None else None,
        usage=usage_of(row),
        usage_at=at or None,
    )


class _Newer:
    """`threads`, `turns`, `messages` and `parts`."""

    def __init__(self, tables: Tables) -> None:
        self._tables, self._attachments = tables, _Attachments(tables)
        self._turns = tables.grouped("turns", "thread_id")
        self._parts = tables.grouped("parts", "message_hash") if tables.has("parts", "message_hash") else {}
        self._threads = {text(id): (text(name), text(tip)) for _, id, name, tip in self._all_threads()}
        self.ids = list(dict.fromkeys([*self._threads, *self._turns]))

    def _all_threads(self) -> list[tuple[Any, ...]]:
        return self._tables.keys("threads", "id", "name", "tip_message_hash")

    def title(self, id: str) -> str:
        return self._threads.get(id, ("", ""))[0]

    def tip(self, id: str) -> str | None:
        return self._threads.get(id, ("", ""))[1] or None

    def messages(self, id: str, remarks: Counter[str]) -> Iterator[ImportMessage]:
        seen: set[str] = set()
        turns = self._tables.rows("turns", self._turns.get(id, []), *TURN)
        for turn in turns:
            yield from self._chain(text(turn["tip_message_hash"]), turn, seen, remarks)
        if (tip := self.tip(id)) is not None:
            yield from self._chain(tip, None, seen, remarks)

    def _chain(
        self, tip: str, turn: Mapping[str, Any] | None, seen: set[str], remarks: Counter[str]
    ) -> Iterator[ImportMessage]:
        """The messages up to `tip` that no turn before had, oldest first."""
        chain: list[tuple[str, str | None, str]] = []
        climbing: str | None = tip
        while climbing and climbing not in seen:
            seen.add(climbing)
            row = self._tables.one("messages", "hash", climbing, "parent_hash", "role")
            if row is None:
                break
            above = text(row["parent_hash"]) or None
            chain.append((climbing, above, text(row["role"])))
            climbing = above
        at = milliseconds(turn["datetime_utc"]) if turn else 0
        for key, above, role in reversed(chain):
            said, thought, parts = self._content(key, remarks)
            if role == "assistant" and turn is not None and key == tip:
                yield replace(_answer(key, said, thought, above, turn, at), parts=parts)
            else:
                model = text(turn["model"]) or None if turn is not None and role == "assistant" else None
                yield ImportMessage(key, _role(role), said, above, thought, model=model, created_at=at, parts=parts)

    def _content(self, key: str, remarks: Counter[str]) -> tuple[str, str, tuple[ImportPart, ...]]:
        said: list[str] = []
        thought: list[str] = []
        parts: list[ImportPart] = []
        rows = self._tables.rows("parts", self._parts.get(key, []), "position", "type", "tool_name", "text", "payload")
        for row in sorted(rows, key=lambda each: number(each["position"]) or 0):
            kind, payload = text(row["type"]), from_json(row["payload"])
            payload = payload if isinstance(payload, dict) else {}
            if kind == "reasoning":
                thought.append(self._literal(row, payload) or "[reasoning that was withheld]")
            else:
                said.append(self._part(kind, row, payload, remarks, parts))
        return "\n\n".join(filter(None, said)), "\n\n".join(thought), tuple(parts)

    def _part(
        self,
        kind: str,
        row: Mapping[str, Any],
        payload: dict[str, Any],
        remarks: Counter[str],
        parts: list[ImportPart],
    ) -> str:
        match kind:
            case "text":
                return self._literal(row, payload)
            case "tool_call":
                return f"[called {text(row['tool_name'])}({_compact(payload.get('arguments'))})]"
            case "tool_result":
                notes = self._notes(payload.get("attachments"), remarks, parts)
                failed = payload.get("exception")
                ended = [f"[failed: {text(failed)}]"] if failed else []
                return "\n".join([f"[{text(row['tool_name'])}]", text(payload.get("output")), *ended, *notes])
            case "attachment":
                return "\n".join(self._notes([payload.get("attachment")], remarks, parts))
            case _:
                remarks[UNKNOWN_PART] += 1
                return f"[{kind}] {text(row['text'])} {_compact(payload)}"

    def _notes(self, attachments: object, remarks: Counter[str], parts: list[ImportPart]) -> list[str]:
        found = attachments if isinstance(attachments, list) else []
        notes: list[str] = []
        for each in found:
            id = each.get("id") if isinstance(each, dict) else None
            if (part := self._attachments.part(id)) is not None:
                parts.append(part)
            else:
                notes.append(self._attachments.note(id))
        remarks[ATTACHMENTS] += bool(notes)
        return notes

    def _literal(self, row: Mapping[str, Any], payload: dict[str, Any]) -> str:
        pieces = payload.get("text_ref")
        if not isinstance(pieces, list):
            return text(row["text"]) if row["text"] is not None else text(payload.get("text"))
        return "".join(self._piece(piece) for piece in pieces if isinstance(piece, dict))

    def _piece(self, piece: dict[str, Any]) -> str:
        if "literal" in piece:
            return text(piece["literal"])
        id = piece.get("fragment")
        found = self._tables.one("fragments", "id", id, "content") if isinstance(id, int | str) else None
        return text(found["content"]) if found else "[a fragment that is missing]"


def _role(role: str) -> Role:
    return role if role in ROLES else "user"  # type: ignore[return-value]


def _compact(value: object) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
