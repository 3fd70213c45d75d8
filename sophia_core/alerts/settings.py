"""The settings of the alerts; the rules and the receivers stand in `alerts.toml`, beside the config file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sophia_core.setting_kinds import Section


class AlertSettings(Section):
    """Telling somebody when something goes wrong. What to watch and whom to tell stands in `alerts.toml`."""

    enabled: bool = Field(True, description="Watch over what is measured while the app runs.")
    shipped_rules: bool = Field(True, description="Use the rules that came with the app, beside your own.")
    notify: Literal["off", "bell", "desktop"] = Field(
        "bell", description="How this terminal tells of an alert, beside the line it shows."
    )
    give_up_hours: float = Field(24.0, gt=0, le=720, description="How long a receiver that fails is tried again.")
