"""Telling a channel of Slack through an incoming webhook, whose address is its secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from backend_client.address import is_loopback, origin
from sophia_core.alerts.telling import Proof, Refused, judge, post
from sophia_core.metrics.ports import Alert

if TYPE_CHECKING:
    from backend_client.transport import Transport
    from sophia_core.alerts.tables import ReceiverTable

MARKS: Final = {"critical": "🔴", "error": "🟠", "warning": "🟡", "info": "🔵"}
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class Slack:
    """One channel. Slack takes about one message a second."""

    width, pace_s = 1, 1.0

    def __init__(self, table: ReceiverTable, transport: Transport, proof: Proof) -> None:
        self.table, self._transport, self._proof = table, transport, proof

    async def send(self, alert: Alert, delivery_id: str) -> None:
        """Post one message. Raises Refused."""
        secret = await self._proof.secret(self.table)
        if secret is None:
            raise Refused("its webhook address is not set")
        url = _checked(secret.reveal().strip(), self.table.at)
        status, said, pause = await post(self._transport, url, message(alert), secret)
        if status != 200 or said != "ok":
            raise judge("Slack", status, said, pause)


def _checked(url: str, at: str) -> str:
    """The address, if it is one of the place that the receiver is for. Raises Refused."""
    try:
        parts = urlsplit(url)
        secure = parts.scheme == "https" or is_loopback(url)
        fits = secure and origin(url) == origin(at) and "@" not in parts.netloc and url.isprintable()
    except ValueError:
        fits = False
    if not fits:
        raise Refused(f"its webhook address is not one of {origin(at)}")
    return url


def message(alert: Alert) -> Mapping[str, Any]:
    """The alert as Slack shows it; nothing in it calls anybody or is a link."""
    words = {"acknowledge": "👀 Somebody looks after it:", "resolve": "✅ Resolved:"}
    lead = words.get(alert.action) or f"{MARKS[alert.severity]} *{alert.severity}*:"
    lines = [f"{lead} {alert.summary.translate(_ESCAPES)}"]
    if alert.action == "trigger":
        lines += [f"What to do: {alert.runbook.translate(_ESCAPES)}"] if alert.runbook else []
    lines.append(f"_{alert.rule.translate(_ESCAPES)} · {alert.source.translate(_ESCAPES)} · {_key(alert)}_")
    text = "\n".join(lines)
    return {"text": text, "unfurl_links": False, "unfurl_media": False}


def _key(alert: Alert) -> str:
    return f"`{alert.key.translate(_ESCAPES).replace('`', ' ')}`"
