"""No provider ever sees the key of another, and no text shows any of them."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from html import escape
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_client import ApiKey, BackendClient, Call, NoAuth, Secret
from backend_client.auth import Auth, Bearer
from backend_client.errors import excerpt
from backend_client.happenings import Happening
from backend_client.tokens import OAuthTokens, Tokens
from backend_client.types import Kind
from tests.backend_client.support import ASK, collect, in_virtual_time, text_of
from tests.backend_client.test_failover import Hosts, client_of, named, virtual
from tests.scripted import JSON, ScriptedReply, chat, delta, refusal, sse


class Shelf:
    """Keeps tokens in memory."""

    def __init__(self) -> None:
        self.kept: Tokens | None = Tokens(Secret("access-number-0000"), Secret("refresh-number-0000"), 0.0, None)

    async def load(self, provider: str) -> Tokens | None:
        return self.kept

    async def save(self, provider: str, tokens: Tokens) -> None:
        self.kept = tokens

    async def drop(self, provider: str) -> None:
        self.kept = None

    @asynccontextmanager
    async def lock(self, provider: str) -> AsyncIterator[None]:
        yield


@dataclass
class Mint:
    """Renews tokens; each has a number."""

    number: int = 0

    async def renew(self, old: Tokens) -> Tokens:
        self.number += 1
        return Tokens(Secret(f"access-number-{self.number:04}"), Secret(f"refresh-number-{self.number:04}"), 0.0, None)


KEYS = {"a": "sk-aaaaaaaaaaaaaaaa", "b": "access-number-", "c": "", "d": "sk-dddddddddddddddd"}


def proofs() -> dict[str, Auth]:
    return {
        "a": ApiKey(Secret(KEYS["a"])),
        "b": Bearer(OAuthTokens("b", Shelf(), Mint().renew)),
        "c": NoAuth(),
        "d": ApiKey(Secret(KEYS["d"])),
    }


def quoted(call: Call) -> str:
    return json.dumps([call.url, dict(call.headers), (call.body or b"").decode()])


failures = st.sampled_from(
    [
        refusal(503),
        refusal(401),
        refusal(403),
        refusal(404),
        ScriptedReply(status=307, headers={"location": "http://d.test/v1/chat/completions"}),
        ScriptedReply(status=302, headers={"location": "http://a.test/steal"}),
        ScriptedReply((sse({"error": {"message": "no", "code": 503}}),)),
        ScriptedReply((b"<html>",), headers={"content-type": "text/html"}),
        ScriptedReply((b"{}",), headers=JSON),
    ]
)
kinds = st.sampled_from(["openai", "vllm", "llamacpp", "openrouter"])


@given(st.lists(failures, min_size=4, max_size=4), st.permutations("abcd"), st.lists(kinds, min_size=4, max_size=4))
def test_each_provider_gets_its_own_proof_and_no_other(
    first: list[ScriptedReply], order: list[str], spoken: list[Kind]
) -> None:
    async def run() -> None:
        auth = proofs()
        firsts = zip("abcd", first, strict=True)
        hosts = Hosts(**{name: [reply, *[refusal(503)] * 8, chat("end")] for name, reply in firsts})
        providers = [named(name, auth=auth[name], kind=kind) for name, kind in zip(order, spoken, strict=True)]
        client = client_of(hosts, *providers)
        for _ in range(2):
            await collect(client.stream(ASK))
        for name, transport in hosts.by_name.items():
            for call in transport.calls:
                assert call.url == f"http://{name}.test/v1/chat/completions"
                proof = call.headers.get("authorization", "")
                assert proof.startswith(f"Bearer {KEYS[name]}") if KEYS[name] else not proof
                others = [key for other, key in KEYS.items() if other != name and key]
                assert not any(key in quoted(call) for key in others)
                assert ("x-openrouter-title" in call.headers) is (spoken[order.index(name)] == "openrouter")

    in_virtual_time(run)


class Echo:
    """A transport whose server tells the world every token it was ever sent."""

    def __init__(self, statuses: list[int]) -> None:
        self.statuses, self.seen = statuses, list[str]()

    async def open(self, call: Call) -> ScriptedReply:
        self.seen.append(call.headers.get("authorization", ""))
        told = " ".join(self.seen)
        status = self.statuses.pop(0) if self.statuses else 500
        return await Hosts(x=[refusal(status, f"you sent {told}")]).by_name["x"].open(call)  # type: ignore[return-value]

    async def aclose(self) -> None:
        """Nothing is open."""


async def test_tokens_that_were_renewed_in_between_are_masked_everywhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[Happening] = []
    mint, shelf = Mint(), Shelf()
    source = OAuthTokens("x", shelf, mint.renew, hook=told.append)
    texts: list[str] = []
    transport = Echo([401, 500, 500, 500, 500])
    client = BackendClient(
        [named("x", auth=Bearer(source), max_attempts=5)],
        transport=transport,  # type: ignore[arg-type]
        rng=random.Random(1),  # noqa: S311
        sleep=lambda _: asyncio.sleep(0),
        hook=told.append,
    )
    for _ in range(4):
        source.forget()  # as after a sign-in: the next refusal is answered with another renewal
        transport.statuses[:] = [401, 500, 500, 500, 500]
        _, error = await collect(client.stream(ASK))
        assert error is not None
        texts += [repr(error), str(error), error.hint, str(error.args), repr(error.__cause__), repr(error.__context__)]
    assert mint.number == 4
    texts += [repr(told), repr(client.breakers()), repr(client.explain()), repr(source), caplog.text]
    assert "you sent Bearer" in repr(told)
    for text in texts:
        assert "access-number" not in text
        assert "refresh-number" not in text


KEY = "sk-0123456789abcdefghijklmnopqrstuvwxyz"


@given(
    st.integers(0, 70_000) | st.integers(24_500, 24_700) | st.integers(8_100, 8_300) | st.integers(65_490, 65_550),
    st.sampled_from([" ", "\x00", "\n", "x", KEY]),
    st.booleans(),
    st.sampled_from([80, 120, 300]),
)
def test_no_cut_leaves_a_part_of_a_key(padding: int, filler: str, as_bytes: bool, limit: int) -> None:
    text = filler * (padding // len(filler)) + KEY + "tail"
    raw: str | bytes = text.encode()[: 64 << 10] if as_bytes else text
    assert KEY[:8] not in excerpt(raw, Secret(KEY).redact, limit)


@pytest.mark.parametrize("padding", [0, 250, 270, 290, 4060, 4090, 65_500])
@pytest.mark.parametrize("filler", [" ", "x"])
def test_a_server_that_is_not_ready_shows_no_part_of_a_key(padding: int, filler: str) -> None:
    async def run() -> None:
        page = ScriptedReply(((filler * padding + KEY).encode(),), status=503, headers={"content-type": "text/plain"})
        hosts = Hosts(a=[])
        hosts.by_name["a"].pages["/health"] = page
        client = client_of(hosts, named("a", auth=ApiKey(Secret(KEY))))
        health = await client.health("a")
        assert (health.ok, KEY[:8] in health.detail) == (False, False)

    in_virtual_time(run)


@virtual
async def test_an_endless_line_shows_no_part_of_a_key() -> None:
    for padding in (2030, 8170, 24_550, 49_130):
        line = b"data: " + b" " * padding + KEY.encode()
        pieces = (line[: padding + 30], line[padding + 30 :], b" " * (2 << 20))
        client = client_of(Hosts(a=[ScriptedReply(pieces)]), named("a", auth=ApiKey(Secret(KEY)), max_attempts=1))
        _, error = await collect(client.stream(ASK))
        assert error is not None
        assert KEY[:8] not in str(error)


@virtual
async def test_odd_names_reach_the_wire_as_nothing_but_json() -> None:
    """Line breaks, escape sequences and letters of all scripts in names, models, regions and ids."""
    odd = "a\r\nX-Evil: 1\x1b[2J\u202e\U0001f600"
    hosts = Hosts(a=[chat("hi")])
    provider = replace(named("a", region=odd, models=frozenset({odd})), name=odd)
    client = client_of(hosts, provider)
    request = replace(
        ASK, model=odd, request_id=odd, traceparent=odd, idempotency_key=odd, flow=odd, reasoning_effort=None
    )
    chunks, error = await collect(client.stream(request))
    assert (text_of(chunks), error) == ("hi", None)
    (call,) = hosts.by_name["a"].calls
    for name, value in call.headers.items():
        assert name.isascii()
        assert value.isascii()
        assert value.isprintable()
        assert "Evil" not in name
    assert json.loads(call.body or b"")["model"] == odd
    assert "traceparent" not in call.headers
    assert "idempotency-key" not in call.headers
    _, error = await collect(client.stream(replace(request, tools=(), reasoning_effort=odd)))
    assert error is not None
    assert str(error).removeprefix(f"{odd}: ").isprintable()


@virtual
async def test_a_stream_that_only_thinks_or_calls_a_tool_stays_where_it_is() -> None:
    call = [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}]
    for first in (delta(reasoning="hm"), delta(reasoning_content="hm"), delta(tool_calls=call)):
        for end in (refusal(500), None):
            cut = ScriptedReply((first, sse({"error": {"message": "gone", "code": 503}})) if end else (first,))
            hosts = Hosts(a=[cut], b=[chat("other")])
            chunks, error = await collect(client_of(hosts).stream(ASK))
            assert hosts.order == ["a"]
            assert text_of(chunks) == ""
            assert error is None or not error.retryable


@given(st.text("abcXYZ019+/=&<>'\"~% -_.\\\\", min_size=8, max_size=40).filter(lambda key: len(key.strip()) >= 8))
def test_a_key_is_masked_however_it_is_written(key: str) -> None:
    bare = key.strip()
    for written in (
        key,
        quote(bare),
        quote(bare, safe=""),
        quote_plus(bare),
        escape(bare),
        json.dumps(bare),
        json.dumps(bare).replace("/", "\\/"),
    ):
        assert bare not in Secret(key).redact(f"you sent {written} !")
        assert written.strip('"') not in Secret(key).redact(f"you sent {written} !")
