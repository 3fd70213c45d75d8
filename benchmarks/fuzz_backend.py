"""A server that does anything a server might do, by a seed, and behaves when it is told to."""

from __future__ import annotations

import asyncio
import random
from typing import Final

from backend_client import BackendError, Call, Unreachable
from tests.scripted import JSON, PlayedReply, ScriptedReply, ScriptedTransport, chat, delta, refusal, usage

HOSTILE: Final = "\x1b]52;c;aGk=\x07 \x1b[2J \u202eevil\u202c [red]markup[/] \x9b31m"
RICH = "# Title\n\n- a\n- b\n\n```python\nprint(1)\n```\n\n|a|b|\n|-|-|\n|1|2|\n\n"
RICH += "$$\\frac{a}{b}$$\n\n```mermaid\ngraph TD\nA-->B\n```\n"
NUMBERS: Final = (
    *(f'vllm:num_requests_{state}{{model_name="m"}}' for state in ("running", "waiting")),
    *(f'vllm:{kind}_tokens_total{{model_name="m"}}' for kind in ("prompt", "generation")),
    'vllm:kv_cache_usage_perc{model_name="m"}',
    *(f'vllm:time_to_first_token_seconds_bucket{{model_name="m",le="{limit}"}}' for limit in (0.1, 1, "+Inf")),
    'vllm:time_to_first_token_seconds_count{model_name="m"}',
    'DCGM_FI_DEV_GPU_UTIL{gpu="0",modelName="GH200"}',
    'DCGM_FI_DEV_POWER_USAGE{gpu="0",modelName="GH200"}',
)
HOSTILE_PAGES: Final = (
    "",
    "not { a page \x1b[2J",
    *(
        "".join(f'DCGM_FI_DEV_GPU_UTIL{{gpu="{at}\u202e[red]{word}"}} {at}\n' for at in range(40))
        for word in ("x", "\x9b")
    ),
)


class Moody(ScriptedTransport):
    """Answers each question as it likes, or, while `calm`, shortly and well."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.draw, self.calm = random.Random(seed), False
        self._told, self._numbers_draw = 0, random.Random(seed)

    async def open(self, call: Call) -> PlayedReply:
        """One answer."""
        if call.url.endswith("/metrics"):
            return self._played(self._numbers())
        if call.method == "GET":
            fails = not self.calm and self.draw.random() < 0.3
            return self._played(ScriptedReply((b'{"data": [{"id": "scripted"}]}',), 503 if fails else 200, JSON))
        self.script = [chat("pong", tokens=(7, 3)) if self.calm else self._any()]
        self.calls.clear()
        self.replies.clear()
        return await super().open(call)

    def _numbers(self) -> ScriptedReply:
        """What a server tells of itself: numbers that go up and down, begin again, or are none."""
        self._told += self._numbers_draw.choice((1, 7, 1000)) if self._numbers_draw.random() < 0.95 else -self._told
        page = "".join(f"{name} {self._told}\n" for name in NUMBERS)
        pages = (page, f"{page}vllm:kv_cache_usage_perc NaN\n", *HOSTILE_PAGES)
        chosen = self._numbers_draw.choices(pages, (12, 2, *(1 for _ in HOSTILE_PAGES)))[0]
        status = 200 if self.calm or self._numbers_draw.random() < 0.9 else 503
        return ScriptedReply((chosen.encode(),), status, {"content-type": "text/plain; version=0.0.4"})

    def _any(self) -> ScriptedReply | BackendError:
        words = [delta(content=f"word{number} ") for number in range(self.draw.choice((3, 30)))]
        slow: list[bytes | float] = [each for word in words for each in (word, 0.01)]
        for_ever = asyncio.Event()
        tool = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}
        moods: list[ScriptedReply | BackendError] = [
            chat("short", tokens=(7, 3)),
            chat(RICH, tokens=(70, 30)),
            chat(HOSTILE, reasoning=["\x1b[6n", "thinking"]),
            ScriptedReply((*slow, delta("stop"), usage(7, 30))),
            ScriptedReply((*slow, for_ever)),
            ScriptedReply(before=(for_ever,)),
            ScriptedReply((*words, Unreachable("It broke off.", provider="scripted"))),
            ScriptedReply((b"data: {not json\n\n", b"\xff\xfe\x00")),
            ScriptedReply((delta("length", content="cut"),)),
            ScriptedReply(tuple(words)),
            ScriptedReply((delta(tool_calls=[tool]),)),
            Unreachable("Nothing answers.", provider="scripted", hint="Is the server running?"),
            *(refusal(status) for status in (400, 401, 404, 429, 500, 503)),
        ]
        return self.draw.choice(moods)
