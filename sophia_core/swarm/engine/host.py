"""What the engine does for one attempt at a step: keeps, tells, shows, asks the gate and people."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from sophia_core.gate.asking import on_behalf, shown
from sophia_core.gate.ports import ApprovalLog, ApprovalRequest, Decision
from sophia_core.swarm.engine.ledger import bearable
from sophia_core.swarm.ports import BudgetReached, Spent, StepFailed
from sophia_core.swarm.run_log import Live, Saying

if TYPE_CHECKING:
    from sophia_core.swarm.engine.carrier import Carrier
    from sophia_core.swarm.engine.ledger import Pen
    from sophia_core.swarm.engine.limits import Place

T = TypeVar("T")
Judge = Callable[[ApprovalRequest], Awaitable[Decision | None]]
"""What the rules say to a request; None when a person has to."""


class Waiter(Protocol):
    """Whoever hears what persons answered and decided in a run."""

    @property
    def resting(self) -> bool:
        """Whether what is at work is to be put down where it is."""
        ...

    def asking(self) -> Mapping[str, Any]:
        """What lists show of the run, with one question more that waits."""
        ...

    async def given(self, id_: str, look: Callable[[], Awaitable[Mapping[str, Any] | None]]) -> Mapping[str, Any]:
        """What was said to the question or request of that id, as soon as it is; `look` sees whether it was."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """What the hosts of a worker share."""

    carrier: Carrier
    pen: Pen
    judge: Judge
    approvals: ApprovalLog
    show: Callable[[Live], None]


class WorkTime:
    """How long a step was at work; what waits for a person does not count."""

    def __init__(self) -> None:
        self._since: float | None = time.monotonic()
        self._before = 0.0
        self._waits = 0

    @property
    def seconds(self) -> float:
        """So far."""
        return self._before + (time.monotonic() - self._since if self._since is not None else 0.0)

    def stop(self) -> None:
        """From now on it waits."""
        self._waits += 1
        if self._since is not None:
            self._before, self._since = self.seconds, None

    def go_on(self) -> None:
        """It waits no longer."""
        self._waits -= 1
        if not self._waits:
            self._since = time.monotonic()


class Host:
    """The StepHost of one attempt."""

    def __init__(self, desk: Desk, waiter: Waiter, run_id: str, step: str, attempt: int, place: Place) -> None:
        self._desk, self._waiter, self._place = desk, waiter, place
        self._run_id, self._step, self._attempt = run_id, step, attempt
        self._told: dict[str, int] = {}
        self._passed = 0
        self.time = WorkTime()

    async def once(self, name: str, do: Callable[[], Awaitable[T]]) -> T:
        """Does it and keeps what it gives; how it failed is kept as well. Raises StepFailed."""
        if self._waiter.resting:
            raise asyncio.CancelledError

        mark = f"{self._run_id}|{self._step}|{self._attempt}|{name}"

        async def kept() -> dict[str, Any]:
            try:
                return {"of": mark, "value": await do()}
            except StepFailed as error:
                return {"of": mark, "failed": failure(error)}

        found = await self._desk.carrier.once(name, kept)
        if not isinstance(found, dict) or found.get("of") != mark:
            # A seal does not say of which call: somebody changed the rows round, such as an allowed one for another.
            message = f"what is kept of {name!r} belongs to another call"
            raise StepFailed(message, "See who can write to the database.", again=False)
        if "failed" in found:
            raise failed(found["failed"])
        return cast("T", found["value"])

    async def tell(self, kind: str, detail: Mapping[str, Any], *, key: str = "") -> None:
        """Appends an event of this step, once, however often the step is taken up."""
        count = self._told[kind] = self._told.get(kind, 0) + 1
        key = f"{kind}|{self._step}|{self._attempt}|{key or count}"[:250]
        await self._desk.pen.write(Saying(self._run_id, kind, self._step, bearable(detail), key=key))

    def show(self, live: Live) -> None:
        """Tells what goes on now."""
        self._desk.show(live)

    async def pass_(self, request: ApprovalRequest) -> Decision:
        """What the rules say, or else a person; what they said is kept with the step."""
        self._passed += 1
        if (request.origin, request.origin_id, request.step) != ("run", self._run_id, self._step):
            # For whom it is, is not for a tool to say; and each call is allowed for itself.
            call = f"{self._attempt}/{self._passed}"
            request = on_behalf(request, "run", self._run_id, step=self._step, call=call)

        async def decided() -> dict[str, Any]:
            said = await self._desk.judge(request)
            return asdict(said if said is not None else await self._decided(request))

        found = await self.once(f"approval {request.id}", decided)
        return Decision(**found)

    async def _decided(self, request: ApprovalRequest) -> Decision:
        # The rules judge what is asked for; a person is shown what can be shown of it.
        approvals, request = self._desk.approvals, shown(request)
        asked = await approvals.ask(request)
        if asked.decision is not None:
            return asked.decision

        async def look() -> Mapping[str, Any] | None:
            # The row is what counts: an event only says that it is worth looking.
            found = await approvals.asked(request.id)
            return None if found is None or found.decision is None else asdict(found.decision)

        return Decision(**await self._waited(request.id, look, f"waits for you: {request.what}"))

    async def ask(self, id_: str, question: str) -> str:
        """A person's answer in words."""
        whole = f"{self._step}|{self._attempt}|{id_}"[:200]

        async def answered() -> str:
            detail = bearable({"id": whole, "question": question})
            summary = self._waiter.asking()
            key = f"asked|{whole}"
            await self._desk.pen.write(
                Saying(self._run_id, "input.asked", self._step, detail, status="waiting", key=key, summary=summary)
            )
            return str((await self._waited(whole, None, f"asks you: {question}")).get("text", ""))

        return await self.once(f"input {id_}", answered)

    async def _waited(
        self, id_: str, look: Callable[[], Awaitable[Mapping[str, Any] | None]] | None, action: str
    ) -> Mapping[str, Any]:
        self.time.stop()
        self._place.leave()
        self.show(Live(self._run_id, self._step, int(time.time() * 1000), action[:200]))
        try:
            found = await self._waiter.given(id_, look or _never)
        finally:
            self.time.go_on()
        await self._place.take()
        return found


async def _never() -> None:
    return None


def failure(error: StepFailed) -> dict[str, Any]:
    """A failure as JSON."""
    return {
        "error": str(error)[:4000],
        "hint": error.hint[:1000],
        "again": error.again,
        "budget": isinstance(error, BudgetReached),
        "spent": asdict(error.spent),
    }


def failed(kept: Mapping[str, Any]) -> StepFailed:
    """The failure that JSON tells of."""
    kind = BudgetReached if kept.get("budget") else StepFailed
    spent = Spent(**kept.get("spent", {}))
    return kind(str(kept["error"]), str(kept.get("hint", "")), again=bool(kept.get("again")), spent=spent)
