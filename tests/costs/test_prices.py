"""The list of prices: what fits, what comes first, what is wrong with a file; and who says what an answer cost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_client.auth import NoAuth
from backend_client.types import Endpoint, Price, Provider, StaticEndpoint, UsageChunk
from sophia_core.costs.price_file import parse
from sophia_core.costs.prices import SHIPPED, Prices

OPENAI = "https://api.openai.com/v1"
SOURCE = StaticEndpoint(Endpoint("http://localhost/v1", "m", NoAuth()))


def own(tmp_path: Path, text: str) -> Prices:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    return Prices(path)


def test_every_shipped_price_is_sound_and_says_when_and_where_it_was_read() -> None:
    file = parse(SHIPPED.read_bytes(), "prices.toml")
    assert not file.problems and file.entries
    for each in file.entries:
        assert each.date and each.source.startswith("https://"), each.model
        assert each.cached is None or each.cached <= each.prompt <= each.completion, each.model
        assert each.host != "*", "a model of this name on a server of one's own has no list price"


def test_a_dated_snapshot_costs_what_its_model_does(tmp_path: Path) -> None:
    prices = Prices(tmp_path / "none.toml")
    found = prices.at(OPENAI)("gpt-4o-mini-2024-07-18")
    assert found is not None
    assert found == prices.at(OPENAI)("gpt-4o-mini")
    assert found.known == "table 2026-05"
    assert prices.at(OPENAI)("gpt-4o-minimal") is None


def test_a_model_of_the_same_name_elsewhere_has_no_list_price(tmp_path: Path) -> None:
    assert Prices(tmp_path / "none.toml").at("http://gh200:8000/v1")("gpt-4o") is None


def test_ones_own_file_comes_first_and_is_read_again_when_it_changes(tmp_path: Path) -> None:
    prices = own(tmp_path, '[[price]]\nmodel = "gpt-4o"\nprompt = 1\ncompletion = 2\ndate = "2026-11"\n')
    assert prices.at(OPENAI)("gpt-4o") == Price(1.0, 2.0, None, "own table 2026-11")
    prices.path.write_text('[[price]]\nmodel = "*"\nprompt = 7\ncompletion = 9\n')
    os.utime(prices.path, ns=(1, 1))
    assert prices.at("http://gh200/v1")("anything") == Price(7.0, 9.0, None, "own table")


def test_a_wrong_price_is_left_out_and_named_with_its_line(tmp_path: Path) -> None:
    text = '[[price]]\nmodel = "a"\nprompt = -1\ncompletion = 2\n\n[[price]]\nmodel = "b"\nprompt = 1\ncompletion = 2\n'
    prices = own(tmp_path, text)
    assert next(iter(prices.rows())).model == "b"
    (problem,) = prices.problems
    assert problem.where.endswith("prices.toml:3")
    assert "'prompt'" in problem.message


@given(st.binary(max_size=200))
def test_no_content_of_a_file_breaks_anything(content: bytes) -> None:
    parse(content, "prices.toml")


@pytest.mark.parametrize(
    ("provider", "told", "cost", "known"),
    [
        (Provider("p", SOURCE, price_prompt=1, price_completion=2, listed=lambda m: Price(9, 9)), 0.5, 0.5, "reported"),
        (
            Provider("p", SOURCE, price_prompt=1, price_completion=2, listed=lambda m: Price(9, 9)),
            None,
            3.0,
            "configured",
        ),
        (Provider("p", SOURCE, price_prompt=1, price_completion=2, price_cached=0.5), None, 2.75, "configured"),
        (Provider("p", SOURCE, listed=lambda m: Price(4, 5, None, "table 2026-05")), None, 9.0, "table 2026-05"),
        (Provider("p", SOURCE, listed=lambda m: None), None, None, ""),
        (Provider("p", SOURCE, price_prompt=1, listed=lambda m: Price(4, 5)), None, None, ""),
    ],
)
def test_the_server_is_believed_first_then_the_settings_then_the_list(
    provider: Provider, told: float | None, cost: float | None, known: str
) -> None:
    usage = UsageChunk(1_000_000, 1_000_000, None, 500_000, told, "reported" if told else "")
    priced = provider.priced(usage, "m")
    assert (priced.cost_usd, priced.cost_known) == (cost, known)
