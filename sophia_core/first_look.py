"""The few settings that the first paint needs, read without validation.

Reading all settings takes a fifth of a second that nobody wants to wait for before they can type. So the app paints
with these and reads the settings properly, mistakes named, right after. A value that is not plainly right counts as
not set.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sophia_core.config_file import read_toml
from sophia_core.paths import Paths, resolve_paths

if TYPE_CHECKING:
    from sophia_core.settings import Loaded

THEME, LIGHT_THEME = "sophia-dark", "sophia-light"
AUTO = "auto"
"""The theme that stands for two: which one is seen from the terminal's ground."""
_TRUE, _FALSE = frozenset({"1", "true", "t", "yes", "y", "on"}), frozenset({"0", "false", "f", "no", "n", "off"})


@dataclass(frozen=True, slots=True)
class FirstLook:
    """What the screen looks like; the same values as in the settings wherever those are valid."""

    paths: Paths
    theme: str = THEME
    sidebar: bool = True
    mouse: bool | None = None
    """None: wherever the terminal is good at it."""
    ascii_only: bool = False
    frames_per_second: int | None = None
    reduced_motion: bool = False
    linear: bool = False
    theme_dark: str = THEME
    theme_light: str = LIGHT_THEME
    light: bool | None = None
    """Whether the terminal's ground is light; None where nobody asked, or it did not tell."""

    @classmethod
    def of(cls, loaded: Loaded) -> FirstLook:
        """The look that these settings say."""
        screen = loaded.settings.screen
        return cls(
            loaded.paths,
            loaded.settings.theme,
            screen.sidebar,
            screen.mouse,
            screen.ascii_only,
            screen.frames_per_second,
            screen.reduced_motion,
            screen.linear,
            loaded.settings.theme_dark,
            loaded.settings.theme_light,
        )


def first_look(env: Mapping[str, str] | None = None) -> FirstLook:
    """The look that the environment and the config file say. Never raises for what a person wrote."""
    env = os.environ if env is None else env
    paths = resolve_paths(env)
    tables, _, _ = read_toml(paths.config_file)
    screen = tables.get("screen")
    found = {key.lower(): value for key, value in env.items() if value}
    return FirstLook(
        paths,
        theme=_text(found.get("sophia_theme")) or _text(tables.get("theme")) or THEME,
        theme_dark=_text(found.get("sophia_theme_dark")) or _text(tables.get("theme_dark")) or THEME,
        theme_light=_text(found.get("sophia_theme_light")) or _text(tables.get("theme_light")) or LIGHT_THEME,
        **_flags(screen if isinstance(screen, dict) else {}, found),
    )


def _flags(screen: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
    flags: dict[str, Any] = {}
    for name in ("sidebar", "mouse", "ascii_only", "reduced_motion", "linear"):
        value = _flag(env.get(f"sophia_screen__{name}", screen.get(name)))
        if value is not None:
            flags[name] = value
    frames = env.get("sophia_screen__frames_per_second", screen.get("frames_per_second"))
    if str(frames).isdecimal() and 1 <= int(str(frames)) <= 30:
        flags["frames_per_second"] = int(str(frames))
    return flags


def _flag(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    return True if word in _TRUE else False if word in _FALSE else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
