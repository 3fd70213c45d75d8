"""DBOS in this process: it carries runs and their steps through crashes. Nobody else here knows it.

Two workflows. A *leg* carries a run from a request that sets it going to its next rest or end; its id is the claim on
it, so that of several workers one has it. A *step* is one attempt at one step: what it did with `once` is kept, and
given again when it is taken up after a crash. The leg writes nothing down in DBOS: it reads the log, begins steps by
ids that are the same each time, and DBOS gives the results of those that are done.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from sophia_core.swarm.engine.serializing import Sealed, Sealer

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine as Database

T = TypeVar("T")
Leg = Callable[[str, str], Awaitable[str]]
"""Given the run and the leg; returns how it rests or ended."""
Step = Callable[[str, str, int, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Given the run, the step, the attempt, and what is left of the budgets; returns what came of it."""

NAME: Final = "sophia-swarm"
VERSION: Final = "swarm-1"
"""Grows when what is kept of a run cannot be read by the engine before; a worker takes only runs of its own version."""
POLL_S: Final = 0.1
QUEUE_POLL_S: Final = 1.0
ATTEMPTS: Final = 1_000_000
"""A worker's crashes are counted by step in the log, where one can see whose fault they are."""
THREADS: Final = 12
RECOVERY_S: Final = 2.0
"""So long a step that was in hand when this worker ended is given to come again by itself."""
PENDING: Final = ("PENDING", "ENQUEUED")


class PutDown(Exception):
    """This process does not go on with an attempt; another, or this one later, takes it up where it is."""


class Carrier:
    """DBOS, launched in this process. There can be one."""

    def __init__(self, where: str | Path, box: Sealer, worker: str, leg: Leg, step: Step) -> None:
        self._where, self._box, self.worker = where, box, worker
        self._leg, self._step = leg, step
        self.queue = f"worker-{worker}"
        """What is taken up here, and nowhere else."""
        self._at_work: Counter[str] = Counter()
        """Attempts that came to this process since it began, with how often each is at work now."""
        self.boot = secrets.token_hex(4)
        """Another each time a worker begins."""

    async def open(self) -> None:
        """Launches DBOS on this loop. What this worker had in hand when it ended comes again by itself."""
        os.environ.setdefault("OTEL_SDK_DISABLED", "true")
        from dbos import DBOS

        _tame()
        _only_ours()
        DBOS(config=cast("Any", self._config()))
        self._leg_workflow, self._step_workflow = self._workflows()
        DBOS.listen_queues([self.queue])
        # On the loop's own thread, so that DBOS takes this loop for what it runs.
        DBOS.launch()
        _tame()
        await DBOS.register_queue_async(self.queue, polling_interval_sec=QUEUE_POLL_S)

    async def close(self) -> None:
        """Ends DBOS here; what is under way stays as it is, and is taken up by the next."""
        from dbos import DBOS

        threads = ThreadPoolExecutor(thread_name_prefix="worker")
        await asyncio.get_running_loop().run_in_executor(threads, _destroy, DBOS)
        # DBOS gave the loop its own threads, which are gone with it.
        asyncio.get_running_loop().set_default_executor(threads)

    def _config(self) -> dict[str, Any]:
        shared = isinstance(self._where, str)
        return {
            "name": NAME,
            "system_database_url": self._where if shared else f"sqlite:///{self._where}",
            "system_database_engine": None if shared else _database(Path(self._where)),
            "sys_db_pool_size": 8,
            "application_version": VERSION,
            "executor_id": self.worker,
            "serializer": _serializer(Sealed(self._box)),
            "max_executor_threads": THREADS,
            "log_level": "ERROR",
            "enable_otlp": False,
        }

    def _workflows(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        from dbos import DBOS

        @DBOS.workflow(name="leg", max_recovery_attempts=ATTEMPTS)
        async def leg(run_id: str, leg_id: str) -> str:
            # Outside DBOS's context: what a leg begins, it begins by name, in no order that would have to be kept.
            return await asyncio.create_task(_as_coroutine(self._leg(run_id, leg_id)), context=contextvars.Context())

        @DBOS.workflow(name="step", max_recovery_attempts=ATTEMPTS)
        async def step(run_id: str, step: str, attempt: int, left: Mapping[str, Any]) -> Mapping[str, Any]:
            id_ = str(DBOS.workflow_id)
            if id_ != f"{run_id}:{step}#{attempt}":
                raise ValueError("what is kept of this attempt belongs to another")
            self._at_work[id_] += 1
            try:
                return {"of": id_, "came": await self._step(run_id, step, attempt, left)}
            finally:
                self._at_work[id_] -= 1

        return leg, step

    async def claim(self, run_id: str, leg_id: str) -> bool:
        """Begin that leg, unless somebody has; whether it is ours."""
        return await self._begin(leg_id, self._leg_workflow, run_id, leg_id) is not None

    async def attempt(self, id_: str, run_id: str, step: str, attempt: int, left: Mapping[str, Any]) -> Any:
        """Do that attempt, or take it up where it was left; what came of it, once that is kept.

        An attempt that is done gives the same again; None for what is kept but came of another. Call it from outside
        any workflow. Raises PutDown.
        """
        task = await self._begin(id_, self._step_workflow, run_id, step, attempt, dict(left))
        if task is None:
            return _of(id_, await self._taken_up(id_))
        try:
            return _of(id_, await asyncio.shield(task))
        except asyncio.CancelledError:
            if task.cancelled():
                raise PutDown(id_) from None
            raise

    async def _taken_up(self, id_: str) -> Any:
        from dbos import DBOS

        handle: Any = await DBOS.retrieve_workflow_async(id_)
        found = await handle.get_status()
        if found.status not in ("SUCCESS", "ERROR") and not await self._comes_by_itself(id_, found.executor_id):
            await DBOS.resume_workflow_async(id_, queue_name=self.queue)
        return await handle.get_result(polling_interval_sec=POLL_S)

    async def _comes_by_itself(self, id_: str, worker: str | None) -> bool:
        """Whether it goes on here: what we had when we ended DBOS takes up, and twice at once would do things twice."""
        until = time.monotonic() + RECOVERY_S
        while id_ not in self._at_work and worker == self.worker and time.monotonic() < until:  # noqa: ASYNC110 - DBOS says nothing
            await asyncio.sleep(POLL_S / 2)
        return self._at_work.get(id_, 0) > 0

    async def _begin(self, id_: str, workflow: Callable[..., Any], *values: Any) -> asyncio.Future[Any] | None:
        from dbos import DBOS, SetWorkflowID

        with SetWorkflowID(id_):
            handle = await DBOS.start_workflow_async(workflow, *values)
        return getattr(handle, "task", None)

    async def once(self, name: str, do: Callable[[], Awaitable[T]]) -> T:
        """Within a step: do it and keep what it gives; or give what was kept."""
        from dbos import DBOS

        async def doing() -> T:
            return await do()

        return await DBOS.run_step_async({"name": name[:200]}, doing)

    async def in_hand(self, workers: Sequence[str]) -> list[tuple[str, str]]:
        """Return the legs of our version that these workers have in hand, each with its run."""
        from dbos import DBOS

        found = await DBOS.list_workflows_async(
            status=list(PENDING), executor_id=list(workers), name="leg", app_version=VERSION, load_output=False
        )
        # What cannot be opened comes as it lies there, and is nobody's.
        return [(each.workflow_id, str(each.input["args"][0])) for each in found if isinstance(each.input, dict)]

    async def other_version(self, leg_id: str) -> str:
        """Which other version has that leg in hand; empty when none has."""
        from dbos import DBOS

        found = await DBOS.list_workflows_async(workflow_ids=[leg_id], status=list(PENDING), load_output=False)
        return next((each.app_version or "" for each in found if each.app_version != VERSION), "")

    async def hand_over(self, leg_ids: Sequence[str], worker: str) -> None:
        """Let another worker take up these legs, whose own is lost."""
        from dbos import DBOS

        for leg_id in leg_ids:
            await DBOS.resume_workflow_async(leg_id, queue_name=f"worker-{worker}")


def _destroy(dbos: Any) -> None:
    dbos.destroy(destroy_registry=True, workflow_completion_timeout_sec=0)


async def _as_coroutine(awaitable: Awaitable[T]) -> T:
    return await awaitable


def _serializer(sealed: Sealed) -> Any:
    from dbos import Serializer

    return type("SealedForDbos", (Sealed, Serializer), {})(sealed._box)


def _of(id_: str, found: Any) -> Any:
    """What came of that attempt: a seal does not say of which, and rows can be changed round."""
    return found["came"] if isinstance(found, dict) and found.get("of") == id_ else None


def _only_ours() -> None:
    """Each row names the form it is in. Whoever can write rows could name one that runs code, or one that needs no
    key: DBOS's own are refused."""
    from dbos import _serialization as forms

    for form in (forms.DBOSDefaultSerializer, forms.DBOSPortableJSON):
        cast("Any", form).deserialize = _refuse


def _refuse(text: str | None) -> Any:
    raise ValueError("this was not sealed by a worker")


def _database(path: Path) -> Database:
    """A SQLite file of which a crash of ours loses nothing.

    One connection: who waits for it is woken at once, who waits for SQLite's lock sleeps and looks again.
    """
    import sqlalchemy as sa

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    engine = sa.create_engine(f"sqlite:///{path}", pool_size=1, max_overflow=0)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"
        for line in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=30000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {line}")

    return engine


def _tame() -> None:
    """DBOS writes its log to stderr; what of it matters comes to us as an exception."""
    logger = logging.getLogger("dbos")
    logger.handlers = [logging.NullHandler()]
    logger.propagate = False
