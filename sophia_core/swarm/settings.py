"""The settings of the swarm: who carries out runs here, and where they are kept."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from sophia_core.setting_kinds import Section


def _database(url: str) -> str:
    parts = urlsplit(url)
    if url and parts.scheme not in ("postgresql", "postgres"):
        raise ValueError("a database that machines share is named as postgresql://user@host/name")
    if parts.password:
        raise ValueError("the address of a database holds no password; put it into ~/.pgpass or PGPASSWORD")
    return url


class SwarmSettings(Section):
    """Who carries out runs of plans on this machine, and where runs are kept."""

    worker: bool = Field(True, description="Start a worker here when something is asked and none is there.")
    database: Annotated[str, AfterValidator(_database)] = Field(
        "", description="A PostgreSQL that several machines share, as `postgresql://user@host/name`; none when empty."
    )
    slots: int = Field(2, ge=1, le=64, description="Runs at once; those that only wait for you do not count.")
    parallel: int = Field(4, ge=1, le=256, description="Steps at once on this machine, of all its runs.")
    per_provider: int = Field(4, ge=1, le=256, description="Questions of steps at once to each provider.")
    labels: tuple[str, ...] = Field((), description="What this machine has, for plans that ask for it, like `gpu`.")
    idle_minutes: float = Field(10, ge=0.05, le=1440, description="A worker started by itself ends after so long idle.")
