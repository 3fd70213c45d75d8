"""From settings to providers."""

from __future__ import annotations

import asyncio

import pytest

from backend_client import Endpoint, ModelCard, NoAuth, Provider, StaticEndpoint, Unreachable
from backend_client.errors import NotFound
from sophia_core.providers import Introduced, build_providers
from sophia_core.settings import ProviderSettings, RoutingSettings, Settings

LOCAL = Endpoint("http://127.0.0.1:8000/v1", None, NoAuth())
CARD = ModelCard("llama", 32768, kind="vllm")


async def one_model(name: str, endpoint: Endpoint) -> list[ModelCard]:
    return [CARD]


async def nobody(name: str, endpoint: Endpoint) -> list[ModelCard]:
    raise Unreachable("nothing answers")


def built(*entries: ProviderSettings, embedded: bool = True, **settings: object) -> list[Provider]:
    source = StaticEndpoint(LOCAL) if embedded else None
    return build_providers(Settings(providers=entries, **settings), {}, source, one_model)  # type: ignore[arg-type]


def entry(name: str, url: str = "http://10.0.0.1:8000/v1", **more: object) -> ProviderSettings:
    return ProviderSettings(name=name, base_url=url, **more)


def test_servers_come_first_then_those_that_cost_money_then_this_machine() -> None:
    found = built(entry("router", "https://openrouter.ai/api/v1"), entry("gh200-a"), entry("gh200-b"))
    assert [(each.name, each.tier, each.paid) for each in found] == [
        ("router", 1, True),
        ("gh200-a", 0, False),
        ("gh200-b", 0, False),
        ("embedded", 2, False),
    ]
    assert found[0].kind == "openrouter"


def test_one_chosen_by_name_goes_before_all() -> None:
    found = built(entry("a"), entry("b"), provider="b")
    assert [(each.name, each.tier) for each in found] == [("b", -1), ("a", 0), ("embedded", 2)]
    found = built(entry("a"), provider="embedded")
    assert [(each.name, each.tier) for each in found] == [("embedded", -1), ("a", 0)]


def test_the_machine_itself_can_be_left_out_but_not_when_it_is_all_there_is() -> None:
    off = RoutingSettings(embedded_fallback=False)
    assert [each.name for each in built(entry("a"), routing=off)] == ["a"]
    assert [each.name for each in built(routing=off)] == ["embedded"]


def test_prices_mean_that_it_costs_money_unless_it_is_said_otherwise() -> None:
    assert built(entry("a", price_completion=2.0))[0].paid
    assert not built(entry("a", price_completion=2.0, paid=False))[0].paid


def test_where_everything_is_said_nothing_is_asked() -> None:
    whole = built(entry("a", kind="vllm", model="m", context_window=4096))[0]
    assert isinstance(whole.source, StaticEndpoint)
    assert isinstance(built(entry("a", model="m"))[0].source, Introduced)


async def test_a_server_tells_what_it_is() -> None:
    source = Introduced("a", LOCAL, one_model)
    ready = await source.ready()
    assert (ready.model, ready.kind, ready.context_window) == ("llama", "vllm", 32768)


async def test_a_named_model_is_asked_for_even_if_the_server_does_not_tell() -> None:
    named = Endpoint(LOCAL.base_url, "mine", NoAuth())
    for tell in (nobody, one_model):
        ready = await Introduced("a", named, tell).ready()
        assert (ready.model, ready.kind) == ("mine", None)


async def test_a_server_that_hangs_when_it_is_asked_holds_nothing_up() -> None:
    asked = 0

    async def hangs(name: str, endpoint: Endpoint) -> list[ModelCard]:
        nonlocal asked
        asked += 1
        raise TimeoutError

    source = Introduced("a", Endpoint(LOCAL.base_url, "mine", NoAuth()), hangs)
    await asyncio.gather(source.ready(), source.ready())
    await source.ready()
    assert asked <= 2


async def test_without_a_model_somebody_has_to_offer_one() -> None:
    async def none(name: str, endpoint: Endpoint) -> list[ModelCard]:
        return []

    with pytest.raises(NotFound):
        await Introduced("a", LOCAL, none).ready()
    with pytest.raises(Unreachable):
        await Introduced("a", LOCAL, nobody).ready()
