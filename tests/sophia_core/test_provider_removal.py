"""Taking a provider out of the config: asked nothing more at once, its key forgotten, never behind one's back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sophia_core.commands import CommandError, NeedsConfirmation
from sophia_core.config_file import remove_table
from tests.scripted import chat
from tests.sophia_core.conftest import Bench

OpenBench = Callable[..., Awaitable[Bench]]
TWO = """# mine
theme = "sophia-dark"

[[providers]]
name = "first"  # the good one
base_url = "http://one/v1"
model = "m"

[[providers]]
name = "second"
base_url = "http://two/v1"
model = "m"

[routing]
embedded_fallback = false
"""


@pytest.fixture
def open_two(bench: OpenBench, tmp_path: Path) -> Callable[..., Awaitable[Bench]]:
    async def opened(*script: object, text: str = TWO, **env: str) -> Bench:
        (tmp_path / "config.toml").write_text(text)
        return await bench(*script, SOPHIA_BASE_URL="", SOPHIA_MODEL="", **env)

    return opened


def names(made: Bench) -> list[str]:
    return [each.name for each in made.runtime.providers]


async def test_a_removed_provider_is_asked_nothing_more(open_two: OpenBench, tmp_path: Path) -> None:
    made = await open_two(chat("from two"))
    with pytest.raises(NeedsConfirmation):
        await made.runtime.run("provider.remove", "first")
    assert "taken out" in str(await made.runtime.run("provider.remove", "first", confirmed=True))
    kept = (tmp_path / "config.toml").read_text()
    assert "# mine" in kept
    assert "first" not in kept
    assert "second" in kept
    assert "embedded_fallback" in kept
    assert names(made) == ["second"]
    await made.runtime.dispatch("chat.send hi")
    assert made.wire.calls[-1].url.startswith("http://two/")


async def test_the_chosen_one_goes_only_when_somebody_takes_its_place(open_two: OpenBench, tmp_path: Path) -> None:
    made = await open_two(text='provider = "first"\n' + TWO)
    with pytest.raises(CommandError, match="you chose") as refused:
        await made.runtime.run("provider.remove", "first", confirmed=True)
    assert "instead=" in refused.value.hint
    for wrong in ("first", "nobody"):
        with pytest.raises(CommandError, match="take its place"):
            await made.runtime.run("provider.remove", "first", instead=wrong, confirmed=True)
    assert "first" in (tmp_path / "config.toml").read_text()
    await made.runtime.run("provider.remove", "first", instead="second", confirmed=True)
    assert 'provider = "second"' in (tmp_path / "config.toml").read_text()
    assert made.runtime.current.provider == "second"


async def test_the_last_one_answers_until_the_end(open_two: OpenBench) -> None:
    made = await open_two()
    await made.runtime.run("provider.remove", "second", confirmed=True)
    assert "until you leave" in str(await made.runtime.run("provider.remove", "first", confirmed=True))
    assert names(made) == ["first"]


async def test_nothing_is_written_for_one_that_is_not_there(open_two: OpenBench, tmp_path: Path) -> None:
    made = await open_two()
    with pytest.raises(CommandError, match="written down"):
        await made.runtime.run("provider.remove", "third", confirmed=True)
    assert (tmp_path / "config.toml").read_text() == TWO


def test_only_the_table_of_that_name_goes(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    assert not remove_table(file, "providers", "x")
    file.write_text('providers = [{name = "x"}, {name = "y"}]\na = 1\n')
    assert remove_table(file, "providers", "x")
    assert '"y"' in file.read_text()
    assert remove_table(file, "providers", "y")
    assert "providers" not in file.read_text()
    file.write_text('providers = "x"\n')
    with pytest.raises(ValueError, match="no list"):
        remove_table(file, "providers", "x")
