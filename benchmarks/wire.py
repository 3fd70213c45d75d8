"""What reading a streamed answer costs beside the least that any client must do: parsing each event's JSON.

    python benchmarks/wire.py [events]

Prints microseconds of CPU per event, best of several rounds in turn, and the ratio. The stream is cut once as a slow
model sends it (one event per read) and once as a fast one does (64 KiB per read).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from backend_client import TextChunk
from backend_client.wire import StreamDecoder

ROUNDS = 7


def stream(events: int) -> list[bytes]:
    """Return the events of an answer as vLLM writes them."""
    head = {
        "id": "chatcmpl-0af7651916cd43dd8448eb211c80319c-a1",
        "object": "chat.completion.chunk",
        "created": 1767225600,
    }

    def event(finish: str | None, **delta: str) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, "token_ids": None}
        return b"data: %s\n\n" % json.dumps({**head, "model": "org/model", "choices": [choice]}).encode()

    return [
        *(event(None, content=f" word{number % 100}") for number in range(events)),
        event("stop"),
        b"data: [DONE]\n\n",
    ]


def parse_only(pieces: Sequence[bytes]) -> int:
    """Parse the JSON of every event and do nothing with it."""
    parsed = 0
    for piece in pieces:
        for line in piece.split(b"\n"):
            if line.startswith(b"data: {"):
                json.loads(line[6:])
                parsed += 1
    return parsed


def decode(pieces: Sequence[bytes]) -> int:
    """Decode the stream and take its text."""
    decoder = StreamDecoder()
    size = 0
    for piece in pieces:
        for chunk in decoder.feed(piece):
            if isinstance(chunk, TextChunk):
                size += len(chunk.text)
    decoder.close()
    assert decoder.failure is None
    return size


def cost(work: Callable[[Sequence[bytes]], int], pieces: Sequence[bytes]) -> float:
    """Return the CPU seconds of one round."""
    started = time.process_time()
    work(pieces)
    return time.process_time() - started


def main() -> None:
    """Measure and print."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    single = stream(events)
    whole = b"".join(single)
    # Whole events per read for the baseline, which cannot put cut lines together.
    per_read = max(1, 65536 // len(single[0]))
    large = [b"".join(single[start : start + per_read]) for start in range(0, len(single), per_read)]
    print(f"{events} events, {len(whole) / events:.0f} bytes each; best of {ROUNDS} rounds")
    for name, pieces in (("one event per read", single), ("64 KiB per read", large)):
        rounds = [(cost(parse_only, pieces), cost(decode, pieces)) for _ in range(ROUNDS)]
        base, ours = (min(times) * 1e6 / events for times in zip(*rounds, strict=True))
        print(f"{name:>20}: json.loads {base:5.2f} us/event   decoder {ours:5.2f} us/event   ratio {ours / base:4.2f}")


if __name__ == "__main__":
    main()
