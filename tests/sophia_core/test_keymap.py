"""The keymap: pure, so every promise is tested over generated declarations and overrides."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sophia_core.commands import Declaration
from sophia_core.keymap import (
    RESERVED,
    BadKey,
    Keymap,
    KeyProblem,
    effective_keymap,
    normalise_key,
    show_key,
    terminal_trouble,
)


def declared(**keys: str) -> list[Declaration]:
    """Declarations `a.b` from keyword `a_b="key,key"`."""
    return [
        Declaration(name.replace("_", "."), "Help.", (), tuple(each for each in value.split(",") if each))
        for name, value in keys.items()
    ]


SPECS = declared(chat_stop="escape", session_new="ctrl+n", model_pick="ctrl+g,f3", help_show="f1")


def only(keymap: Keymap) -> KeyProblem:
    [problem] = keymap.problems
    return problem


def test_defaults_without_overrides() -> None:
    keymap = effective_keymap(SPECS, {})
    assert keymap.bindings == {
        "chat.stop": ("escape",),
        "session.new": ("ctrl+n",),
        "model.pick": ("ctrl+g", "f3"),
        "help.show": ("f1",),
    }
    assert keymap.problems == ()
    assert (keymap.shown("session.new"), keymap.shown("nothing.here"), keymap.keys("nothing.here")) == ("^N", "", ())


@pytest.mark.parametrize("nothing", ["", "none", " None "])
def test_an_override_can_take_the_keys_away(nothing: str) -> None:
    keymap = effective_keymap(SPECS, {"model.pick": nothing})
    assert keymap.bindings["model.pick"] == () and keymap.problems == ()


def test_an_override_replaces_the_default() -> None:
    keymap = effective_keymap(SPECS, {"session.new": "Alt+N, F7,f7"})
    assert keymap.bindings["session.new"] == ("alt+n", "f7")


def test_an_unknown_command_is_named_with_its_neighbours() -> None:
    problem = only(effective_keymap(SPECS, {"sesion.new": "f5"}))
    assert problem.level == "error" and "'sesion.new'" in problem.message and "session.new" in problem.fix
    assert "sophia commands" in only(effective_keymap(SPECS, {"zzz": "f5"})).fix


@pytest.mark.parametrize("text", ["ctrl+", "ctrk+n", "C-n", "f99", "ctrl+nn", "+", "ctrl,", "ctrl++n", "\x1b[31m"])
def test_a_malformed_key_is_named_and_the_default_stays(text: str) -> None:
    keymap = effective_keymap(SPECS, {"session.new": text})
    assert keymap.bindings["session.new"] == ("ctrl+n",)
    assert keymap.problems
    assert all(each.level == "error" and "session.new" in each.message for each in keymap.problems)
    assert all(each.message.isprintable() for each in keymap.problems)


def test_a_misspelt_key_gets_a_suggestion() -> None:
    assert "'escape'" in only(effective_keymap(SPECS, {"chat.stop": "escpe"})).message


def test_good_keys_beside_a_malformed_one_are_kept() -> None:
    keymap = effective_keymap(SPECS, {"session.new": "f7,what,f8"})
    assert keymap.bindings["session.new"] == ("f7", "f8") and len(keymap.problems) == 1


def test_an_override_beats_a_default_and_both_are_named() -> None:
    keymap = effective_keymap(SPECS, {"help.show": "ctrl+g"})
    assert keymap.bindings["help.show"] == ("ctrl+g",)
    assert keymap.bindings["model.pick"] == ("f3",), "the loser keeps its other keys"
    problem = only(keymap)
    assert problem.level == "warning" and "help.show" in problem.message and "model.pick" in problem.message


def test_two_overrides_go_by_the_order_of_declaration() -> None:
    for overrides in ({"help.show": "f9", "chat.stop": "f9"}, {"chat.stop": "f9", "help.show": "f9"}):
        keymap = effective_keymap(SPECS, overrides)
        assert (keymap.bindings["chat.stop"], keymap.bindings["help.show"]) == (("f9",), ())
        problem = only(keymap)
        assert problem.level == "error" and "chat.stop" in problem.message and "help.show" in problem.message


def test_a_key_left_by_an_override_is_free_for_others() -> None:
    keymap = effective_keymap(SPECS, {"session.new": "f7", "help.show": "ctrl+n"})
    assert keymap.bindings["help.show"] == ("ctrl+n",) and keymap.problems == ()


@pytest.mark.parametrize("key", ["ctrl+c", "enter", "tab", "ctrl+j", "Return", "backtab", "Shift+Enter"])
def test_reserved_keys_are_refused_with_the_reason(key: str) -> None:
    keymap = effective_keymap(SPECS, {"session.new": key})
    assert keymap.bindings["session.new"] == ("ctrl+n",)
    assert RESERVED[normalise_key(key)] in only(keymap).message


@pytest.mark.parametrize("key", ["a", "Z", "7", "?", "space", "shift+x", "underscore", "ä"])
def test_keys_that_type_are_refused(key: str) -> None:
    assert "types a character" in only(effective_keymap(SPECS, {"session.new": key})).message


@pytest.mark.parametrize(
    "key",
    ["ctrl+i", "ctrl+m", "ctrl+h", "ctrl+[", "ctrl+s", "ctrl+q", "ctrl+z", "ctrl+shift+p", "cmd+k", "ctrl+/",
     "ctrl+enter", "ctrl+1", "ctrl+comma", "alt+1", "ctrl+alt+x", "alt+/", "ctrl+space", "f11"],
)  # fmt: skip
def test_keys_a_terminal_may_never_send_are_bound_with_a_warning(key: str) -> None:
    keymap = effective_keymap(SPECS, {"session.new": key})
    assert keymap.bindings["session.new"] == (normalise_key(key),)
    problem = only(keymap)
    assert problem.level == "warning" and "may not work" in problem.message and problem.fix


@pytest.mark.parametrize(
    "key", ["ctrl+n", "f1", "escape", "alt+x", "alt+up", "ctrl+underscore", "ctrl+@", "shift+f3", "ctrl+right", "home"]
)
def test_keys_every_terminal_sends_are_no_trouble(key: str) -> None:
    assert terminal_trouble(normalise_key(key)) is None


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("ESC", "escape"), ("Return", "enter"), ("Shift+Ctrl+Left", "ctrl+shift+left"), ("control+N", "ctrl+n"),
        ("ctrl+_", "ctrl+underscore"), ("ctrl+/", "ctrl+slash"), ("ctrl++", "ctrl+plus"), ("^n", "ctrl+n"),
        ("ctrl+[", "ctrl+left_square_bracket"), ("ctrl+@", "ctrl+@"), ("ctrl+at", "ctrl+@"), (" alt + x ", "alt+x"),
        ("cmd+k", "super+k"), ("opt+PgDn", "alt+pagedown"), ("backtab", "shift+tab"), ("ctrl+ctrl+a", "ctrl+a"),
        ("^", "circumflex_accent"), ("F12", "f12"), ("Alt+Enter", "alt+enter"),
    ],
)  # fmt: skip
def test_spelling(text: str, key: str) -> None:
    assert normalise_key(text) == key


@pytest.mark.parametrize(
    ("key", "shown", "plain"),
    [
        ("ctrl+n", "^N", "^N"), ("escape", "Esc", "Esc"), ("f1", "F1", "F1"), ("space", "Space", "Space"),
        ("alt+enter", "Alt+Enter", "Alt+Enter"), ("ctrl+underscore", "^_", "^_"), ("up", "↑", "Up"),
        ("ctrl+right", "Ctrl+→", "Ctrl+Right"), ("alt+ctrl+x", "Ctrl+Alt+X", "Ctrl+Alt+X"),
        ("shift+tab", "Shift+Tab", "Shift+Tab"), ("ctrl+ä", "^Ä", "Ctrl+\\xe4"), ("ctrl+@", "^@", "^@"),
    ],
)  # fmt: skip
def test_labels(key: str, shown: str, plain: str) -> None:
    assert (show_key(key), show_key(key, ascii_only=True)) == (shown, plain)


MODIFIERS = st.lists(st.sampled_from(["ctrl", "alt", "shift", "super", "Control", "CMD"]), max_size=4)
NAMES = st.sampled_from(["n", "N", "esc", "up", "f4", "_", "[", "pgup", "Return", "space", "@", "ü", "3"])
KEYS = st.builds(lambda modifiers, name: "+".join([*modifiers, name]), MODIFIERS, NAMES)


@settings(deadline=None)
@given(text=st.text(max_size=30) | KEYS)
def test_normalising_twice_is_normalising_once(text: str) -> None:
    try:
        key = normalise_key(text)
    except BadKey as error:
        assert str(error).isprintable()
    else:
        assert normalise_key(key) == key
        assert show_key(key) and show_key(key, ascii_only=True).isascii()


@settings(deadline=None)
@given(modifiers=MODIFIERS, name=NAMES, seed=st.randoms())
def test_the_order_of_modifiers_does_not_matter(modifiers: list[str], name: str, seed: random.Random) -> None:
    shuffled = list(modifiers)
    seed.shuffle(shuffled)
    assert normalise_key("+".join([*modifiers, name])) == normalise_key("+".join([*shuffled, name]))


COMMANDS = ["a.one", "a.two", "b.one", "b.two", "c.one"]
FEW_KEYS = st.sampled_from(["f1", "f2", "f3", "ctrl+n", "ctrl+i", "enter", "x", "bad+key", ""])


def spec(name: str) -> st.SearchStrategy[Declaration]:
    keys = st.lists(FEW_KEYS).map(tuple)
    return st.builds(Declaration, st.just(name), st.just("Help."), st.just(()), keys)


SPEC_LISTS = st.lists(st.sampled_from(COMMANDS), unique=True).flatmap(lambda names: st.tuples(*map(spec, names)))
OVERRIDES = st.dictionaries(
    st.sampled_from([*COMMANDS, "a.on"]), st.lists(FEW_KEYS | KEYS, max_size=4).map(",".join) | st.text(max_size=12)
)


@settings(deadline=None)
@given(specs=SPEC_LISTS, overrides=OVERRIDES)
def test_no_key_runs_two_commands_and_no_key_is_lost_in_silence(
    specs: Sequence[Declaration], overrides: Mapping[str, str]
) -> None:
    keymap = effective_keymap(specs, overrides)
    assert list(keymap.bindings) == [spec.name for spec in specs]
    bound = [key for keys in keymap.bindings.values() for key in keys]
    assert len(bound) == len(set(bound))
    assert not set(bound) & RESERVED.keys()
    lost = {(each.command, each.key) for each in keymap.problems if each.key}
    for spec in specs:
        asked = overrides[spec.name].split(",") if overrides.get(spec.name, "").strip() else spec.keys
        if spec.name in overrides and overrides[spec.name].strip().lower() in ("", "none"):
            assert keymap.bindings[spec.name] == ()
            continue
        for text in asked:
            try:
                key = normalise_key(text)
            except BadKey:
                assert any(each.command == spec.name and each.level == "error" for each in keymap.problems)
            else:
                assert key in keymap.bindings[spec.name] or (spec.name, key) in lost


@settings(deadline=None)
@given(specs=SPEC_LISTS, overrides=OVERRIDES)
def test_unknown_names_are_all_reported(specs: Sequence[Declaration], overrides: Mapping[str, str]) -> None:
    known = {spec.name for spec in specs}
    unknown = {each.command for each in effective_keymap(specs, overrides).problems} - known
    assert unknown == overrides.keys() - known
