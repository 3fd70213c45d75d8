"""The real engine on the real weights: it answers, keeps its key to itself, and dies when it must."""

import asyncio
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import sophia_core
from backend_client.auth import ApiKey
from backend_client.client import BackendClient
from backend_client.errors import EndpointUnavailable
from backend_client.types import ChatMessage, ChatRequest, Endpoint, FinishChunk, Provider, TextChunk
from sophia_core.embedded import EmbeddedOptions, EmbeddedServer, loopback
from sophia_core.embedded.server import CRASH_SECONDS, CRASHES

if TYPE_CHECKING:
    from tests.sophia_core.embedded.conftest import Reported

in_session = pytest.mark.asyncio(loop_scope="session")
MakeServer = Callable[..., EmbeddedServer]
DEADLINE = 30
ROOT = str(Path(sophia_core.__file__).parents[1])


def port_of(endpoint: Endpoint) -> int:
    return int(endpoint.base_url.removesuffix("/v1").rsplit(":", 1)[1])


def key_of(endpoint: Endpoint) -> str:
    assert isinstance(endpoint.auth, ApiKey)
    return endpoint.auth.key.reveal()


async def chat(endpoint: Endpoint, key: str, **fields: object) -> tuple[int, bytes]:
    body = json.dumps({"max_tokens": 8, "temperature": 0, "model": endpoint.model, **fields}).encode()
    return await loopback.request(
        port_of(endpoint), "POST", "/v1/chat/completions", key=key, body=body, seconds=DEADLINE
    )


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@in_session
async def test_it_streams_an_answer(server: EmbeddedServer) -> None:
    question = ChatMessage("user", "What is the capital of France? Answer in one short sentence.")
    async with contextlib.aclosing(BackendClient([Provider("embedded", server)])) as client:
        request = ChatRequest((question,), temperature=0, max_tokens=24)
        chunks = [chunk async for chunk in client.stream(request)]
    texts = [chunk.text for chunk in chunks if isinstance(chunk, TextChunk)]
    assert "Paris" in "".join(texts)
    assert len(texts) > 1
    assert any(isinstance(chunk, FinishChunk) for chunk in chunks)


@in_session
async def test_the_endpoint_says_which_model_it_is(server: EmbeddedServer) -> None:
    endpoint = await server.ready()
    assert endpoint.model == "qwen2.5-coder-0.5b-instruct"
    status, answer = await loopback.request(
        port_of(endpoint), "GET", "/v1/models", key=key_of(endpoint), seconds=DEADLINE
    )
    assert status == 200
    assert endpoint.model.encode() in answer


@in_session
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/metrics", "/slots", "/props", "/v1/models"])
async def test_without_the_key_it_answers_nobody(server: EmbeddedServer, path: str) -> None:
    endpoint = await server.ready()
    method = "POST" if path.endswith("completions") else "GET"
    status, _ = await loopback.request(port_of(endpoint), method, path, key="wrong", body=b"{}", seconds=DEADLINE)
    assert status == 401


@in_session
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_other_processes_cannot_see_its_secrets(make_server: MakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOPHIA_PASSPHRASE", "open sesame")
    server = make_server()
    key = key_of(await server.ready()).encode()
    process = Path("/proc", str(server.pid))
    visible = process.joinpath("cmdline").read_bytes() + process.joinpath("environ").read_bytes()
    assert key not in visible
    assert b"SOPHIA_" not in visible
    assert os.getsid(server.pid or 0) != os.getsid(0)


@in_session
async def test_all_who_ask_at_once_share_one_start(make_server: MakeServer, progress: "Reported") -> None:
    server = make_server()
    gone = asyncio.create_task(server.ready())
    others = [asyncio.create_task(server.ready()) for _ in range(2)]
    await asyncio.sleep(0)
    gone.cancel()
    first, second = await asyncio.gather(*others)
    assert gone.cancelled()
    assert first == second == await server.ready()
    assert [step.stage for step in progress if step.stage in ("load", "ready")] == ["load", "ready"]


@in_session
async def test_one_that_was_killed_is_started_again(make_server: MakeServer, progress: "Reported") -> None:
    server = make_server()
    first = await server.ready()
    killed = server.pid or 0
    os.kill(killed, signal.SIGKILL)
    await progress.reached("stopped")
    second = await server.ready()
    assert server.pid != killed
    assert key_of(second) != key_of(first)


@in_session
async def test_stopping_ends_the_process_and_forgets_the_port(make_server: MakeServer) -> None:
    server = make_server()
    endpoint = await server.ready()
    pid = server.pid or 0
    await server.stop()
    assert server.pid is None
    assert not is_alive(pid)
    with pytest.raises(OSError):
        await loopback.request(port_of(endpoint), "GET", "/health", key="", seconds=DEADLINE)


@in_session
async def test_stopping_a_start_leaves_no_process(make_server: MakeServer, progress: "Reported") -> None:
    server = make_server()
    waiting = asyncio.create_task(server.ready())
    await progress.reached("load")
    await server.stop()
    with pytest.raises(EndpointUnavailable, match="stopped while it started"):
        await waiting
    assert server.pid is None
    assert progress[-1].stage == "stopped"


@in_session
async def test_a_warm_server_has_read_the_system_prompt(make_server: MakeServer, progress: "Reported") -> None:
    prompt = "You are SOPHIA, a careful assistant in a terminal. Answer briefly, in plain words, and say when unsure."
    server = make_server()
    await server.warm(prompt)
    endpoint = await server.ready()
    messages = [{"role": "system", "content": prompt}, *user("hello")]
    _, answer = await chat(endpoint, key_of(endpoint), messages=messages)
    usage = json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1])["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] > 20


@in_session
async def test_a_model_that_does_not_load_is_given_up_for_a_minute(make_server: MakeServer, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\x00" * 64)
    now = [1000.0]
    server = make_server(EmbeddedOptions(model_path=broken), clock=lambda: now[0])
    for _ in range(CRASHES):
        with pytest.raises(EndpointUnavailable, match="did not start") as caught:
            await server.ready()
        assert "gguf" in str(caught.value)
    with pytest.raises(EndpointUnavailable, match=r"3 times within a minute.*gguf"):
        await server.ready()
    now[0] += CRASH_SECONDS
    with pytest.raises(EndpointUnavailable, match="did not start"):
        await server.ready()


@in_session
async def test_a_file_that_is_no_model_starts_no_process(
    make_server: MakeServer, progress: "Reported", tmp_path: Path
) -> None:
    page = tmp_path / "page.gguf"
    page.write_text("<html>not found</html>")
    with pytest.raises(EndpointUnavailable, match="not a GGUF model") as caught:
        await make_server(EmbeddedOptions(model_path=page)).ready()
    assert caught.value.hint
    assert [step.stage for step in progress] == ["failed"]


@in_session
async def test_a_missing_engine_says_what_to_install(make_server: MakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(EndpointUnavailable, match="xllamacpp") as caught:
        await make_server().ready()
    assert "pip install" in caught.value.hint and "SOPHIA_BASE_URL" in caught.value.hint


PARENT = """
import asyncio, sys
from pathlib import Path
from typing import TYPE_CHECKING
from sophia_core.embedded import EmbeddedOptions, EmbeddedServer

def tell(progress):
    if progress.stage == sys.argv[2]:
        print(progress.stage, flush=True)

async def main():
    server = EmbeddedServer(EmbeddedOptions(context=512), cache_dir=Path(sys.argv[1]), on_progress=tell)
    await server.ready()
    await asyncio.Event().wait()

asyncio.run(main())
"""


def child_with_the_model(parent: int) -> int:
    """The process id of the child as soon as it has mapped the model."""
    while True:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        if children and ".gguf" in Path("/proc", children[0], "maps").read_text():
            return int(children[0])


@pytest.mark.skipif(sys.platform != "linux", reason="finds and awaits processes as Linux has them")
@pytest.mark.parametrize("stage", ["load", "ready"])
def test_it_dies_with_a_parent_that_is_killed(cache_dir: Path, stage: str) -> None:
    command = [sys.executable, "-c", PARENT, str(cache_dir), stage]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": ROOT}) as parent:
        assert parent.stdout and parent.stdout.readline().strip() == stage
        handle = os.pidfd_open(child_with_the_model(parent.pid))
        try:
            parent.kill()
            ended, _, _ = select.select([handle], [], [], DEADLINE)
        finally:
            os.close(handle)
    assert ended
