"""Whoever knows no token, and whoever knows one and means ill: nobody is harmed, and the others are served."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from sophia_core.voice.bridge import link as links
from sophia_core.voice.bridge import server, wire
from sophia_core.voice.bridge.coding import Coding, pack_sound
from sophia_core.voice.bridge.devices import BridgeDevices
from sophia_core.voice.bridge.link import Link, Refused, Streams, enter
from sophia_core.voice.bridge.places import Place
from sophia_core.voice.bridge.wire import HEAD, Kind, Packet, Verdict, new_token, spoken
from sophia_core.voice.ports import AudioTrouble, NoAudio
from tests.voice.bridge_parts import PATIENCE_S, Ends, ToyDevices, ends, until

TOKEN = new_token()
SESSION = spoken(Kind.ASK, {"do": "session"}, number=1)
PLAY = spoken(Kind.ASK, {"do": "play", "of": 1, "rate": 16_000, "device": None}, number=2)


async def _dial(port: int) -> Streams:
    return await asyncio.open_connection("127.0.0.1", port)


async def _until_closed(reader: asyncio.StreamReader) -> bytes:
    """What is said until the other end hangs up."""
    said = b""
    async with asyncio.timeout(PATIENCE_S):
        try:
            while block := await reader.read(65_536):
                said += block
        except OSError:
            pass
    return said


async def _still_serves(both: Ends) -> None:
    other = both.others()
    assert len(await other.list()) == 2
    await other.close()


@pytest.mark.parametrize("said", [b"", b"\0" * 500, b"GET / HTTP/1.1\r\n\r\n" * 10, os.urandom(300)])
async def test_garbage_instead_of_a_proof_is_hung_up_on(said: bytes) -> None:
    async with ends() as both:
        reader, writer = await _dial(both.wire.port)
        writer.write(said)
        if not said:
            writer.write_eof()
        await _until_closed(reader)
        await _still_serves(both)


async def test_a_wrong_token_and_a_replayed_proof_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "WRONG_S", 0.01)
    async with ends() as both:
        with pytest.raises(Refused) as refused:
            await enter(await _dial(both.wire.port), new_token())
        assert refused.value.verdict is Verdict.WRONG_TOKEN
        reader, writer = await _dial(both.wire.port)
        _, theirs = wire.parse_greeting(await reader.readexactly(wire.GREETING.size))
        ours = bytes(32)
        shown = wire.REPLY.pack(wire.VERSION, ours, wire.proof(both.token, b"there", theirs, ours))
        writer.write(shown)
        verdict, _ = wire.VERDICT.unpack(await reader.readexactly(wire.VERDICT.size))
        assert verdict == Verdict.WELCOME
        reader, again = await _dial(both.wire.port)
        await reader.readexactly(wire.GREETING.size)
        again.write(shown)
        assert await _until_closed(reader) == wire.VERDICT.pack(Verdict.WRONG_TOKEN, bytes(32))
        writer.close()


async def test_another_version_is_told_so() -> None:
    async with ends() as both:
        reader, writer = await _dial(both.wire.port)
        await reader.readexactly(wire.GREETING.size)
        writer.write(wire.REPLY.pack(9, bytes(32), bytes(32)))
        assert (await _until_closed(reader))[0] == Verdict.WRONG_VERSION


async def test_a_wrong_token_has_to_wait() -> None:
    async with ends() as both:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with pytest.raises(Refused):
            await enter(await _dial(both.wire.port), new_token())
        assert loop.time() - begun > links.WRONG_S * 0.9


async def test_the_silent_and_the_slow_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ends() as both:
        silent = [await _dial(both.wire.port) for _ in range(3 * server.MOST_STRANGERS)]
        for at, (_, writer) in enumerate(silent):
            writer.write(b"\0" * (at % 3))
        await _still_serves(both)
        await until(lambda: len(both.bridge._strangers) <= server.MOST_STRANGERS)
        for _, writer in silent:
            writer.transport.abort()
        monkeypatch.setattr(links, "HANDSHAKE_S", 0.05)
        reader, _ = await _dial(both.wire.port)
        await _until_closed(reader)


@asynccontextmanager
async def _guest(both: Ends, *said: Packet) -> AsyncIterator[Streams]:
    reader, writer = await _dial(both.wire.port)
    await enter((reader, writer), both.token)
    for packet in said:
        writer.write(packet.packed())
    yield reader, writer
    writer.transport.abort()


@pytest.mark.parametrize(
    "said",
    [
        HEAD.pack(Kind.SOUND, 1, 0, 65_535),
        HEAD.pack(99, 0, 0, 0),
        Packet(Kind.HEARD, 1, 0, bytes(8)).packed(),
        Packet(Kind.FRAME, 1, 0, bytes(8)).packed(),
        Packet(Kind.ASK, body=b"\xff\xfe").packed(),
        Packet(Kind.ASK, body=b"[1]").packed(),
        PLAY.packed() + Packet(Kind.SOUND, 1, 7, pack_sound(bytes(64), Coding.PCM, 0)).packed(),
        PLAY.packed() + Packet(Kind.SOUND, 1, 0, b"\0\0\0\0\7").packed(),
        PLAY.packed() + Packet(Kind.SOUND, 1, 0, pack_sound(bytes(63), Coding.PCM, 0)).packed(),
        PLAY.packed()
        + b"".join(
            Packet(Kind.SOUND, 1, at * 8_000, pack_sound(bytes(16_000), Coding.PCM, 0)).packed() for at in range(40)
        ),
        spoken(Kind.ASK, {"do": "list"}).packed() * 200,
    ],
    ids=["huge", "unknown", "heard", "frame", "text", "array", "missing", "coding", "half", "flood", "requests"],
)
async def test_a_guest_who_talks_nonsense_is_sent_away(said: bytes) -> None:
    async with ends() as both:
        async with _guest(both, SESSION) as (reader, writer):
            writer.write(said)
            await _until_closed(reader)
        await _still_serves(both)


@pytest.mark.parametrize(
    "words",
    [
        {"do": "listen", "of": "1", "device": None},
        {"do": "listen", "of": 70_000, "device": None},
        {"do": "play", "of": 1, "rate": 1, "device": None},
        {"do": "play", "of": 1, "rate": 10**9, "device": None},
        {"do": "play", "of": 1, "rate": 16_000, "device": None, "first": -5},
        {"do": "play", "of": 1, "rate": 16_000, "device": ["x"]},
        {"do": "format", "of": 1},
        {"do": None},
        {},
    ],
)
async def test_a_request_without_sense_is_answered_with_a_sentence(words: dict[str, object]) -> None:
    async with ends() as both, _guest(both, SESSION, spoken(Kind.ASK, words, number=5)) as (reader, _):
        answers: dict[int, Packet] = {}
        async with asyncio.timeout(PATIENCE_S):
            while 5 not in answers:
                kind, stream, number, length = wire.parse_head(await reader.readexactly(HEAD.size))
                packet = Packet(kind, stream, number, await reader.readexactly(length))
                if kind is Kind.ANSWER:
                    answers[number] = packet
        assert answers[5].words()["message"]
        assert both.toys.played == []


async def test_more_streams_than_a_guest_may_have_are_refused() -> None:
    async with ends() as both:
        playbacks = [await both.devices.play(16_000) for _ in range(8)]
        with pytest.raises(Exception, match="Too much is open"):
            await both.devices.play(16_000)
        for each in playbacks:
            await each.abort()
        await until(lambda: not both.bridge.state.speaking)
        await (await both.devices.play(16_000)).abort()


async def test_a_guest_who_never_says_who_they_are_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "FIRST_WORD_S", 0.05)
    async with ends() as both, _guest(both) as (reader, _):
        await _until_closed(reader)


async def test_a_dead_link_is_noticed() -> None:
    async with ends() as both:
        streams = await _dial(both.wire.port)
        await enter(streams, both.token)
        link = Link(streams, lambda packet: None, beat_s=0.02, dead_s=0.1)
        serving = asyncio.create_task(link.serve())
        link.send(SESSION)
        await until(lambda: link.round_trip_s)
        both.wire.stand_still()
        assert "nothing came through" in await serving


async def _next_request(reader: asyncio.StreamReader) -> int:
    while True:
        kind, _, number, length = wire.parse_head(await reader.readexactly(HEAD.size))
        await reader.readexactly(length)
        if kind is Kind.ASK:
            return number


Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _impostor(behaviour: Behaviour) -> AsyncIterator[BridgeDevices]:
    """Devices whose bridge behaves like that."""

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behaviour(reader, writer)
            await reader.read()
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    serving = await asyncio.start_server(welcome, "127.0.0.1", 0)
    place = Place(str(serving.sockets[0].getsockname()[1]), TOKEN)
    devices = BridgeDevices(lambda: [place], give_up_s=0.2)
    try:
        yield devices
    finally:
        await devices.close()
        serving.close()


async def test_who_does_not_know_the_token_is_no_bridge_and_does_not_get_to_know_it() -> None:
    heard = bytearray()

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(wire.greeting(bytes(32)))
        heard.extend(await reader.readexactly(wire.REPLY.size))
        writer.write(wire.VERDICT.pack(Verdict.WELCOME, bytes(32)))

    async with _impostor(pretend) as devices:
        with pytest.raises(NoAudio, match="does not know the token"):
            await devices.list()
    assert TOKEN.encode() not in heard
    assert bytes.fromhex(TOKEN) not in heard


@pytest.mark.parametrize(
    ("greeting", "message"),
    [
        (b"SSH-2.0-OpenSSH_9.9\r\n" + bytes(100), "no bridge of SOPHIA"),
        (wire.GREETING.pack(wire.MAGIC, 7, bytes(32)), "another version"),
        (wire.greeting(bytes(32)) + wire.VERDICT.pack(Verdict.FULL, bytes(32)), "as many guests"),
        (wire.greeting(bytes(32)) + wire.VERDICT.pack(200, bytes(32)), "does not know our token"),
        (b"", "cannot be reached"),
    ],
)
async def test_what_is_no_bridge_is_told_in_a_sentence(
    greeting: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "HANDSHAKE_S", 0.3)

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)

    async with _impostor(say) as devices:
        with pytest.raises(NoAudio, match=message) as error:
            await devices.list()
        assert error.value.hint


@pytest.mark.parametrize(
    "said",
    [
        os.urandom(400),
        HEAD.pack(Kind.FRAME, 1, 0, 60_000),
        Packet(Kind.FRAME, 1, 0, bytes(7)).packed(),
        Packet(Kind.HEARD, 1, 2**31, bytes(8)).packed(),
        Packet(Kind.HEARD, 1, 0, bytes(3)).packed(),
        Packet(Kind.TAKEN, 1, 0).packed(),
        Packet(Kind.TOLD, 1, 0, b"nonsense").packed(),
    ],
    ids=["random", "huge", "frame", "more", "cut", "taken", "text"],
)
async def test_a_bridge_that_talks_nonsense_is_lost_and_not_believed(said: bytes) -> None:
    async def betray(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await links.admit((reader, writer), TOKEN, full=lambda: False)
        number = await _next_request(reader)
        writer.write(spoken(Kind.ANSWER, {"id": "x", "back": False, "name": "evil\x1b[2J"}, number=number).packed())
        await _next_request(reader)
        writer.write(said)

    async with _impostor(betray) as devices:
        with pytest.raises(AudioTrouble) as error:
            playback = await devices.play(16_000)
            await playback.write(bytes(640))
            await playback.finish()
        assert error.value.hint
        assert "\x1b" not in devices.name


async def test_a_list_from_a_hostile_bridge_is_bounded_and_clean() -> None:
    class Many(ToyDevices):
        async def list(self) -> list[object]:  # type: ignore[override]
            one = (await super().list())[0]
            return [one] * 1_000

    async with ends(Many()) as both:
        assert len(await both.devices.list()) == 64
