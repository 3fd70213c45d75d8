"""The keymap spells keys without importing Textual; here the two are held against each other."""

from __future__ import annotations

import string

import pytest
from textual.binding import Binding
from textual.keys import Keys

from sophia_core.keymap import BadKey, normalise_key

REFUSED = {Keys.ControlAt.value, "ctrl-at", "return", "<any>", "<scroll-up>", "<scroll-down>", "<ignore>"}


@pytest.mark.parametrize("sign", sorted(set(string.punctuation) - {","}))
def test_signs_are_called_what_textual_calls_them(sign: str) -> None:
    [binding] = Binding.make_bindings([(sign, "action", "")])
    assert normalise_key(sign) == binding.key
    assert normalise_key(f"alt+{sign}") == f"alt+{binding.key}"


@pytest.mark.parametrize("key", sorted({each.value for each in Keys} - REFUSED))
def test_textuals_own_names_stay_what_they_are(key: str) -> None:
    assert normalise_key(key) == key


@pytest.mark.parametrize("key", ["ctrl+@", "ctrl+at", "ctrl+2"])
def test_the_null_byte_has_one_name(key: str) -> None:
    assert normalise_key(key) == (Keys.ControlAt.value if key != "ctrl+2" else "ctrl+2")


@pytest.mark.parametrize("key", ["<any>", "<ignore>", "ctrl-at"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(BadKey):
        normalise_key(key)
