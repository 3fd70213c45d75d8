"""What the contract server can do: how servers answer, and how they fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeAlias

from tests.backend_client.answers import WORDS, Answer

Scenario: TypeAlias = Callable[[Answer, list[str]], Awaitable[None]]
SCENARIOS: Final[dict[str, Scenario]] = {}


def into(table: dict[str, Scenario]) -> Callable[[Scenario], Scenario]:
    """Return a decorator that puts scenarios into a table under their functions' names."""

    def put(function: Scenario) -> Scenario:
        table[getattr(function, "__name__", "")] = function
        return function

    return put


scenario = into(SCENARIOS)


def _vllm_error(status: int, kind: str, message: str, param: str | None = None) -> tuple[int, object]:
    return status, {"error": {"message": message, "type": kind, "param": param, "code": status}}


def _openrouter_error(status: int, message: str, **metadata: object) -> tuple[int, object]:
    return status, {"error": {"code": status, "message": message, "metadata": metadata}}


ERRORS: Final[dict[str, tuple[int, object]]] = {
    "vllm_401": (401, {"error": "Unauthorized"}),
    "vllm_scaling": (503, {"error": "The model is currently scaling. Please try again later."}),
    "vllm_404": _vllm_error(404, "NotFoundError", "The model `x` does not exist.", "model"),
    "vllm_context": _vllm_error(
        400,
        "BadRequestError",
        "This model's maximum context length is 4096 tokens. However, your prompt contains 9000 input tokens, which "
        "exceeds it.",
        "input_tokens",
    ),
    "vllm_validation": _vllm_error(400, "Bad Request", "1 validation errors: temperature must be a number"),
    "vllm_busy": _vllm_error(
        503, "Service Unavailable", "The engine is currently busy and cannot accept new requests."
    ),
    "vllm_media": _vllm_error(422, "UnprocessableEntityError", "the media cannot be fetched"),
    "vllm_dead": _vllm_error(500, "InternalServerError", "The server had an error while processing your request."),
    "vllm_no_chat": _vllm_error(501, "NotImplementedError", "The model does not support Chat Completions API"),
    "llamacpp_loading": (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
    "llamacpp_context": (
        400,
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size. try increasing the context size",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 9000,
                "n_ctx": 4096,
            }
        },
    ),
    "openai_key": (
        401,
        {
            "error": {
                "message": "Incorrect API key provided.",
                "type": "invalid_request_error",
                "code": "invalid_api_key",
            }
        },
    ),
    "openai_quota": (
        429,
        {"error": {"message": "You exceeded your quota.", "type": "insufficient_quota", "code": "insufficient_quota"}},
    ),
    "openrouter_credit": _openrouter_error(402, "Insufficient credits", error_type="payment_required"),
    "openrouter_moderation": _openrouter_error(
        403, "Your input was flagged", error_type="content_policy_violation", reasons=["violence"]
    ),
    "openrouter_timeout": _openrouter_error(408, "Request timed out", error_type="timeout"),
    "openrouter_large": _openrouter_error(413, "Too large", error_type="payload_too_large"),
    "openrouter_limit": _openrouter_error(429, "Rate limit exceeded", error_type="rate_limit_exceeded"),
    "openrouter_bad_gateway": _openrouter_error(502, "Provider returned error", error_type="provider_unavailable"),
    "openrouter_524": _openrouter_error(524, "A timeout occurred", error_type="timeout"),
    "openrouter_529": _openrouter_error(529, "Provider overloaded", error_type="provider_overloaded"),
    "no_words": (500, {}),
}


@scenario
async def vllm(answer: Answer, arguments: list[str]) -> None:
    await answer.begin()
    await answer.words(*WORDS)
    await answer.delta("stop", content="")
    await answer.usage()
    await answer.done()


@scenario
async def openrouter(answer: Answer, arguments: list[str]) -> None:
    await answer.begin(x_generation_id="gen-1")
    await answer.raw(b": OPENROUTER PROCESSING\n\n")
    await answer.words(*WORDS)
    await answer.raw(b": OPENROUTER PROCESSING\n\n")
    await answer.delta("stop", content="")
    await answer.usage(cost=0.00042, is_byok=False, cost_details={"upstream_inference_cost": None})
    await answer.done()


@scenario
async def llamacpp(answer: Answer, arguments: list[str]) -> None:
    await answer.begin()
    await answer.delta(role="assistant", content=None)
    for word in ("Let", " me", " think"):
        await answer.delta(reasoning_content=word)
    for word in WORDS:
        await answer.delta(content=word)
    await answer.event({**answer.chunk("stop"), "timings": {"cache_n": 1, "prompt_n": 2, "predicted_n": 3}})
    await answer.usage()
    await answer.done()


@scenario
async def reasoning(answer: Answer, arguments: list[str]) -> None:
    await answer.begin()
    await answer.delta(role="assistant", content="")
    await answer.delta(reasoning="Hm", content=None)
    await answer.delta(reasoning="m", reasoning_content="m")
    await answer.delta(content="42")
    await answer.delta("stop")
    await answer.done()


@scenario
async def tool_calls(answer: Answer, arguments: list[str]) -> None:
    await answer.begin()
    head = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    await answer.delta(role="assistant", content=None, tool_calls=[head])
    for piece in ('{"city":', '"Bern"}'):
        await answer.delta(tool_calls=[{"index": 0, "function": {"arguments": piece}}])
    await answer.delta("tool_calls")
    await answer.done()


@scenario
async def tokens(answer: Answer, arguments: list[str]) -> None:
    count = int(arguments[0]) if arguments else 1000
    pause = float(arguments[1]) / 1000 if len(arguments) > 1 else 0.0
    await answer.begin()
    event = b"data: %s\n\n" % json.dumps(answer.chunk(content=" token")).encode()
    chunk = b"%x\r\n%s\r\n" % (len(event), event)
    for number in range(count):
        answer.writer.write(chunk)
        if pause:
            await answer.writer.drain()
            await asyncio.sleep(pause)
        elif number % 32 == 0:
            await answer.writer.drain()
        answer.seen.started.set()
    await answer.delta("length")
    await answer.done()


@scenario
async def flood(answer: Answer, arguments: list[str]) -> None:
    """Bytes without end, as fast as the client takes them."""
    await answer.begin()
    try:
        while True:
            await asyncio.wait_for(answer.raw(b": " + b"x" * 65534), 0.2)
    except TimeoutError:
        answer.seen.held.set()
        await answer.stall()


@scenario
async def odd_lines(answer: Answer, arguments: list[str]) -> None:
    """CRLF or CR line ends, a BOM, events over several data lines, other fields, no space after the colon."""
    end = {"crlf": "\r\n", "cr": "\r"}.get(arguments[0] if arguments else "", "\n")
    await answer.begin()
    lines = ["\ufeffretry: 500", "", "event: message", "id: 1"]
    for word in WORDS:
        lines += ["data:" + line for line in json.dumps(answer.chunk(content=word), indent=1).splitlines()] + [""]
    lines += ["data:" + json.dumps(answer.chunk("stop")), "", "data:[DONE]", "", ""]
    data = end.join(lines).encode()
    for start in range(0, len(data), 97):
        await answer.raw(data[start : start + 97])
    await answer.end()


@scenario
async def parts(answer: Answer, arguments: list[str]) -> None:
    await answer.begin()
    await answer.delta(content=[{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}])
    await answer.event({**answer.chunk("stop"), "unknown": {"field": [1]}, "usage": None})
    await answer.done()


@scenario
async def sse_error_first(answer: Answer, arguments: list[str]) -> None:
    await answer.begin()
    await answer.event(ERRORS[arguments[0] if arguments else "vllm_busy"][1])
    await answer.done()


@scenario
async def sse_error_after(answer: Answer, arguments: list[str]) -> None:
    await answer.begin()
    await answer.words(*WORDS[:3])
    await answer.event(ERRORS["vllm_dead"][1])
    await answer.done()


@scenario
async def openrouter_error_after(answer: Answer, arguments: list[str]) -> None:
    await answer.begin()
    await answer.words(*WORDS[:3])
    error = {
        "code": "server_error",
        "message": "Provider disconnected",
        "metadata": {"error_type": "provider_unavailable"},
    }
    await answer.event({**answer.chunk("error", content=""), "error": error})
    await answer.end()


@scenario
async def abort(answer: Answer, arguments: list[str]) -> None:
    await answer.begin()
    await answer.words(*WORDS[:3])
    await answer.delta("abort")
    await answer.done()


@scenario
async def truncated(answer: Answer, arguments: list[str]) -> None:
    """The stream is cut within an event, and the connection with it."""
    await answer.begin()
    await answer.words(*WORDS[:3])
    await answer.raw(b'data: {"choices": [{"index": 0, "del')
    answer.keep_alive = False


@scenario
async def clean_eof(answer: Answer, arguments: list[str]) -> None:
    await answer.begin()
    await answer.words(*WORDS[:3])
    await answer.end()


@scenario
async def empty(answer: Answer, arguments: list[str]) -> None:
    await answer.begin()
    await answer.end()


@scenario
async def done_without_finish(answer: Answer, arguments: list[str]) -> None:
    await answer.begin()
    await answer.words(*WORDS[: 3 if not arguments else int(arguments[0])])
    await answer.done()


@scenario
async def no_done(answer: Answer, arguments: list[str]) -> None:
    """All is said, but neither `[DONE]` nor the end of the body comes before the connection breaks."""
    await answer.begin()
    await answer.words(*WORDS)
    await answer.delta("stop")
    answer.keep_alive = False


@scenario
async def html_200(answer: Answer, arguments: list[str]) -> None:
    kind = "text/event-stream" if arguments else "text/html; charset=utf-8"
    await answer.whole(200, b"<!doctype html>\n<html><body><h1>Welcome</h1></body></html>\n", kind)


@scenario
async def json_200(answer: Answer, arguments: list[str]) -> None:
    message = {"role": "assistant", "content": "not streamed"}
    completion = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    await answer.whole(200, ERRORS["vllm_busy"][1] if arguments else completion)


@scenario
async def garbage(answer: Answer, arguments: list[str]) -> None:
    await answer.begin()
    await answer.raw(bytes(range(256)) * 8)
    await answer.end()


@scenario
async def not_http(answer: Answer, arguments: list[str]) -> None:
    answer.writer.write(b"220 mail.example ready\r\n\r\n")
    await answer.writer.drain()
    answer.keep_alive = False


@scenario
async def long_line(answer: Answer, arguments: list[str]) -> None:
    """A line of 10 MB."""
    await answer.begin()
    if arguments:
        await answer.words(*WORDS[:3])
    await answer.raw(b"data: ")
    for _ in range(160):
        await answer.raw(b"x" * 65536)
    await answer.raw(b"\n\n")
    await answer.done()


@scenario
async def keep_alive_forever(answer: Answer, arguments: list[str]) -> None:
    """Comments, and content never; after the first words if an argument is given."""
    await answer.begin()
    if arguments:
        await answer.words(*WORDS[:3])
    while not answer.seen.gone.is_set():
        await answer.raw(b": keep-alive\n\n")
        with suppress(TimeoutError):
            await asyncio.wait_for(answer.seen.gone.wait(), 0.01)


@scenario
async def slow_but_alive(answer: Answer, arguments: list[str]) -> None:
    """Content after a row of comments that takes longer than the gap between any two of them."""
    await answer.begin()
    await answer.words(WORDS[0])
    for _ in range(12):
        await asyncio.sleep(0.02)
        await answer.raw(b": keep-alive\n\n")
    await answer.delta("stop", content=WORDS[1])
    await answer.done()


@scenario
async def stall_headers(answer: Answer, arguments: list[str]) -> None:
    await answer.stall()


@scenario
async def slow_headers(answer: Answer, arguments: list[str]) -> None:
    await asyncio.sleep(float(arguments[0]) / 1000 if arguments else 0.05)
    await vllm(answer, [])


@scenario
async def stall_first(answer: Answer, arguments: list[str]) -> None:
    await answer.begin()
    await answer.delta(role="assistant", content="")
    await answer.stall()


@scenario
async def stall_mid(answer: Answer, arguments: list[str]) -> None:
    await answer.begin()
    await answer.words(*WORDS[:3])
    await answer.stall()


@scenario
async def stall_end(answer: Answer, arguments: list[str]) -> None:
    """`[DONE]` comes, the end of the body does not."""
    await answer.begin()
    await answer.words(*WORDS)
    await answer.delta("stop")
    await answer.event("[DONE]")
    await answer.stall()


@scenario
async def late_end(answer: Answer, arguments: list[str]) -> None:
    """The end of the body comes a little after `[DONE]`."""
    await answer.begin()
    await answer.words(*WORDS)
    await answer.delta("stop")
    await answer.event("[DONE]")
    await asyncio.sleep(0.02)
    await answer.end()


@scenario
async def reset_headers(answer: Answer, arguments: list[str]) -> None:
    answer.reset()


@scenario
async def reset_first(answer: Answer, arguments: list[str]) -> None:
    await answer.begin()
    await answer.delta(role="assistant", content="")
    answer.reset()


@scenario
async def reset_mid(answer: Answer, arguments: list[str]) -> None:
    await answer.begin()
    await answer.words(*WORDS[:3])
    # A reset throws away what the client has not read yet, so let it read.
    await asyncio.sleep(0.05)
    answer.reset()


@scenario
async def redirect(answer: Answer, arguments: list[str]) -> None:
    await answer.whole(307, b"", location="https://elsewhere.example/v1/chat/completions?token=1")


@scenario
async def busy(answer: Answer, arguments: list[str]) -> None:
    """`busy:STATUS:SECONDS`: an error with a Retry-After."""
    status = int(arguments[0]) if arguments else 429
    body = _openrouter_error(status, "Slow down", error_type="rate_limit_exceeded")[1]
    await answer.whole(status, body, retry_after=arguments[1] if len(arguments) > 1 else "1")


@scenario
async def status(answer: Answer, arguments: list[str]) -> None:
    """`status:CODE`: an error with a body that is no JSON."""
    await answer.whole(int(arguments[0]), b"<html><h1>Bad Gateway</h1></html>", "text/html")


@scenario
async def echo_key(answer: Answer, arguments: list[str]) -> None:
    """Gives the caller's key back in every place where a server can put it; `stream` does so within a stream."""
    told = answer.seen.headers.get("authorization", "")
    error = {"error": {"message": f"bad key {told} " * 20, "type": told, "code": told, "param": told}}
    match arguments[0] if arguments else "body":
        case "stream":
            await answer.begin()
            await answer.words(*WORDS[:3])
            await answer.event(error)
            await answer.end()
        case "line":
            await answer.begin()
            await answer.raw(f"{'x' * 270}{told}\n".encode())
            await answer.end()
        case "location":
            await answer.whole(302, b"", location=f"https://elsewhere.example/{told}")
        case _:
            await answer.whole(400, error)
