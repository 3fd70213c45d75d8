"""Who speaks in a conversation: the name and the colour over an answer, and the mark where somebody else takes over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from sophia_core.personas.personas import Face, Personas
from sophia_tui.transcript.entry import Entry

NOBODY: Final = Face("SOPHIA")
"""Nobody in particular."""


def faces_of(personas: Personas) -> Callable[[str | None], Face]:
    """Finds the face of a persona by its name; that of nobody where there is none."""
    return lambda persona: personas.face(persona) or NOBODY


def mark_of(face: Face) -> str:
    """What stands over the question from which on somebody else answers."""
    return f"{face.title} answers from here"


def speaking(entry: Entry, face: Face) -> Entry:
    """The entry of an answer with who gave it."""
    return replace(entry, label=face.title, tint=face.colour)


def last_speaker(entries: Sequence[Entry]) -> str | None:
    """Who gave the last answer; None: nobody has yet."""
    return next((each.label for each in reversed(entries) if each.role == "assistant"), None)


def marked(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with a mark over every question that somebody else answers than the one before."""
    found, before, question = list(entries), None, None
    for number, each in enumerate(entries):
        if each.role == "user":
            question = number
        elif each.role == "assistant":
            if before not in (None, each.label) and question is not None and not found[question].above:
                found[question] = replace(found[question], above=mark_of(Face(each.label)))
            before, question = each.label, None
    return found
