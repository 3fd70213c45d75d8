"""The reader of JSON arrays: the same elements as `json`, however the bytes are cut, and no file that stops it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sophia_core.exchange.items import DEEPEST, BadFile, BadItem, Item, Items

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def blocks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def elements(data: bytes | str, size: int = 7, **more: Any) -> list[Item | BadItem]:
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    return list(Items(blocks(raw, size), **more))


def values(data: bytes | str, size: int = 7) -> list[Any]:
    found = elements(data, size)
    assert all(isinstance(each, Item) for each in found), found
    return [each.value for each in found if isinstance(each, Item)]


@given(st.lists(VALUES, max_size=5), st.integers(1, 40), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_the_elements_are_those_that_json_finds(
    wanted: list[Any], size: int, indent: int | str | None, ascii_only: bool
) -> None:
    text = json.dumps(wanted, indent=indent, ensure_ascii=ascii_only)
    assert values(text.encode("utf-8", "replace"), size) == json.loads(text.encode("utf-8", "replace"))


@given(st.binary(max_size=200), st.integers(1, 9))
def test_no_bytes_do_more_than_end_it(data: bytes, size: int) -> None:
    try:
        for each in elements(data, size):
            assert isinstance(each, Item | BadItem)
    except BadFile as error:
        assert str(error)


@given(st.text(alphabet='[]{}",:\\ a1\x00é', max_size=60), st.integers(1, 9))
def test_no_brackets_do_more_than_end_it(text: str, size: int) -> None:
    try:
        elements(text, size)
    except BadFile as error:
        assert str(error)


@pytest.mark.parametrize("name", ["sessions", "conversations", "chats", "data"])
def test_the_array_may_stand_in_an_object(name: str) -> None:
    items = Items(iter([json.dumps({"version": 3, name: [{"a": 1}, {"b": 2}], "after": []}).encode()]))
    assert [each.value for each in items if isinstance(each, Item)] == [{"a": 1}, {"b": 2}]
    assert items.header["version"] == 3


def test_an_object_alone_is_the_only_element() -> None:
    assert values('{"id": 1, "data": [1, 2]}') == [{"id": 1, "data": [1, 2]}]
    assert values('{"a": 1}\n{"a": 2}\n') == [{"a": 1}, {"a": 2}]
    assert values("") == values(" \n ") == []


def test_names_that_are_repeated_all_stay() -> None:
    assert values('[{"a": 1, "a": 2, "a (2)": 3}]') == [{"a": 1, "a (2)": 2, "a (2) (2)": 3}]


def test_an_element_that_is_too_long_costs_only_itself() -> None:
    text = json.dumps([{"a": 1}, {"text": "x[{" * 1000}, ["y"] * 1000, {"b": 2}])
    first, long, wide, last = elements(text, 64, longest=500)
    assert (first, last) == (Item(1, {"a": 1}), Item(4, {"b": 2}))
    assert isinstance(long, BadItem)
    assert isinstance(wide, BadItem)
    assert "longer than" in long.reason


def test_an_element_that_is_too_deep_costs_only_itself() -> None:
    deep = "[" * (DEEPEST + 5) + "]" * (DEEPEST + 5)
    bad, good = elements(f'[{deep}, {{"a": 1}}]')
    assert isinstance(bad, BadItem)
    assert "deep" in bad.reason
    assert good == Item(2, {"a": 1})


def test_an_element_that_is_no_json_costs_only_itself() -> None:
    bad, worse, huge, good = elements('[{"a": tru}, {"a" 1}, {"a": ' + "9" * 5000 + '}, {"a": 1}]')
    assert all(isinstance(each, BadItem) and "no JSON" in each.reason for each in (bad, worse, huge))
    assert good == Item(4, {"a": 1})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[{"a": 1}, {"a": ', "cut off"),
        ('[{"a": "in a te', "cut off"),
        ('[{"a": 1}', "cut off"),
        ("hello", "no JSON"),
        ('[{"a": 1} {"b": 2}]', "broken after element 1"),
        ('{"sessions": [1], 5}', "broken"),
        ('[{"a": 1}] and more', "follows the end"),
    ],
)
def test_a_file_that_breaks_off_gives_what_it_has(text: str, reason: str) -> None:
    got = []
    with pytest.raises(BadFile, match=reason):
        for each in Items(blocks(text.encode(), 4)):
            got.append(each)
    assert len(got) == (0 if text == "hello" or "in a te" in text else 1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_all_unicode_encodings_are_read(encoding: str) -> None:
    assert values('[{"a": "größe 😀"}]'.encode(encoding)) == [{"a": "größe 😀"}]


def test_bytes_that_are_no_unicode_are_replaced_and_noted() -> None:
    (item,) = elements('[{"a": "größe"}]'.encode("latin-1"))
    assert item == Item(1, {"a": "gr��e"}, mended=True)


def test_lone_surrogates_and_nul_come_through() -> None:
    assert values(r'[{"a": "\ud800 \u0000"}]') == [{"a": "\ud800 \0"}]


def test_a_conversation_of_nothing_but_values_is_left_out() -> None:
    bomb = b'[{"a":[' + b"[]," * 5_000_001 + b"0]}," + b'{"id":1}]'
    found = list(Items(iter([bomb])))
    assert isinstance(found[0], BadItem)
    assert "values" in found[0].reason
    assert found[1] == Item(2, {"id": 1})


def test_a_name_that_is_repeated_for_ever_is_told_apart_at_once() -> None:
    [item] = Items(iter([b"[{" + b",".join([b'"same":1'] * 50_000) + b"}]"]))
    assert isinstance(item, Item)
    assert len(item.value) == 50_000
    assert "same (50000)" in item.value
