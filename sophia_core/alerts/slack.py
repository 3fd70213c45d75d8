"""Telling a channel of Slack through an incoming webhook, whose address is its secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from backend_client.address import is_loopback, origin
from backend_client.auth import Secret
from sophia_core.alerts.telling import Proof, Refused, judge, post
from sophia_core.metrics.ports import Alert
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from backend_client.transport import Transport
    from sophia_core.alerts.tables import ReceiverTable

MARKS: Final = {"critical": "🔴", "error": "🟠", "warning": "🟡", "info": "🔵"}
LONGEST: Final = 1_024
LEAST_SECRET: Final = 9
"""Characters of a part of the address that is never shown."""
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
            raise Refused("its webhook address is not set", secret=True)
        url = _checked(secret.reveal().strip(), self.table.at)
        status, said, pause = await post(self._transport, url, message(alert), secret)
        if status != 200 or said != "ok":
            raise judge("Slack", status, _without(url, said), pause)


def _checked(url: str, at: str) -> str:
    """The address, if it is one of the place that the receiver is for. Raises Refused."""
    try:
        parts = urlsplit(url)
        secure = parts.scheme == "https" or is_loopback(url)
        fits = secure and origin(url) == origin(at) and "@" not in parts.netloc and url.isprintable()
    except ValueError:
        fits = False
    if not fits:
        raise Refused(f"its webhook address is not one of {origin(at)}", secret=True)
    return url


def _without(url: str, said: str) -> str:
    """What was said without any part of the address: whoever has the path of it alone can write to the channel."""
    parts = urlsplit(url)
    for secret in (f"{parts.path}?{parts.query}", parts.path, *(each for each in parts.path.split("/") if each)):
        if len(secret) >= LEAST_SECRET:
            said = Secret(secret).redact(said)
    return said


def message(alert: Alert) -> Mapping[str, Any]:
    """The alert as Slack shows it; nothing in it calls anybody or is a link."""
    words = {"acknowledge": "👀 Somebody looks after it:", "resolve": "✅ Resolved:"}
    lead = words.get(alert.action) or f"{MARKS[alert.severity]} *{alert.severity}*:"
    lines = [f"{lead} {_plain(alert.summary)}"]
    if alert.action == "trigger":
        lines += [f"What to do: {_plain(alert.runbook)}"] if alert.runbook else []
    elif alert.action == "resolve" and (why := alert.details.get("why")):
        lines.append(f"Over, as {_plain(str(why))}.")
    lines.append(f"_{_plain(alert.rule)} · {_plain(alert.source)} · `{_plain(alert.key)}`_")
    text = "\n".join(lines)
    return {"text": text, "link_names": False, "unfurl_links": False, "unfurl_media": False}


def _plain(said: str) -> str:
    """One line that calls nobody and cannot end the formatting around it."""
    return one_line(said, LONGEST).replace("`", "'").translate(_ESCAPES)
