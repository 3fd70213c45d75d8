"""How the voice stands: who would speak and who would listen now, and why the better ones would not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from sophia_core.voice.voice import Voice

NAMES = {"elevenlabs": "ElevenLabs", "server": "the server", "embedded": "the engine on this machine"}
INSTALL = "pip install 'sophia-workstation[voice]', or name a server: voice.server_url"


@dataclass(frozen=True, slots=True)
class Standing:
    """One line about it."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


async def standing(voice: Voice) -> list[Standing]:
    """What there is to say; asks no server, and starts nothing but a look for keys."""
    if not voice.settings.enabled:
        return [Standing("voice", True, "switched off (`voice.enabled`)")]
    await voice.look()
    return [
        _chain("voice: speaking", [(who, _why_not(voice, who, "mouth")) for who in voice.settings.mouths]),
        _chain("voice: listening", [(who, _why_not(voice, who, "ear")) for who in voice.settings.ears]),
        *await _bridge(voice),
    ]


def _chain(name: str, members: Sequence[tuple[str, str]]) -> Standing:
    able = [who for who, why_not in members if not why_not]
    passed = [f"{NAMES[who]}: {one_line(why_not, 120)}" for who, why_not in members if why_not]
    if not able:
        return Standing(name, False, "; ".join(passed) or "nobody is named", INSTALL)
    return Standing(name, True, "; ".join([", then ".join(NAMES[who] for who in able), *passed]))


def _why_not(voice: Voice, who: str, part: Literal["mouth", "ear"]) -> str:
    if who == "embedded":
        engine = voice.embedded.mouth.engine if part == "mouth" else voice.embedded.ear.engine
        return engine.why_not or ""
    member = voice.servers.mouth(who) if part == "mouth" else voice.servers.ear(who)  # type: ignore[arg-type]
    return str(getattr(member, "reason", ""))


async def _bridge(voice: Voice) -> list[Standing]:
    from sophia_core.voice.nearest import NearestDevices

    if not isinstance(devices := voice.devices, NearestDevices) or not voice.bridges():
        return []
    if await devices.bridged():
        return [Standing("voice bridge", True, f"answers: {one_line(devices.name, 80)}")]
    fix = "Start it again on your own machine: sophia voice ssh HOST"
    return [Standing("voice bridge", False, "was announced here, and does not answer", fix)]
