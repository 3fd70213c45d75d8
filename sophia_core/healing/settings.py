"""The settings of the healing."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sophia_core.setting_kinds import Section


class HealingSettings(Section):
    """What SOPHIA changes by itself when a server gets slow, full or faulty; `healing.show` lists every change."""

    enabled: bool = Field(True, description="Act at all; `healing.off` and `healing.on` do the same until the end.")
    routing: bool = Field(True, description="Ask a server later that is about to be full or behaves unlike itself.")
    concurrency: bool = Field(True, description="Send an overloaded server fewer requests at once, then more again.")
    first_token: bool = Field(
        True, description="Leave a server sooner that is silent for longer than it ever was, if another can answer."
    )
    sensitivity: Annotated[float, Field(ge=3, le=20)] = Field(
        5.0, description="How unlike itself a server has to be, in standard deviations."
    )
