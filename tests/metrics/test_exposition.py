"""Reading what a target tells: again and again, and whatever it says."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend_client.scraping import catalog, exposition, lines
from backend_client.scraping.exposition import Exposition, Reader
from backend_client.scraping.lines import MAX_LINE, sample_of, samples_of
from tests.metrics.pages import SAMPLES, VllmPage

KINDS = ("vllm", "dcgm", "llamacpp", "node")


def told(found: Exposition) -> dict[tuple[str, frozenset[tuple[str, str]]], str]:
    """Everything that was read, comparable even where it is NaN."""
    pairs = zip(found.layout.series, found.values, strict=True)
    return {(series.name, frozenset(series.labels.items())): repr(value) for series, value in pairs}


def one_by_one(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], str]:
    """The same, by reading each line with nothing remembered."""
    read = [sample_of(line) for line in text.split("\n") if line and not line.startswith("#")]
    return {(each[0], frozenset(each[1].items())): repr(each[2]) for each in reversed(read) if each}


def sample(kind: str) -> bytes:
    return (SAMPLES / f"{kind}.prom").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_reads_the_same_the_first_time_and_again(kind: str) -> None:
    body, reader = sample(kind), Reader()
    first = reader.read_now(body)
    assert told(first) == one_by_one(body.decode())
    again = reader.read_now(body)
    assert told(again) == told(first)
    assert again.layout is first.layout
    assert not first.dropped and not again.dropped


def test_other_numbers_are_seen_without_parsing_anything_again(monkeypatch: pytest.MonkeyPatch) -> None:
    page, dice, reader = VllmPage(engines=2), random.Random(3), Reader(catalog.names("vllm"))  # noqa: S311
    page.work(dice)
    first = reader.read_now(page.text())
    monkeypatch.setattr(exposition, "samples_of", lambda lines: pytest.fail(f"{len(lines)} lines were parsed"))
    page.work(dice)
    again = reader.read_now(page.text())
    assert again.layout is first.layout and list(again.values) != list(first.values)
    wanted = {key: value for key, value in one_by_one(page.text().decode()).items() if key[0] in catalog.names("vllm")}
    assert told(again) == wanted


def test_a_series_that_comes_and_one_that_goes() -> None:
    reader = Reader()
    first = reader.read_now(b'a{x="1"} 1\nb 2\n')
    second = reader.read_now(b'a{x="1"} 3\nc 4\n')
    assert told(second) == one_by_one('a{x="1"} 3\nc 4\n')
    assert second.layout is not first.layout
    assert second.layout.series[0] is first.layout.series[0], "what stays is the same object"


def test_what_is_swapped_keeps_its_values_apart() -> None:
    reader = Reader({"a", "b"})
    reader.read_now(b"# TYPE a gauge\na 1\n# TYPE b gauge\nb 2\n# TYPE c gauge\nc 3\n")
    assert told(reader.read_now(b"# TYPE b gauge\nb 5\n# TYPE a gauge\na 4\n# TYPE c gauge\nc 3\n")) == one_by_one(
        "a 4\nb 5"
    )


def test_a_wanted_series_in_the_place_of_another_is_seen() -> None:
    reader = Reader({"a"})
    assert told(reader.read_now(b"z 1\na 2\n")) == one_by_one("a 2")
    assert told(reader.read_now(b'a{n="1"} 1\na 2\n')) == one_by_one('a{n="1"} 1\na 2')


@pytest.mark.parametrize(
    "line",
    [
        "a 5 5",
        "a 5 1700000000000",
        'a_bucket{le="+Inf"} 6 # {trace_id="x"} 6',
        'a_bucket{le="1"} 6 # {trace_id="x"} 0.1 1.0',
        'a{b="} 9 {,="} 5',
        'a{b="x # y"} 5',
        "a\t2",
        'a { b = "c" , d="e" } -.5e-1',
    ],
)
def test_unusual_lines_are_read_anew_each_time(line: str) -> None:
    reader = Reader()
    assert told(reader.read_now(f"{line}\n".encode())) == one_by_one(line)
    other = line.replace("6", "7").replace("5", "8").replace("2", "3")
    assert told(reader.read_now(f"{other}\n".encode())) == one_by_one(other)
    assert told(reader.read_now(f"{line}\n".encode())) == one_by_one(line)


def test_the_end_of_openmetrics_needs_no_newline() -> None:
    found = Reader().read_now(b"# TYPE a counter\na_total 1\n# EOF")
    assert told(found) == one_by_one("a_total 1") and not found.dropped
    assert found.kind_of("a_total") == "counter"


def test_what_is_no_number_is_kept_as_it_is_told() -> None:
    found = Reader().read_now(b"a NaN\nb +Inf\nc -Inf\nd 9223372036854775794\n")
    assert [repr(value) for value in found.values] == ["nan", "inf", "-inf", repr(9223372036854775794.0)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"a 1\na 2\n", exposition.TWICE),
        (b'a{x="1",y="2"} 1\na{y="2",x="1"} 2\n', exposition.TWICE),
        (b"a 1\nb = 2\n", exposition.UNREADABLE),
        (b"a 1\nb 1_0\n", exposition.UNREADABLE),
        (b"a 1\nb \xd9\xa1\n", exposition.UNREADABLE),
        (b"a 1\nb " + b"9" * 5000 + b"e9x\n", exposition.UNREADABLE),
        (b'a 1\nb{c="' + b"x" * MAX_LINE + b'"} 1\n', exposition.TOO_LONG),
        (b"a 1\nb{" + b",".join(b'l%d="v"' % n for n in range(200)) + b"} 1\n", exposition.TOO_MANY_LABELS),
        (b"a 1\nb 12", exposition.UNFINISHED),
    ],
)
def test_what_cannot_be_is_left_out_and_said_each_time(body: bytes, reason: str) -> None:
    reader = Reader()
    for _ in range(3):
        found = reader.read_now(body)
        assert [(series.name, value) for series, value in zip(found.layout.series, found.values, strict=True)][:1] == [
            ("a", 1.0)
        ]
        assert found.dropped == {reason: 1}


def test_too_many_series_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "MAX_SERIES", 100)
    body, reader = b"".join(b'a{n="%d"} 1\n' % n for n in range(105)), Reader()
    for _ in range(2):
        found = reader.read_now(body)
        assert len(found.values) == 100 and found.dropped == {exposition.TOO_MANY: 5}


def test_of_a_large_page_a_part_is_new_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "MAX_NEW", 40)
    body, reader = b"".join(b'a{n="%d"} 1\n' % n for n in range(100)), Reader()
    assert [len(reader.read_now(body).values) for _ in range(4)] == [40, 80, 100, 100]
    assert not reader.read_now(body).dropped


def test_a_page_that_goes_on_is_read_as_far_as_it_was_fetched() -> None:
    found = Reader().read_now(b"a 1\nb 2\nc 3", cut=True)
    assert told(found) == one_by_one("a 1\nb 2") and found.dropped == {exposition.CUT: 1}
    assert Reader().read_now(b"\n" * (exposition.MAX_LINES + 9) + b"a 1\n").dropped == {exposition.CUT: 1}


async def test_a_large_first_page_leaves_the_loop_to_others() -> None:
    page = VllmPage(engines=8)
    body, turns = page.text(), 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    found = await Reader().read(body)
    beside.cancel()
    assert len(found.values) > 2000
    assert turns > 5


HOSTILE: Mapping[str, bytes] = {
    "quotes": b'a{b="' + b'\\"' * 8000 + b'"} 1\n',
    "braces": b"a{" * 8000 + b"\n",
    "labels": (b"a{" + b'b="c",' * 100 + b"x\n") * 200,
    "spaces": (b"a" + b" " * 16_000 + b"\n") * 100,
    "commas": b"a{" + b"," * 16_000 + b"} 1\n",
    "no end": b'a{b="' + b"\\" * (1 << 20),
    "newlines": b"\n" * (1 << 20),
    "comments": b"# TYPE a gauge\n" * 50_000,
    "zeros": b"\0" * (1 << 20) + b"\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_step_takes_long(name: str) -> None:
    steps = Reader()._steps(HOSTILE[name], False)
    longest, done = 0.0, False
    while not done:
        began = time.thread_time()
        done = next(steps, "done") == "done"
        longest = max(longest, time.thread_time() - began)
    assert longest < 0.1


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=3))
def test_no_bytes_raise(bodies: list[bytes]) -> None:
    reader = Reader()
    for body in bodies:
        reader.read_now(body + b"\n")


words = ["a", "b_total", "{", "}", 'x="y"', '"', "\\", ",", "1", "2e9", "NaN", "#", "_"]
pieces = st.sampled_from([*words, " ", "\n", "# TYPE a counter\n"])


@settings(max_examples=50)
@given(st.lists(st.lists(pieces, max_size=30), min_size=2, max_size=4))
def test_what_was_read_before_changes_nothing(texts: list[list[str]]) -> None:
    reader = Reader()
    for text in texts:
        body = "".join((*text, "\n")).encode()
        assert told(reader.read_now(body)) == told(Reader().read_now(body))


names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9]{0,5}", fullmatch=True)
labels = st.dictionaries(names, st.text(st.characters(codec="ascii"), max_size=8), max_size=3)


@settings(max_examples=50)
@given(st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,9}", fullmatch=True), labels, st.floats())
def test_the_library_and_our_own_expression_agree(name: str, labels: dict[str, str], value: float) -> None:
    escaped = {k: v.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for k, v in labels.items()}
    shown = ",".join(f'{key}="{text}"' for key, text in escaped.items())
    number = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(repr(value), repr(value))
    (read,) = samples_of([f"{name}{{{shown}}} {number}"])
    ours = sample_of(f"{name}{{{shown}}} {number}")
    assert read is not None and ours is not None
    assert (read[0], dict(read[1])) == (ours[0], dict(ours[1])) == (name, labels)
    assert read[2] == ours[2] or (math.isnan(read[2]) and math.isnan(ours[2]))


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_library_the_same_is_read(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_it = told(Reader().read_now(sample(kind)))
    monkeypatch.setattr(lines, "_parser", lambda: None)
    assert told(Reader().read_now(sample(kind))) == with_it != {}
