"""Where SOPHIA keeps things: one value, made from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    """Every folder SOPHIA writes to; all of them lie under `SOPHIA_HOME` when that is set."""

    config_file: Path
    themes_dir: Path
    """The user's own themes; a file here wins over a shipped theme of the same name."""
    macros_dir: Path
    """The person's own macros."""
    personas_dir: Path
    """The person's own personas."""
    store_dir: Path
    device_dir: Path
    """Holds the device key, apart from the store it unlocks, so that a copy of one is not a copy of both."""
    log_file: Path
    cache_dir: Path
    control_dir: Path
    """Holds the control sockets of running apps."""


def resolve_paths(env: Mapping[str, str] | None = None) -> Paths:
    """The folders for this environment: `SOPHIA_HOME`, else the platform's usual places."""
    env = os.environ if env is None else env
    if home := env.get("SOPHIA_HOME"):
        return _under(Path(home).expanduser().absolute())
    from platformdirs import PlatformDirs

    dirs = PlatformDirs("sophia", appauthor=False)
    config, state = Path(dirs.user_config_dir), Path(dirs.user_state_dir)
    return Paths(
        config_file=config / "config.toml",
        themes_dir=config / "themes",
        macros_dir=config / "macros",
        personas_dir=config / "personas",
        store_dir=Path(dirs.user_data_dir) / "store",
        device_dir=state / "device",
        log_file=state / "sophia.log",
        cache_dir=Path(dirs.user_cache_dir),
        control_dir=Path(dirs.user_runtime_dir),
    )


def _under(home: Path) -> Paths:
    return Paths(
        config_file=home / "config.toml",
        themes_dir=home / "themes",
        macros_dir=home / "macros",
        personas_dir=home / "personas",
        store_dir=home / "store",
        device_dir=home / "device",
        log_file=home / "logs" / "sophia.log",
        cache_dir=home / "cache",
        control_dir=home / "run",
    )
