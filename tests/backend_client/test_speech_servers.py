"""Servers that speak and listen, over real sockets, with the faults that they have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from typing import Any

import pytest

from backend_client.auth import ApiKey, Auth, Bearer, NoAuth, Secret
from backend_client.errors import (
    AllUnavailable,
    AuthenticationFailed,
    BackendError,
    InvalidRequest,
    LoginNeeded,
    NotFound,
    NotOurProtocol,
    Overloaded,
    PaymentRequired,
    PermissionDenied,
    RateLimited,
    Redirected,
    ServerFailed,
    StreamTruncated,
    TimedOut,
    Unreachable,
)
from backend_client.happenings import AnswerEnded, BreakerChanged, Happening, QueueWaited
from backend_client.speech import (
    ElevenLabsMouth,
    Heard,
    ScribeEar,
    SpeechMouth,
    SpeechServer,
    SpeechTimeouts,
    TranscriptionEar,
)
from backend_client.transport import HttpTransport
from backend_client.types import Attempt, Endpoint, StaticEndpoint
from tests.contract_audio import HEARD, ContractAudio, hum

KEY = "ELEVEN-KEY-0123456789"
SENTENCE = "The quick brown fox jumps over the lazy dog near the river bank."
QUICK = SpeechTimeouts(connect=1.0, first=1.0, stall=0.3, total=1.5)


async def no_pause(seconds: float) -> None:
    """Pause for no time at all."""
    await asyncio.sleep(0)


class Here:
    """The servers of one test, and what they told."""

    def __init__(self, server: ContractAudio, transport: HttpTransport) -> None:
        self.server, self.transport = server, transport
        self.told: list[Happening] = []
        self.now = 100.0

    def build(self, *, auth: Auth | None = None, url: str = "", **how: Any) -> SpeechServer:
        how = {"timeouts": SpeechTimeouts(first=8.0), "clock": lambda: self.now, "sleep": no_pause, **how}
        endpoint = Endpoint(url or self.server.base_url, None, auth or ApiKey(Secret(KEY)))
        return SpeechServer("there", StaticEndpoint(endpoint), self.transport, hook=self.told.append, **how)

    def elevenlabs(self, **how: Any) -> ElevenLabsMouth:
        server = self.build(url=self.server.url, needs_key=True, **how)
        return ElevenLabsMouth(server, voice="George/1", model="eleven_flash_v2_5")

    def speech(self, **how: Any) -> SpeechMouth:
        return SpeechMouth(self.build(**how), voice="alloy", model="tts-1")

    def ear(self, **how: Any) -> TranscriptionEar:
        return TranscriptionEar(self.build(**how))

    def scribe(self, **how: Any) -> ScribeEar:
        return ScribeEar(self.build(url=self.server.url, **how), model="scribe_v2")


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    transport = HttpTransport()
    async with ContractAudio() as server:
        yield Here(server, transport)
        await transport.aclose()


async def said(mouth: ElevenLabsMouth | SpeechMouth, text: str = SENTENCE, **how: Any) -> bytes:
    return b"".join([piece async for piece in mouth.speak(text, **how)])


async def failed(work: Awaitable[object]) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await work
    assert KEY not in f"{caught.value!r} {caught.value.hint} {caught.value.__cause__} {caught.value.__context__}"
    return caught.value


# Speaking


async def test_elevenlabs_speaks_raw_samples_and_gets_its_key_in_its_own_header(here: Here) -> None:
    voice = await said(here.elevenlabs(), speed=2.0)
    assert voice == hum(len(SENTENCE) / 15)
    seen = here.server.asked[-1]
    assert seen.path == "/v1/text-to-speech/George%2F1/stream?output_format=pcm_24000"
    assert seen.headers["xi-api-key"] == KEY and "authorization" not in seen.headers
    assert here.server.said == [
        {"text": SENTENCE, "model_id": "eleven_flash_v2_5", "voice_settings": {"speed": 1.2}},
    ]


async def test_a_server_speaks_with_the_voice_and_the_speed_that_are_asked_for(here: Here) -> None:
    assert await said(here.speech(), voice="nova", speed=1.5) == hum(len(SENTENCE) / 15)
    said_there = {"model": "tts-1", "input": SENTENCE, "voice": "nova", "response_format": "pcm", "speed": 1.5}
    assert here.server.said == [said_there]
    assert here.server.asked[-1].path == "/v1/audio/speech"
    assert here.server.asked[-1].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("how", ["odd", "wav", "endless_wav", "called_mpeg"])
async def test_sound_comes_out_whole_however_it_is_sent(here: Here, how: str) -> None:
    here.server.plan = [how]
    mouth = here.speech()
    pieces = [piece async for piece in mouth.speak(SENTENCE)]
    assert all(len(piece) % 2 == 0 for piece in pieces)
    assert b"".join(pieces) == hum(len(SENTENCE) / 15)


async def test_a_wav_of_another_rate_is_brought_to_ours(here: Here) -> None:
    here.server.plan = ["slow_wav"]
    assert abs(len(await said(here.speech())) - 2 * 48_000) < 20


async def test_what_holds_no_letter_is_not_sent_and_what_is_too_long_is_refused(here: Here) -> None:
    assert await said(here.speech(), " … 🙂 --- ") == b""
    assert isinstance(await failed(said(here.speech(), "a" * 4001)), InvalidRequest)
    assert here.server.asked == []


async def test_half_an_emoji_travels(here: Here) -> None:
    assert await said(here.speech(), "Hello \ud83d there") != b""


FAULTS: list[tuple[str, type[BackendError], str]] = [
    ("quota", PaymentRequired, "3 credits remaining"),
    ("wrong_key", AuthenticationFailed, "Invalid API key"),
    ("echoes_key", AuthenticationFailed, "The key ••• is wrong"),
    ("no_right", PermissionDenied, "text_to_speech"),
    ("busy_for_long", Overloaded, "Later"),
    ("no_voice", NotFound, "was not found"),
    ("too_long", InvalidRequest, "No."),
    ("field", InvalidRequest, "body.text: Field required"),
    ("unnamed", ServerFailed, "Something odd"),
    ("elsewhere", Redirected, "elsewhere.example/audio"),
    ("no_content", NotOurProtocol, "HTTP 204"),
    ("json_200", NotOurProtocol, "application/json"),
    ("html", NotOurProtocol, "a web page"),
    ("html_as_pcm", NotOurProtocol, "a web page"),
    ("mp3_as_pcm", NotOurProtocol, "MP3"),
    ("tagged_mp3", NotOurProtocol, "MP3"),
    ("noise_as_pcm", NotOurProtocol, "noise"),
    ("swapped", NotOurProtocol, "noise"),
]


@pytest.mark.parametrize(("fault", "kind", "words"), FAULTS)
async def test_what_elevenlabs_says_went_wrong(here: Here, fault: str, kind: type[BackendError], words: str) -> None:
    here.server.fault = fault
    error = await failed(said(here.elevenlabs()))
    assert type(error) is kind and words in error.message, error
    assert error.provider == "there" and error.request_id and error.hint


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("unauthorized", AuthenticationFailed),
        ("no_path", NotFound),
        ("not_built", InvalidRequest),
        ("dead", ServerFailed),
        ("gateway", ServerFailed),
        ("busy", Overloaded),
        ("limit", RateLimited),
        ("break_before", Unreachable),
        ("nothing", NotOurProtocol),
        ("cut_off", StreamTruncated),
    ],
)
async def test_what_other_servers_say_went_wrong(here: Here, fault: str, kind: type[BackendError]) -> None:
    here.server.fault = fault
    assert type(await failed(said(here.speech()))) is kind


async def test_a_short_fault_is_gone_at_the_second_try(here: Here) -> None:
    here.server.plan = ["gateway"]
    mouth = here.speech()
    assert await said(mouth) == hum(len(SENTENCE) / 15)
    ids = [seen.headers["x-request-id"] for seen in here.server.asked]
    assert ids[0].removesuffix("-a1") == ids[1].removesuffix("-a2")
    attempts = [each for each in here.told if isinstance(each, Attempt)]
    assert [each.error is None for each in attempts] == [False, True] and attempts[0].retry_in_s is not None


async def test_nobody_waits_for_a_server_that_asks_for_half_a_minute(here: Here) -> None:
    here.server.plan = ["busy_for_long"]
    assert (await failed(said(here.elevenlabs()))).retry_after == 30
    assert len(here.server.asked) == 1


async def test_silence_before_the_first_sound_is_not_waited_for(here: Here) -> None:
    for fault in ("stall_before", "stall_after_head"):
        here.server.plan = [fault]
        loop = asyncio.get_running_loop()
        mouth = here.speech(timeouts=SpeechTimeouts(first=0.3), clock=loop.time)
        assert isinstance(await failed(said(mouth)), TimedOut)


@pytest.mark.parametrize(("fault", "kind"), [("stall_midway", TimedOut), ("break_midway", StreamTruncated)])
async def test_a_voice_that_falls_silent_keeps_what_was_said(here: Here, fault: str, kind: type[BackendError]) -> None:
    here.server.plan = [fault]
    mouth = here.speech(timeouts=QUICK)
    heard, error = b"", None
    try:
        async for piece in mouth.speak(SENTENCE):
            heard += piece
            here.server.release.set()
    except BackendError as broken:
        error = broken
    assert type(error) is kind and not error.retryable and "another voice" in error.hint
    assert heard == hum(1)[: len(heard)] and len(heard) >= 4096
    assert len(here.server.asked) == 1  # never twice from the beginning
    ended = [each for each in here.told if isinstance(each, AnswerEnded)]
    assert [each.outcome for each in ended] == ["failed"]


async def test_who_drips_sound_or_floods_us_is_given_up(here: Here) -> None:
    here.server.plan = ["drip"]
    loop = asyncio.get_running_loop()
    mouth = here.speech(timeouts=SpeechTimeouts(first=5, stall=0.4, total=0.8), clock=loop.time)
    assert isinstance(await failed(said(mouth)), TimedOut)
    here.server.plan = ["flood"]
    assert "came for one sentence" in (await failed(said(here.speech(), "Hi."))).message


async def test_closing_the_voice_closes_the_socket_at_once(here: Here) -> None:
    here.server.plan = ["flood"]
    async with aclosing(here.speech().speak(SENTENCE)) as voice:
        await anext(voice)
    async with asyncio.timeout(10):
        await here.server.asked[-1].gone.wait()
    assert [each.outcome for each in here.told if isinstance(each, AnswerEnded)] == ["cancelled"]


async def test_cancelling_before_the_first_sound_gives_the_place_back(here: Here) -> None:
    here.server.plan = ["stall_before"]
    mouth = here.speech(max_concurrent=1)
    asking = asyncio.create_task(said(mouth))
    async with asyncio.timeout(10):
        await (await here.server.arrival()).started.wait()
    asking.cancel()
    await asyncio.wait([asking])
    assert await said(mouth)


# Breakers and places


async def test_a_used_up_quota_is_no_question_of_signing_in_and_closes_mouth_and_ear(here: Here) -> None:
    server = here.build(url=here.server.url, needs_key=True)
    mouth, ear = ElevenLabsMouth(server, voice="x", model="y"), ScribeEar(server, model="z")
    here.server.plan = ["quota"]
    error = await failed(said(mouth))
    assert not isinstance(error, AuthenticationFailed) and "quota" in error.hint
    assert not mouth.available() and not ear.available() and "credits" in ear.reason
    assert mouth.retry_in() > 600
    assert isinstance(await failed(said(mouth)), AllUnavailable)
    assert len(here.server.asked) == 1
    changed = [each for each in here.told if isinstance(each, BreakerChanged)]
    assert [(each.provider, each.state) for each in changed] == [("voice there", "open")]
    server.forgive()
    assert mouth.available() and await said(mouth)


async def test_a_wrong_key_is_not_asked_with_again_for_a_while(here: Here) -> None:
    mouth = here.elevenlabs()
    here.server.plan = ["wrong_key"]
    await failed(said(mouth))
    assert not mouth.available() and mouth.reason == "Invalid API key"
    here.now += 61
    assert mouth.available() and await said(mouth)


async def test_a_server_without_speech_is_said_to_have_none(here: Here) -> None:
    server = here.build()
    here.server.fault = "no_path"
    for asked in (said(SpeechMouth(server, voice="x", model="y")), TranscriptionEar(server).transcribe(hum(1, 16_000))):
        error = await failed(asked)
        assert error.message == "it has no speech" and error.status == 404 and "another voice" in error.hint, error


async def test_a_path_that_is_missing_closes_only_what_it_was_for(here: Here) -> None:
    server = here.build()
    mouth, ear = SpeechMouth(server, voice="x", model="y"), TranscriptionEar(server)
    here.server.plan = ["no_path"]
    await failed(said(mouth))
    assert not mouth.available() and ear.available()
    assert (await ear.transcribe(hum(1, 16_000))).text == HEARD


async def test_what_a_server_never_had_is_asked_for_ever_more_rarely(here: Here) -> None:
    mouth = here.speech()
    for alone_s in (60, 120, 240):
        here.server.plan = ["no_path"]
        await failed(said(mouth))
        assert mouth.retry_in() == alone_s
        here.now += alone_s + 1
    assert await said(mouth)
    here.server.plan = ["no_path"]
    await failed(said(mouth))
    assert mouth.retry_in() == 60


async def test_two_failures_close_it_and_one_good_sentence_opens_it_again(here: Here) -> None:
    mouth = here.speech()
    here.server.fault = "mp3_as_pcm"
    assert mouth.available()
    await failed(said(mouth))
    await failed(said(mouth))
    assert not mouth.available() and "MP3" in mouth.reason
    here.server.fault = None
    here.now += mouth.retry_in() + 0.1
    assert await said(mouth) and mouth.available()
    states = [each.state for each in here.told if isinstance(each, BreakerChanged)]
    assert states == ["open", "half_open", "closed"]


async def test_a_server_that_is_not_there_is_known_at_once(here: Here) -> None:
    await here.server.go_down()
    mouth = here.speech()
    assert not (await failed(said(mouth))).reached
    assert not mouth.available()


async def test_two_refused_sentences_in_a_row_are_not_the_fault_of_one(here: Here) -> None:
    mouth = here.elevenlabs()
    here.server.plan = ["field"]
    await failed(said(mouth))
    assert mouth.available()
    await said(mouth)
    here.server.plan = ["field", "field"]
    await failed(said(mouth))
    assert mouth.available()
    await failed(said(mouth))
    assert not mouth.available()


async def test_too_many_at_once_waits_here_and_says_nothing_about_the_service(here: Here) -> None:
    mouth = here.elevenlabs(max_concurrent=3)
    here.server.plan = ["late", "too_many"]
    first = asyncio.create_task(said(mouth))
    await here.server.arrival()
    second = asyncio.create_task(said(mouth))
    await here.server.arrival()
    here.server.release.set()
    assert await first and await second
    assert [each for each in here.told if isinstance(each, BreakerChanged)] == []
    assert len(here.server.asked) == 3


async def test_more_than_the_plan_takes_wait_in_line(here: Here) -> None:
    loop = asyncio.get_running_loop()
    mouth = here.elevenlabs(max_concurrent=1, clock=loop.time)
    here.server.plan = ["late"]
    first = asyncio.create_task(said(mouth))
    await here.server.arrival()
    second = asyncio.create_task(said(mouth))
    await asyncio.sleep(0.1)  # not one more arrives meanwhile
    assert len(here.server.asked) == 1
    here.server.release.set()
    assert await first == await second
    assert [each.provider for each in here.told if isinstance(each, QueueWaited)] == ["voice there"]


async def test_without_a_key_nothing_is_sent(here: Here) -> None:
    mouth = here.elevenlabs(auth=NoAuth())
    error = await failed(said(mouth))
    assert isinstance(error, AuthenticationFailed) and "sophia login elevenlabs" in error.hint
    assert here.server.asked == []


class Renewing:
    """An access token that is renewed when it is refused."""

    def __init__(self) -> None:
        self.now = Secret("old-token-0123456789")

    async def token(self) -> Secret | None:
        return self.now

    async def refused(self, token: Secret) -> bool:
        if token.reveal().startswith("new"):
            raise LoginNeeded("the sign-in has ended")
        self.now = Secret("new-token-0123456789")
        return True

    def seen_date(self, date: str) -> None: ...

    def redact(self, text: str) -> str:
        return self.now.redact(text)


async def test_a_token_that_is_refused_is_renewed_once(here: Here) -> None:
    here.server.plan = ["unauthorized"]
    assert await said(here.speech(auth=Bearer(Renewing())))
    assert here.server.asked[-1].headers["authorization"] == "Bearer new-token-0123456789"
    here.server.fault = "unauthorized"
    assert isinstance(await failed(said(here.speech(auth=Bearer(Renewing())))), LoginNeeded)


async def test_a_listener_that_fails_costs_no_sentence(here: Here) -> None:
    def fails(happening: Happening) -> None:
        raise RuntimeError("no")

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    server = SpeechServer(
        "there", StaticEndpoint(Endpoint(here.server.base_url, None, NoAuth())), here.transport, hook=fails
    )
    assert await said(SpeechMouth(server, voice="x", model="y"))


# Listening


async def test_vllm_listens_with_the_model_that_can(here: Here) -> None:
    ear, sound = here.ear(), hum(1, 16_000)
    assert await ear.transcribe(sound, language="en-GB") == Heard(HEARD, 1.0, "en")
    form = here.server.heard[-1]
    assert form.fields == {
        "model": "openai/whisper-large-v3-turbo",
        "response_format": "json",
        "temperature": "0",
        "language": "en",
    }
    assert (form.name, form.kind) == ("speech.wav", "audio/wav")
    assert form.content[:4] == b"RIFF" and form.content[44:] == sound
    await ear.transcribe(sound)
    lists = [seen for seen in here.server.requests if seen.path.endswith("/models")]
    assert len(lists) == 1


async def test_a_server_without_a_model_that_listens_says_so(here: Here) -> None:
    here.server.models = {"data": [{"id": "gpt-oss-120b"}]}
    ear = here.ear()
    error = await failed(ear.transcribe(hum(1, 16_000)))
    assert isinstance(error, NotFound) and "voice.server_ears" in error.hint
    assert not ear.available()


async def test_scribe_listens_to_raw_samples(here: Here) -> None:
    sound = hum(1, 16_000)
    assert (await here.scribe().transcribe(sound, language="en")).text == HEARD
    form = here.server.heard[-1]
    assert form.fields["model_id"] == "scribe_v2" and form.fields["file_format"] == "pcm_s16le_16"
    assert form.content == sound
    assert here.server.asked[-1].path == "/v1/speech-to-text"


@pytest.mark.parametrize("how", ["vllm_words", "openai_words"])
async def test_words_are_told_as_they_come(here: Here, how: str) -> None:
    here.server.plan = [how]
    words: list[str] = []
    heard = await here.ear().transcribe(hum(1, 16_000), partial=words.append)
    assert heard.text == "What was said." and words[0].strip() == "What was"
    assert here.server.heard[-1].fields["stream"] == "true"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("quota", PaymentRequired),
        ("busy", Overloaded),
        ("dead", ServerFailed),
        ("html", NotOurProtocol),
        ("json_200", BackendError),
        ("pcm", NotOurProtocol),
        ("nothing", NotOurProtocol),
        ("endless_text", NotOurProtocol),
        ("cut_words", StreamTruncated),
        ("failing_words", BackendError),
        ("break_before", Unreachable),
    ],
)
async def test_what_goes_wrong_while_listening(here: Here, fault: str, kind: type[BackendError]) -> None:
    here.server.fault = fault
    assert isinstance(await failed(here.scribe().transcribe(hum(0.5, 16_000))), kind)


async def test_a_stream_of_words_that_breaks_is_asked_for_again(here: Here) -> None:
    here.server.plan = ["cut_words"]
    ear = here.ear()
    assert (await ear.transcribe(hum(1, 16_000), partial=lambda text: None)).text == HEARD
    assert len(here.server.asked) == 2


async def test_no_sound_is_not_sent_and_too_much_is_refused(here: Here) -> None:
    assert await here.ear().transcribe(b"") == Heard("", 0.0)
    too_long = bytes(16_000 * 2 * 601)
    assert isinstance(await failed(here.ear().transcribe(too_long)), InvalidRequest)
    assert here.server.asked == []
