"""Choosing microphone, loudspeaker and voice from a list, on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sophia_core.commands import command

if TYPE_CHECKING:
    from sophia_core.voice.choosing import DeviceRow, VoiceRow
    from sophia_tui.app import SophiaApp

USUAL: Final = ("default", "The system's own")
OWN: Final = ("default", "The persona's own")


class VoiceCommands:
    """The pickers; what they end in is a command of the core."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app

    @command("voice.microphone", needs_app=True)
    async def microphone(self) -> str | None:
        """Choose the microphone from those there are."""
        return await self._device("microphone", "voice.input")

    @command("voice.loudspeaker", needs_app=True)
    async def loudspeaker(self) -> str | None:
        """Choose the loudspeaker from those there are."""
        return await self._device("loudspeaker", "voice.output")

    @command("voice.choose", slash="voices", needs_app=True)
    async def voice(self) -> str | None:
        """Choose the voice that is spoken with."""
        rows: list[VoiceRow] = await self._listed("voice.voices")
        items = [OWN, *((row.name, f"{row.name}  {row.about}") for row in rows)]
        return await self._pick("Which voice?", items, "voice.use")

    async def _device(self, kind: str, then: str) -> str | None:
        rows: list[DeviceRow] = await self._listed("voice.devices")
        items = [
            USUAL,
            *((row.name, "  ".join(filter(None, (row.name, row.about)))) for row in rows if row.kind == kind),
        ]
        return await self._pick(f"Which {kind}?", items, then)

    async def _listed(self, name: str) -> list:  # type: ignore[type-arg]
        listed = await self._app.runtime.run(name)
        return listed if isinstance(listed, list) else []

    async def _pick(self, title: str, items: list[tuple[str, str]], then: str) -> str | None:
        from sophia_tui.screens.pick import Pick, PickItem

        screen = Pick(title, [PickItem(name, label) for name, label in items])
        chosen: str | None = await self._app.push_screen_wait(screen)
        return None if chosen is None else str(await self._app.runtime.run(then, chosen))
