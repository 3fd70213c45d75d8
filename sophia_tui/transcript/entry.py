"""One turn of the conversation as the transcript shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TROUBLED = frozenset({"interrupted", "cancelled", "failed", "partial", "dead", "damaged"})
Role = Literal["user", "assistant", "notice"]


AsideKind = Literal["tool_call", "tool_result", "image", "file"]


@dataclass(frozen=True, slots=True)
class Aside:
    """Something that belongs to a message beside its text, on a row that unfolds."""

    kind: AsideKind
    name: str = ""
    text: str = ""
    """The arguments of a call, its result, or what a file says; unfolded on demand."""
    status: str = "complete"
    """``waiting``, ``running``, ``complete``, ``failed`` or ``refused``."""
    size: int | None = None
    """Bytes, of a file."""
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One question, answer or notice. All text is already sanitised by the caller."""

    id: str
    role: Role
    text: str
    reasoning: str = ""
    status: str = "complete"
    """``complete``, ``streaming``, ``interrupted``, ``cancelled``, ``failed``, ``partial``, …"""
    label: str = ""
    """Who speaks, for example the model's name; empty: a default for the role."""
    footer: str = ""
    """One dim line under the text."""
    branch: tuple[int, int] | None = None
    """Position (from 1) and number of sibling answers."""
    asides: tuple[Aside, ...] = ()
    """Calls of tools, their results, images and files."""
    above: str = ""
    """A mark over it: what is above is not like what is below."""
    tint: str = ""
    """The colour of who speaks, as a persona names it; empty: that of the role."""

    @property
    def attention(self) -> bool:
        """Whether it is drawn as something that went wrong."""
        return self.status in TROUBLED
