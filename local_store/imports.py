"""Conversations on their way into the store: as a file tells them, made whole, with ids that never change.

What a file says is not believed: parents may be missing, run in circles or come after their children, ids may be used
twice and times may lie in the future. Nothing of that costs a message; what was mended is said in remarks.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from local_store.ids import ALPHABET
from local_store.import_parts import ImportPart
from local_store.organising import LONGEST_NAME
from local_store.text import LONGEST_TITLE
from local_store.types import Role, Status, Usage

LONGEST_TEXT = 64 * 1024 * 1024
"""Characters of one message; the rest is cut off, and the message says so."""
LATEST_MS = 2**48 - 1
LATEST_NS = 1e21
ID_CHARACTERS = 26
REPEATED = "had an id that another message has too: kept under an id of their own"
CIRCLES = "answered each other in a circle: opened"
LONG_TITLE = f"had a title or folder that is too long: cut off after {LONGEST_TITLE:,} and {LONGEST_NAME} characters"
CUT = f"were cut off after {LONGEST_TEXT:,} characters"
_PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)
_LETTERS = frozenset(ALPHABET)


@dataclass(frozen=True, slots=True)
class ImportMessage:
    """One message as a file tells it."""

    key: str
    """Its id in the file; unique in its conversation, or made so."""
    role: Role
    text: str
    parent: str | None = None
    """The key of the message before it."""
    reasoning: str = ""
    status: Status = "complete"
    provider: str | None = None
    model: str | None = None
    request_id: str = ""
    finish_reason: str | None = None
    error: str | None = None
    created_at: int = 0
    """Milliseconds since the epoch; 0: as the conversation."""
    finished_at: int | None = None
    continues: str | None = None
    """The key of the answer this one goes on from."""
    cached_at: int | None = None
    usage: Usage | None = None
    usage_at: int | None = None
    parts: tuple[ImportPart, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation as a file tells it. With source "sophia" its ids are kept, else they are derived from it."""

    source: str
    source_id: str
    title: str
    messages: Sequence[ImportMessage]
    created_at: int = 0
    updated_at: int = 0
    active: str | None = None
    """The key of the last message of the branch being read; None: the last message there is."""
    pinned: bool = False
    archived: bool = False
    folder: str = ""
    tags: tuple[str, ...] = ()
    remarks: tuple[tuple[str, int], ...] = ()
    """What could not be taken over as it was, and how often."""
    whole: bool = True
    """False when more of it may come, so that a missing last message is no reason to guess."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A conversation, or something that should have been one, that was not imported."""

    source_id: str
    title: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did."""

    added: int = 0
    """Conversations that are new in the store."""
    extended: int = 0
    """Conversations that were there and got new messages."""
    unchanged: int = 0
    """Conversations that were there with everything."""
    messages: int = 0
    """Messages that were stored."""
    known: int = 0
    """Messages that were there already."""
    skipped: int = 0
    first_skipped: tuple[Skipped, ...] = ()
    """At most a hundred of them; `skipped` counts all."""
    remarks: tuple[tuple[str, int], ...] = ()
    """What was mended or noted, and how often."""
    attachments: int = 0
    """Images and files that were stored; the same one counts wherever it is attached."""


def derived_id(source: str, source_id: str, key: str, at_ms: int) -> str:
    """Return the id that this message or conversation gets in every import; in the form of all ids, its time first."""
    digest = hashlib.sha256(f"{len(source)},{len(source_id)},{source}{source_id}{key}".encode("utf-8", "surrogatepass"))
    number = (max(0, at_ms) & LATEST_MS) << 80 | int.from_bytes(digest.digest()[:10], "big")
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])


def is_id(text: str) -> bool:
    """Say whether `text` has the form of our ids."""
    return len(text) == ID_CHARACTERS and _LETTERS.issuperset(text) and text[0] <= "7"


def whole(conversation: Conversation) -> Conversation:
    """Return the conversation with unique keys, no circles, and every parent that it has before its children.

    A parent that it does not have is left standing: the store may have it from before.
    """
    unique, repeated = _unique(conversation.messages)
    ordered, circles = _parents_first(unique)
    title, folder = conversation.title[:LONGEST_TITLE], conversation.folder[:LONGEST_NAME]
    long = (title, folder) != (conversation.title, conversation.folder)
    cut = sum(len(each.text) > LONGEST_TEXT or len(each.reasoning) > LONGEST_TEXT for each in ordered)
    if cut:
        ordered = [_shortened(each) for each in ordered]
    found = ((REPEATED, repeated), (CIRCLES, circles), (CUT, cut), (LONG_TITLE, int(long)))
    remarks = tuple((text, count) for text, count in found if count)
    said = (*conversation.remarks, *remarks)
    return replace(conversation, title=title, folder=folder, messages=ordered, remarks=said)


def _unique(messages: Sequence[ImportMessage]) -> tuple[list[ImportMessage], int]:
    seen: set[str] = set()
    told: Counter[str] = Counter()
    kept: list[ImportMessage] = []
    for message in messages:
        key = message.key
        while key in seen:
            # Counted on from where the last one of that key was: a file may hold a million.
            told[message.key] += 1
            key = f"{message.key} ({told[message.key] + 1})"
        seen.add(key)
        kept.append(message if key == message.key else replace(message, key=key))
    return kept, sum(old is not new for old, new in zip(messages, kept, strict=True))


def _parents_first(messages: list[ImportMessage]) -> tuple[list[ImportMessage], int]:
    """Keep the order of the file, save that a parent comes before its first child."""
    by_key = {each.key: each for each in messages}
    placed: dict[str | None, ImportMessage] = {}
    circles = 0
    for message in messages:
        waiting: dict[str, ImportMessage] = {}
        climbing: ImportMessage | None = message
        while climbing is not None and climbing.key not in placed and climbing.key not in waiting:
            waiting[climbing.key] = climbing
            climbing = by_key.get(climbing.parent) if climbing.parent is not None else None
        if climbing is not None and climbing.key in waiting:
            circles += 1
            waiting[climbing.key] = replace(climbing, parent=None)
        placed.update(_from_top(waiting, climbing))
    return list(placed.values()), circles


def _from_top(waiting: dict[str, ImportMessage], top: ImportMessage | None) -> dict[str | None, ImportMessage]:
    """The chain that was climbed, root first; in a circle, the message that was met twice is the root."""
    chain = list(waiting.values())[::-1]
    if top is not None and top.key in waiting:
        at = next(n for n, each in enumerate(chain) if each.key == top.key)
        chain = [chain[at], *chain[:at], *chain[at + 1 :]]
    return {each.key: each for each in chain}


def _shortened(message: ImportMessage) -> ImportMessage:
    return replace(message, text=_cut(message.text), reasoning=_cut(message.reasoning))


def _cut(text: str) -> str:
    left_out = len(text) - LONGEST_TEXT
    return text if left_out <= 0 else f"{text[:LONGEST_TEXT]}\n[{left_out:,} more characters were not imported]"


def milliseconds(value: object) -> int:
    """Return a time as files tell it, in milliseconds since the epoch; 0 when it is none.

    Takes ISO 8601 text, and numbers in seconds, milliseconds, microseconds or nanoseconds: no two of these lie in the
    same century.
    """
    if isinstance(value, str):
        return _from_iso(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < LATEST_NS:
        return 0
    for least, factor in ((1e17, 1e-6), (1e14, 1e-3), (1e11, 1.0)):
        if value >= least:
            return min(int(value * factor), LATEST_MS)
    return int(value * 1000)


def _from_iso(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text.strip()[:40])
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0, int(moment.timestamp() * 1000))
    except (ValueError, OverflowError):
        return 0
