"""The ssh-agent as a key slot: what it signs, always the same, is where the slot's key comes from.

Only Ed25519 signatures are a function of key and message; what an agent signs for us is framed as an SSHSIG of a
namespace of our own, so it is good for no login, no commit and no file. Nothing the agent says is trusted: every
answer is bounded and due by a deadline, and every signature is checked with the public key.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import struct
import time
from collections.abc import Iterator

from local_store.types import AgentKey

NAMESPACE = b"sophia-keyslot-v1"
KEY_TYPE = b"ssh-ed25519"
KEY_BYTES, SIGNATURE_BYTES = 32, 64
LARGEST_ANSWER = 256 * 1024
MOST_KEYS = 1024
LONGEST_COMMENT = 80
FAILURE, REQUEST_IDENTITIES, IDENTITIES, SIGN_REQUEST, SIGNED = 5, 11, 12, 13, 14
START_HINT = "eval $(ssh-agent); ssh-add ~/.ssh/id_ed25519"


class AgentUnavailable(Exception):
    """The agent does not give us what we need; the text says why."""


class SshAgent:
    """The agent that listens at `path`."""

    def __init__(self, path: str | None, timeout: float, sign_timeout: float) -> None:
        self._path = path or os.environ.get("SSH_AUTH_SOCK", "")
        self._timeout = timeout
        self._sign_timeout = sign_timeout

    def held(self) -> list[AgentKey]:
        """Return the Ed25519 keys it holds. Raises AgentUnavailable."""
        answer = _Fields(self._ask(bytes([REQUEST_IDENTITIES]), IDENTITIES, self._timeout))
        count = answer.number()
        if count > MOST_KEYS:
            raise AgentUnavailable(f"the ssh-agent claims to hold {count} keys")
        found = [(answer.string(), answer.string()) for _ in range(count)]
        return [AgentKey(fingerprint(blob), _readable(comment), blob) for blob, comment in found if is_ours(blob)]

    def sign(self, blob: bytes, message: bytes) -> bytes:
        """Return the key's signature of `message`, checked. Raises AgentUnavailable, also when it has no such key."""
        request = bytes([SIGN_REQUEST]) + _string(blob) + _string(framed(message)) + bytes(4)
        outer = _Fields(_Fields(self._ask(request, SIGNED, self._sign_timeout)).string())
        kind, signature = outer.string(), outer.string()
        if kind != KEY_TYPE or len(signature) != SIGNATURE_BYTES or not _verifies(blob, signature, framed(message)):
            raise AgentUnavailable("the ssh-agent gave a signature that is not of this key")
        return signature

    def _ask(self, request: bytes, expected: int, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        if not self._path:
            raise AgentUnavailable("there is no ssh-agent: SSH_AUTH_SOCK is not set")
        with _as_unavailable(timeout), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_left(deadline))
            connection.connect(self._path)
            connection.settimeout(_left(deadline))
            connection.sendall(_string(request))
            (length,) = struct.unpack(">I", _receive(connection, 4, deadline))
            if not 0 < length <= LARGEST_ANSWER:
                raise AgentUnavailable(f"the ssh-agent announced an answer of {length} bytes")
            answer = _receive(connection, length, deadline)
        if answer[0] == FAILURE:
            raise AgentUnavailable("the ssh-agent refused: it is locked, does not hold the key, or nobody confirmed")
        if answer[0] != expected:
            raise AgentUnavailable(f"the ssh-agent gave an answer of kind {answer[0]}, not {expected}")
        return answer[1:]


@contextlib.contextmanager
def _as_unavailable(timeout: float) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise AgentUnavailable(f"the ssh-agent did not answer within {timeout:g} s") from error
    # A path that is too long or holds a NUL is a ValueError; it comes from the environment.
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AgentUnavailable(f"the ssh-agent cannot be reached: {reason}") from error


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _receive(connection: socket.socket, length: int, deadline: float) -> bytes:
    received = bytearray()
    while len(received) < length:
        connection.settimeout(_left(deadline))
        piece = connection.recv(length - len(received))
        if not piece:
            raise AgentUnavailable("the ssh-agent hung up")
        received += piece
    return bytes(received)


class _Fields:
    """Reads the fields of a message; one that is cut short is refused."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def _take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._data):
            raise AgentUnavailable("the ssh-agent's answer is cut short")
        taken, self._at = self._data[self._at : end], end
        return taken

    def number(self) -> int:
        (value,) = struct.unpack(">I", self._take(4))
        return int(value)

    def string(self) -> bytes:
        return self._take(self.number())


def framed(message: bytes) -> bytes:
    """Return what is signed for `message`: an SSHSIG, which nothing else takes for its own."""
    digest = hashlib.sha512(message).digest()
    return b"SSHSIG" + b"".join(map(_string, (NAMESPACE, b"", b"sha512", digest)))


def is_ours(blob: bytes) -> bool:
    """Say whether this public key is an Ed25519 key; others sign differently every time, or only with a touch."""
    return blob[: -KEY_BYTES - 4] == _string(KEY_TYPE) and len(blob) == len(_string(KEY_TYPE)) + 4 + KEY_BYTES


def fingerprint(blob: bytes) -> str:
    """Return the key's name as `ssh-add -l` shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def blob_of(line: str) -> bytes | None:
    """Return the key of a line as in `id_ed25519.pub`, or None when it is no such line."""
    words = line.split()
    if len(words) < 2 or words[0].encode() != KEY_TYPE:
        return None
    try:
        return base64.b64decode(words[1], validate=True)
    except ValueError:
        return None


def _verifies(blob: bytes, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(blob[-KEY_BYTES:]).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _readable(comment: bytes) -> str:
    text = comment.decode("utf-8", "replace")
    return "".join(each if each.isprintable() else " " for each in text)[:LONGEST_COMMENT].strip()


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
