"""Commands: declared once, found by name, bound to words, validated, refused with a reason."""

from __future__ import annotations

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sophia_core.cmdline import BadLine, Word, quote, split_line
from sophia_core.commands import (
    VERBATIM,
    BadArguments,
    CommandDisabled,
    NeedsConfirmation,
    Registry,
    UnknownCommand,
    _adapter,
    bind_line,
    command,
    declarations,
    validate,
)


class Kettle:
    """Something with commands."""

    def __init__(self) -> None:
        self.hot = False

    def _cold(self) -> str | None:
        return "it is hot already" if self.hot else None

    @command("kettle.boil", keys=("ctrl+b",), slash="boil", enabled=_cold)
    async def boil(self, litres: float = 1.0) -> float:
        """Boil water."""
        self.hot = True
        return litres

    @command("kettle.label", slash="label")
    async def label(self, colour: str, text: str) -> tuple[str, str]:
        """Write on it."""
        return colour, text

    @command("kettle.find", slash="find")
    async def find(self, query: Annotated[str, VERBATIM], *, limit: int = 9) -> tuple[str, int]:
        """Look for it."""
        return query, limit

    @command("kettle.smash", dangerous=True)
    async def smash(self, lid: str | None = None) -> str:
        """Break it."""
        return "broken"


@pytest.fixture
def registry() -> Registry:
    made = Registry()
    made.collect(Kettle())
    return made


async def test_a_line_runs_a_command_with_typed_values(registry: Registry) -> None:
    assert await registry.run_line("kettle.boil 0.5") == 0.5


async def test_a_short_name_and_a_slash_work_too(registry: Registry) -> None:
    assert await registry.run_line("/boil litres=2") == 2.0


async def test_surplus_words_join_the_last_text(registry: Registry) -> None:
    assert await registry.run_line("/label red don't panic now") == ("red", "don't panic now")


async def test_an_equals_sign_in_prose_is_prose(registry: Registry) -> None:
    assert await registry.run_line("/label red what is x=3") == ("red", "what is x=3")


async def test_a_quoted_word_is_never_a_named_value(registry: Registry) -> None:
    assert await registry.run_line('/label "colour=blue" sky') == ("colour=blue", "sky")


@pytest.mark.parametrize(
    ("line", "error", "says"),
    [
        ("kettle.boyl", UnknownCommand, "kettle.boyl"),
        ("kettle.boil lots", BadArguments, "'litres'"),
        ("kettle.label red", BadArguments, "'text'"),
        ("kettle.boil 1 2", BadArguments, "takes 1"),
        ("kettle.smash", NeedsConfirmation, "cannot be undone"),
        ('kettle.label red "open', BadArguments, "closing quotation mark"),
        ("Not A Name", BadArguments, "not a command name"),
    ],
)
async def test_mistakes_name_what_is_wrong(registry: Registry, line: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        await registry.run_line(line)


async def test_an_unknown_command_suggests_the_nearest(registry: Registry) -> None:
    with pytest.raises(UnknownCommand) as caught:
        await registry.run_line("kettle.boyl")
    assert "kettle.boil" in caught.value.hint


async def test_a_disabled_command_says_why(registry: Registry) -> None:
    await registry.run("kettle.boil")
    with pytest.raises(CommandDisabled, match="hot already"):
        await registry.run("kettle.boil")


async def test_a_dangerous_command_runs_once_confirmed(registry: Registry) -> None:
    assert await registry.run("kettle.smash", confirmed=True) == "broken"


@pytest.mark.parametrize(
    "typed",
    ['"a phrase', "don't", '"two words" -x', "back\\slash", "after:2026 size=3", '"', "x=y", "a  b", "limit=", "'"],
)
async def test_whatever_is_looked_for_is_taken_as_it_was_typed(registry: Registry, typed: str) -> None:
    assert await registry.run_line(f"/find {typed}") == (typed, 9)
    assert await registry.run_line(f"/find {typed}  limit=3 ") == (typed, 3)


@given(st.text(min_size=1).filter(lambda text: text.strip() and "limit" not in text))
def test_any_text_can_be_looked_for(typed: str) -> None:
    spec = next(spec for _, spec in declarations(Kettle) if spec.name == "kettle.find")
    assert bind_line(spec, typed) == {"query": typed.strip()}


async def test_what_is_not_looked_for_is_asked_for(registry: Registry) -> None:
    with pytest.raises(BadArguments, match="needs 'query'"):
        await registry.run_line("/find ")


async def test_what_checks_a_value_is_made_once(registry: Registry) -> None:
    chosen = registry.get("kettle.boil")
    assert validate(chosen, {"litres": "1.5"}) == {"litres": 1.5}
    made = _adapter.cache_info().misses
    assert validate(chosen, {"litres": "2"}) == {"litres": 2.0}
    assert _adapter.cache_info().misses == made


def test_a_name_cannot_be_declared_twice(registry: Registry) -> None:
    with pytest.raises(ValueError, match="declared twice"):
        registry.collect(Kettle())


def test_declarations_are_readable_without_an_object() -> None:
    specs = {spec.name: spec for _, spec in declarations(Kettle)}
    assert specs["kettle.boil"].help == "Boil water."
    assert [(p.name, p.type, p.required) for p in specs["kettle.label"].params] == [
        ("colour", "str", True),
        ("text", "str", True),
    ]


def test_a_command_without_help_is_refused() -> None:
    async def mute(self: object) -> None: ...

    with pytest.raises(TypeError, match="docstring"):
        command("mute")(mute)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=4))
def test_quoted_words_come_back_unchanged(words: list[str]) -> None:
    name, parsed = split_line(" ".join(["say", *map(quote, words)]))
    assert name == "say"
    assert parsed == [Word(word, quoted=True) for word in words]


@given(st.text())
def test_any_line_is_read_or_refused(line: str) -> None:
    try:
        name, _ = split_line(line)
    except BadLine as error:
        assert str(error)
    else:
        assert name


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("say don't and it's", ["don't", "and", "it's"]),
        ('say "two words" three', ["two words", "three"]),
        ("say key='two words'", ["key=two words"]),
        (r'say "a \"b\" \\ c"', ['a "b" \\ c']),
        ("say 'unclosed prose", ["'unclosed", "prose"]),
        (r"say C:\dir", [r"C:\dir"]),
    ],
)
def test_words_are_read_as_people_write_them(line: str, words: list[str]) -> None:
    assert [word.text for word in split_line(line)[1]] == words


async def test_a_question_names_what_it_would_be_done_to(registry: Registry) -> None:
    with pytest.raises(NeedsConfirmation) as alone:
        await registry.run_line("kettle.smash")
    assert alone.value.line == ""
    with pytest.raises(NeedsConfirmation) as named:
        await registry.run_line("kettle.smash copper")
    assert named.value.line == "kettle.smash copper"
