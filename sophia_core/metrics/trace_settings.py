"""The settings of traces: what is kept of how long each step of a turn took, and who else is told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sophia_core.setting_kinds import Address, Section


class TraceSettings(Section):
    """How long each step of a turn took; times and names only, in the encrypted store."""

    enabled: bool = Field(True, description="Keep the steps of each turn: `trace.show`.")
    keep_turns: int = Field(1000, ge=10, le=100_000, description="How many turns are kept; the oldest make room.")
    keep_days: int = Field(30, ge=1, le=3650, description="Days after which a turn's steps are forgotten.")
    propagate: bool = Field(True, description="Send a W3C `traceparent` with every request to a provider.")
    names: Literal["current", "old"] = Field(
        "current",
        description="Which GenAI names collectors get; dashboards made before 2026 know the old ones.",
    )
    otlp_endpoint: Address | None = Field(
        None, description="A collector that gets every span (OTLP over HTTP), such as `http://127.0.0.1:4318`."
    )
    otlp_headers_env: str | None = Field(
        None, description="The environment variable that holds its headers: `name=value,name=value`."
    )
