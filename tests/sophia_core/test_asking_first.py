"""Nobody is asked about what is not there: what cannot be undone is looked at before a person is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from sophia_core.commands import BadArguments, CommandError, MissingValues, NeedsConfirmation, Registry, command
from tests.scripted import chat
from tests.sophia_core.conftest import Bench

OpenBench = Callable[..., Awaitable[Bench]]


class Shelf:
    """Some cups, and one way to break them."""

    def __init__(self) -> None:
        self.cups = ["red", "blue"]

    async def _about(self, cup: str, times: int = 1) -> str:
        if cup not in self.cups:
            raise CommandError(f"There is no {cup} cup.", "Look at the shelf.")
        return f"the {cup} cup, {times + 1} handles"

    @command("cup.smash", dangerous=True, check=_about)
    async def smash(self, cup: str, times: int = 1) -> None:
        """Smash a cup."""
        self.cups.remove(cup)


@pytest.fixture
def shelf() -> Registry:
    registry = Registry()
    registry.collect(Shelf())
    return registry


async def test_what_is_not_there_is_said_before_anybody_is_asked(shelf: Registry) -> None:
    with pytest.raises(CommandError, match="no green cup") as told:
        await shelf.run("cup.smash", "green")
    assert not isinstance(told.value, NeedsConfirmation)
    with pytest.raises(BadArguments, match="times"):
        await shelf.run_line("cup.smash red often")


async def test_the_question_names_what_it_is(shelf: Registry) -> None:
    with pytest.raises(NeedsConfirmation, match="undone: the red cup, 4 handles") as asked:
        await shelf.run_line("cup.smash red 3")
    assert asked.value.about == "the red cup, 4 handles" and asked.value.line == "cup.smash red 3"
    await shelf.run("cup.smash", "red", confirmed=True)


async def test_what_is_missing_is_told_with_what_was_given(shelf: Registry) -> None:
    with pytest.raises(MissingValues) as lacking:
        await shelf.run_line("cup.smash times=2")
    assert lacking.value.missing == ("cup",) and lacking.value.values == {"times": "2"}
    assert lacking.value.spec.name == "cup.smash" and "Usage" in lacking.value.hint


async def test_every_command_that_cannot_be_undone_looks_first(bench: OpenBench) -> None:
    runtime = (await bench()).runtime
    dangerous = [each.spec for each in runtime.registry if each.spec.dangerous]
    assert len(dangerous) > 5
    assert [each.name for each in dangerous if each.check is None] == []


IN_VAIN = (
    ("outbox.drop 9", "waits"),
    ("session.delete", "No session is open"),
    ("session.delete nobody", "no session"),
    ("session.purge", "Nothing was named"),
    ("session.purge nobody", "no session"),
    ("session.purge older_than=90d", "left unused"),
    ("session.purge older_than=soon", "no age"),
    ("provider.remove nobody", "written down"),
    ("keys.remove nothing", "no slot"),
    ("keys.remove keyring", "no slot"),
    ("backup.restore /nowhere/at/all", "nowhere"),
    ("store.salvage /", "exists already"),
    ("store.accept", "nothing to accept"),
    ("audit.accept", "nothing to accept"),
    ("analytics.clear", "Nothing was counted"),
)


async def test_nobody_is_asked_in_vain(bench: OpenBench) -> None:
    runtime = (await bench()).runtime
    for line, why in IN_VAIN:
        with pytest.raises(CommandError, match=why) as told:
            await runtime.dispatch(line)
        assert not isinstance(told.value, NeedsConfirmation), line


async def test_a_session_is_named_in_the_question(bench: OpenBench) -> None:
    runtime = (await bench(chat("fine"))).runtime
    await runtime.dispatch("chat.send how are you")
    for name in ("session.delete", "session.purge"):
        with pytest.raises(NeedsConfirmation, match="how are you”, 2 messages"):
            await runtime.dispatch(name)
