"""What belongs to messages beside their text."""

from __future__ import annotations

import pytest

from local_store import BadValue, Blob, NotFound, Part, Store
from local_store.rows import MESSAGES


async def asked(store: Store) -> tuple[str, str]:
    session = await store.sessions.create("Tools")
    turn = await store.turns.begin(session.id, None, "what is there?", request_id="r")
    return session.id, turn.answer.id


CALL = Part("tool_call", "list_files", "c1", '{"path": "."}', "running")


async def test_every_read_brings_the_parts_along(store: Store) -> None:
    session, answer = await asked(store)
    picture = await store.blobs.put(b"pixels", "image/png")
    image = Part("image", "cat.png", blob=picture)
    assert await store.parts.add(answer, [CALL]) == (CALL,)
    assert await store.parts.add(answer, [image]) == (CALL, image)
    path = await store.messages.path(session)
    assert [each.parts for each in path] == [(), (CALL, image)]
    assert await store.messages.all(session) == path
    assert await store.messages.window(session, limit=1) == path[1:]
    assert await store.messages.siblings(answer) == path[1:]
    assert await store.messages.get(answer) == path[1]
    finished = await store.turns.finish(answer, text="a file", status="complete")
    assert finished.parts == (CALL, image) == await store.parts.of(answer)
    outline = await store.bulk.outline(session)
    assert [each.message.parts for each in await store.bulk.entries(outline.nodes)] == [(), (CALL, image)]


async def test_a_question_and_what_is_attached_come_together(store: Store) -> None:
    session = await store.sessions.create("Pictures")
    picture = Part("image", "cat.png", blob=await store.blobs.put(b"pixels", "image/png"))
    turn = await store.turns.begin(session.id, None, "what is it?", request_id="r", parts=[picture])
    assert turn.question.parts == (picture,) and turn.answer.parts == ()
    missing = Part("image", blob=Blob("0" * 64, 1, "image/png"))
    with pytest.raises(NotFound, match="attachment"):
        await store.turns.begin(session.id, None, "and this?", request_id="r", parts=[missing])
    assert len(await store.messages.all(session.id)) == 2


async def test_a_call_changes_while_it_runs(store: Store) -> None:
    _, answer = await asked(store)
    await store.parts.add(answer, [CALL, Part("tool_result", "list_files", "c1", status="waiting")])
    done = await store.parts.update(answer, 0, status="complete")
    assert (done.status, done.text) == ("complete", CALL.text)
    blob = await store.blobs.put(b"log", "text/plain")
    result = await store.parts.update(answer, 1, status="failed", text="no such folder", blob=blob)
    assert await store.parts.of(answer) == (done, result)
    assert result == Part("tool_result", "list_files", "c1", "no such folder", "failed", blob)


async def test_what_does_not_exist_is_refused(store: Store) -> None:
    _, answer = await asked(store)
    nothing = Blob("0" * 64, 1, "image/png")
    with pytest.raises(NotFound):
        await store.parts.add("nowhere", [CALL])
    with pytest.raises(NotFound, match="attachment"):
        await store.parts.add(answer, [CALL, Part("image", blob=nothing)])
    with pytest.raises(NotFound):
        await store.parts.update(answer, 0, status="complete")
    await store.parts.add(answer, [CALL])
    with pytest.raises(NotFound, match="attachment"):
        await store.parts.update(answer, 0, blob=nothing)
    with pytest.raises(BadValue):
        await store.parts.add(answer, [Part("image", status="streaming")])  # type: ignore[arg-type]
    assert await store.parts.of(answer) == (CALL,)


async def test_any_text_is_kept(store: Store) -> None:
    _, answer = await asked(store)
    (kept,) = await store.parts.add(answer, [Part("tool_result", "a\0b", "\ud800", "\udfff x")])
    assert kept == Part("tool_result", "a\0b", "\ufffd", "\ufffd x")


async def test_they_go_with_their_message(store: Store) -> None:
    session, answer = await asked(store)
    await store.parts.add(answer, [CALL])
    await store.sessions.delete(session)
    assert await store.parts.of(answer) == ()


async def test_where_there_are_none_nothing_is_asked_for(store: Store) -> None:
    session, _ = await asked(store)
    said: list[str] = []
    connection = store._database.scratch()
    connection.set_trace_callback(said.append)
    from local_store import rows

    found = connection.execute(f"{MESSAGES} WHERE m.session_id = ?", [session]).fetchall()
    assert len(rows.messages(connection, found)) == 2
    connection.close()
    assert len(said) == 1


async def test_a_window_is_the_end_of_the_branch(store: Store) -> None:
    session = await store.sessions.create("Long")
    parent = None
    for number in range(6):
        turn = await store.turns.begin(session.id, parent, f"{number}", request_id="r")
        parent = turn.answer.id
    whole = await store.messages.path(session.id)
    assert len(whole) == 12
    end = await store.messages.window(session.id, limit=5)
    assert end == whole[-5:]
    assert await store.messages.window(session.id, end[0].parent_id, 5) == whole[-10:-5]
    assert await store.messages.window(session.id, limit=50) == whole
    with pytest.raises(NotFound):
        await store.messages.window(session.id, "nowhere")
