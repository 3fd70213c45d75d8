"""The servers that speak: ElevenLabs, and whatever answers to OpenAI's `/audio/speech`."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Final, Literal
from urllib.parse import quote

from backend_client.errors import InvalidRequest
from backend_client.speech.asking import Content, Request
from backend_client.speech.faults import error_from_elevenlabs, error_from_openai
from backend_client.speech.pcm import SoundDecoder
from backend_client.speech.server import SpeechServer
from backend_client.types import Endpoint

TEXT_MAX: Final = 4000
"""Characters of one request; a sentence has a twentieth."""
KEY_HINT: Final = "Give it with `sophia login elevenlabs --with-token`, or in ELEVENLABS_API_KEY."
_LETTERS_A_SECOND: Final = 60.0
"""Nobody speaks as fast: what is shorter was cut off."""
_SPELT: Final = re.compile(r"[^\W_]")
_LATIN_WORD: Final = re.compile(r"[A-Za-z]")


class ServerMouth:
    """What all servers that speak have in common."""

    def __init__(self, server: SpeechServer, rate: int) -> None:
        self._server = server
        self.name = server.name
        self.rate = rate

    def available(self) -> bool:
        """Whether it may be asked now."""
        return self._server.available("speaking")

    @property
    def reason(self) -> str:
        """Why it may not; empty when it may."""
        return self._server.reason("speaking")

    def retry_in(self) -> float:
        """Seconds until it may be asked again."""
        return self._server.retry_in("speaking")

    async def speak(self, text: str, *, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[bytes, None]:
        """Yield the sound of one sentence as it comes, in whole samples. Raises BackendError.

        Closing it stops it. A failure in the middle is raised as such, and what was yielded stands.
        """
        text = text.strip().encode("utf-8", "replace").decode()
        if not _SPELT.search(text):
            return
        if len(text) > TEXT_MAX:
            error = InvalidRequest(f"{len(text)} characters are too many at once", error_type="payload_too_large")
            raise error.placed(self.name, None, str)
        speed = min(max(speed, 0.25), 4.0)
        shortest, longest = _bounds(text, speed)
        request = self._request(text, voice, speed)
        sound = self._server.stream(request, lambda _: self._decoder(shortest, longest))
        async with aclosing(sound):
            async for piece in sound:
                yield piece

    def _request(self, text: str, voice: str | None, speed: float) -> Request:
        raise NotImplementedError

    def _decoder(self, shortest: float, longest: float) -> SoundDecoder:
        return SoundDecoder(self.rate, shortest_s=shortest, longest_s=longest)


class ElevenLabsMouth(ServerMouth):
    """ElevenLabs: raw samples, streamed."""

    def __init__(self, server: SpeechServer, *, voice: str, model: str, rate: Literal[16_000, 24_000] = 24_000) -> None:
        super().__init__(server, rate)
        self._voice, self._model = voice, model

    def _request(self, text: str, voice: str | None, speed: float) -> Request:
        place = quote(voice or self._voice, safe="")
        # It speaks between 0.7 and 1.2 times as fast, and refuses everything else.
        said = {"text": text, "model_id": self._model, "voice_settings": {"speed": min(max(speed, 0.7), 1.2)}}
        return Request(
            "speaking",
            f"/v1/text-to-speech/{place}/stream?output_format=pcm_{self.rate}",
            as_json(said),
            "audio/*",
            own_header,
            error_from_elevenlabs,
            KEY_HINT,
            base=without_v1,
        )


class SpeechMouth(ServerMouth):
    """A server with OpenAI's `/audio/speech`. Its sound is brought to one rate, whatever it sends."""

    def __init__(
        self,
        server: SpeechServer,
        *,
        voice: str,
        model: str,
        form: Literal["pcm", "wav"] = "pcm",
        sends: int = 24_000,
        rate: int = 24_000,
    ) -> None:
        super().__init__(server, rate)
        self._voice, self._model, self._form, self._sends = voice, model, form, sends

    def _request(self, text: str, voice: str | None, speed: float) -> Request:
        said: dict[str, object] = {"model": self._model, "input": text, "voice": voice or self._voice}
        said |= {"response_format": self._form} | ({"speed": round(speed, 2)} if speed != 1.0 else {})
        return Request("speaking", "/audio/speech", as_json(said), "audio/*", dict, error_from_openai)

    def _decoder(self, shortest: float, longest: float) -> SoundDecoder:
        return SoundDecoder(self.rate, source_rate=self._sends, shortest_s=shortest, longest_s=longest)


def as_json(said: Mapping[str, object]) -> Content:
    """Return what is said as the content of a request."""

    async def content(endpoint: Endpoint) -> tuple[str, bytes]:
        return "application/json", json.dumps(said, ensure_ascii=False).encode()

    return content


def own_header(proof: dict[str, str]) -> dict[str, str]:
    """Return the proof as ElevenLabs takes it."""
    key = proof.get("authorization", "").removeprefix("Bearer ")
    return {"xi-api-key": key} if key else {}


def without_v1(base_url: str) -> str:
    """Return where the paths of ElevenLabs begin, also when `/v1` was written."""
    return base_url.strip().rstrip("/").removesuffix("/v1")


def _bounds(text: str, speed: float) -> tuple[float, float]:
    """Return how many seconds of sound a text has at least, and at most."""
    letters = len(_SPELT.findall(text))
    plain = len(_LATIN_WORD.findall(text))
    shortest = 0.0 if plain < 40 or plain < 0.8 * letters else plain / _LETTERS_A_SECOND / max(speed, 1.0)
    return shortest, (20.0 + len(text) * 1.5) / speed
