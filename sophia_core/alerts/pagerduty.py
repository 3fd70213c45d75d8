"""Telling PagerDuty, by its Events API v2: the alert's key is the one that it knows an incident by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from backend_client.address import is_loopback
from sophia_core.alerts.telling import Proof, Refused, details_of, judge, post
from sophia_core.metrics.ports import Alert
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from backend_client.transport import Transport
    from sophia_core.alerts.tables import ReceiverTable

LONGEST_KEY: Final = 255
LONGEST_SUMMARY: Final = 1_024
LONGEST_NAME: Final = 255
UNNAMED: Final = "SOPHIA"
"""PagerDuty refuses what has no summary or source."""
_KEY: Final = re.compile(r"[A-Za-z0-9]{16,64}")


class PagerDuty:
    """One service of PagerDuty."""

    width, pace_s = 4, 0.0

    def __init__(self, table: ReceiverTable, transport: Transport, proof: Proof) -> None:
        self.table, self._transport, self._proof = table, transport, proof

    async def send(self, alert: Alert, delivery_id: str) -> None:
        """Trigger, acknowledge or resolve. Raises Refused."""
        secret = await self._proof.secret(self.table)
        if secret is None:
            raise Refused("its routing key is not set", secret=True)
        key = secret.reveal().strip()
        if not _KEY.fullmatch(key):
            raise Refused("its routing key is no such key: it has 32 letters and digits", secret=True)
        if urlsplit(self.table.at).scheme != "https" and not is_loopback(self.table.at):
            raise Refused(
                "a routing key is not sent without encryption: its url has to begin with https://", final=True
            )
        answer = await post(self._transport, self.table.at, event(alert, key), secret)
        if answer[0] != 202:
            raise judge("PagerDuty", *answer)


def event(alert: Alert, routing_key: str) -> Mapping[str, Any]:
    """The alert in PagerDuty's words."""
    told: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": alert.action,
        "dedup_key": one_line(alert.key, LONGEST_KEY),
    }
    if alert.action != "trigger":
        return told
    details: dict[str, Any] = {**details_of(alert), "rule": one_line(alert.rule, LONGEST_NAME)}
    told["client"] = "SOPHIA"
    runbook = one_line(alert.runbook, LONGEST_SUMMARY)
    if runbook.startswith(("https://", "http://")):
        told["links"] = [{"href": runbook, "text": "What to do"}]
    elif runbook:
        details["runbook"] = runbook
    told["payload"] = {
        "summary": one_line(alert.summary, LONGEST_SUMMARY) or UNNAMED,
        "source": one_line(alert.source, LONGEST_NAME) or UNNAMED,
        "severity": alert.severity,
        "timestamp": datetime.fromtimestamp(alert.at, UTC).isoformat(timespec="milliseconds"),
        "class": one_line(alert.rule, LONGEST_NAME),
        "custom_details": details,
    }
    return told
