"""The accounts of the voice: services that are signed in to with a key, like providers, and answer no questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sophia_core.settings import ProviderSettings, Settings

PREFIX: Final = "voice."
"""So that a provider of the same name keeps a key of its own."""


def voice_accounts(settings: Settings) -> list[ProviderSettings]:
    """Every service of the voice that may want a key."""
    from sophia_core.settings import ProviderSettings

    voice = settings.voice
    known: list[tuple[str, str, str | None]] = [("elevenlabs", voice.elevenlabs_url, voice.elevenlabs_key_env)]
    known += [("server", voice.server_url, voice.server_key_env)] if voice.server_url else []
    known += [("ears", voice.server_ears_url, voice.server_key_env)] if voice.server_ears_url else []
    return [
        ProviderSettings(name=f"{PREFIX}{name}", base_url=address, api_key_env=variable)
        for name, address, variable in known
    ]


def voice_account(settings: Settings, name: str) -> ProviderSettings | None:
    """The service of this name, with or without `voice.` before it; None: there is none."""
    wanted = PREFIX + name.removeprefix(PREFIX)
    return next((each for each in voice_accounts(settings) if each.name == wanted), None)
