"""Macros of one's own: deleted with their text kept, renamed, never another's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sophia_core.commands import CommandError
from tests.sophia_core.conftest import Bench

OpenBench = Callable[..., Awaitable[Bench]]
HI = 'help = "Says hi."\n[[steps]]\nsay = "hi"\n'
CALLS = 'help = "Calls hi."\n[[steps]]\nmacro = "hi"\n'


@pytest.fixture
async def made(bench: OpenBench, tmp_path: Path) -> Bench:
    (tmp_path / "macros").mkdir()
    (tmp_path / "macros" / "hi.toml").write_text(HI)
    started = await bench()
    await started.runtime.macros.refresh()
    return started


async def test_a_deleted_macro_leaves_its_text_and_comes_back(made: Bench, tmp_path: Path) -> None:
    assert "/undo" in str(await made.runtime.run("macro.delete", "hi"))
    assert (tmp_path / "macros" / "hi.bak").read_text() == HI
    assert not made.runtime.registry.has("macro.hi")
    with pytest.raises(CommandError, match="no macro"):
        await made.runtime.run("macro.delete", "hi")
    await made.runtime.run("change.undo")
    assert (tmp_path / "macros" / "hi.toml").read_text() == HI and made.runtime.registry.has("macro.hi")
    await made.runtime.run("change.redo")
    assert not made.runtime.registry.has("macro.hi")


async def test_a_macro_does_not_come_back_over_another(made: Bench, tmp_path: Path) -> None:
    await made.runtime.run("macro.delete", "hi")
    (tmp_path / "macros" / "hi.toml").write_text(CALLS)
    with pytest.raises(CommandError, match="already"):
        await made.runtime.run("change.undo")
    assert (tmp_path / "macros" / "hi.toml").read_text() == CALLS


async def test_a_broken_macro_can_be_deleted_and_a_shipped_one_comes_back(made: Bench, tmp_path: Path) -> None:
    for name in ("broken", "review"):
        (tmp_path / "macros" / f"{name}.toml").write_text("help = ")
    (tmp_path / "macros" / "review.toml").write_text(HI)
    await made.runtime.macros.refresh()
    assert "/undo" in str(await made.runtime.run("macro.delete", "broken"))
    assert "comes with SOPHIA" in str(await made.runtime.run("macro.delete", "review"))
    with pytest.raises(CommandError, match="comes with SOPHIA"):
        await made.runtime.run("macro.delete", "review")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "", "a b", "x" * 200, "hi.toml"])
async def test_a_name_is_never_a_path(made: Bench, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside.toml"
    outside.write_text(HI)
    with pytest.raises(CommandError):
        await made.runtime.run("macro.delete", name)
    with pytest.raises(CommandError):
        await made.runtime.run("macro.rename", "hi", name)
    assert outside.read_text() == HI
    assert (tmp_path / "macros" / "hi.toml").read_text() == HI


async def test_a_renamed_macro_is_another_command_and_can_go_back(made: Bench, tmp_path: Path) -> None:
    (tmp_path / "macros" / "calls.toml").write_text(CALLS)
    said = await made.runtime.run("macro.rename", "hi", "hello")
    assert "calls still runs hi" in str(said)
    assert made.runtime.registry.has("macro.hello")
    assert not made.runtime.registry.has("macro.hi")
    assert "hello" in str(await made.runtime.run("change.undo"))
    assert made.runtime.registry.has("macro.hi")
    await made.runtime.run("change.redo")
    assert (tmp_path / "macros" / "hello.toml").read_text() == HI


@pytest.mark.parametrize("taken", ["review", "delete", "rename", "new"])
async def test_no_name_is_taken_twice_or_from_a_command(made: Bench, taken: str) -> None:
    with pytest.raises(CommandError):
        await made.runtime.run("macro.rename", "hi", taken)
    assert made.runtime.registry.has("macro.hi")
