"""Whatever a server does with the key it was given, no error shows it."""

from __future__ import annotations

import asyncio
import json
import traceback

from hypothesis import given, settings
from hypothesis import strategies as st

from backend_client import ApiKey, Attempt, BackendError, Secret, Unreachable
from tests.backend_client.support import ASK, collect, in_virtual_time, open_client, provider
from tests.scripted import EVENT_STREAM, JSON, ScriptedReply, ScriptedTransport, chat, delta, sse

keys = st.text("abcdef0123456789", min_size=16, max_size=64).map("sk-".__add__)
places = st.sampled_from(
    ["message", "type", "code", "param", "string", "detail", "metadata", "plain", "event", "event_after", "line",
     "not_json", "long_line", "location", "json_200", "type_header", "network", "retry_after"]
)  # fmt: skip


def playing(place: str, key: str, padding: int) -> ScriptedReply | BackendError:
    told = "x" * padding + key
    match place:
        case "message" | "type" | "code" | "param":
            return _refused({"error": {"message": "no", place: told}})
        case "string":
            return _refused({"error": told})
        case "detail":
            return _refused({"detail": [{"msg": told}]})
        case "metadata":
            return _refused({"error": {"metadata": {"raw": told, "error_type": told}}})
        case "plain":
            return ScriptedReply((told.encode(),), status=502)
        case "event":
            return ScriptedReply((sse({"error": {"message": told, "code": told}}),))
        case "event_after":
            return ScriptedReply((delta(content="a"), sse({"error": told})))
        case "line":
            return ScriptedReply((f"<{told}>\n".encode(),))
        case "not_json":
            return ScriptedReply((f"data: {told}\n\n".encode(),))
        case "long_line":
            return ScriptedReply((f"data: {told}{'y' * (1 << 20)}".encode(),))
        case "location":
            return ScriptedReply(status=307, headers={"location": f"https://x/{told}"})
        case "json_200":
            return ScriptedReply((json.dumps({"hello": told}).encode(),), headers=JSON)
        case "type_header":
            return ScriptedReply((b"{}",), headers={"content-type": "application/json", "content-encoding": told})
        case "retry_after":
            return ScriptedReply((b"{}",), status=429, headers={**EVENT_STREAM, "retry-after": told})
        case _:
            return Unreachable(f"cannot send {told}", hint=told)


def _refused(body: object) -> ScriptedReply:
    return ScriptedReply((json.dumps(body).encode(),), status=400, headers=JSON)


def everything_shown(error: BaseException) -> str:
    """Return all text that a log or a screen could take from an error and from those behind it."""
    shown = "".join(traceback.format_exception(error))
    behind: BaseException | None = error
    while behind is not None:
        shown += f"{behind} {behind!r} {behind.args!r} {getattr(behind, 'doc', '')}"
        if isinstance(behind, BackendError):
            shown += f"{behind.message} {behind.hint} {behind.error_type} {behind.request_id}"
        behind = behind.__cause__ or behind.__context__
    return shown


@given(keys, places, st.integers(0, 320))
@settings(max_examples=150)
def test_no_error_shows_the_key(key: str, place: str, padding: int) -> None:
    async def run() -> None:
        told: list[Attempt] = []
        transport = ScriptedTransport(playing(place, key, padding), chat("second"))
        chosen = provider(auth=ApiKey(Secret(key + "\n")))
        _, error = await collect(open_client(chosen, transport, told).stream(ASK))
        errors = [error, *(one.error for one in told)]
        assert any(errors)
        for one in errors:
            if one is not None:
                shown = everything_shown(one)
                assert key not in shown
                # Nor most of it, where an excerpt ends within it.
                assert key[: len(key) // 2 + 2] not in shown

    in_virtual_time(run)


@given(keys)
@settings(max_examples=20)
def test_no_error_of_a_probe_shows_the_key(key: str) -> None:
    async def run() -> None:
        page = ScriptedReply((json.dumps({"error": key}).encode(),), status=503, headers=JSON)
        client = open_client(
            provider(auth=ApiKey(Secret(key))), ScriptedTransport(pages={"/models": page, "/health": page})
        )
        assert key not in repr(await client.health())
        try:
            await client.models()
        except BackendError as error:
            assert key not in everything_shown(error)
        else:
            raise AssertionError("a 503 is an error")
        await asyncio.sleep(0)

    in_virtual_time(run)
