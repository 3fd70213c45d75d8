"""Sessions as Markdown, to read and to paste. Made safe for terminals, as everything that is shown."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

from sophia_core.exchange.contents import described
from sophia_core.exchange.pieces import fenced
from sophia_core.exchange.walk import Step, ending, open_fence, order, speaker, steps, still_there
from sophia_core.present import when
from sophia_core.sanitize import one_line, sanitize

if TYPE_CHECKING:
    from local_store import Part
    from local_store.bulk import Bulk, Outline

_SPECIAL = re.compile(r"([\\`*_\[\]<>#|])")


async def write(bulk: Bulk, session_ids: Iterable[str]) -> AsyncIterator[str]:
    """The sessions as pieces of text."""
    between = ""
    for session_id in session_ids:
        if (outline := await still_there(bulk, session_id)) is None:
            continue
        yield between + _top(outline)
        arranged, numbers = order(outline), dict[str, int]()
        async for step in steps(bulk, arranged.branch, numbers):
            yield _message(step)
        if arranged.beside:
            yield "\n## Other versions\n"
            async for step in steps(bulk, arranged.beside, numbers):
                yield _message(step)
        between = "\n---\n\n"


def _top(outline: Outline) -> str:
    session = outline.session
    facts = [f"Session {session.id}", when(session.created_at), f"{session.message_count} messages"]
    facts += [f"folder {_escaped(outline.folder)}"] * bool(outline.folder)
    facts += [f"#{_escaped(tag)}" for tag in outline.tags]
    return f"# {_escaped(session.title) or 'Untitled'}\n\n*{' · '.join(facts)}*\n"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", one_line(text, 300))


def _message(step: Step) -> str:
    message = step.entry.message
    answers = f" (to {step.answers})" if step.answers is not None else ""
    head = f"\n### {step.number}{answers} · {_escaped(speaker(message))} · {when(message.created_at)}\n\n"
    thought = _quoted(message.reasoning) if message.reasoning else ""
    said = _closed(sanitize(message.text))
    parts = "".join(_part(each) for each in message.parts)
    foot = f"\n*{_escaped(below)}*\n" if (below := ending(message)) else ""
    return f"{head}{thought}{said}{parts}{foot}"


def _part(part: Part) -> str:
    said = sanitize(part.text).rstrip("\n")
    return f"\n**{_escaped(described(part))}**\n" + (f"\n{fenced(said)}\n" if said else "")


def _quoted(reasoning: str) -> str:
    lines = _closed(sanitize(reasoning)).rstrip("\n").split("\n")
    return "> **Reasoning**\n>\n" + "".join(f"> {line}".rstrip() + "\n" for line in lines) + "\n"


def _closed(text: str) -> str:
    """The text with its last block of code closed, so that it does not swallow what follows."""
    text = text if text.endswith("\n") or not text else text + "\n"
    fence = open_fence(text)
    return f"{text}{fence}\n" if fence else text
