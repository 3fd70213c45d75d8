"""What every receiver does: takes an alert or says why not. And how an alert is kept until then."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Protocol, get_args

from backend_client.errors import BackendError, excerpt
from backend_client.faults import retry_after
from backend_client.seam import Call
from backend_client.types import Timeouts
from sophia_core.alerts.rule import SEVERITIES
from sophia_core.metrics.ports import Alert
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from backend_client.auth import Secret
    from backend_client.transport import Transport
    from sophia_core.alerts.tables import ReceiverTable

TIMEOUTS: Final = Timeouts(connect=5.0, first_token=15.0, idle=10.0, write=10.0, total=20.0)
REPLY_MAX: Final = 8 << 10
"""Bytes of an answer that are read."""
LONGEST_PAUSE_S: Final = 3_600.0
"""No receiver is waited for longer, whatever it asks for."""
MOST_DETAILS: Final = 50
ACTIONS: Final = get_args(Alert.__annotations__["action"]) or ("trigger", "acknowledge", "resolve")


class Refused(Exception):
    """A receiver did not take an alert. `final`: it never will, as it is; `secret`: for want of a secret that fits."""

    def __init__(
        self,
        message: str,
        *,
        final: bool = False,
        pause_s: float | None = None,
        all_wait: bool = False,
        secret: bool = False,
    ) -> None:
        super().__init__(one_line(message, 400))
        self.final, self.pause_s, self.secret = final, pause_s, secret
        self.all_wait = all_wait
        """Whether everything for this receiver waits as long."""


class Receiver(Protocol):
    """Somebody who is told of alerts."""

    table: ReceiverTable
    width: int
    """How many alerts it is told at once."""
    pace_s: float
    """The least time from one to the next, of those that are told one by one."""

    async def send(self, alert: Alert, delivery_id: str) -> None:
        """Tell it, and return once it has taken it. Raises Refused; may raise nothing else."""


class Proof(Protocol):
    """Where the secrets of receivers are."""

    async def secret(self, table: ReceiverTable) -> Secret | None:
        """Its key, webhook address or password."""


def takes(table: ReceiverTable, alert: Alert, only: tuple[str, ...] = ()) -> bool:
    """Whether a receiver is told of this alert; `only` are the receivers that its rule names."""
    if only and table.name not in only:
        return False
    if alert.action == "acknowledge" and table.kind == "email":
        return False
    named = any(fnmatchcase(alert.rule, pattern) for pattern in table.rules)
    return named and (bool(only) or alert.severity in table.severities)


def packed(alert: Alert) -> str:
    """The alert as text, to be kept until it is taken."""
    values = {name: getattr(alert, name) for name in Alert.__slots__}
    return json.dumps({**values, "details": dict(alert.details)}, ensure_ascii=False)


def details_of(alert: Alert) -> dict[str, str | int | float]:
    """Its details as JSON can hold them and a person reads them: a few, on one line each."""
    some = list(alert.details.items())[:MOST_DETAILS]
    return {one_line(str(name), 60): _plain(value) for name, value in some}


def _plain(value: object) -> str | int | float:
    if isinstance(value, float) and math.isfinite(value):
        return value
    return value if isinstance(value, int) and abs(value) < 1 << 63 else one_line(str(value), 300)


def unpacked(text: str) -> Alert:
    """The alert that was kept so. Raises ValueError."""
    try:
        told = json.loads(text)
        alert = Alert(**told)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"this is no alert: {error}") from None
    if alert.severity not in SEVERITIES or alert.action not in ACTIONS:
        raise ValueError("this is no alert")
    if not all(isinstance(each, str) for each in (alert.key, alert.rule, alert.summary, alert.source, alert.runbook)):
        raise ValueError("this is no alert")
    if not isinstance(alert.details, Mapping) or not isinstance(alert.at, int | float) or not math.isfinite(alert.at):
        raise ValueError("this is no alert")
    return alert


async def post(
    transport: Transport, url: str, body: Mapping[str, Any], secret: Secret
) -> tuple[int, str, float | None]:
    """Send JSON; return status, the beginning of the answer, and how long to wait if it says so. Raises Refused.

    The address may be a secret itself: nothing of it is in any error.
    """
    # As bytes of UTF-8, not as escapes that make six of three: PagerDuty takes 512 KB.
    content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    headers = {"content-type": "application/json", "accept": "application/json"}
    try:
        reply = await transport.open(Call("POST", url, headers, content, TIMEOUTS))
        try:
            said = b""
            async for piece in reply.body:
                said += piece
                if len(said) >= REPLY_MAX:
                    break
            pause = _pause(reply.headers)
            return reply.status, excerpt(said[:REPLY_MAX], secret.redact, 200), pause
        finally:
            await reply.aclose()
    except BackendError as error:
        raise Refused(secret.redact(error.message)) from None


def _pause(headers: Mapping[str, str]) -> float | None:
    """What a Retry-After says, in seconds."""
    seconds = retry_after(headers)
    return None if seconds is None or not math.isfinite(seconds) else min(max(seconds, 0.0), LONGEST_PAUSE_S)


def judge(who: str, status: int, said: str, pause: float | None) -> Refused:
    """What an answer that is no success means for another try."""
    if status == 429:
        return Refused(f"{who} asks to wait (429)", pause_s=pause, all_wait=True)
    if status == 408 or status >= 500:
        return Refused(f"{who} failed ({status}): {said}", pause_s=pause, all_wait=pause is not None)
    if 400 <= status < 500:
        return Refused(f"{who} refuses it ({status}): {said}", final=True)
    # Neither yes nor no: something stands in between, such as a network that wants a person to agree to its terms.
    return Refused(f"{who} does not answer as expected ({status}): {said}")
