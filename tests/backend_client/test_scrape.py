"""Prometheus' text format, as servers write it and as nobody should."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_client.fleet import Load
from backend_client.scrape import MAX_BODY, MAX_SAMPLES, load_of, parse, tells_load
from backend_client.scraping.lines import MAX_LINE
from backend_client.types import Kind

VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="org/model"} 3.0
vllm:num_requests_running{engine="1",model_name="org/model"} 4.0
vllm:num_requests_running{engine="0",model_name="other"} 100.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="org/model"} 1.0
vllm:num_requests_waiting{engine="1",model_name="org/model"} 1.5e+01
vllm:num_requests_waiting{engine="0",model_name="other"} 200.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="org/model",reason="capacity"} 1000.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="org/model"} 7.0 # {trace_id="a"} 0.5 1.7e9
"""
LLAMACPP = """\
# HELP llamacpp:requests_processing Number of requests processing.
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 2
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 5
"""

names = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,20}", fullmatch=True)
label_names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,10}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.floats(width=64)


def rendered(samples: list[tuple[str, dict[str, str], float]]) -> str:
    """An exposition as a server writes it."""
    lines = []
    for name, labels, value in samples:
        escaped = {
            key: text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for key, text in labels.items()
        }
        shown = ",".join(f'{key}="{text}"' for key, text in escaped.items())
        number = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(repr(value), repr(value))
        lines.append(f"{name}{{{shown}}} {number}\n" if shown else f"{name} {number}\n")
    return "".join(lines)


@given(st.lists(st.tuples(names, st.dictionaries(label_names, texts, max_size=4), values), max_size=12))
def test_what_is_written_is_read_again(samples: list[tuple[str, dict[str, str], float]]) -> None:
    wanted: dict[str, list[tuple[dict[str, str], str]]] = {}
    for name, labels, value in samples:
        wanted.setdefault(name, []).append((labels, repr(value)))
    read = parse(rendered(samples).encode())
    assert {name: [(labels, repr(value)) for labels, value in found] for name, found in read.items()} == wanted


@given(st.binary(max_size=400))
def test_no_bytes_raise(body: bytes) -> None:
    for kind in ("vllm", "llamacpp", "openai"):
        load_of(kind, body + b"\n")
    parse(body)


@given(
    st.lists(st.sampled_from(["vllm:num_requests_waiting", "{", "}", '"', "\\", "=", ",", " ", "1", "e9", "\n", "NaN"]))
)
def test_no_bytes_that_look_like_it_raise(pieces: list[str]) -> None:
    load = load_of("vllm", "".join(pieces) + "\n")
    assert load is None or (math.isfinite(load.waiting) and load.waiting >= 0 and load.running == 0)


@pytest.mark.parametrize(
    ("line", "labels", "value"),
    [
        ("a 1", {}, 1.0),
        ("a{} 1", {}, 1.0),
        ("a 1 1700000000000", {}, 1.0),
        ("  a\t2\r", {}, 2.0),
        ('a{b="c",} 3', {"b": "c"}, 3.0),
        ('a { b = "c" , d="e" } -.5e-1', {"b": "c", "d": "e"}, -0.05),
        (r'a{b="\\\"\n\x"} 4', {"b": '\\"\n\\x'}, 4.0),
        ('a{b="} 9 {,="} 5', {"b": "} 9 {,="}, 5.0),
        ('a_bucket{le="+Inf"} 6 # {trace_id="x"} 0.1 1.0', {"le": "+Inf"}, 6.0),
        ("a +Inf", {}, math.inf),
        ("a 1e999", {}, math.inf),
    ],
)
def test_a_line(line: str, labels: dict[str, str], value: float) -> None:
    assert list(parse(line + "\n").values()) == [[(labels, value)]]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "a",
        "a b",
        "1 1",
        "a 1_0",
        "a 0x10",
        "a ١",
        "a{b=c} 1",
        'a{b="c} 1',
        'a{b="c" d="e"} 1',
        'a{b="c"',
        "a 1 2 3",
    ],
)
def test_a_line_that_makes_no_sense_is_left_out(line: str) -> None:
    assert parse(f"{line}\ngood 1\n") == {"good": [({}, 1.0)]}


def test_a_last_line_that_may_have_been_cut_is_left_out() -> None:
    assert parse("a 1\nb 12") == {"a": [({}, 1.0)]}


def test_size_and_time_are_bounded() -> None:
    label = 'b="c",'
    hostile = [
        "a 1\n" * (MAX_SAMPLES + 10),
        "a{" + label * 2000 + "} 1\n",
        ("a{" + label * (MAX_LINE // len(label) - 2) + "x\n") * 200,
        ("a" + " " * 16_000 + "\n") * 200,
        'a{b="' + "\\" * (MAX_BODY + 100),
        "\n" * MAX_BODY,
    ]
    for text in hostile:
        started = time.process_time()
        found = parse(text)
        assert sum(map(len, found.values())) <= MAX_SAMPLES
        assert time.process_time() - started < 5
    assert parse(f'a{{b="{"c" * MAX_LINE}"}} 1\nd 1\n') == {"d": [({}, 1.0)]}
    assert parse("\n" * MAX_BODY + "a 1\n") == {}


def test_the_load_of_vllm_is_that_of_all_engines_of_the_model() -> None:
    assert load_of("vllm", VLLM.encode(), model="org/model", at=3.0) == Load(16.0, 7.0, 3.0)


def test_a_model_that_goes_by_another_name_there_has_the_load_of_all() -> None:
    assert load_of("vllm", VLLM, model="an-adapter") == Load(216.0, 107.0, 0.0)
    assert load_of("vllm", VLLM) == Load(216.0, 107.0, 0.0)


def test_the_load_of_llamacpp() -> None:
    assert load_of("llamacpp", LLAMACPP, model="any") == Load(5.0, 2.0, 0.0)


@pytest.mark.parametrize(("kind", "text"), [("vllm", LLAMACPP), ("llamacpp", VLLM), ("openrouter", VLLM), ("vllm", "")])
def test_a_server_that_does_not_say(kind: Kind, text: str) -> None:
    assert load_of(kind, text) is None


def test_one_of_the_two_numbers_is_enough() -> None:
    assert load_of("llamacpp", "llamacpp:requests_processing 2\n") == Load(0.0, 2.0, 0.0)


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "1e300"])
def test_numbers_that_cannot_be_are_not_believed(value: str) -> None:
    assert load_of("llamacpp", f"llamacpp:requests_deferred {value}\nllamacpp:requests_processing 1\n") == Load(0, 1, 0)


def test_who_tells_its_load() -> None:
    kinds: tuple[Kind, ...] = ("openai", "vllm", "llamacpp", "openrouter")
    assert [kind for kind in kinds if tells_load(kind)] == ["vllm", "llamacpp"]
