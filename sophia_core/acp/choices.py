"""What can be chosen in a session: personas, as the protocol's modes, and models."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from acp.schema import SessionConfigOptionSelect, SessionConfigSelectOption, SessionMode, SessionModeState

from sophia_core.commands import CommandError
from sophia_core.models import AUTO, OfferedModel
from sophia_core.personas.persona import NOBODY
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from sophia_core.runtime import Runtime

MODEL: Final = "model"
ASKING_S: Final = 3.0
"""How long servers may take to say which models they have; without them their names can still be chosen."""
MOST: Final = 200


async def modes(runtime: Runtime, current: str) -> SessionModeState:
    """Who can answer."""
    found = [SessionMode(id=NOBODY, name="Nobody in particular")]
    for each in (await runtime.personas.all())[:MOST]:
        about = one_line(each.about, 200) or None
        found.append(SessionMode(id=each.name, name=one_line(each.title, 60), description=about))
    known = {each.id for each in found}
    return SessionModeState(current_mode_id=current if current in known else NOBODY, available_modes=found)


async def model_option(runtime: Runtime, current: str) -> SessionConfigOptionSelect:
    """Which models there are, of which providers."""
    names = [AUTO, *(each.name for each in runtime.providers)]
    names += [f"{each.provider}/{each.model}" for each in await _offered(runtime)]
    if current not in names:
        names.append(current)
    options = [SessionConfigSelectOption(value=each, name=one_line(each, 120)) for each in dict.fromkeys(names[:MOST])]
    return SessionConfigOptionSelect(
        type="select", id=MODEL, name="Model", category="model", current_value=current, options=options
    )


async def _offered(runtime: Runtime) -> list[OfferedModel]:
    try:
        async with asyncio.timeout(ASKING_S):
            return await runtime.server_side.models.list()
    except (TimeoutError, CommandError):
        return []
