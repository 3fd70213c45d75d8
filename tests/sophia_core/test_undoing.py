"""Taking back and doing again."""

from __future__ import annotations

import pytest

from local_store.errors import NotFound
from sophia_core.commands import CommandDisabled, CommandError, Registry
from sophia_core.keymap import normalise_key, show_key
from sophia_core.undoing import MOST_KEPT, Change, Undoing


class Lamp:
    def __init__(self) -> None:
        self.undoing, self.registry, self.lit = Undoing(), Registry(), 0
        self.registry.collect(self.undoing)

    async def set(self, lit: int) -> None:
        before, self.lit = self.lit, lit
        self.undoing.record(Change(f"it is {lit}", lambda: self.set(before), lambda: self.set(lit)))


async def test_back_and_forth_and_a_new_change_ends_what_could_be_done_again() -> None:
    lamp = Lamp()
    for lit in (1, 2, 3):
        await lamp.set(lit)
    assert await lamp.registry.run_line("/undo") == "Taken back: it is 3."
    await lamp.registry.run_line("/undo")
    assert lamp.lit == 1
    assert await lamp.registry.run_line("/redo") == "Done again: it is 2."
    await lamp.set(9)
    with pytest.raises(CommandDisabled, match="nothing was taken back"):
        await lamp.registry.run_line("/redo")
    await lamp.registry.run_line("/undo")
    assert lamp.lit == 2


async def test_what_cannot_be_taken_back_is_said_once() -> None:
    lamp = Lamp()

    async def gone() -> None:
        raise NotFound("session")

    lamp.undoing.record(Change("x", gone, gone))
    with pytest.raises(CommandError, match="gone"):
        await lamp.registry.run_line("/undo")
    with pytest.raises(CommandDisabled):
        await lamp.registry.run_line("/undo")


async def test_only_so_many_are_kept_and_locking_forgets_them() -> None:
    lamp = Lamp()
    for lit in range(MOST_KEPT + 10):
        await lamp.set(lit)
    for _ in range(MOST_KEPT):
        await lamp.registry.run_line("/undo")
    assert lamp.lit == 9
    await lamp.undoing.forget()
    with pytest.raises(CommandDisabled):
        await lamp.registry.run_line("/redo")


def test_keys_one_after_the_other_are_spelled_and_shown() -> None:
    assert normalise_key(" Ctrl + X  B ") == "ctrl+x b"
    assert normalise_key("^x ^c") == "ctrl+x ctrl+c"
    assert show_key("ctrl+x b") == "^X b" and show_key("ctrl+x ctrl+c") == "^X ^C"
    with pytest.raises(ValueError, match="too long"):
        normalise_key("ctrl+x a b c")
