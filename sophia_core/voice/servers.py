"""The servers of the voice as the settings name them: who they are, how they know us, and why one cannot be asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal

from backend_client.auth import ApiKey, Auth, NoAuth, Secret, proof
from backend_client.errors import BackendError
from backend_client.happenings import BreakerChanged, Happening
from backend_client.types import Endpoint, EndpointSource, Provider, StaticEndpoint
from sophia_core.providers import EMBEDDED, Nowhere
from sophia_core.sanitize import one_line
from sophia_core.voice.accounts import voice_account
from sophia_core.voice.ports import Ear, Mouth, Transcript

if TYPE_CHECKING:
    from backend_client.fleet import CostCap
    from backend_client.speech import ServerEar, ServerMouth, SpeechServer
    from backend_client.transport import Transport
    from sophia_core.events import Event
    from sophia_core.settings import ProviderSettings, Settings

ELEVENLABS: Final = "elevenlabs"
SERVER: Final = "server"
NO_KEY: Final = "there is no API key for ElevenLabs"
NO_SERVER: Final = "no server is in use"
LOOK_S: Final = 1.0
"""How long whoever wants to speak waits for a store that is being opened, which may hold a key."""
HEARD_MAX: Final = 100_000
"""Characters of what was heard; ten minutes are a tenth of it."""
Place = Literal["elevenlabs", "server", "ears"]


class VoiceServers:
    """Mouths and ears that are servers; built at once, asked nothing before somebody speaks.

    `in_use` is the provider that answers now, for those who named no server of the voice. `auth_for` finds a key that
    is not in the environment. `tell` is told of breakers as events.
    """

    def __init__(
        self,
        settings: Settings,
        transport: Transport,
        env: Mapping[str, str],
        *,
        in_use: Callable[[], Provider | None],
        auth_for: Callable[[ProviderSettings], Auth | None] = lambda each: None,
        cap: CostCap | None = None,
        tell: Callable[[Event], object] = lambda event: None,
    ) -> None:
        self._settings, self._voice = settings, settings.voice
        self._transport, self._env = transport, env
        self._in_use, self._auth_for, self._cap, self._tell = in_use, auth_for, cap, tell
        self._key = self._auth(ELEVENLABS)
        self._has_key = isinstance(self._key, ApiKey)
        self._last_used = ""
        self._servers: dict[Place, SpeechServer] = {}

    def mouth(self, who: Literal["elevenlabs", "server"]) -> Mouth:
        """Somebody who speaks."""
        from backend_client.speech import ElevenLabsMouth, SpeechMouth

        voice = self._voice
        if who == ELEVENLABS:
            server = self._server(ELEVENLABS)
            return _Mouth(who, ElevenLabsMouth(server, voice=voice.elevenlabs_voice, model=voice.elevenlabs_model))
        return _Mouth(
            who,
            SpeechMouth(
                self._server(SERVER),
                voice=voice.server_voice,
                model=voice.server_model,
                form=voice.server_format,
                sends=voice.server_rate,
            ),
        )

    def ear(self, who: Literal["elevenlabs", "server"]) -> Ear:
        """Somebody who listens."""
        from backend_client.speech import ScribeEar, TranscriptionEar

        if who == ELEVENLABS:
            return _Ear(who, ScribeEar(self._server(ELEVENLABS), model=self._voice.elevenlabs_ears))
        place: Place = "ears" if self._voice.server_ears_url else "server"
        return _Ear(who, TranscriptionEar(self._server(place), model=self._voice.server_ears))

    async def look(self) -> None:
        """Look whether there is a key for ElevenLabs; without one it is not asked. Cheap: call it before speaking."""
        if isinstance(self._key, ApiKey):
            return
        try:
            async with asyncio.timeout(LOOK_S):
                headers, _ = await proof(self._key)
        except (BackendError, TimeoutError):
            return
        if headers and not self._has_key and (known := self._servers.get(ELEVENLABS)):
            known.forgive()
        self._has_key = bool(headers)

    def forgive(self) -> None:
        """Ask all of them again: there is another key, or the network is back."""
        for server in self._servers.values():
            server.forgive()

    def _server(self, place: Place) -> SpeechServer:
        if place not in self._servers:
            self._servers[place] = self._built(place)
        return self._servers[place]

    def _built(self, place: Place) -> SpeechServer:
        from backend_client.speech import SpeechServer, SpeechTimeouts

        voice = self._voice
        timeouts = SpeechTimeouts(first=voice.first_sound_s, stall=voice.stall_s)
        name, source, absent, most = self._where(place)
        return SpeechServer(
            name,
            source,
            self._transport,
            timeouts=timeouts,
            max_concurrent=most,
            needs_key=place == ELEVENLABS,
            absent=absent,
            hook=self._happened,
        )

    def _where(self, place: Place) -> tuple[str, EndpointSource, Callable[[], str], int]:
        voice = self._voice
        if place == ELEVENLABS:
            endpoint = Endpoint(voice.elevenlabs_url, None, self._key)
            return ELEVENLABS, StaticEndpoint(endpoint), self._no_key, voice.elevenlabs_concurrent
        address = voice.server_ears_url if place == "ears" else voice.server_url
        if address is None:
            return SERVER, _InUse(self._in_use), self._nobody_in_use, 4
        return SERVER, StaticEndpoint(Endpoint(address, None, self._auth(place))), str, 4

    def _auth(self, name: str) -> Auth:
        each = voice_account(self._settings, name)
        if each is None:
            return NoAuth()
        if key := self._env.get(each.api_key_env, "") if each.api_key_env else "":
            return ApiKey(Secret(key))
        return self._auth_for(each) or NoAuth()

    def _no_key(self) -> str:
        return "" if self._has_key else NO_KEY

    def _nobody_in_use(self) -> str:
        """Why the provider in use cannot be asked; one that follows another begins with a clean sheet."""
        provider = self._in_use()
        if provider is None or provider.name == EMBEDDED or isinstance(provider.source, Nowhere):
            return NO_SERVER
        if provider.name != self._last_used:
            changed, self._last_used = bool(self._last_used), provider.name
            if changed:
                self._servers[SERVER].forgive()
        return self._cap.why if provider.paid and self._cap is not None and self._cap.reached else ""

    def _happened(self, happening: Happening) -> None:
        # The other happenings would be taken for those of a chat.
        if isinstance(happening, BreakerChanged):
            self._tell(happening)


class _InUse:
    """Wherever the provider in use is."""

    def __init__(self, in_use: Callable[[], Provider | None]) -> None:
        self._in_use = in_use

    async def ready(self) -> Endpoint:
        """Return its endpoint. Raises BackendError."""
        provider = self._in_use()
        return await (provider.source if provider is not None else Nowhere()).ready()


class _Mouth:
    """A server that speaks, under the name that settings have for it."""

    def __init__(self, name: str, mouth: ServerMouth) -> None:
        self.name, self.rate, self._mouth = name, mouth.rate, mouth

    def available(self) -> bool:
        """Whether it may be asked now."""
        return self._mouth.available()

    @property
    def reason(self) -> str:
        """Why it may not, as one safe line; empty when it may."""
        return one_line(self._mouth.reason)

    def speak(self, text: str, *, voice: str | None = None, speed: float = 1.0) -> AsyncIterator[bytes]:
        """Yield the sound of one sentence. Raises BackendError."""
        return self._mouth.speak(text, voice=voice, speed=speed)


class _Ear:
    """A server that listens, under the name that settings have for it."""

    def __init__(self, name: str, ear: ServerEar) -> None:
        self.name, self._ear = name, ear

    def available(self) -> bool:
        """Whether it may be asked now."""
        return self._ear.available()

    @property
    def reason(self) -> str:
        """Why it may not, as one safe line; empty when it may."""
        return one_line(self._ear.reason)

    async def transcribe(self, pcm: bytes, *, language: str | None = None) -> Transcript:
        """Write it down. Raises BackendError."""
        heard = await self._ear.transcribe(pcm, language=language)
        known = one_line(heard.language, 20) if heard.language else None
        return Transcript(one_line(heard.text, HEARD_MAX), self.name, heard.seconds, known)
