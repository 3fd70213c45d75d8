"""What an outside agent tells of itself, made safe and short: shown while it happens, and kept in the run's record."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sophia_core.sanitize import one_line, sanitize
from sophia_core.swarm.ports import BudgetReached, Spent, StepHost, StepWork
from sophia_core.swarm.run_log import Live

LONGEST_TEXT: Final = 200_000
"""Characters of what it says; the beginning goes first."""
LONGEST_LIVE: Final = 4_000
LONGEST_TOLD: Final = 8_000
MOST_CALLS: Final = 500
"""Of one step; of what it does beyond them the record says no more."""
MOST_UPDATES: Final = 200_000
_ENDED: Final = frozenset({"completed", "failed"})


@dataclass(slots=True)
class _Call:
    """A call of a tool of its own."""

    number: int
    name: str
    began: float
    given: Any = None
    told: bool = False
    over: bool = False
    said: list[str] = field(default_factory=list)


class Telling:
    """Takes updates at once; writes them down one after another, in their order."""

    def __init__(self, work: StepWork, host: StepHost, name: str, nonce: str) -> None:
        """`nonce` is of this conversation: one that is held again after a crash tells its own."""
        self._work, self._host, self._name, self._nonce = work, host, name, nonce
        self._pieces: list[str] = []
        self._size, self._before = 0, ""
        self._calls: dict[str, _Call] = {}
        self._said: asyncio.Queue[tuple[str, dict[str, Any], str]] = asyncio.Queue()
        self._number = 0
        self.updates = 0
        self.over = asyncio.Event()
        """It used or said more than it may; `reached` says which."""
        self.reached: BudgetReached | None = None
        self.spent = Spent()
        self._cost, self._context = 0.0, 0

    @property
    def text(self) -> str:
        """Its last message, which is the result; what it said before it used a tool were plans."""
        return sanitize("".join(self._pieces)).strip() or self._before

    @property
    def flooded(self) -> bool:
        """Whether it tells more than anybody could read."""
        return self.updates > MOST_UPDATES

    def take(self, update: Any) -> None:
        """One thing it told; returns at once."""
        self.updates += 1
        if self.flooded:
            self.over.set()
            return
        match update.session_update:
            case "agent_message_chunk":
                self._say(getattr(update.content, "text", ""))
            case "agent_thought_chunk":
                self._show("thinks", getattr(update.content, "text", ""))
            case "tool_call":
                self.call(update.tool_call_id, update.title, update.kind, update.raw_input)
                self._further(update)
            case "tool_call_update":
                self.call(update.tool_call_id, update.title, update.kind, update.raw_input)
                self._further(update)
            case "usage_update":
                self._used(update)
            case _:
                pass

    def _say(self, text: str) -> None:
        self._pieces.append(text)
        self._size += len(text)
        while self._size > LONGEST_TEXT and len(self._pieces) > 1:
            self._size -= len(self._pieces.pop(0))
        if self._size > LONGEST_TEXT:
            self._pieces[0], self._size = self._pieces[0][-LONGEST_TEXT:], LONGEST_TEXT
        self._show("answers", "".join(self._pieces[-200:]))

    def _show(self, action: str, text: str = "") -> None:
        said = f"{self._name} {action}"
        now = int(time.time() * 1000)
        live = Live(self._work.run_id, self._work.step.id, now, one_line(said, 200), sanitize(text[-LONGEST_LIVE:]))
        self._host.show(live)

    # Tools of its own

    def call(self, id_: str, title: str | None, kind: str | None, given: Any) -> None:
        """It uses a tool of its own; told once, when it is known with what."""
        found = self._calls.get(id_)
        if found is None:
            if len(self._calls) >= MOST_CALLS:
                return
            self._number += 1
            found = self._calls[id_] = _Call(self._number, "", time.monotonic())
            self._before, self._pieces, self._size = self.text, [], 0
        found.name = found.name or one_line(title or kind or "tool", 100)
        found.given = given if given is not None else found.given
        self._show(f"uses {one_line(title or found.name, 100)}")

    def _further(self, update: Any) -> None:
        found = self._calls.get(update.tool_call_id)
        if found is None or found.over:
            return
        for each in update.content or ():
            text = getattr(getattr(each, "content", None), "text", "") or getattr(each, "new_text", "")
            found.said = [*found.said, text[:LONGEST_TOLD]][-8:]
        if not found.told and (update.status in ("in_progress", *_ENDED)):
            self._begun(found)
        if update.status in _ENDED:
            self._finished(found, ok=update.status == "completed")

    def _begun(self, call: _Call) -> None:
        call.told = True
        detail = {"call": f"outside-{call.number}", "tool": call.name, "arguments": _small(call.given)}
        self._said.put_nowait(("tool.called", detail, f"{self._nonce}-{call.number}"))

    def _finished(self, call: _Call, *, ok: bool) -> None:
        call.over = True
        text = sanitize("\n".join(call.said)[:LONGEST_TOLD])
        detail = {
            "call": f"outside-{call.number}",
            "tool": call.name,
            "ok": ok,
            "text": text,
            "seconds": round(time.monotonic() - call.began, 3),
        }
        call.said = []
        self._said.put_nowait(("tool.finished", detail, f"{self._nonce}-{call.number}-finished"))

    # What it uses

    def _used(self, update: Any) -> None:
        self._context = max(self._context, int(update.used or 0))
        cost = update.cost
        if cost is not None and cost.currency == "USD" and cost.amount >= 0:
            self._cost = max(self._cost, float(cost.amount))
        self._look()

    def usage(self, usage: Any) -> None:
        """What it used in all, as it says at the end."""
        if usage is not None:
            self.spent = Spent(1, int(usage.input_tokens), int(usage.output_tokens), self._cost, self._known)
        else:
            self.spent = Spent(1, self._context, 0, self._cost, self._known)
        self._look()

    @property
    def _known(self) -> str:
        return "reported" if self._cost else ""

    def _look(self) -> None:
        left = self._work.left
        tokens = max(self._context, self.spent.tokens_in + self.spent.tokens_out)
        if left.tokens is not None and tokens > left.tokens:
            self._end(f"{left.tokens:,} tokens")
        elif left.money is not None and self._cost > left.money:
            self._end(f"{left.money:.2f} US dollars")

    def _end(self, what: str) -> None:
        if self.reached is None:
            spent = Spent(1, max(self._context, self.spent.tokens_in), self.spent.tokens_out, self._cost, self._known)
            self.reached = BudgetReached(f"The budget of {what} is used up.", "Give it more, and retry.", spent=spent)
        self.over.set()

    # The record

    async def write(self) -> None:
        """Writes down what it tells, until cancelled."""
        while True:
            kind, detail, key = await self._said.get()
            await self._host.tell(kind, detail, key=key)

    async def finish(self, model: str, seconds: float) -> None:
        """Writes down what is left: calls without an end have none, and what was used."""
        for each in self._calls.values():
            if not each.told:
                self._begun(each)
            if not each.over:
                self._finished(each, ok=False)
        while not self._said.empty():
            kind, detail, key = self._said.get_nowait()
            await self._host.tell(kind, detail, key=key)
        if not (self.spent.requests or self.text):
            return
        called = {
            "call": f"outside-{self._nonce}",
            "provider": self._name,
            "model": model,
            "tokens_in": self.spent.tokens_in,
            "tokens_out": self.spent.tokens_out,
            "cost": self.spent.cost,
            "cost_known": self.spent.cost_known,
            "seconds": round(seconds, 3),
            "text": self.text[:LONGEST_TOLD],
        }
        await self._host.tell("model.called", called, key=self._nonce)


def _small(given: Any) -> Mapping[str, Any]:
    """What a tool was given, each value as a short text."""
    if not isinstance(given, Mapping):
        return {} if given is None else {"given": sanitize(json.dumps(given, default=str)[:2_000])}
    return {
        one_line(str(name), 60): sanitize((value if isinstance(value, str) else json.dumps(value, default=str))[:2_000])
        for name, value in list(given.items())[:20]
    }
