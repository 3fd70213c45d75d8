"""Asking what a picture shows, so that the answer can be worked on as text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from sophia_core.commands import CommandError, command
from sophia_core.events import TurnFinished

if TYPE_CHECKING:
    from sophia_core.attach.attachments import Attachments

QUESTION: Final = (
    "Explain this picture. If it is a diagram, give it again as one Mermaid code block (flowchart, sequenceDiagram, "
    "classDiagram, stateDiagram-v2 or erDiagram, whichever fits), with the same names and arrows and nothing made up; "
    "if it is a table, as a Markdown table; if it is text, as that text. Then say in a few sentences what it means. "
    "Mark what you cannot read with [?]."
)


class Explaining:
    """The command that asks about a picture; `send` asks a question."""

    def __init__(self, attachments: Attachments, send: Callable[[str], Awaitable[TurnFinished]]) -> None:
        self._attachments, self._send = attachments, send

    @command("image.explain", slash="diagram")
    async def explain(self, path: str | None = None, *, about: str | None = None) -> TurnFinished:
        """Explain a picture or diagram, and give it again as Mermaid, table or text; `about=` says what matters."""
        if path:
            await self._attachments.add(path)
        if not any(each.kind == "image" for each in self._attachments.waiting):
            raise CommandError("No picture is attached.", "Name one: /diagram PATH; or attach one first: /attach PATH.")
        return await self._send(f"{QUESTION}\n\nAbove all: {about}" if about else QUESTION)
