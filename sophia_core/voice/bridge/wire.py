"""What goes over a bridge: who may talk, then frames of a head and a body. Pure: no IO, no clock.

The side with the devices greets with a random number; the other proves that it knows the token, and is proved to that
this side knows it, too, so that nobody else on either machine can take the place of one of them. The token itself never
travels.
"""

from __future__ import annotations

import hmac
import json
import secrets
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Literal

VERSION: Final = 1
MAGIC: Final = b"SOPHIA-VOICE"
NONCE_BYTES: Final = 32
PROOF_BYTES: Final = 32
TOKEN_BYTES: Final = 32
HEAD = struct.Struct(">BHIH")
"""Kind, stream, number, length of the body."""
GREETING = struct.Struct(f">{len(MAGIC)}sH{NONCE_BYTES}s")
REPLY = struct.Struct(f">H{NONCE_BYTES}s{PROOF_BYTES}s")
VERDICT = struct.Struct(f">B{PROOF_BYTES}s")
LONGEST_SOUND: Final = 16_384
LONGEST_WORDS: Final = 60_000
NUMBERS: Final = 1 << 32
Role = Literal[b"here", b"there"]
Words = dict[str, Any]


class BadWire(Exception):
    """What arrived is not what a bridge says; the text says what is wrong with it."""


class Verdict(IntEnum):
    """How a bridge answers somebody who wants to use it."""

    WELCOME = 0
    WRONG_TOKEN = 1
    WRONG_VERSION = 2
    FULL = 3


class Kind(IntEnum):
    """What a frame is."""

    ASK = 1
    """A request, as JSON; `number` tells the answer to it."""
    ANSWER = 2
    SOUND = 3
    """To be played: when it was sent, in milliseconds, its coding, then samples; `number` counts the samples before."""
    HEARD = 4
    """How far a playback is; `number` counts the samples that have arrived, and are not to be sent again."""
    FRAME = 5
    """20 ms from the microphone: its coding, its level, then samples; `number` counts the frames."""
    TAKEN = 6
    """Frames up to `number` have arrived."""
    TOLD = 7
    """Something happened to a stream, as JSON."""
    PING = 8
    PONG = 9


LIMITS: Final = {
    Kind.ASK: LONGEST_WORDS,
    Kind.ANSWER: LONGEST_WORDS,
    Kind.TOLD: LONGEST_WORDS,
    Kind.SOUND: LONGEST_SOUND,
    Kind.FRAME: 2_048,
    Kind.HEARD: 16,
    Kind.TAKEN: 0,
    Kind.PING: 0,
    Kind.PONG: 0,
}


@dataclass(frozen=True, slots=True)
class Packet:
    """One frame."""

    kind: Kind
    stream: int = 0
    number: int = 0
    body: bytes = b""

    def packed(self) -> bytes:
        """Return it as it travels."""
        return HEAD.pack(self.kind, self.stream, self.number % NUMBERS, len(self.body)) + self.body

    def words(self) -> Words:
        """Return the JSON object that it holds. Raises BadWire."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise BadWire(f"{self.kind.name} is no JSON: {type(error).__name__}") from None
        if not isinstance(found, dict):
            raise BadWire(f"{self.kind.name} holds no object")
        return found


def spoken(kind: Kind, words: Words, *, stream: int = 0, number: int = 0) -> Packet:
    """Return a frame that holds a JSON object."""
    return Packet(kind, stream, number, json.dumps(words).encode("ascii"))


def parse_head(head: bytes) -> tuple[Kind, int, int, int]:
    """Return kind, stream, number and the length of the body that follows. Raises BadWire."""
    raw, stream, number, length = HEAD.unpack(head)
    try:
        kind = Kind(raw)
    except ValueError:
        raise BadWire(f"there is no frame of kind {raw}") from None
    if length > LIMITS[kind]:
        raise BadWire(f"{kind.name} of {length} bytes is too long")
    return kind, stream, number, length


def new_token() -> str:
    """Return a token for one bridge; it cannot be guessed."""
    return secrets.token_hex(TOKEN_BYTES)


def greeting(nonce: bytes) -> bytes:
    """Return how a bridge begins."""
    return GREETING.pack(MAGIC, VERSION, nonce)


def parse_greeting(greeting: bytes) -> tuple[int, bytes]:
    """Return version and random number of a bridge. Raises BadWire."""
    magic, version, nonce = GREETING.unpack(greeting)
    if magic != MAGIC:
        raise BadWire("something else than a voice bridge answers there")
    return version, nonce


def proof(token: str, role: Role, theirs: bytes, ours: bytes, version: int = VERSION) -> bytes:
    """Return what only somebody with the token can say; `theirs` is the bridge's number, `ours` the guest's."""
    said = MAGIC + role + version.to_bytes(2, "big") + theirs + ours
    return hmac.digest(token.encode(), said, "sha256")


def same(left: bytes, right: bytes) -> bool:
    """Compare two proofs, in a time that does not tell where they differ."""
    return hmac.compare_digest(left, right)
