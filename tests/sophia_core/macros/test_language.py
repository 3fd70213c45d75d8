"""A macro file says what it says, or every mistake in it is named."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sophia_core.macros.conditions import BadCondition, parse_condition
from sophia_core.macros.language import Macro, Parameter, parse_macro, unfit
from sophia_core.macros.library import SHIPPED
from sophia_core.macros.recording import macro_text, toml_text
from sophia_core.macros.templates import BadTemplate, Template, fill_line


def good(text: str, name: str = "mine") -> Macro:
    macro, problems = parse_macro(name, text.encode())
    assert macro is not None, problems
    return macro


def wrong(text: str, name: str = "mine") -> str:
    macro, problems = parse_macro(name, text.encode())
    assert macro is None
    return "\n".join(map(str, problems))


STEP = '[[steps]]\nsay = "hi"\n'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "help: is missing"),
        ('help = "x"', "steps: there have to be 1 to 100"),
        ('help = "x"\nsteps = []', "steps: there have to be 1 to 100"),
        (f'help = "x"\nbogus = 1\n{STEP}', "there is no 'bogus'"),
        ('help = "x"\n[[steps]]\nsay = "a"\nask = "b"', "step 1: has to do exactly one thing"),
        ('help = "x"\n[[steps]]\nname = "a"', "step 1: has to do exactly one thing"),
        ('help = "x"\n[[steps]]\nsay = "{nobody}"', "step 1: nothing is called 'nobody' here"),
        ('help = "x"\n[[steps]]\nsay = "{later}"\n[[steps]]\nsay = "b"\nname = "later"', "nothing is called 'later'"),
        ('help = "x"\n[[steps]]\nsay = "{item}"', "nothing is called 'item'"),
        ('help = "x"\n[[steps]]\nsay = "{"', "a lone '{'"),
        ('help = "x"\n[[steps]]\nsay = 3', "step 1.say: has to be a text"),
        ('help = "x"\n[[steps]]\nshell = "git diff"', "has to list a program"),
        ('help = "x"\n[[steps]]\nshell = ["{answer}"]', "has to name its program"),
        ('help = "x"\n[[steps]]\nsay = "a"\ntimeout = -1', "step 1.timeout"),
        ('help = "x"\n[[steps]]\nsay = "a"\ntimeout = true', "step 1.timeout"),
        ('help = "x"\n[[steps]]\nsay = "a"\non_error = "pray"', "there is no 'pray'"),
        ('help = "x"\n[[steps]]\nsay = "a"\nwhen = "1 < 2"', "is no condition"),
        ('help = "x"\n[[steps]]\nsay = "a"\nwhen = "nobody is empty"', "nothing is called 'nobody'"),
        ('help = "x"\n[[steps]]\nsave = "a"', "does not say what to save"),
        ('help = "x"\n[[steps]]\nsay = "a"\nreplace = true', "'replace' belongs to 'save'"),
        ('help = "x"\n[[steps]]\nsay = "a"\nname = "answer"', "cannot be the name of a result"),
        (f'help = "x"\n[parameters.Big]\n{STEP}', "cannot be the name of a parameter"),
        (f'help = "x"\n[parameters.date]\n{STEP}', "cannot be the name of a parameter"),
        (f'help = "x"\n[parameters.a]\ntype = "spell"\n{STEP}', "there is no type 'spell'"),
        (f'help = "x"\n[parameters.a]\ntype = "choice"\n{STEP}', "has to list texts"),
        (f'help = "x"\n[parameters.a]\nchoices = ["b"]\ndefault = "c"\n{STEP}', "'c' is none of b"),
        (f'help = "x"\n[parameters.a]\ntype = "number"\ndefault = "many"\n{STEP}', "is not a number"),
        ("help = ", "is not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, complaint: str) -> None:
    assert complaint in wrong(text)


@pytest.mark.parametrize("name", ["Mine", "1st", "a b", "../evil", "", "run", "x" * 41])
def test_a_name_that_no_command_could_have_is_refused(name: str) -> None:
    assert "cannot be a macro's name" in wrong(f'help = "x"\n{STEP}', name)


def test_all_mistakes_are_told_at_once() -> None:
    told = wrong('[[steps]]\nsay = "{a}"\n[[steps]]\nsay = "{b}"')
    assert "help" in told and "step 1" in told and "step 2" in told


@given(st.binary(max_size=300))
def test_no_content_crashes_the_reader(content: bytes) -> None:
    macro, problems = parse_macro("mine", content)
    assert (macro is None) == bool(problems)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "say", "{x}", "{answer}", "a is empty", "\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "B", ""]), inner, max_size=2),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["help", "steps", "parameters", "say", "shell", "when", "each", "name", "values", "macro", "save"]
)


@given(st.dictionaries(KEYS, VALUES | st.lists(st.dictionaries(KEYS, VALUES, max_size=4), max_size=3), max_size=4))
def test_no_tables_crash_the_reader(tables: dict[str, object]) -> None:
    from sophia_core.macros.language import _Reader

    reader = _Reader("here")
    reader.macro("mine", tables)
    assert reader.problems or tables


def test_what_is_needed_is_asked_first() -> None:
    macro = good(f'help = "x"\n[parameters.a]\ndefault = 3\n[parameters.b]\n{STEP}')
    assert macro.parameters == (Parameter("b"), Parameter("a", default="3"))


def test_ten_macros_are_shipped_and_sound() -> None:
    files = sorted(SHIPPED.glob("*.toml"))
    assert len(files) == 10
    for path in files:
        macro, problems = parse_macro(path.stem, path.read_bytes())
        assert macro is not None and not problems, problems
        assert tomllib.loads(path.read_text())["help"].endswith(".")


@given(st.text(), st.text())
def test_a_value_stays_one_word_whatever_is_in_it(value: str, other: str) -> None:
    name, words = fill_line(Template("session.rename {a} title={b} 'x {a}'"), {"a": value, "b": other})
    assert name == "session.rename"
    assert [word.text for word in words] == [value, f"title={other}", f"x {value}"]
    assert words[0].quoted and not words[1].quoted


def test_braces_are_written_twice() -> None:
    assert Template("{{{a}}}").fill({"a": "{b}"}) == "{{b}}"
    with pytest.raises(BadTemplate):
        Template("}")


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("a is empty", False),
        ("none is empty", True),
        ("a is not empty", True),
        ('a is "one two"', True),
        ('a is not "one"', True),
        ('a contains "two"', True),
        ('a lacks "two"', False),
        ('a is "x" or none is empty', True),
        ('a is "x" or none is empty and a is empty', False),
        (r'a is "\"quoted\""', False),
    ],
)
def test_a_condition_is_read_like_a_sentence(text: str, holds: bool) -> None:
    assert parse_condition(text).holds({"a": "one two", "none": " \n"}) is holds


@pytest.mark.parametrize(
    "text", ["", "a", "a is", "a is b", 'a is "b', "a and", '"a" is empty', "a = 1", "not a is empty"]
)
def test_anything_else_is_no_condition(text: str) -> None:
    with pytest.raises(BadCondition):
        parse_condition(text)


@given(st.text())
def test_a_text_comes_back_from_toml(text: str) -> None:
    if not any("\ud800" <= each <= "\udfff" for each in text):
        assert tomllib.loads(f"a = {toml_text(text)}")["a"] == text


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=5))
def test_what_was_recorded_says_the_same_again(texts: list[str]) -> None:
    from sophia_core.cmdline import quote

    lines = [f"chat.send {quote(text)}" for text in texts]
    macro = good(macro_text("Recorded.", lines))
    for step, text in zip(macro.steps, texts, strict=True):
        _, words = fill_line(step.words[0], {})
        assert [word.text for word in words] == [text]


def test_a_parameter_knows_what_fits() -> None:
    assert unfit(Parameter("a", "yes"), "maybe") and not unfit(Parameter("a", "yes"), "On")
    assert unfit(Parameter("a", "number"), "x") and not unfit(Parameter("a", "number"), "1.5")


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    from sophia_core.macros.language import read_macro

    assert read_macro(tmp_path / "gone.toml")[0] is None
    (tmp_path / "big.toml").write_bytes(b"#" * (300 * 1024))
    assert "is larger than" in str(read_macro(tmp_path / "big.toml")[1][0])


def of_a_folder(text: str) -> tuple[Macro | None, str]:
    macro, problems = parse_macro("theirs", text.encode(), project=True)
    return macro, " ".join(map(str, problems))


@pytest.mark.parametrize("hidden", ["\u202e", "\u200b", "\x9b31m", "\u2066"])
def test_a_folders_macro_shows_all_there_is(hidden: str) -> None:
    text = f'help = "x"\n[[steps]]\nsay = "a{hidden}b"\n'
    macro, problem = of_a_folder(text)
    assert macro is None and "do not show" in problem
    assert of_a_folder(text.replace(hidden, "é\U0001f469\u200d\U0001f52c"))[0] is not None
    assert of_a_folder('help = "x"\r\n[[steps]]\r\nsay = "a"\r\n')[0] is not None


def test_what_lists_show_of_a_macro_is_one_harmless_line() -> None:
    text = r"""help = "\u001b]52;c;eA==\u0007 a\nb"
[parameters.a]
ask = "\u001b[2J?"
[[steps]]
say = "x"
"""
    macro = good(text)
    assert (macro.help + macro.parameters[0].ask).isprintable() and macro.source == text
    assert "short texts of one line" in wrong(
        text.replace("ask =", 'choices = ["x"]\nask =').replace('"x"]', r'"\u001b"]')
    )


def test_a_folders_macro_cannot_keep_the_reader_busy() -> None:
    macro, problem = of_a_folder(".".join("a" * 100_000) + " = 1")
    assert macro is None and "dots" in problem
