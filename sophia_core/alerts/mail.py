"""Telling people by e-mail. The library blocks, so it runs in a thread; its socket is closed when it takes too long."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from backend_client.address import is_loopback
from backend_client.auth import Secret
from sophia_core.alerts.telling import Proof, Refused, details_of
from sophia_core.metrics.ports import Alert
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    import smtplib
    import ssl
    from email.message import EmailMessage

    from sophia_core.alerts.tables import ReceiverTable

STEP_S: Final = 10.0
TOTAL_S: Final = 45.0
REPLIES_MAX: Final = 256 << 10
"""Bytes of all that a server says in one sitting."""
LONGEST: Final = 1_024
"""Characters of a line."""
WORDS: Final = {"trigger": "", "acknowledge": "Acknowledged: ", "resolve": "Resolved: "}


class Mail:
    """A mail server, and who is told through it."""

    width, pace_s = 1, 0.0

    def __init__(self, table: ReceiverTable, proof: Proof, *, trusted: ssl.SSLContext | None = None) -> None:
        """`trusted` replaces what this machine trusts, for tests."""
        self.table, self._proof, self._trusted = table, proof, trusted

    async def send(self, alert: Alert, delivery_id: str) -> None:
        """Hand one message over. Raises Refused."""
        table = self.table
        secret = await self._proof.secret(table) if table.user else None
        if table.user and secret is None:
            raise Refused(f"the password of {table.user!r} is not set", secret=True)
        if secret is not None and table.tls == "none" and not is_loopback(f"http://{table.host}"):
            raise Refused("a password is not sent without encryption: set tls", final=True)
        sitting = _Sitting(table, secret, self._trusted)
        work = asyncio.ensure_future(asyncio.to_thread(sitting.deliver, message(table, alert, delivery_id)))
        try:
            async with asyncio.timeout(TOTAL_S):
                await asyncio.shield(work)
        except TimeoutError:
            raise Refused(f"{table.host} took more than {TOTAL_S:.0f} s") from None
        finally:
            if not work.done():
                sitting.hang_up()
                work.add_done_callback(_heard)


def _heard(work: asyncio.Future[None]) -> None:
    if not work.cancelled():
        work.exception()


class _Sitting:
    """One connection to a mail server."""

    def __init__(self, table: ReceiverTable, secret: Secret | None, trusted: ssl.SSLContext | None) -> None:
        self._table, self._secret, self._trusted = table, secret, trusted
        self._smtp: smtplib.SMTP | None = None
        self._over = threading.Event()

    def hang_up(self) -> None:
        """Close the connection under whoever waits on it."""
        self._over.set()
        sock = getattr(self._smtp, "sock", None)
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(2)  # closing it alone would not wake who reads from it

    def deliver(self, mail: EmailMessage) -> None:
        """Connect, sign in, hand over, leave. Raises Refused."""
        import smtplib
        import ssl

        try:
            self._deliver(mail, self._trusted or ssl.create_default_context())
        except (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError) as error:
            raise Refused(f"{self._table.host} does not let us in: {self._said(error)}", final=True) from None
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            final = all(code >= 500 for code in codes)
            raise Refused(f"{self._table.host} takes mail for none of them: {self._said(error)}", final=final) from None
        except smtplib.SMTPResponseException as error:
            refused = error.smtp_code >= 500
            raise Refused(f"{self._table.host} refuses it: {self._said(error)}", final=refused) from None
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise Refused(f"{self._table.host} cannot be reached: {self._said(error)}") from None

    def _deliver(self, mail: EmailMessage, trusted: ssl.SSLContext) -> None:
        import smtplib

        table = self._table
        kind, more = (smtplib.SMTP_SSL, {"context": trusted}) if table.tls == "implicit" else (smtplib.SMTP, {})
        smtp = self._smtp = _bounded(kind)(timeout=STEP_S, local_hostname="localhost", **more)
        # Given to the constructor, it would connect there, and nobody could hang up on a server that never greets.
        smtp._host = table.host
        try:
            code, said = smtp.connect(table.host, table.smtp_port)
            if code != 220:
                raise smtplib.SMTPConnectError(code, said)
            if table.tls == "starttls":
                smtp.starttls(context=trusted)
            if self._secret is not None:
                smtp.login(table.user, self._secret.reveal())
            if self._over.is_set():
                raise smtplib.SMTPServerDisconnected("it took too long")
            smtp.send_message(mail)
            with suppress(smtplib.SMTPException, OSError):
                smtp.quit()
        finally:
            smtp.close()

    def _said(self, error: Exception) -> str:
        code = getattr(error, "smtp_code", None)
        said = getattr(error, "smtp_error", None)
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said or error)
        text = f"{code} {text}" if code else text or type(error).__name__
        for secret in self._shown():
            text = secret.redact(text)
        return one_line(text, 200)

    def _shown(self) -> list[Secret]:
        """The password as a server may repeat it: as it is, and as it was sent."""
        if self._secret is None:
            return []
        password = self._secret.reveal()
        sent = (f"\0{self._table.user}\0{password}", password)
        return [self._secret, *(Secret(base64.b64encode(each.encode()).decode()) for each in sent)]


def _bounded(kind: type[smtplib.SMTP]) -> Any:
    """The same, but it does not listen to a server for ever."""

    class Bounded(kind):  # type: ignore[misc, valid-type]
        file: Any

        def getreply(self) -> tuple[int, bytes]:
            if self.file is None:
                self.file = _Counted(self.sock.makefile("rb"))
            answer: tuple[int, bytes] = super().getreply()
            return answer

    return Bounded


class _Counted:
    """A file that ends early when there is too much in it."""

    def __init__(self, file: Any) -> None:
        self._file, self._left = file, REPLIES_MAX

    def readline(self, size: int = -1) -> bytes:
        """The next line."""
        line: bytes = self._file.readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise OSError("it says too much")
        return line

    def close(self) -> None:
        """Close it."""
        self._file.close()


def message(table: ReceiverTable, alert: Alert, delivery_id: str) -> EmailMessage:
    """The alert as a mail; the same delivery has the same id, so that a mail server can tell a second copy."""
    from email.message import EmailMessage
    from email.policy import SMTP as POLICY
    from email.utils import format_datetime

    sender = table.sender or "sophia@localhost"
    domain = sender.rpartition("@")[2]
    thread = hashlib.sha256(alert.key.encode()).hexdigest()[:32]
    mail = EmailMessage(policy=POLICY)
    mail["From"], mail["To"] = sender, ", ".join(table.to)
    mail["Subject"] = one_line(f"[{alert.severity}] {WORDS[alert.action]}{alert.summary}", 200)
    mail["Date"] = format_datetime(datetime.now(UTC))
    mail["Message-ID"] = f"<{delivery_id}@{domain}>"
    mail["References"] = mail["In-Reply-To"] = f"<alert.{thread}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Sophia-Alert"] = one_line(alert.key, 255).encode("ascii", "replace").decode()
    mail.set_content("\n".join(_lines(alert)) + "\n")
    return mail


def _lines(alert: Alert) -> list[str]:
    at = datetime.fromtimestamp(alert.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    facts: Mapping[str, object] = {
        "Severity": alert.severity,
        "Rule": alert.rule,
        "Source": alert.source,
        "At": at,
        **details_of(alert),
        "Key": alert.key,
    }
    # Each on one line of its own: nothing that a server says looks like something that we say.
    lines = [one_line(f"{WORDS[alert.action]}{alert.summary}", LONGEST), ""]
    lines += [f"{name}: {one_line(str(value), LONGEST)}" for name, value in facts.items()]
    return [*lines, "", f"What to do: {one_line(alert.runbook, LONGEST)}"] if alert.runbook else lines
