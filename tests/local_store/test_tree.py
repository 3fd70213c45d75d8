"""Whatever is asked, edited, regenerated and visited, the tree in the store is the tree that was built."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_store import Store, StorePaths, open_store

Step = tuple[str, int]
steps = st.lists(st.tuples(st.sampled_from(["ask", "edit", "regenerate", "visit"]), st.integers(0, 50)), max_size=15)


class Model:
    """The tree in plain dictionaries."""

    def __init__(self) -> None:
        self.parents: dict[str, str | None] = {}
        self.questions: list[str] = []
        self.answers: list[str] = []
        self.leaf: str | None = None

    def add(self, question: str, answer: str, parent: str | None) -> None:
        self.parents[question] = parent
        self.questions.append(question)
        self.add_answer(question, answer)

    def add_answer(self, question: str, answer: str) -> None:
        self.parents[answer] = question
        self.answers.append(answer)
        self.leaf = answer

    def children(self, parent: str | None) -> list[str]:
        return [child for child, of in self.parents.items() if of == parent]

    def descend(self, message: str) -> str:
        while children := self.children(message):
            message = children[-1]
        return message

    def path(self, leaf: str | None) -> list[str]:
        branch: list[str] = []
        while leaf is not None:
            branch.insert(0, leaf)
            leaf = self.parents[leaf]
        return branch


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Store]]:
    folder: Path = tmp_path_factory.mktemp("tree")
    with asyncio.Runner() as runner:
        store = runner.run(open_store(StorePaths(folder / "s", folder / "d"), allow_keyring=False))
        yield runner, store
        runner.run(store.close())


@settings(max_examples=25, deadline=None)
@given(steps)
def test_the_tree_is_what_was_built(bench: tuple[asyncio.Runner, Store], steps: list[Step]) -> None:
    runner, store = bench
    runner.run(build(store, steps))


async def build(store: Store, steps: list[Step]) -> None:
    session = (await store.sessions.create()).id
    model = Model()
    for step in steps:
        await take(store, session, model, step)
        shown = await store.messages.path(session)
        assert [message.id for message in shown] == model.path(model.leaf)
    everything = await store.messages.all(session)
    assert {message.id: message.parent_id for message in everything} == model.parents
    assert (await store.sessions.get(session)).message_count == len(everything)
    for message in everything:
        siblings = [sibling.id for sibling in await store.messages.siblings(message.id)]
        assert siblings == model.children(message.parent_id)


async def take(store: Store, session: str, model: Model, step: Step) -> None:
    action, number = step
    if action == "ask" or not model.questions:
        turn = await store.turns.begin(session, model.leaf, "q", request_id="r")
        model.add(turn.question.id, turn.answer.id, turn.question.parent_id)
    elif action == "edit":
        parent = model.parents[model.questions[number % len(model.questions)]]
        turn = await store.turns.begin(session, parent, "edited", request_id="r")
        model.add(turn.question.id, turn.answer.id, parent)
    elif action == "regenerate":
        question = model.questions[number % len(model.questions)]
        model.add_answer(question, (await store.turns.begin_answer(session, question, request_id="r")).id)
    else:
        message = list(model.parents)[number % len(model.parents)]
        model.leaf = await store.messages.activate(message)
        assert model.leaf == model.descend(message)
