"""Which microphone, which loudspeaker and which voice: the commands that list and choose them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sophia_core.commands import CommandError, command
from sophia_core.personas.persona import Voice
from sophia_core.sanitize import one_line
from sophia_core.voice.listening import Listening
from sophia_core.voice.ports import AudioTrouble, Device, Devices

if TYPE_CHECKING:
    from sophia_core.voice.settings import VoiceSettings

USUAL: Final = "default"
"""What stands for the system's own device, and for the voice that persona and settings name."""
NONE_HINT: Final = "Plug them in and ask again; over SSH, `sophia voice ssh` brings those of your own machine."
Keep = Callable[[str, str], Awaitable[object]]
"""Writes a setting down: `settings.set`."""


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device as it is listed."""

    name: str
    """What `voice.input` and `voice.output` take."""
    kind: str
    about: str
    """`in use`, `the system's own`."""


@dataclass(frozen=True, slots=True)
class VoiceRow:
    """A voice as it is listed."""

    name: str
    """What `voice.use` takes."""
    engine: str
    about: str


def _available(choosing: Choosing) -> str | None:
    return None if choosing.settings.enabled else "the voice is switched off (`voice.enabled`)"


class Choosing:
    """What was chosen, of devices and voices."""

    def __init__(
        self, devices: Callable[[], Devices], listening: Listening, settings: VoiceSettings, *, keep: Keep
    ) -> None:
        self._devices, self._listening, self._keep = devices, listening, keep
        self.settings = settings
        self.output: str | None = settings.output or None
        """The loudspeaker; None: the system's own."""
        self.voice: VoiceRow | None = None
        """The voice, whoever answers; None: as the persona would have it."""

    @command("voice.devices", enabled=_available)
    async def devices(self) -> list[DeviceRow]:
        """List the microphones and loudspeakers there are."""
        there = await self._all()
        if not there:
            raise CommandError("There is neither a microphone nor a loudspeaker here.", NONE_HINT)
        return [DeviceRow(one_line(each.id, 120), _KINDS[each.kind], self._about(each)) for each in there]

    @command("voice.input", enabled=_available)
    async def use_input(self, name: str = USUAL) -> str:
        """Listen with this microphone from now on; `default` is the system's own."""
        device = await self._find(name, "input")
        await self._keep("voice.input", device or "")
        await self._listening.use_device(device)
        return f"Listening with {one_line(device, 80) if device else 'the microphone the system uses'}."

    @command("voice.output", enabled=_available)
    async def use_output(self, name: str = USUAL) -> str:
        """Speak through this loudspeaker from now on; `default` is the system's own."""
        device = await self._find(name, "output")
        await self._keep("voice.output", device or "")
        self.output = device
        return f"Speaking through {one_line(device, 80) if device else 'the loudspeaker the system uses'}."

    @command("voice.voices", enabled=_available)
    async def voices(self) -> list[VoiceRow]:
        """List the voices there are to speak with."""
        return self._voices()

    @command("voice.use", enabled=_available)
    async def use(self, name: str = USUAL) -> str:
        """Speak with this voice until you leave, whoever answers; `default` is the persona's own again."""
        if name == USUAL:
            self.voice = None
            return "Everybody speaks with their own voice again."
        found = next((each for each in self._voices() if each.name == name), None)
        if found is None:
            known = ", ".join(each.name for each in self._voices())
            raise CommandError(f"There is no voice {one_line(name, 40)!r}.", f"There are {known}.")
        self.voice = found
        return f"Speaking with {name}. A persona keeps a voice: its file has a table [voice]."

    def voice_of(self, usual: Voice) -> Voice:
        """The voice to speak with, where the persona would have `usual`."""
        return replace(usual, engine=self.voice.engine, name=self.voice.name) if self.voice else usual

    def _voices(self) -> list[VoiceRow]:
        from sophia_core.voice.engines import VOICES

        names = {
            "embedded": VOICES,
            "server": (self.settings.server_voice,),
            "elevenlabs": (self.settings.elevenlabs_voice,),
        }
        about = {"embedded": "on this machine", "server": "of the server", "elevenlabs": "of ElevenLabs"}
        return [VoiceRow(name, each, about[each]) for each in self.settings.mouths for name in names[each]]

    def _about(self, device: Device) -> str:
        chosen = self._listening.device if device.kind == "input" else self.output
        if chosen == device.id or (chosen is None and device.default):
            return "in use"
        return "the system's own" if device.default else ""

    async def _all(self) -> list[Device]:
        try:
            return await self._devices().list()
        except AudioTrouble as trouble:
            raise CommandError(trouble.message, trouble.hint or "Text always works.") from None

    async def _find(self, name: str, kind: str) -> str | None:
        """The id of the device somebody means. Raises CommandError."""
        if name in (USUAL, ""):
            return None
        there = [each for each in await self._all() if each.kind == kind]
        wanted = name.casefold()
        exact = [each for each in there if name in (one_line(each.id, 120), each.id)]
        near = exact or [each for each in there if wanted in each.name.casefold()]
        if len(near) == 1:
            return near[0].id
        known = ", ".join(one_line(each.id, 60) for each in near or there) or "none at all"
        what = "names several" if near else "is not there"
        raise CommandError(f"{one_line(name, 60)!r} {what}.", f"There are {known}.")


_KINDS: Final = {"input": "microphone", "output": "loudspeaker"}
