"""What happens to the voice: events like all others, listed in sophia_core/events.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SpeakingState = Literal["silent", "preparing", "speaking", "paused"]
ListeningState = Literal["off", "opening", "waiting", "hearing", "writing"]


@dataclass(frozen=True, slots=True)
class SpeakingChanged:
    """Another sentence is said now, or speaking begins, rests, goes on or is over; every start ends in `silent`."""

    state: SpeakingState
    """`preparing`: it was asked for, and nothing is heard yet."""
    sentence: str = ""
    """What is being said; empty where `silent`."""
    mouth: str | None = None
    """Who says it, as settings name them; None: nobody yet."""
    reason: str = ""
    """Why it is silent, where it is not just because all was said: `interrupted`, `locked`, or a sentence."""
    answer_id: str | None = None
    """The answer that it is of; None: some other text."""


@dataclass(frozen=True, slots=True)
class ListeningChanged:
    """The microphone is opened or closed, somebody begins or ends to speak, or more of it was understood."""

    state: ListeningState
    """The microphone is open in `opening`, `waiting` (for speech) and `hearing`; in `writing` it need not be."""
    partial: str = ""
    """What was understood so far; sanitised."""
    ear: str | None = None
    """Who writes it down; None: nobody yet."""
    reason: str = ""
    """Why it is `off`, where nobody asked for that."""
    hands_free: bool = False
    open: bool = False
    """Whether the microphone is open, whatever the state."""


@dataclass(frozen=True, slots=True)
class LevelMeasured:
    """How loud it is at the microphone, from 0 to 1; at most ten times a second, where it changes while it is open."""

    level: float
    speech: bool = False


@dataclass(frozen=True, slots=True)
class VoiceChanged:
    """Another mouth speaks, or another ear listens, than until now."""

    part: Literal["mouth", "ear"]
    name: str | None
    """As settings name it; None: nobody can, and there is only text."""
    reason: str = ""
    """Why it is not the one before; empty where that was chosen."""


@dataclass(frozen=True, slots=True)
class VoiceDegraded:
    """A mouth, an ear or a device failed; the next one goes on where there is one."""

    part: Literal["mouth", "ear", "device"]
    name: str
    reason: str
    """One sentence."""
    hint: str = ""
    next: str | None = None
    """Who goes on; None: nobody."""


@dataclass(frozen=True, slots=True)
class SpeechHeard:
    """Somebody said something, and it was written down."""

    text: str
    """Sanitised, on one line, and never a command line."""
    ear: str
    """Who wrote it down."""
    seconds: float
    """How long it took to say."""
    to: Literal["prompt", "chat", "caller"]
    """Where it goes: into the prompt to be edited, sent already, or to the command that asked for it."""
