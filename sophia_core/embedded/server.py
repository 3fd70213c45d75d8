"""The embedded model as an endpoint: started when first asked for, one process for all, gone with its parent."""

import asyncio
import contextlib
import importlib.util
import json
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sophia_core.embedded import files
from sophia_core.embedded.model import QWEN_CODER, Model
from sophia_core.embedded.types import (
    INSTALL_HINT,
    EmbeddedOptions,
    Fetch,
    LaunchFailed,
    OnProgress,
    Progress,
    Stage,
    WeightsError,
)
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from backend_client.errors import EndpointUnavailable
    from backend_client.types import Endpoint
    from sophia_core.embedded.launch import Child

ENGINE = "xllamacpp"
CRASHES = 3
CRASH_SECONDS = 60.0
MAX_THREADS = 8
PREFILL_SECONDS = 120.0
CRASH_HINT = (
    "wait a minute and ask again, choose a smaller context or model, or point SOPHIA_BASE_URL at another server"
)
START_HINT = (
    "see whether the model file suits the engine and the memory suffices, or point SOPHIA_BASE_URL at another server"
)


class EmbeddedServer:
    """A model on this machine behind an OpenAI-compatible endpoint; an EndpointSource.

    Nothing runs, and little is imported, until `ready` or `warm` is called. `on_progress` is called on the event loop.
    """

    def __init__(
        self,
        options: EmbeddedOptions,
        *,
        cache_dir: Path,
        on_progress: OnProgress,
        fetch: Fetch | None = None,
        model: Model = QWEN_CODER,
        free_bytes: Callable[[Path], int] = files.free_bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._folder = cache_dir / "models"
        self._on_progress = on_progress
        self._fetch = fetch if options.download else None
        self._model = model
        self._free_bytes = free_bytes
        self._clock = clock
        self._child: Child | None = None
        self._starting: asyncio.Task[Child] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._crashes: deque[float] = deque(maxlen=CRASHES)
        self._last_words = ""

    @property
    def pid(self) -> int | None:
        """The child's process id; None while none runs."""
        return self._child.process.pid if self._child and self._child.alive else None

    @property
    def name(self) -> str:
        """What the model is called in requests and on screen."""
        path = self._options.model_path
        return path.stem if path else self._model.name

    @property
    def running(self) -> "Endpoint | None":
        """The endpoint while the server runs; nothing is started for it."""
        return self._endpoint(self._child) if self._child and self._child.alive else None

    async def ready(self) -> "Endpoint":
        """The endpoint of the running server, started first where needed.

        All callers share one start, and a cancelled caller does not stop it for the others. A server that died is
        started again, but not after three deaths within a minute. Raises EndpointUnavailable.
        """
        if self._child and self._child.alive:
            return self._endpoint(self._child)
        starting = self._starting or self._begin()
        try:
            return self._endpoint(await asyncio.shield(starting))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if starting.cancelled() and not (task and task.cancelling()):
                raise _unavailable("the embedded model was stopped while it started") from None
            raise

    def warm(self, system_prompt: str = "") -> asyncio.Task[None]:
        """Start the server in the background and have it read the system prompt, so that the first answer comes sooner.

        What goes wrong is reported as progress and again by `ready`. The task may be awaited or left alone.
        """
        return self._keep(asyncio.create_task(self._warm(system_prompt)))

    async def stop(self) -> None:
        """End the server or its start; a later `ready` starts it anew."""
        child, self._child = self._child, None
        tasks = [*self._tasks, *((self._starting,) if self._starting else ())]
        for task in tasks:
            task.cancel()
        if child:
            await child.stop()
        if tasks:
            await asyncio.wait(tasks)
        if child or tasks:
            self._tell("stopped", "the embedded model is stopped")

    async def aclose(self) -> None:
        """The same as `stop`."""
        await self.stop()

    def _begin(self) -> "asyncio.Task[Child]":
        self._starting = asyncio.create_task(self._start())
        self._starting.add_done_callback(self._began)
        return self._starting

    def _began(self, starting: "asyncio.Task[Child]") -> None:
        self._starting = None
        if not starting.cancelled():
            starting.exception()  # whoever still waits has it; where nobody does, it was told as progress

    async def _start(self) -> "Child":
        try:
            self._check_engine()
            self._check_crashes()
            path = await self._weights()
            self._tell("load", f"loading {self.name}")
            child = await self._launch(path)
        except WeightsError as error:
            raise self._failed(str(error), error.hint) from error
        except LaunchFailed as error:
            self._crashed(str(error))
            raise self._failed(f"the embedded model did not start: {error}", START_HINT) from error
        self._child = child
        self._keep(asyncio.create_task(self._watch(child)))
        self._tell("ready", f"{self.name} is ready", 1.0)
        return child

    async def _weights(self) -> Path:
        from sophia_core.embedded.weights import Weights, check_gguf

        if self._options.model_path:
            return check_gguf(self._options.model_path)
        self._tell("weights", "looking for the model's weights")
        weights = Weights(
            self._model,
            self._folder,
            on_progress=self._on_progress,
            fetch=self._fetch,
            free_bytes=self._free_bytes,
        )
        return await weights.obtain()

    def _check_engine(self) -> None:
        if importlib.util.find_spec(ENGINE) is None:
            raise self._failed(f"the embedded model needs the package {ENGINE!r}, which is not installed", INSTALL_HINT)

    def _check_crashes(self) -> None:
        if len(self._crashes) == CRASHES and self._clock() - self._crashes[0] < CRASH_SECONDS:
            message = f"the embedded model stopped {CRASHES} times within a minute, last with: {self._last_words}"
            raise self._failed(message, CRASH_HINT)

    def _crashed(self, last_words: str) -> None:
        self._crashes.append(self._clock())
        self._last_words = last_words

    async def _launch(self, path: Path) -> "Child":
        from sophia_core.embedded.launch import launch

        # Writing waits for memory more than for arithmetic: a core left free costs no speed and keeps the screen quick.
        cores = min(_cores(), MAX_THREADS)
        return await launch(
            path,
            alias=self.name,
            context=self._options.context,
            threads=self._options.threads or max(1, cores - 1),
            prompt_threads=self._options.threads or cores,
        )

    async def _watch(self, child: "Child") -> None:
        """Notice when the server ends by itself."""
        status = await child.wait()
        self._crashed(child.last_words or f"status {status}")
        self._tell("stopped", f"the embedded model ended by itself: {self._last_words}")

    async def _warm(self, system_prompt: str) -> None:
        from backend_client.errors import EndpointUnavailable

        with contextlib.suppress(EndpointUnavailable, OSError):
            await self.ready()
            if system_prompt and self._child:
                await self._prefill(self._child, system_prompt)

    async def _prefill(self, child: "Child", system_prompt: str) -> None:
        from sophia_core.embedded import loopback

        messages = [{"role": "system", "content": system_prompt}, {"role": "user", "content": ""}]
        body = json.dumps({"messages": messages, "max_tokens": 1}).encode()
        await loopback.request(
            child.port, "POST", "/v1/chat/completions", key=child.key, body=body, seconds=PREFILL_SECONDS
        )

    def _keep(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _endpoint(self, child: "Child") -> "Endpoint":
        from backend_client.auth import ApiKey, Secret
        from backend_client.types import Endpoint

        return Endpoint(f"http://127.0.0.1:{child.port}/v1", self.name, ApiKey(Secret(child.key)))

    def _failed(self, message: str, hint: str) -> "EndpointUnavailable":
        self._tell("failed", message)
        return _unavailable(message, hint)

    def _tell(self, stage: Stage, detail: str, fraction: float | None = None) -> None:
        self._on_progress(Progress(stage, fraction, one_line(detail)))


def _unavailable(message: str, hint: str | None = None) -> "EndpointUnavailable":
    from backend_client.errors import EndpointUnavailable

    return EndpointUnavailable(message, hint=hint)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
