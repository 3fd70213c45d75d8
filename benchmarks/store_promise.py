"""What a store must hold after what it acknowledged, and whether it does."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from benchmarks.store_work import (
    CHEAP,
    CONVERSATIONS,
    PASSPHRASE,
    PER_CONVERSATION,
    Base,
    Fact,
    conversations,
    opened,
)
from local_store import Store
from local_store.keys import Credentials

NOT_ABOUT_CRASHES = frozenset({"key slots", "recovery key"})
"""Checks that tell a person to protect the store better."""


@dataclass(slots=True)
class Promise:
    """What the facts add up to."""

    titles: dict[str, str] = field(default_factory=dict)
    messages: dict[str, Fact] = field(default_factory=dict)
    drafts: dict[str, int] = field(default_factory=dict)
    blobs: dict[str, str] = field(default_factory=dict)
    backups: list[str] = field(default_factory=list)
    audit: int = 0
    imported: int = 0
    optional: set[str] = field(default_factory=set)
    """Sessions that may be there or not: their removal, or a restore to before them, had begun."""
    gone: set[str] = field(default_factory=set)


def promise(facts: list[Fact]) -> Promise:
    """What a store must hold after those facts."""
    made = Promise()
    later: set[str] = set()
    since = False
    for fact in facts:
        match fact:
            case {"message": message_id}:
                made.messages[message_id] = fact
            case {"session": session_id, "title": title}:
                made.titles[session_id] = title
                if since:
                    later.add(session_id)
            case {"draft": key, "number": number}:
                made.drafts[key] = number
            case {"audit": seq}:
                made.audit = max(made.audit, seq)
            case {"backup": name}:
                made.backups.append(name)
            case {"blob": blob_id, "sha": sha}:
                made.blobs[blob_id] = sha
            case {"imported": count}:
                made.imported = count
            case {"going": session_id}:
                made.optional.add(session_id)
            case {"gone": session_id}:
                made.gone.add(session_id)
            case {"since": _}:
                since = True
            case {"restoring": _}:
                made.optional |= later
            case {"restored": _}:
                made.gone |= later
            case _:
                pass
    return made


async def verify(base: Base, facts: list[Fact]) -> None:
    """Open the store as the next start does. Raises AssertionError, or what opening raises, where it is not whole."""
    expected = promise(facts)
    # A store of which nothing was promised yet may not be there.
    async with await opened(base, create=not facts) as store:
        await store.turns.recover()
        unsound = [each for each in await store.check(full=True) if not each.ok and each.name not in NOT_ABOUT_CRASHES]
        assert not unsound, f"the store is not sound: {unsound}"
        report = await store.audit.verify()
        assert report.ok, f"the audit log is not whole: {report}"
        assert getattr(store, "rolled_back", None) is None, "a crash is taken for a roll-back"
        await _verify_content(store, expected)
        await _verify_blobs(store, expected)
        if expected.imported:
            await _verify_import(store, expected)
        # It must not only be readable.
        await store.sessions.create("written afterwards")
    await _verify_backups(base, expected)


async def _verify_content(store: Store, expected: Promise) -> None:
    found = {session.id: session.title for session in await store.sessions.list(limit=1_000_000)}
    for session_id, title in expected.titles.items():
        if session_id in expected.gone:
            assert session_id not in found, f"the removed session {title!r} is back"
        elif session_id not in expected.optional:
            assert found.get(session_id) == title, f"the session {title!r} is lost"
    messages = {message.id: message for each in found for message in await store.messages.all(each)}
    for message_id, fact in expected.messages.items():
        if fact["session"] in expected.optional | expected.gone:
            continue
        assert message_id in messages, f"a message of {fact['session']} is lost"
        message = messages[message_id]
        if "starts" in fact:
            assert message.text.startswith(fact["starts"]), f"text of {message_id} is lost"
        else:
            assert message.text == fact["text"], f"{message_id} is not what was acknowledged"
        assert message.status == fact.get("status", message.status)
        assert message.status != "streaming"
    for key, number in expected.drafts.items():
        kept = await store.drafts.load(key)
        assert kept and int(kept.split()[0]) >= number, f"the draft {key!r} is older than acknowledged"
    entries = await store.audit.entries(1)
    assert not expected.audit or (entries and entries[0].seq >= expected.audit), "an audit entry is lost"


async def _verify_blobs(store: Store, expected: Promise) -> None:
    for blob_id, sha in expected.blobs.items():
        content = await store.blobs.get(blob_id)
        assert hashlib.sha256(content).hexdigest() == sha, f"the blob {blob_id} is not what was put"


async def _verify_import(store: Store, expected: Promise) -> None:
    """What was reported is there; a second import adds the rest and nothing twice."""
    report = await store.bulk.add(conversations())
    total = CONVERSATIONS * PER_CONVERSATION
    assert report.known + report.messages == total and not report.skipped, report
    assert report.known >= expected.imported, f"{expected.imported - report.known} imported messages are lost"


async def _verify_backups(base: Base, expected: Promise) -> None:
    """Whatever has the name of a backup is whole, and those that were acknowledged are there."""
    from local_store.restore import verify_backup

    there = {path.name: path for path in base.backups.glob("*.sophia-backup")}
    before = base.paths.root / "before-migration"
    assert set(expected.backups) <= set(there), "an acknowledged backup is lost"
    newest = sorted(there)[-2:]
    for path in (*(there[name] for name in newest), *before.glob("*.sophia-backup")):
        await verify_backup(path, base.paths, Credentials(PASSPHRASE, None, False), CHEAP)
