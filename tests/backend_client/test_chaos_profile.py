"""Rehearsed faults: the profile that orders them, and the transport that plays them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from backend_client import BackendError, Call, HttpTransport, Reply, TimedOut, Timeouts, Unreachable
from backend_client.chaos import ChaosProfile, ChaosTransport, Fault, load_profile, parse_profile
from backend_client.wire import StreamDecoder
from tests.backend_client.essays import essay_text
from tests.backend_client.support import ASK, collect, open_client, provider, text_of
from tests.contract_server import TEXT, ContractServer

EXAMPLE = Path(__file__).parents[2] / "docs" / "chaos.md"


@pytest.fixture
async def server() -> AsyncIterator[ContractServer]:
    async with ContractServer() as running:
        yield running


def call(host: str = "gh200-a:8000", name: str = "gh200-a", *, stream: bool = True) -> Call:
    headers = {"accept": "text/event-stream" if stream else "application/json"}
    return Call("POST" if stream else "GET", f"http://{host}/v1/x", headers, None, Timeouts(total=9), name)


class Nothing:
    """A transport that must not be asked."""

    async def open(self, call: Call) -> Reply:
        raise AssertionError("the request went through")

    async def aclose(self) -> None:
        pass


def rehearsal(*faults: Fault, clock: Callable[[], float] = lambda: 0.0, seed: int = 1) -> ChaosTransport:
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    return ChaosTransport(Nothing(), ChaosProfile(seed, faults), clock=clock, sleep=sleep)


# -- the profile


def test_a_profile_is_read() -> None:
    profile = parse_profile(
        """
        seed = 7
        [[fault]]
        provider = "gh200-*"
        kind = "status:429"
        retry_after_s = 2
        probability = 0.25
        from_s = 10
        every_s = 60
        for_s = 20
        [[fault]]
        host = "*.example"
        kind = "slow"
        delay_s = 1.5
        until_s = 30
        """
    )
    assert profile == ChaosProfile(
        7,
        (
            Fault("status", "gh200-*", "*", 0.25, 10.0, every_s=60.0, for_s=20.0, status=429, retry_after_s=2.0),
            Fault("slow", host="*.example", until_s=30.0, delay_s=1.5),
        ),
    )


def test_an_empty_profile_has_no_faults() -> None:
    assert parse_profile("") == ChaosProfile()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed = ", "it is no TOML"),
        ("seed = 'x'", "seed has to be a whole number, not 'x'"),
        ("sed = 1", "'sed' at the top is not known; there are seed, fault"),
        ("fault = 1", "under its own [[fault]]"),
        ("[[fault]]", "fault 1 needs a kind: one of refuse, hang"),
        ("[[fault]]\nkind = 'refuse'\n[[fault]]\nkind = 'melt'", "fault 2 is of the kind 'melt', which is not known"),
        ("[[fault]]\nkind = 'status'", "status:503 (or any other from 400 to 599)"),
        ("[[fault]]\nkind = 'status:200'", "'status:200', which is not known"),
        ("[[fault]]\nkind = 'status:٥٠٣'", "which is not known"),
        ("[[fault]]\nkind = 'refuse'\nhots = 'a'", "'hots' in fault 1 is not known"),
        ("[[fault]]\nkind = 'refuse'\nhost = ''", "host in fault 1 has to be a pattern like 'gh200-*'"),
        ("[[fault]]\nkind = 'refuse'\nprobability = 1.5", "probability in fault 1 is between 0 and 1, not 1.5"),
        ("[[fault]]\nkind = 'refuse'\nprobability = true", "has to be a number"),
        ("[[fault]]\nkind = 'slow'\ndelay_s = nan", "not below 0, not nan"),
        ("[[fault]]\nkind = 'refuse'\nfrom_s = -1", "not below 0, not -1"),
        ("[[fault]]\nkind = 'refuse'\nfrom_s = 5\nuntil_s = 5", "until_s in fault 1 has to be after from_s"),
        ("[[fault]]\nkind = 'refuse'\nevery_s = 5", "every_s and for_s in fault 1 go together"),
        ("[[fault]]\nkind = 'refuse'\nevery_s = 5\nfor_s = 6", "for_s is the shorter one"),
    ],
)
def test_what_is_wrong_with_a_profile_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match="bad") as raised:
        load_profile(file)
    assert words in str(raised.value)


def test_a_profile_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        load_profile(tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="not UTF-8"):
        load_profile(tmp_path / "b.toml")
    (tmp_path / "c.toml").write_bytes(b"#" * (300 << 10))
    with pytest.raises(ValueError, match="larger than 256 KiB"):
        load_profile(tmp_path / "c.toml")


def test_the_example_in_the_documentation_is_right() -> None:
    text = EXAMPLE.read_text().split("```toml\n")[1].split("```")[0]
    assert {fault.kind for fault in parse_profile(text).faults} >= {"refuse", "truncate", "status"}


# -- whom it strikes, and when


def test_faults_are_on_in_their_time_only() -> None:
    fault = Fault("refuse", from_s=10, until_s=100, every_s=30, for_s=5)
    assert [at for at in range(0, 120, 5) if fault.is_on(at)] == [10, 40, 70]


@pytest.mark.parametrize(
    ("fault", "strikes"),
    [
        (Fault("refuse", "gh200-*"), True),
        (Fault("refuse", "openrouter"), False),
        (Fault("refuse", host="gh200-?"), True),
        (Fault("refuse", host="GH200-a:8000"), True),
        (Fault("refuse", host="*:9000"), False),
        (Fault("refuse", probability=0.0), False),
        (Fault("refuse", from_s=1), False),
    ],
)
async def test_whom_a_fault_is_meant_for(fault: Fault, strikes: bool) -> None:
    assert (rehearsal(fault).strikes(call()) is fault) is strikes


async def test_the_same_seed_strikes_the_same_requests() -> None:
    def struck(seed: int) -> list[bool]:
        transport = rehearsal(Fault("refuse", probability=0.5), seed=seed)
        return [transport.strikes(call()) is not None for _ in range(64)]

    assert struck(3) == struck(3) != struck(4)


async def test_the_first_fault_that_strikes_counts() -> None:
    first, second = Fault("hang", "other"), Fault("refuse")
    assert rehearsal(first, second).strikes(call()) is second


async def test_time_is_counted_from_the_beginning() -> None:
    now = [1000.0]
    transport = rehearsal(Fault("refuse", from_s=5), clock=lambda: now[0])
    assert transport.strikes(call()) is None
    now[0] += 5
    assert transport.strikes(call()) is not None


# -- what it does


async def test_refusing_never_reaches_the_server() -> None:
    with pytest.raises(Unreachable, match="nothing answers at") as raised:
        await rehearsal(Fault("refuse")).open(call())
    assert str(raised.value) == "nothing answers at http://gh200-a:8000 (rehearsed)"
    assert not raised.value.reached


async def test_hanging_ends_with_the_time_for_all() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    transport = ChaosTransport(Nothing(), ChaosProfile(0, (Fault("hang"),)), sleep=sleep, rng=random.Random(0))  # noqa: S311
    with pytest.raises(TimedOut):
        await transport.open(call())
    assert slept == [9]


async def ask(
    server: ContractServer, fault: Fault, scenario: str = "vllm", timeouts: Timeouts | None = None
) -> tuple[str, BackendError | None]:
    """Return the text and the error of one question with a fault that always strikes."""
    server.fault = scenario
    transport = ChaosTransport(HttpTransport(), ChaosProfile(5, (fault,)))
    await transport.warm()  # importing the library would count against the time to the first token
    async with open_client(provider(server.base_url, "m", timeouts=timeouts, max_attempts=1), transport) as client:
        chunks, error = await collect(client.stream(ASK))
    return text_of(chunks), error


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (Fault("refuse"), "Unreachable"),
        (Fault("reset"), "Unreachable"),
        (Fault("hang"), "TimedOut"),
        (Fault("error_first"), "Overloaded"),
        (Fault("status", status=500), "ServerFailed"),
        (Fault("status", status=401), "AuthenticationFailed"),
        (Fault("status", status=429, retry_after_s=7), "RateLimited"),
    ],
)
async def test_what_the_client_sees_before_the_answer(server: ContractServer, fault: Fault, named: str) -> None:
    text, error = await ask(server, fault, timeouts=Timeouts(first_token=0.1))
    assert (text, type(error).__name__) == ("", named)
    assert error is not None
    assert error.retry_after == fault.retry_after_s


@pytest.mark.parametrize(("kind", "named"), [("truncate", "StreamTruncated"), ("stall", "TimedOut")])
async def test_what_the_client_sees_in_the_middle(server: ContractServer, kind: str, named: str) -> None:
    fault = Fault("truncate" if kind == "truncate" else "stall")
    text, error = await ask(server, fault, "essay:a", Timeouts(first_token=0.5, idle=0.1))
    assert type(error).__name__ == named
    assert essay_text("a", 0).startswith(text)


async def test_slow_is_only_later(server: ContractServer) -> None:
    assert await ask(server, Fault("slow", delay_s=0.01)) == (TEXT, None)


@pytest.mark.parametrize(
    "scenario", ["vllm", "odd_lines", "odd_lines:cr", "one_byte", "llamacpp", "empty", "long_line"]
)
async def test_a_truncated_answer_is_never_complete(server: ContractServer, scenario: str) -> None:
    server.fault = scenario
    for seed in range(8):
        transport = ChaosTransport(HttpTransport(), ChaosProfile(seed, (Fault("truncate"),)))
        headers = {"accept": "text/event-stream", "content-length": "2"}
        reply = await transport.open(
            Call("POST", server.base_url + "/chat/completions", headers, b"{}", Timeouts(), "a")
        )
        decoder = StreamDecoder()
        async for piece in reply.body:
            decoder.feed(piece)
        decoder.close()
        assert not decoder.complete
        assert decoder.failure is not None
        await reply.aclose()
        await transport.aclose()


async def test_what_is_no_stream_is_left_whole(server: ContractServer) -> None:
    transport = ChaosTransport(HttpTransport(), ChaosProfile(0, (Fault("truncate"),)))
    await transport.warm()
    async with open_client(provider(server.base_url), transport) as client:
        assert len(await client.models()) == 1


async def test_what_is_not_meant_goes_through_untouched(server: ContractServer) -> None:
    assert await ask(server, Fault("refuse", "other")) == (TEXT, None)
