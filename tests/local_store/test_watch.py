"""What one open store is told of what another did."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from local_store import Changes, NotFound, Store, StorePaths
from local_store.watch import KEPT, OwnChanges

from .conftest import OpenStore
from .test_processes import line, start


async def two(opening: OpenStore) -> tuple[Store, Store]:
    """Two open stores; the first has looked once."""
    ours, theirs = await opening(), await opening()
    assert await ours.watch.look() == Changes()
    return ours, theirs


async def test_what_another_store_did_is_told_once_and_what_we_did_is_not(opening: OpenStore) -> None:
    ours, theirs = await two(opening)
    mine = await ours.sessions.create("mine")
    await ours.turns.begin(mine.id, None, "q", request_id="r")
    assert await ours.watch.look() == Changes()
    begun = await theirs.sessions.create("theirs")
    await ours.sessions.rename(mine.id, "still mine")
    assert await ours.watch.look() == Changes(sessions=frozenset({begun.id}))
    assert not await ours.watch.look()


@pytest.mark.parametrize("what", ["rename", "pin", "archive", "move", "tag", "untag", "branch"])
async def test_every_change_to_a_session_is_noticed(opening: OpenStore, what: str) -> None:
    ours, theirs = await two(opening)
    session = await theirs.sessions.create("s")
    turn = await theirs.turns.begin(session.id, None, "q", request_id="r")
    await theirs.organising.tag(session.id, ["old"])
    await ours.watch.look()
    changes: dict[str, Callable[[], Awaitable[object]]] = {
        "rename": lambda: theirs.sessions.rename(session.id, "t"),
        "pin": lambda: theirs.organising.pin(session.id),
        "archive": lambda: theirs.organising.archive(session.id),
        "move": lambda: theirs.organising.move(session.id, "f"),
        "tag": lambda: theirs.organising.tag(session.id, ["new"]),
        "untag": lambda: theirs.organising.untag(session.id, ["old"]),
        "branch": lambda: theirs.messages.activate(turn.question.id),
    }
    await changes[what]()
    assert (await ours.watch.look()).sessions == {session.id}


async def test_a_deleted_session_is_named_as_that(opening: OpenStore) -> None:
    ours, theirs = await two(opening)
    session = await theirs.sessions.create("s")
    await theirs.organising.tag(session.id, ["x"])
    await theirs.sessions.delete(session.id)
    assert await ours.watch.look() == Changes(deleted=frozenset({session.id}))
    with pytest.raises(NotFound):
        await ours.watch.beyond(session.id, ())


async def test_the_outbox_and_the_ends_of_answers_are_noticed(opening: OpenStore) -> None:
    ours, theirs = await two(opening)
    session = await theirs.sessions.create("s")
    turn = await theirs.turns.begin(session.id, None, "q", request_id="r")
    await ours.watch.look()
    await theirs.outbox.queue(turn.answer.id, provider=None, model=None, error="offline")
    changes = await ours.watch.look()
    assert changes.letters and changes.messages == {turn.answer.id}
    letter = await theirs.outbox.claim(2**50)
    assert letter is not None and (await ours.watch.look()).letters
    await theirs.turns.reopen(turn.answer.id, "r2")
    assert (await ours.watch.look()).messages == {turn.answer.id}


async def test_an_answer_grows_piece_by_piece(opening: OpenStore) -> None:
    ours, theirs = await two(opening)
    session = await theirs.sessions.create("s")
    turn = await theirs.turns.begin(session.id, None, "q", request_id="r")
    await theirs.turns.journal(turn.answer.id, text="one ", reasoning="hm")
    (growth,) = (await ours.watch.look(session.id)).growth
    assert (growth.message_id, growth.text, growth.reasoning, growth.begun) == (turn.answer.id, "one ", "hm", True)
    assert (await ours.watch.look(session.id)).growth == ()
    await theirs.turns.journal(turn.answer.id, text="two ")
    await theirs.turns.journal(turn.answer.id, text="three")
    (growth,) = (await ours.watch.look(session.id)).growth
    assert (growth.text, growth.begun) == ("two three", False)
    assert (await ours.watch.look()).growth == () and not ours.watch.abandoned
    (growth,) = (await ours.watch.look(session.id)).growth
    assert (growth.text, growth.begun) == ("one two three", True), "whoever comes back is told all of it"
    await theirs.turns.finish(turn.answer.id, text="whole", status="complete")
    changes = await ours.watch.look(session.id)
    assert changes.growth == () and changes.messages == {turn.answer.id}


async def test_more_changes_than_are_kept_are_said_to_be_many(opening: OpenStore) -> None:
    ours, theirs = await two(opening)
    session = await theirs.sessions.create("s")
    await asyncio.gather(*(ours.sessions.rename(session.id, str(n)) for n in range(KEPT + 20)))
    assert (await ours.watch.look()).sessions == frozenset(), "our own are ours, however many"
    await asyncio.gather(*(theirs.sessions.rename(session.id, str(n)) for n in range(KEPT + 20)))
    assert (await ours.watch.look()).many
    assert not await ours.watch.look()


def test_own_numbers_are_counted_without_their_first() -> None:
    own = OwnChanges()
    for span in ((0, 0), (3, 5), (7, 8)):
        own.add(span)
    assert own.between(0, 100) == {4, 5, 8} and own.between(4, 7) == {5} and own.between(8, 100) == set()


async def test_a_write_that_failed_hides_nothing(opening: OpenStore) -> None:
    ours, theirs = await two(opening)
    with pytest.raises(NotFound):
        await ours.sessions.rename("missing", "x")
    session = await theirs.sessions.create("s")
    assert (await ours.watch.look()).sessions == {session.id}


async def test_what_lies_beyond_the_known_part_of_a_branch(opening: OpenStore) -> None:
    ours, theirs = await two(opening)
    session = await theirs.sessions.create("s")
    first = await theirs.turns.begin(session.id, None, "q1", request_id="r")
    known = {first.question.id, first.answer.id}
    assert (await ours.watch.beyond(session.id, known)).messages == ()
    second = await theirs.turns.begin(session.id, first.answer.id, "q2", request_id="r")
    branch = await ours.watch.beyond(session.id, known)
    assert branch.joins == first.answer.id
    assert [each.id for each in branch.messages] == [second.question.id, second.answer.id]
    again = await theirs.turns.begin_answer(session.id, first.question.id, request_id="r")
    branch = await ours.watch.beyond(session.id, known)
    assert branch.joins == first.question.id and [each.id for each in branch.messages] == [again.id]


async def test_an_answer_of_a_killed_process_is_found_abandoned(opening: OpenStore, paths: StorePaths) -> None:
    child = await start("hold", paths)
    answer_id = await line(child)
    store = await opening()
    session_id = (await store.messages.get(answer_id)).session_id
    assert (await store.watch.look(session_id)).growth and not store.watch.abandoned
    child.kill()
    await child.wait()
    await store.watch.look(session_id)
    assert store.watch.abandoned and await store.turns.recover() == 1
    await store.watch.look(session_id)
    assert not store.watch.abandoned


async def test_another_process_is_followed(opening: OpenStore, paths: StorePaths) -> None:
    store = await opening()
    await store.watch.look()
    child = await start("write", paths, "60")
    said = (await child.communicate())[0].decode().split()
    changes = await store.watch.look()
    assert said[0] in changes.sessions or changes.many


async def test_two_windows_keep_a_draft_each(opening: OpenStore) -> None:
    ours, theirs = await two(opening)
    await ours.drafts.save("k", "mine")
    await theirs.drafts.save("k", "theirs")
    assert await ours.drafts.load("k") == "mine" and await theirs.drafts.load("k") == "theirs"
    await theirs.drafts.clear("k")
    assert await theirs.drafts.load("k") is None, "what another window holds is not ours"
    await theirs.drafts.save("k", "theirs")
    await theirs.close()
    assert await ours.drafts.load("k") == "mine"
    await ours.drafts.clear("k")
    assert await ours.drafts.load("k") == "theirs", "what a window left behind is taken over"
    third = await opening()
    assert await third.drafts.load("k") is None and await ours.drafts.load("k") == "theirs"
