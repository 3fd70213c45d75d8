"""Purging: what is gone is in no page any more, used or free."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from sqlite3 import Connection

import pytest

from local_store import NotFound, Store, StorePaths, purge
from local_store.board import NewTask
from local_store.errors import StoreBusy
from local_store.ids import now_ms
from local_store.imports import Conversation, ImportMessage
from local_store.live import LiveStep
from local_store.pages import Pages
from local_store.runs import NewEvent

from .conftest import OpenStore
from .damage_support import keys_of

GONE, KEPT = "zebrafish", "aardvark"


async def told(store: Store, marker: str, turns: int = 20) -> str:
    """A conversation that leaves traces of `marker` in every table it can."""
    session = await store.sessions.create(f"About the {marker}")
    parent = None
    for step in range(turns):
        turn = await store.turns.begin(session.id, parent, f"{marker} asked {step}", request_id="r")
        await store.turns.journal(turn.answer.id, text=f"{marker} chunk {step} " * 30)
        text = f"{marker} said {step} " * (1200 if step == 5 else 3)
        await store.turns.finish(turn.answer.id, text=text, reasoning=f"{marker} thought", status="complete")
        parent = turn.answer.id
    await store.drafts.save(session.id, f"{marker} draft")
    await store.sessions.rename(session.id, f"More about the {marker}")
    return session.id


async def worked(store: Store, marker: str, session_id: str) -> None:
    """A run, a fork of it, what waits to be allowed, and a task, all of that session."""
    message_id = (await store.messages.path(session_id))[-1].id
    run = await store.runs.create(f"{marker} plan", f"{marker} run", session_id=session_id)
    fork = await store.runs.create(f"{marker} plan", f"{marker} fork", parent=run.id)
    for each in (run, fork):
        event = NewEvent(each.id, "model.called", "s", {"text": f"{marker} answered"}, summary={"at": f"{marker}"})
        await store.runs.append_all([event])
        await store.live.say([LiveStep(each.id, "s", 0, f"asks about {marker}", f"{marker} says")])
        await store.approvals.ask(f"run {each.id}", "run", each.id, {"command": f"cat {marker}"})
    await store.approvals.ask(f"chat {session_id}", "chat", session_id, {"command": f"rm {marker}"})
    task = await store.board.add(NewTask(f"feed the {marker}", source=f"message:{message_id}"))
    await store.board.link(task.id, "run", run.id)


def traces(paths: StorePaths, marker: str) -> list[int]:
    """The pages, free ones included, in which the marker stands; the search index leaves out how a word begins."""
    with Pages(paths.database, keys_of(paths)) as pages:
        assert not pages._frames, "the log is not empty"
        found = []
        for number in range(1, pages.count + 1):
            content = pages.page(number)
            assert content is not None
            if marker.encode() in content or marker[2:].encode() in content:
                found.append(number)
        return found


async def test_nothing_of_it_is_left_in_any_page(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    gone, kept = await told(store, GONE), await told(store, KEPT)
    for session_id, marker in ((gone, GONE), (kept, KEPT)):
        await worked(store, marker, session_id)
    before = await store.messages.path(kept)
    progress: list[tuple[int, int]] = []
    done = await store.purge.sessions([gone], progress=lambda now, total: progress.append((now, total)))
    assert (done.sessions, done.messages, done.left, done.held) == (1, 40, (), ())
    assert progress and all(now <= total for now, total in progress)
    with pytest.raises(NotFound):
        await store.messages.all(gone)
    assert await store.messages.path(kept) == before
    assert [each.session_id for each in await store.search.messages(KEPT, limit=1)] == [kept]
    assert await store.search.messages(GONE) == []
    assert len(await store.runs.list()) == 2 and len(await store.approvals.waiting()) == 3
    assert [each.title for each in await store.board.list()] == [f"feed the {KEPT}"]
    (entry,) = [each for each in await store.audit.entries() if each.kind == "session.purged"]
    assert entry.subject == gone and GONE not in str(entry.detail)
    assert not [each.name for each in await store.check(full=True) if not each.ok and each.name != "recovery key"][1:]
    await store.close()
    assert traces(paths, GONE) == [] and traces(paths, KEPT)
    assert not list(paths.root.glob("sophia.db.next*"))
    assert (await opening()).rolled_back is None


async def test_what_deleting_leaves_goes_with_a_purge_of_what_was_deleted(
    opening: OpenStore, paths: StorePaths
) -> None:
    store = await opening()
    gone, _ = await told(store, GONE), await told(store, KEPT)
    await store.sessions.delete(gone)
    await store.close()
    assert traces(paths, GONE), "deleting alone removes everything: then purging is needed no more"
    store = await opening()
    await store.purge.sessions([])
    await store.close()
    assert traces(paths, GONE) == [] and traces(paths, KEPT)


async def test_what_cannot_be_done_while_another_is_open_is_said(opening: OpenStore, paths: StorePaths) -> None:
    store, other = await opening(), await opening()
    gone = await told(store, GONE, 2)
    done = await store.purge.sessions([gone])
    assert done.messages == 4 and "open in another place" in done.left[0]
    with pytest.raises(NotFound):
        await other.sessions.get(gone)
    await other.close()
    assert (await store.purge.sessions([])).left == ()
    await store.close()
    assert traces(paths, GONE) == []


async def test_copies_that_may_have_it_are_named_and_ours_removed(
    opening: OpenStore, paths: StorePaths, folder: Path
) -> None:
    store = await opening()
    await store.backups.make(folder)
    await asyncio.to_thread(_later)
    gone = await told(store, GONE, 1)
    ours = await store.backups.make(folder)
    named = await store.backups.make(folder / "mine.sophia-backup")
    done = await store.purge.sessions([gone], backups=[folder])
    assert {each.path: each.ours for each in done.held} == {ours.path: True, named.path: False}
    again = await told(store, GONE, 1)
    later = await store.backups.make(folder)
    done = await store.purge.sessions([again], backups=[folder], remove_backups=True)
    assert done.removed == (later.path,) and not later.path.exists()
    assert ours.path.exists() and named.path.exists()


def _later() -> None:
    """Until the clock of the ids has gone on, so that what is made now is not as old as what was before."""
    begun = now_ms()
    while now_ms() <= begun:
        pass


async def test_attachments_and_memories_go_along(opening: OpenStore, paths: StorePaths) -> None:
    from local_store.types import Part

    store = await opening()
    gone, kept = await told(store, GONE, 1), await told(store, KEPT, 1)
    small = await store.blobs.put(GONE.encode() * 50, "text/plain")
    large = await store.blobs.put(GONE.encode() * 200_000, "text/plain")
    shared = await store.blobs.put(b"shared", "text/plain")
    for session_id, blobs in ((gone, (small, large, shared)), (kept, (shared,))):
        question = (await store.messages.path(session_id))[0]
        await store.parts.add(question.id, [Part("file", f"{KEPT}.txt", blob=blob) for blob in blobs])
    assert len(list(paths.blobs.iterdir())) == 1
    done = await store.purge.sessions([gone])
    assert done.attachments == 2 and list(paths.blobs.iterdir()) == []
    assert await store.blobs.get(shared.id) == b"shared"
    await store.close()
    assert traces(paths, GONE) == []


async def test_giving_up_leaves_a_sound_store(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    gone, kept = await told(store, GONE), await told(store, KEPT)

    def give_up(now: int, total: int) -> None:
        purging.cancel()

    purging = asyncio.ensure_future(store.purge.sessions([gone], progress=give_up))
    with pytest.raises(asyncio.CancelledError):
        await purging
    assert len(await store.messages.path(kept)) == 40
    assert (await store.purge.sessions([gone])).left == ()
    await store.close()
    assert traces(paths, GONE) == []


def unique(number: int) -> str:
    """A word that is nowhere else, and not like its neighbours in the index."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:20]


async def many(store: Store, sessions: int, messages: int) -> list[str]:
    """Sessions whose every message has a word of its own."""
    before = set(await store.bulk.session_ids())
    await store.bulk.add(
        Conversation(
            "test",
            str(number),
            "Many",
            [
                ImportMessage(str(step), "user", f"{unique(number * messages + step)} {GONE}", parent=str(step - 1))
                for step in range(messages)
            ],
        )
        for number in range(sessions)
    )
    return [each for each in await store.bulk.session_ids() if each not in before]


async def in_index(store: Store, word: str) -> bool:
    """Whether the search index still has the word, be it for what was deleted; it leaves out how a word begins."""

    def operation(connection: Connection) -> bool:
        blocks = connection.execute("SELECT block FROM message_fts_data")
        return any(word[5:].encode() in block for (block,) in blocks)

    return await store._database.read(operation)


async def test_many_sessions_go_together_and_leave_no_word(
    opening: OpenStore, paths: StorePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await opening()
    kept = await told(store, KEPT)
    ids = await many(store, sessions=60, messages=4)
    assert await in_index(store, unique(0)) and await in_index(store, GONE)
    slices: list[tuple[int, int]] = []
    delete_some = purge._slice

    def and_count(connection: Connection, session_ids: Sequence[str]) -> tuple[int, int]:
        slices.append(delete_some(connection, session_ids))
        return slices[-1]

    monkeypatch.setattr(purge, "_slice", and_count)
    monkeypatch.setattr(purge, "MESSAGES_AT_ONCE", 100)
    done = await store.purge.sessions(ids)
    assert (done.sessions, done.messages, done.left) == (60, 240, ())
    assert sum(count for count, _ in slices) == 240 and sum(ended for _, ended in slices) == 60
    assert len(slices) < 6 and max(count for count, _ in slices) <= 100
    assert await in_index(store, KEPT) and not await in_index(store, GONE)
    assert [number for number in range(240) if await in_index(store, unique(number))] == []
    assert len(await store.messages.path(kept)) == 40
    await store.close()
    assert [number for number in range(0, 240, 24) if traces(paths, unique(number))] == []


async def test_a_session_too_long_for_one_transaction_goes_in_slices(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await many(store, sessions=2, messages=7)
    monkeypatch.setattr(purge, "MESSAGES_AT_ONCE", 3)
    told_progress: list[tuple[int, int]] = []
    done = await store.purge.sessions(ids, progress=lambda now, total: told_progress.append((now, total)))
    assert (done.sessions, done.messages, done.left) == (2, 14, ())
    assert [now for now, _ in told_progress][:6] == [3, 6, 7, 10, 13, 14]


async def test_words_that_a_killed_purge_left_go_with_the_same_purge(
    opening: OpenStore, paths: StorePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await opening()
    await told(store, KEPT, 2)
    ids = await many(store, sessions=3, messages=4)

    async def killed(purger: object) -> None:
        raise StoreBusy("killed here")

    with monkeypatch.context() as patched:
        patched.setattr(purge.Purger, "_merge_index", killed)
        with pytest.raises(StoreBusy):
            await store.purge.sessions(ids)
    assert await in_index(store, unique(7)), "deleting alone forgets the words: then merging is needed no more"
    done = await store.purge.sessions(ids)
    assert (done.messages, done.left) == (0, ())
    await store.close()
    assert traces(paths, unique(7)) == [] == traces(paths, GONE)


async def test_what_was_long_unused_is_chosen_without_pinned_ones(store: Store) -> None:
    old = await told(store, KEPT, 1)
    assert await store.purge.unused_since(now_ms() + 10_000) == [old]
    assert await store.purge.unused_since(0) == []
