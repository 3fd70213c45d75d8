"""The voice as a whole: who speaks, who listens, with which devices; made from settings, and only when it is used.

Nothing here loads an engine, numpy or PortAudio: those live in processes of their own, which end with this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Final

from sophia_core.events import FREQUENT, Bus, Event, ListeningChanged, Notice, VoiceDegraded
from sophia_core.voice.choosing import Choosing
from sophia_core.voice.files import Files
from sophia_core.voice.listening import Listening
from sophia_core.voice.nearest import NearestDevices
from sophia_core.voice.speaking import LOCKED, Speaking, StoredTexts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sophia_core.personas.persona import Voice as PersonaVoice
    from sophia_core.personas.personas import Personas
    from sophia_core.settings import Loaded
    from sophia_core.state import Current
    from sophia_core.vault import Vault
    from sophia_core.voice.bridge.devices import BridgeDevices
    from sophia_core.voice.bridge.places import Place
    from sophia_core.voice.devices import LocalDevices
    from sophia_core.voice.ears import Ears
    from sophia_core.voice.engines import Embedded
    from sophia_core.voice.mouths import Mouths
    from sophia_core.voice.ports import Devices, Ear, Mouth, VoiceDetector
    from sophia_core.voice.ports import Notice as DeviceNotice
    from sophia_core.voice.servers import VoiceServers
    from sophia_core.voice.settings import Who

OWNERS: Final[tuple[type, ...]] = (Speaking, Listening, Choosing, Files)
"""The classes of the voice that have commands."""


class Voice:
    """Everything that speaks and listens. Nothing runs before something is to be said or heard."""

    def __init__(
        self,
        loaded: Loaded,
        bus: Bus,
        vault: Vault,
        current: Current,
        personas: Personas,
        servers: Callable[[], VoiceServers],
        *,
        ask: Callable[[str], Awaitable[object]],
        stop_answer: Callable[[], Awaitable[object]],
        keep: Callable[[str, str], Awaitable[object]],
        env: Mapping[str, str],
        devices: Devices | None = None,
    ) -> None:
        """`servers` makes the services that speak and listen, `ask` sends what was said, `stop_answer` ends the answer
        that somebody talks over; `keep` writes a setting down. `devices` are used in place of those of this machine."""
        self.settings = settings = loaded.settings.voice
        self._loaded, self._bus, self._personas, self._env = loaded, bus, personas, env
        self._current = current
        self._make_servers = servers
        self._asides: set[asyncio.Task[object]] = set()
        texts = StoredTexts(vault, current)
        self.speaking = Speaking(
            lambda: self.mouths,
            lambda: self.devices,
            bus,
            current,
            texts,
            voice_of=self._voice_of,
            auto=settings.enabled and settings.speak_answers,
            speed=settings.speed,
            output=lambda: self.choosing.output,
            soon=lambda: self._aside(self._load_mouth()),
        )
        self.listening = Listening(
            lambda: self.devices,
            lambda: self.ears,
            lambda: self.detector,
            bus,
            settings,
            ask=ask,
            interrupt=self.hush,
            stop_answer=stop_answer,
        )
        self.choosing = Choosing(lambda: self.devices, self.listening, settings, keep=keep)
        self.files = Files(
            settings,
            bus,
            vault.work,
            texts,
            ears=lambda: self.ears,
            mouths=lambda: self.mouths,
            embedded=lambda: self.embedded.ear,
            voice_of=lambda: self._voice_of(current.persona),
            editable=lambda: self.listening.editable,
        )
        bus.subscribe(self._heard, without=FREQUENT)

    @property
    def owners(self) -> tuple[object, ...]:
        """One of each of OWNERS."""
        return (self.speaking, self.listening, self.choosing, self.files)

    # What is made when it is first used

    @cached_property
    def devices(self) -> Devices:
        """The microphones and loudspeakers: those of this machine, or at the far end of a bridge."""
        return NearestDevices(self._local, self._bridge, self.bridges)

    @cached_property
    def embedded(self) -> Embedded:
        """The engines on this machine."""
        from sophia_core.voice.engines import Embedded

        return Embedded()

    @cached_property
    def servers(self) -> VoiceServers:
        """The services that speak and listen."""
        return self._make_servers()

    @cached_property
    def mouths(self) -> Mouths:
        """Who speaks, best first."""
        from sophia_core.voice.mouths import Mouths

        return Mouths([self._mouth(who) for who in self.settings.mouths], self._bus)

    @cached_property
    def ears(self) -> Ears:
        """Who writes down what is said, best first."""
        from sophia_core.voice.ears import Ears

        return Ears([self._ear(who) for who in self.settings.ears], self._bus)

    @cached_property
    def detector(self) -> VoiceDetector:
        """Who tells speech from all else; by loudness where the engine for it is not installed."""
        from sophia_core.voice.loudness import LoudnessDetector
        from sophia_core.voice.sparing import SparingDetector

        found = self.embedded.detector
        return LoudnessDetector() if found.engine.why_not else SparingDetector(found)

    def bridges(self) -> Sequence[Place]:
        """Where bridges may be, the best first. Blocks, shortly."""
        from sophia_core.voice.bridge.places import find

        return find(self._loaded.paths.control_dir / "voice", self._env)

    def _mouth(self, who: Who) -> Mouth:
        return self.embedded.mouth if who == "embedded" else self.servers.mouth(who)

    def _ear(self, who: Who) -> Ear:
        return self.embedded.ear if who == "embedded" else self.servers.ear(who)

    def _local(self) -> LocalDevices:
        from sophia_core.voice.devices import LocalDevices

        return LocalDevices(on_notice=self._noticed)

    def _bridge(self) -> BridgeDevices:
        from sophia_core.voice.bridge.devices import BridgeDevices

        return BridgeDevices(self.bridges, on_notice=self._noticed)

    def _noticed(self, notice: DeviceNotice) -> None:
        self._bus.publish(Notice("warning", notice.message, notice.hint))
        if notice.used:
            self._bus.publish(VoiceDegraded("device", notice.chosen, "It is not there.", notice.hint, notice.used))

    async def _voice_of(self, persona: str | None) -> PersonaVoice:
        """How a persona sounds; on the way it is looked whether there is a key for those who need one."""
        await self.look()
        return self.choosing.voice_of(await self._personas.voice(persona))

    async def look(self) -> None:
        """Look whether there is a key by now for those who need one."""
        if "elevenlabs" in (*self.settings.mouths, *self.settings.ears):
            await self.servers.look()

    def _heard(self, event: Event) -> None:
        # Whoever speaks takes longer than it takes to look for a key.
        if isinstance(event, ListeningChanged) and event.state == "opening":
            self._aside(self._load_ears())
            if self.speaking.auto:
                self._aside(self._load_mouth())

    async def _load_ears(self) -> None:
        await self.look()
        await self.ears.load()

    async def _load_mouth(self) -> None:
        await asyncio.to_thread(_load_speech)  # beside the loop: it takes long enough for a frame to be missed
        await self.mouths.load((await self._voice_of(self._current.persona)).engine)

    def _aside(self, work: Coroutine[None, None, object]) -> None:
        """Something that nobody waits for, until this is closed."""
        task = asyncio.get_running_loop().create_task(work, name="voice-aside")
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)

    # What it does as a whole

    def use(self, devices: Devices) -> None:
        """Use these devices instead, from the beginning."""
        self.devices = devices

    def hush(self) -> None:
        """Be silent at once; nobody waits for it."""
        if self.speaking.speaking:
            self._aside(self.speaking.interrupt())

    def attend(self) -> None:
        """A person is here: listens from now on where settings say so."""
        self.listening.attend()

    async def rest(self) -> None:
        """Silence, and a closed microphone: the store is being locked."""
        async with AsyncExitStack() as both:
            both.push_async_callback(self.listening.rest)
            both.push_async_callback(self.speaking.interrupt, LOCKED)

    async def close(self) -> None:
        """End all of it, whatever any part raises."""
        made = vars(self)
        async with AsyncExitStack() as last_first:
            if "embedded" in made:
                last_first.push_async_callback(self.embedded.close)
            if "devices" in made:
                last_first.push_async_callback(self.devices.close)
            last_first.push_async_callback(self._end_asides)
            last_first.push_async_callback(self.listening.close)
            last_first.push_async_callback(self.speaking.close)

    async def _end_asides(self) -> None:
        for each in (left := tuple(self._asides)):
            each.cancel()
        if left:
            await asyncio.wait(left)


def _load_speech() -> None:
    """Load how a text is read aloud, before the first one is."""
    from sophia_core.voice import clips, speech

    _ = clips, speech
