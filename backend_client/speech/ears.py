"""The servers that listen: vLLM and whatever answers to OpenAI's `/audio/transcriptions`, and ElevenLabs Scribe."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from backend_client.errors import InvalidRequest, NotFound
from backend_client.speech.asking import Request
from backend_client.speech.faults import error_from_elevenlabs, error_from_openai
from backend_client.speech.mouths import KEY_HINT, own_header, without_v1
from backend_client.speech.server import SpeechServer
from backend_client.speech.transcripts import Heard, TranscriptDecoder, form
from backend_client.speech.wav import wav_of
from backend_client.types import Endpoint, ModelCard

RATE: Final = 16_000
"""Samples a second of everything that is listened to."""
SECONDS_MAX: Final = 600.0
"""The longest that is sent at once; servers take 25 MB, which is some more."""
SHARE_OF_LENGTH: Final = 0.2
"""How much longer a second of sound is waited for; servers need far less."""
NO_MODEL: Final = "Name its model with `voice.server_ears`, or let another one listen."
_LISTENS: Final = re.compile(
    r"whisper|voxtral|transcri|parakeet|canary|scribe|speech-to-text|(?<![a-z])(?:asr|stt)(?![a-z])"
)


class ServerEar:
    """What all servers that listen have in common."""

    def __init__(self, server: SpeechServer) -> None:
        self._server = server
        self.name = server.name

    def available(self) -> bool:
        """Whether it may be asked now."""
        return self._server.available("listening")

    @property
    def reason(self) -> str:
        """Why it may not; empty when it may."""
        return self._server.reason("listening")

    def retry_in(self) -> float:
        """Seconds until it may be asked again."""
        return self._server.retry_in("listening")

    async def transcribe(
        self, pcm: bytes, *, language: str | None = None, partial: Callable[[str], None] | None = None
    ) -> Heard:
        """Write down what is said in samples of `RATE`. `partial` is told the text so far, where the server streams.

        Raises BackendError.
        """
        seconds = len(pcm) // 2 / RATE
        if seconds > SECONDS_MAX:
            error = InvalidRequest(f"{seconds:.0f} s are too long to be listened to at once")
            raise error.placed(self.name, None, str)
        if not seconds:
            return Heard("", 0.0)
        request = self._request(pcm[: len(pcm) // 2 * 2], language, streams=partial is not None)
        waits = self._server.timeouts.first + seconds * SHARE_OF_LENGTH
        made: list[TranscriptDecoder] = []

        def decoder(redact: Callable[[str], str]) -> TranscriptDecoder:
            made.append(TranscriptDecoder(redact, partial))
            return made[-1]

        async for _ in self._server.stream(replace(request, first_s=waits), decoder):
            pass
        return Heard(made[-1].text, seconds, made[-1].language or language)

    def _request(self, pcm: bytes, language: str | None, *, streams: bool) -> Request:
        raise NotImplementedError


class TranscriptionEar(ServerEar):
    """A server with OpenAI's `/audio/transcriptions`, as vLLM has it."""

    def __init__(self, server: SpeechServer, *, model: str = "") -> None:
        super().__init__(server)
        self._model = model

    def _request(self, pcm: bytes, language: str | None, *, streams: bool) -> Request:
        fields = {"response_format": "json", "temperature": "0"}
        fields |= {"language": language.partition("-")[0].lower()} if language else {}
        fields |= {"stream": "true"} if streams else {}

        async def content(endpoint: Endpoint) -> tuple[str, bytes]:
            model = self._model or await self._server.chosen_model(endpoint, listening_model)
            return form({"model": model, **fields}, "speech.wav", "audio/wav", wav_of(pcm, RATE))

        accept = "text/event-stream, application/json" if streams else "application/json"
        return Request("listening", "/audio/transcriptions", content, accept, dict, error_from_openai)


class ScribeEar(ServerEar):
    """ElevenLabs Scribe."""

    def __init__(self, server: SpeechServer, *, model: str) -> None:
        super().__init__(server)
        self._model = model

    def _request(self, pcm: bytes, language: str | None, *, streams: bool) -> Request:
        fields = {"model_id": self._model, "file_format": "pcm_s16le_16", "tag_audio_events": "false"}
        fields |= {"timestamps_granularity": "none"}
        fields |= {"language_code": language.partition("-")[0].lower()} if language else {}

        async def content(endpoint: Endpoint) -> tuple[str, bytes]:
            return form(fields, "speech.pcm", "application/octet-stream", pcm)

        return Request(
            "listening",
            "/v1/speech-to-text",
            content,
            "application/json",
            own_header,
            error_from_elevenlabs,
            KEY_HINT,
            base=without_v1,
        )


def listening_model(cards: Sequence[ModelCard]) -> str:
    """Return the model that listens, by its name. Raises NotFound."""
    for card in cards:
        if _LISTENS.search(card.id.lower().replace("_", "-")):
            return card.id
    raise NotFound("none of its models listens", hint=NO_MODEL)
