"""The servers of the voice, as settings, keys and the provider in use make them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from backend_client.auth import ApiKey, NoAuth, Secret
from backend_client.errors import AllUnavailable, BackendError
from backend_client.fleet import CostCap
from backend_client.happenings import BreakerChanged
from backend_client.transport import HttpTransport
from backend_client.types import Endpoint, Provider, StaticEndpoint
from sophia_core.events import Event
from sophia_core.login import Login
from sophia_core.providers import EMBEDDED, Nowhere
from sophia_core.runtime import Runtime
from sophia_core.settings import Settings, load_settings
from sophia_core.voice.ports import MIC_RATE, Ear, Mouth
from sophia_core.voice.servers import NO_KEY, NO_SERVER, VoiceServers
from tests.contract_audio import HEARD, ContractAudio, hum
from tests.scripted import ScriptedTransport

KEY = "ELEVEN-KEY-0123456789"
SENTENCE = "A sentence that is long enough to be heard well."


class Here:
    """A server, a provider in use, and what was told."""

    def __init__(self, server: ContractAudio, transport: HttpTransport) -> None:
        self.server, self.transport = server, transport
        self.told: list[Event] = []
        self.used: Provider | None = self.provider("box")

    def provider(self, name: str, **how: Any) -> Provider:
        return Provider(name, StaticEndpoint(Endpoint(self.server.base_url, "chat-model", NoAuth())), **how)

    def build(self, *, env: dict[str, str] | None = None, cap: CostCap | None = None, **voice: Any) -> VoiceServers:
        settings = Settings(voice={"elevenlabs_url": self.server.url, "first_sound_s": 8.0, **voice})
        known = {"ELEVENLABS_API_KEY": KEY} if env is None else env
        return VoiceServers(settings, self.transport, known, in_use=lambda: self.used, cap=cap, tell=self.told.append)


@pytest.fixture
async def here(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Here]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    transport = HttpTransport()
    async with ContractAudio() as server:
        yield Here(server, transport)
        await transport.aclose()


async def said(mouth: Mouth) -> bytes:
    return b"".join([piece async for piece in mouth.speak(SENTENCE)])


def reason(who: object) -> str:
    told = getattr(who, "reason", None)
    assert isinstance(told, str)
    return told


def available(who: object) -> bool:
    tell: Callable[[], bool] = getattr(who, "available")  # noqa: B009 - a mouth need not have it
    return tell()


async def test_all_four_speak_and_listen_under_the_names_of_the_settings(here: Here) -> None:
    servers = here.build()
    for who in ("elevenlabs", "server"):
        mouth: Mouth = servers.mouth(who)
        assert (mouth.name, mouth.rate) == (who, 24_000) and await said(mouth) == hum(len(SENTENCE) / 15)
        ear: Ear = servers.ear(who)
        heard = await ear.transcribe(hum(1, MIC_RATE), language="en")
        assert (heard.text, heard.by, heard.seconds, heard.language) == (HEARD, who, 1.0, "en")


async def test_what_was_heard_is_made_safe(here: Here) -> None:
    here.server.plan = ["evil"]
    from tests import contract_audio

    contract_audio.ERRORS["evil"] = (200, {"text": "a\x1b]0;x\x07b\nc \u202e", "language": "e\x1bn"}, {})
    heard = await here.build().ear("elevenlabs").transcribe(hum(1, MIC_RATE))
    assert heard.text.isprintable() and "\n" not in heard.text and "\u202e" not in heard.text


async def test_without_a_key_elevenlabs_is_not_asked(here: Here) -> None:
    servers = here.build(env={})
    await servers.look()
    mouth = servers.mouth("elevenlabs")
    assert reason(mouth) == NO_KEY
    with pytest.raises(AllUnavailable, match="no API key"):
        await said(mouth)
    assert here.server.asked == []


async def test_the_provider_in_use_speaks_unless_it_cannot(here: Here) -> None:
    servers = here.build()
    mouth = servers.mouth("server")
    for nobody in (None, here.provider(EMBEDDED), Provider("none", Nowhere())):
        here.used = nobody
        assert not available(mouth) and reason(mouth) == NO_SERVER
    here.used = here.provider("box")
    assert available(mouth) and await said(mouth)


async def test_another_provider_begins_with_a_clean_sheet(here: Here) -> None:
    mouth = here.build().mouth("server")
    assert available(mouth)
    here.server.plan = ["no_path"]
    with pytest.raises(BackendError):
        await said(mouth)
    assert not available(mouth)
    here.used = here.provider("other")
    assert available(mouth) and await said(mouth)


async def test_a_paid_provider_is_not_asked_over_the_cap(here: Here) -> None:
    here.used = here.provider("paid", paid=True)
    mouth = here.build(cap=CostCap(1.0, spent_usd=1.0)).mouth("server")
    assert "cost cap" in reason(mouth)


async def test_a_server_of_its_own_gets_its_own_key_and_no_other(here: Here) -> None:
    here.used = None
    servers = here.build(env={"SPEECH": "speech-key"}, server_url=here.server.base_url, server_key_env="SPEECH")
    await said(servers.mouth("server"))
    assert here.server.asked[-1].headers["authorization"] == "Bearer speech-key"
    ears = here.build(env={}, server_ears_url=here.server.base_url, server_ears="whisper-1").ear("server")
    assert (await ears.transcribe(hum(1, MIC_RATE))).text == HEARD
    assert "authorization" not in here.server.asked[-1].headers
    assert here.server.heard[-1].fields["model"] == "whisper-1"


async def test_only_breakers_are_told_and_under_a_name_that_is_no_provider(here: Here) -> None:
    mouth = here.build().mouth("elevenlabs")
    here.server.plan = ["quota"]
    with pytest.raises(BackendError):
        await said(mouth)
    assert [(type(each), each.provider) for each in here.told if isinstance(each, BreakerChanged)] == [
        (BreakerChanged, "voice elevenlabs")
    ]
    assert len(here.told) == 1


async def test_a_key_is_kept_for_the_voice_like_for_a_provider(tmp_path: Path) -> None:
    env = {"SOPHIA_HOME": str(tmp_path), "SOPHIA_NO_KEYRING": "1", "SOPHIA_BASE_URL": "http://scripted/v1"}
    runtime = Runtime(load_settings(env), transport=ScriptedTransport(), env=env)
    try:
        await runtime.start()
        login: Login = runtime.login
        servers = VoiceServers(runtime.settings, ScriptedTransport(), env, in_use=lambda: None, auth_for=login.auth_for)
        mouth = servers.mouth("elevenlabs")
        await servers.look()
        assert reason(mouth) == NO_KEY and await login.status() == []
        assert "encrypted store" in await login.keep_key("elevenlabs", Secret(KEY))
        await servers.look()
        assert available(mouth)
        assert [(each.provider, each.how) for each in await login.status()] == [("voice.elevenlabs", "key")]
        assert "forgotten" in await login.logout("voice.elevenlabs")
        await servers.look()
        assert reason(mouth) == NO_KEY
    finally:
        await runtime.close()


def test_a_key_of_the_environment_is_there_at_once() -> None:
    known = {"ELEVENLABS_API_KEY": KEY}
    servers = VoiceServers(Settings(), HttpTransport(), known, in_use=lambda: None)
    assert available(servers.mouth("elevenlabs"))
    assert isinstance(servers._key, ApiKey)
