"""Large public files: continued where they stopped, redirects followed without credentials."""

from __future__ import annotations

import pytest

from backend_client import BackendError
from backend_client.download import download
from tests.scripted import ScriptedReply, ScriptedTransport


async def read(transport: ScriptedTransport, url: str, offset: int = 0) -> bytes:
    return b"".join([piece async for piece in download(transport, url, offset)])


async def test_a_file_comes_whole_and_its_connection_is_closed() -> None:
    wire = ScriptedTransport(pages={"/file": ScriptedReply((b"ab", b"cd"))})
    assert await read(wire, "https://home/file") == b"abcd"
    assert wire.replies[0].closed.is_set()
    assert "range" not in wire.calls[0].headers


async def test_a_redirect_is_followed_and_the_offset_goes_along() -> None:
    moved = ScriptedReply(status=302, headers={"location": "https://elsewhere/blob"})
    wire = ScriptedTransport(pages={"/file": moved, "/blob": ScriptedReply((b"cd",), status=206)})
    assert await read(wire, "https://home/file", 2) == b"cd"
    assert [call.headers["range"] for call in wire.calls] == ["bytes=2-", "bytes=2-"]
    assert not any("authorization" in {name.lower() for name in call.headers} for call in wire.calls)


@pytest.mark.parametrize(
    ("reply", "offset", "says"),
    [
        (ScriptedReply((b"abcd",)), 2, "does not continue"),
        (ScriptedReply(status=404), 0, "status 404"),
        (ScriptedReply(status=302, headers={"location": "http://plain/file"}), 0, "not an https"),
        (ScriptedReply(status=302, headers={"location": "https://home/file"}), 0, "redirects"),
        (ScriptedReply(status=302, headers={"location": "https://[::1"}), 0, "not an https"),
        (ScriptedReply(status=302, headers={"location": "https://home/\x1b[2J"}), 0, "not an https"),
    ],
)
async def test_what_cannot_be_trusted_is_refused(reply: ScriptedReply, offset: int, says: str) -> None:
    wire = ScriptedTransport(pages={"/file": reply})
    with pytest.raises(BackendError, match=says):
        await read(wire, "https://home/file", offset)
    assert all(played.closed.is_set() for played in wire.replies)
