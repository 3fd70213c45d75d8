"""One small HTTP request to our own server on this machine; the HTTP library belongs to the client."""

import asyncio

MAX_ANSWER = 1 << 20


async def request(
    port: int, method: str, path: str, *, key: str, body: bytes = b"", seconds: float
) -> tuple[int, bytes]:
    """The status and the raw body of the answer; raises OSError, or TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(_head(method, path, key, len(body)) + body)
            await writer.drain()
            return _parse(await reader.read(MAX_ANSWER))
        finally:
            writer.close()


def _head(method: str, path: str, key: str, length: int) -> bytes:
    lines = (
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode()


def _parse(answer: bytes) -> tuple[int, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if not status or not status[0].isdigit():
        raise OSError(f"the server on the private port answered {answer[:40]!r}")
    return int(status[0]), body
