"""The settings of the voice: who speaks and who listens, in which order, and with which devices."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from sophia_core.setting_kinds import Address, Positive, Section

ELEVENLABS_URL: Final = "https://api.elevenlabs.io"
ELEVENLABS_KEY: Final = "ELEVENLABS_API_KEY"
Who = Literal["elevenlabs", "server", "embedded"]


def _words(given: object) -> object:
    """A list as it is written in one line, like `server, embedded`; whatever else is left for others to judge."""
    if not isinstance(given, str):
        return given
    return tuple(given.strip("[]() ").replace(",", " ").replace('"', " ").replace("'", " ").split())


def _once_each(order: tuple[Who, ...]) -> tuple[Who, ...]:
    if len(set(order)) != len(order):
        raise ValueError("each is named once")
    return order


Order = Annotated[tuple[Who, ...], NoDecode, BeforeValidator(_words), AfterValidator(_once_each)]
"""Best first; who is not named is never asked."""
Word = Annotated[str, Field(max_length=200)]


class VoiceSettings(Section):
    """Speaking and listening. API keys come from the environment or the encrypted store, never from the file."""

    enabled: bool = Field(True, description="Offer the voice at all; nothing of it is loaded before it is used.")
    mouths: Order = Field(("elevenlabs", "server", "embedded"), description="Who speaks, best first; text always does.")
    ears: Order = Field(("server", "elevenlabs", "embedded"), description="Who writes down what you say, best first.")
    speed: float = Field(1.0, ge=0.5, le=2.0, description="How fast is spoken; 1 is natural.")
    speak_answers: bool = Field(False, description="Speak every answer while it comes: `voice.auto`.")
    send: Literal["edit", "send"] = Field(
        "edit",
        description="What becomes of what you said: put into the prompt to be edited, or sent after the silence.",
    )
    hands_free: bool = Field(False, description="Listen all the time, and answer to speech: `voice.hands_free`.")
    silence_ms: int = Field(900, ge=200, le=10_000, description="The silence that ends what you say, in milliseconds.")
    language: str | None = Field(
        None, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})?$", description="What you speak, like `en`; heard when empty."
    )
    input: Word = Field("", description="The microphone, as `voice.devices` names it; the system's own when empty.")
    output: Word = Field("", description="The loudspeaker, as `voice.devices` names it; the system's own when empty.")
    first_sound_s: Positive = Field(5.0, description="Seconds a server may take to begin; then the next one is asked.")
    stall_s: Positive = Field(5.0, description="Seconds a server may fall silent in the middle of a sentence.")
    elevenlabs_voice: Word = Field(
        "JBFqnCBsd6RMkjVDRZzb", min_length=1, description="Which voice ElevenLabs speaks with, by id."
    )
    elevenlabs_model: Word = Field("eleven_flash_v2_5", min_length=1, description="Which model ElevenLabs speaks with.")
    elevenlabs_ears: Word = Field("scribe_v2", min_length=1, description="Which model ElevenLabs listens with.")
    elevenlabs_url: Address = Field(
        ELEVENLABS_URL, description="Where ElevenLabs answers; another for its data regions."
    )
    elevenlabs_key_env: str = Field(ELEVENLABS_KEY, description="The environment variable that holds its API key.")
    elevenlabs_concurrent: int = Field(2, ge=1, le=100, description="Requests your ElevenLabs plan takes at once.")
    server_url: Address | None = Field(
        None, description="The OpenAI-compatible server that speaks and listens; the provider in use when empty."
    )
    server_key_env: str | None = Field(
        None, description="The environment variable that holds the key for `server_url`."
    )
    server_voice: Word = Field("alloy", min_length=1, description="Which voice the server speaks with.")
    server_model: Word = Field("tts-1", min_length=1, description="Which model the server speaks with.")
    server_format: Literal["pcm", "wav"] = Field(
        "pcm", description="How the server sends sound; WAV tells its own rate."
    )
    server_rate: int = Field(
        24_000,
        ge=8_000,
        le=48_000,
        description="Samples a second of the server's `pcm`, where its answer does not say.",
    )
    server_ears: Word = Field(
        "", description="Which model the server listens with; its first one that does when empty."
    )
    server_ears_url: Address | None = Field(None, description="Another server that listens; `server_url` when empty.")
    bridge_port: int = Field(0, ge=0, le=65_535, description="The port of `sophia voice bridge`; a free one when 0.")
