"""What becomes of waiting questions when the app that delivers them is killed again and again: each has one answer."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from local_store import Letter, Message
from sophia_core.events import TurnFinished
from sophia_core.runtime import Runtime
from sophia_core.settings import load_settings
from tests.contract_server import ContractServer

QUESTIONS = 8
KILLS = (0, 25, 2, 0, 40)
"""After how many pieces of an answer the app is killed; 0 is when the server has the question and said nothing yet."""
CHILD = """
import asyncio, os
from sophia_core.events import OutboxChanged, TextDelta
from sophia_core.runtime import open_runtime
from sophia_core.settings import load_settings

async def main():
    done = asyncio.Event()

    def tell(event):
        if isinstance(event, TextDelta):
            os.write(1, b"text\\n")
        elif isinstance(event, OutboxChanged) and not event.waiting:
            done.set()

    async with open_runtime(load_settings()) as runtime:
        runtime.bus.subscribe(tell)
        runtime.attend()
        await done.wait()

asyncio.run(main())
"""


def environment(home: Path, server: ContractServer) -> dict[str, str]:
    model = {"SOPHIA_BASE_URL": server.base_url, "SOPHIA_MODEL": "contract-model", "SOPHIA_CHAT__TITLES": "words"}
    return {"SOPHIA_HOME": str(home), "SOPHIA_NO_KEYRING": "1", **model}


async def let_wait(env: dict[str, str]) -> list[str]:
    """Asks while nobody can be reached; the ids of the answers that wait."""
    runtime = Runtime(load_settings(env), env=env)
    await runtime.start()
    runtime.chat.queue_when_offline = True
    ids = []
    for number in range(QUESTIONS):
        runtime.current.session_id = None
        finished = await runtime.run("chat.send", f"Question {number}")
        assert isinstance(finished, TurnFinished) and finished.status == "queued"
        ids.append(finished.answer_id)
    await runtime.close()
    return ids


async def app(env: dict[str, str]) -> asyncio.subprocess.Process:
    paths = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[1])}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, env={**paths, **env}, stdout=asyncio.subprocess.PIPE
    )


async def killed(env: dict[str, str], server: ContractServer, pieces: int) -> None:
    process = await app(env)
    assert process.stdout
    async with asyncio.timeout(30):
        while not (await server.arrival()).path.endswith("/chat/completions"):
            pass
        for _ in range(pieces):
            assert await process.stdout.readline() == b"text\n"
        process.kill()
        await process.communicate()


async def found(env: dict[str, str], ids: list[str]) -> tuple[list[Message], list[Letter], list[int]]:
    runtime = Runtime(load_settings(env), env=env)
    await runtime.start()
    store = await runtime.vault.get()
    answers = [await store.messages.get(each) for each in ids]
    versions = [len(await store.messages.siblings(each)) for each in ids]
    letters = await store.outbox.list()
    await runtime.close()
    return answers, letters, versions


async def test_kills_lose_no_question_and_answer_none_twice(tmp_path: Path) -> None:
    async with ContractServer() as server:
        env = environment(tmp_path, server)
        await server.go_down()
        ids = await let_wait(env)
        await server.come_up()
        server.usual = "tokens:60:4"
        for pieces in KILLS:
            await killed(env, server, pieces)
        last = await app(env)
        async with asyncio.timeout(60):
            await last.communicate()
        assert last.returncode == 0
        answers, letters, versions = await found(env, ids)
        asked = [json.dumps(seen.body["messages"][-1]) for seen in server.chats]
        keys = {seen.headers["idempotency-key"] for seen in server.chats}
    assert letters == []
    assert versions == [1] * QUESTIONS, "one answer a question"
    assert {each.status for each in answers} <= {"complete", "interrupted"}
    assert all(each.text for each in answers)
    assert keys == set(ids), "every try of a question has the key of its one answer"
    assert max(server.completions.values()) == 1
    whole = [each for each in answers if each.status == "complete"]
    assert len({each.text for each in whole}) == 1
    assert len(whole) >= QUESTIONS - sum(pieces > 0 for pieces in KILLS)
    assert len(asked) <= QUESTIONS + len(KILLS)
