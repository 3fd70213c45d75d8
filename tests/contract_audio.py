"""The contract server with a voice: it speaks and listens like ElevenLabs, vLLM and OpenAI, and fails like them.

    async with ContractAudio() as server:
        server.plan = ["system_busy", "pcm"]
        ... server.said[-1] ... server.heard[-1]

What a request gets is the next entry of `server.plan`, else `server.fault`, else a right answer. The sound it speaks is
a hum of 180 Hz, as long as its text would take to say.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
from array import array
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

from backend_client.speech.wav import wav_of
from tests.backend_client.answers import Answer, Seen
from tests.contract_server import ContractServer

Scenario: TypeAlias = Callable[["ContractAudio", Answer, bytes], Awaitable[None]]
SECONDS_A_CHARACTER: Final = 1 / 15
PIECE: Final = 4800
HEARD: Final = "What was said, heard back."


@lru_cache(maxsize=64)
def hum(seconds: float, rate: int = 24_000, volume: float = 0.3) -> bytes:
    """Return something that is as alike itself as a voice."""
    step = 2 * math.pi * 180 / rate
    return array("h", (int(32767 * volume * math.sin(step * at)) for at in range(int(seconds * rate)))).tobytes()


def noise(size: int) -> bytes:
    """Return what MP3 is when it is played as samples."""
    return random.Random(5).randbytes(size)  # noqa: S311


def mp3(frames: int = 40) -> bytes:
    """Return frames of MP3 at 128 kbit/s and 44.1 kHz, as far as their heads go."""
    return b"".join(b"\xff\xfb\x90\x64" + noise(413) for _ in range(frames))


def elevenlabs(status: int, named: str, message: str = "No.", **headers: str) -> tuple[int, object, dict[str, str]]:
    """Return an error as ElevenLabs writes it."""
    return status, {"detail": {"status": named, "message": message}}, headers


ERRORS: Final[dict[str, tuple[int, object, dict[str, str]]]] = {
    "quota": elevenlabs(401, "quota_exceeded", "You have 3 credits remaining, while 80 are required."),
    "wrong_key": elevenlabs(401, "invalid_api_key", "Invalid API key"),
    "echoes_key": elevenlabs(401, "invalid_api_key", "The key ELEVEN-KEY-0123456789 is wrong"),
    "no_right": elevenlabs(401, "missing_permissions", "The API key is missing the permission text_to_speech"),
    "too_many": elevenlabs(429, "too_many_concurrent_requests", "Your plan takes 2.", current_concurrent_requests="2"),
    "system_busy": elevenlabs(429, "system_busy", "We are experiencing heavy traffic."),
    "busy_for_long": elevenlabs(429, "system_busy", "Later.", retry_after="30"),
    "no_voice": elevenlabs(404, "voice_not_found", "A voice with the voice_id x was not found."),
    "too_long": elevenlabs(400, "max_character_limit_exceeded"),
    "field": (422, {"detail": [{"loc": ["body", "text"], "msg": "Field required", "type": "missing"}]}, {}),
    "unnamed": elevenlabs(500, "odd_new_word", "Something odd."),
    "unauthorized": (401, {"error": "Unauthorized"}, {}),
    "no_path": (404, {"detail": "Not Found"}, {}),
    "not_built": (501, {"error": {"message": "no audio", "type": "NotImplementedError", "code": 501}}, {}),
    "dead": (500, {"error": {"message": "it failed", "type": "InternalServerError", "code": 500}}, {}),
    "gateway": (502, {"error": {"message": "bad gateway"}}, {}),
    "busy": (503, {"error": {"message": "busy", "type": "Service Unavailable", "code": 503}}, {}),
    "limit": (429, {"error": {"message": "slow down", "code": 429}}, {}),
    "elsewhere": (302, {}, {"location": "http://elsewhere.example/audio?key=ELEVEN-KEY-0123456789"}),
    "no_content": (204, {}, {}),
    "json_200": (200, {"error": {"message": "it failed after all"}}, {}),
}
SOUNDS: Final[dict[str, Scenario]] = {}


def sound(function: Scenario) -> Scenario:
    """Put a scenario of an answer with sound into the table, under its function's name."""
    SOUNDS[getattr(function, "__name__", "")] = function
    return function


async def _spoken(answer: Answer, body: bytes, kind: str = "audio/pcm", piece: int = PIECE) -> None:
    await answer.begin(kind)
    for at in range(0, len(body), piece):
        await answer.raw(body[at : at + piece])
    await answer.end()


@sound
async def pcm(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await _spoken(answer, voice)


@sound
async def called_mpeg(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await _spoken(answer, voice, "audio/mpeg")


@sound
async def odd(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await _spoken(answer, voice, piece=1001)


@sound
async def wav(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await _spoken(answer, wav_of(voice, 24_000) + b"LIST\x04\x00\x00\x00INFO", "audio/wav", 777)


@sound
async def endless_wav(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    head = wav_of(voice, 24_000)
    await _spoken(answer, head[:40] + b"\xff\xff\xff\xff" + voice, "audio/wav")


@sound
async def slow_wav(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await _spoken(answer, wav_of(hum(2, 16_000), 16_000), "audio/wav")


@sound
async def short_wav(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await _spoken(answer, wav_of(voice, 24_000)[: len(voice) // 2], "audio/wav")


@sound
async def html(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await answer.whole(200, b"<!doctype html><html><body>Sign in</body></html>", "text/html; charset=utf-8")


@sound
async def html_as_pcm(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await answer.whole(200, b"<!doctype html><html><body>Sign in</body></html>" * 50, "audio/pcm")


@sound
async def mp3_as_pcm(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await _spoken(answer, mp3())


@sound
async def tagged_mp3(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await _spoken(answer, b"ID3\x04\x00\x00\x00\x00\x00\x00" + mp3(), "audio/mpeg")


@sound
async def noise_as_pcm(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await _spoken(answer, noise(48_000), "application/octet-stream")


@sound
async def swapped(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    values = array("h", hum(1, volume=0.9))
    values.byteswap()
    await _spoken(answer, values.tobytes())


@sound
async def nothing(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await _spoken(answer, b"")


@sound
async def stall_before(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await answer.stall()


@sound
async def stall_after_head(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await answer.begin("audio/pcm")
    await answer.stall()


@sound
async def stall_midway(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await answer.begin("audio/pcm")
    await answer.raw(voice[:PIECE])
    await answer.stall()


@sound
async def drip(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await answer.begin("audio/pcm")
    while not answer.seen.gone.is_set():
        await answer.raw(b"\0\0")
        await asyncio.sleep(0.02)


@sound
async def break_before(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    answer.reset()


@sound
async def break_midway(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await answer.begin("audio/pcm")
    await answer.raw(voice[:PIECE])
    await server.release.wait()
    answer.reset()


@sound
async def cut_off(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await _spoken(answer, voice[:PIECE])


@sound
async def flood(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await answer.begin("audio/pcm")
    block = hum(1)
    while not answer.seen.gone.is_set():
        await answer.raw(block)


@sound
async def late(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await server.release.wait()
    await _spoken(answer, voice)


def _chunk(text: str, finish: str | None = None) -> dict[str, object]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return {"object": "transcription.chunk", "choices": [choice]}


async def _events(answer: Answer, *events: object) -> None:
    await answer.begin()
    for event in events:
        await answer.event(event)
    await answer.end()


@sound
async def vllm_words(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await _events(answer, _chunk(" What was"), _chunk(" said."), _chunk("", "stop"), "[DONE]")


@sound
async def openai_words(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    delta = {"type": "transcript.text.delta", "delta": "What was"}
    await _events(answer, delta, {"type": "transcript.text.done", "text": "What was said."})


@sound
async def cut_words(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await _events(answer, _chunk(" What was"))


@sound
async def failing_words(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await _events(answer, _chunk(" What"), {"error": {"message": "engine died", "code": 500}}, "[DONE]")


@sound
async def endless_text(server: ContractAudio, answer: Answer, voice: bytes) -> None:
    await answer.begin("application/json")
    await answer.raw(b'{"text": "')
    while not answer.seen.gone.is_set():
        await answer.raw(b"a" * 65_536)


@dataclass(frozen=True)
class Form:
    """A form with a file, as it arrived."""

    fields: dict[str, str]
    name: str
    kind: str
    content: bytes


class ContractAudio(ContractServer):
    """The server; `url` is without `/v1`."""

    def __init__(self) -> None:
        super().__init__()
        self.release = asyncio.Event()
        """What `late` and `break_midway` wait for."""
        self.said: list[dict[str, Any]] = []
        """What was to be spoken."""
        self.heard: list[Form] = []
        self.models = {"data": [{"id": "gpt-oss-120b"}, {"id": "openai/whisper-large-v3-turbo"}]}

    @property
    def url(self) -> str:
        """Where it is, without `/v1`."""
        return self.base_url.removesuffix("/v1")

    @property
    def asked(self) -> list[Seen]:
        """The requests of the voice."""
        return [seen for seen in self.requests if seen.method == "POST"]

    async def _read(self, reader: asyncio.StreamReader, ahead: bytes, number: int) -> Seen:
        head = (ahead + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        body: dict[str, Any] = {}
        if headers.get("content-type", "").startswith("multipart/form-data"):
            self.heard.append(_form(headers["content-type"], raw))
        elif raw:
            body = json.loads(raw)
            self.said.append(body)
        scenario = "" if method == "GET" else self.plan.pop(0) if self.plan else self.fault or ""
        return Seen(method, path, headers, body, scenario, number)

    async def _answer(self, answer: Answer) -> None:
        seen = answer.seen
        path = seen.path.partition("?")[0]
        if seen.method == "GET":
            return await super()._answer(answer)
        text = str(seen.body.get("text") or seen.body.get("input") or "")
        asked_rate = re.search(r"output_format=pcm_(\d+)", seen.path)
        voice = hum(len(text) * SECONDS_A_CHARACTER, int(asked_rate[1]) if asked_rate else 24_000)
        if seen.scenario in ERRORS:
            status, body, headers = ERRORS[seen.scenario]
            return await answer.whole(status, body, **headers)
        if seen.scenario:
            return await SOUNDS[seen.scenario](self, answer, voice)
        if path.endswith(("/audio/transcriptions", "/v1/speech-to-text")):
            return await answer.whole(200, {"text": f" {HEARD} ", "language_code": "en"})
        if path.endswith(("/audio/speech", "/stream")):
            return await pcm(self, answer, voice)
        await answer.whole(404, {"detail": "Not Found"})


def _form(content_type: str, raw: bytes) -> Form:
    boundary = content_type.partition("boundary=")[2].encode()
    fields, name, kind, content = {}, "", "", b""
    for part in raw.split(b"--" + boundary)[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        told = head.decode()
        field = re.search(r' name="([^"]*)"', told)
        assert field is not None
        if file := re.search(r'filename="([^"]*)"', told):
            found = re.search(r"content-type: (\S+)", told)
            name, kind, content = file[1], found[1] if found else "", value[:-2]
        else:
            fields[field[1]] = value[:-2].decode()
    return Form(fields, name, kind, content)
