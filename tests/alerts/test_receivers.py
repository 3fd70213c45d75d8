"""Receivers: what they are sent fits what they publish, and whatever they answer has a meaning."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from hypothesis import given
from hypothesis import strategies as st

from backend_client import HttpTransport
from backend_client.auth import Secret
from sophia_core.alerts import mail as mailing
from sophia_core.alerts import telling
from sophia_core.alerts.mail import Mail
from sophia_core.alerts.pagerduty import PagerDuty
from sophia_core.alerts.slack import Slack
from sophia_core.alerts.slack import message as slack_message
from sophia_core.alerts.tables import ReceiverTable
from sophia_core.alerts.telling import Refused, packed, takes, unpacked
from sophia_core.metrics.ports import Alert

from .services import ROUTING_KEY, WEBHOOK, Service, pagerduty, serving, slack

ALERT = Alert(
    "hot/target=node", "hot", "critical", "node: it is <hot> & <!channel> here", "node", 1e9,
    details={"target": "node", "value": 90.5}, runbook="docs/runbooks/gpu-hot.md",
)  # fmt: skip
RESOLVED = Alert("hot/target=node", "hot", "critical", "node: it is hot", "node", 1e9, action="resolve")


class Given:
    """A secret that is given."""

    def __init__(self, value: str | None) -> None:
        self.value = value

    async def secret(self, table: ReceiverTable) -> Secret | None:
        return None if self.value is None else Secret(self.value)


def table(kind: str, **values: Any) -> ReceiverTable:
    return ReceiverTable.model_validate({"name": "r", "kind": kind, **values})


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    made = HttpTransport()
    yield made
    await made.aclose()


@pytest.fixture
async def pager() -> AsyncIterator[Service]:
    async with serving(pagerduty) as service:
        yield service


@pytest.fixture
async def channel() -> AsyncIterator[Service]:
    async with serving(slack) as service:
        yield service


def paging(service: Service, transport: HttpTransport, key: str | None = ROUTING_KEY) -> PagerDuty:
    return PagerDuty(table("pagerduty", url=f"{service.url}/v2/enqueue"), transport, Given(key))


def slacking(service: Service, transport: HttpTransport, url: str | None = "") -> Slack:
    secret = f"{service.url}{WEBHOOK}" if url == "" else url
    return Slack(table("slack", url=service.url), transport, Given(secret))


async def refused(sending: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await sending
    assert (
        ROUTING_KEY not in str(caught.value) and WEBHOOK not in str(caught.value) and "s3cr3t" not in str(caught.value)
    )
    return caught.value


async def test_pagerduty_is_told_of_a_trouble_and_of_its_end(pager: Service, transport: HttpTransport) -> None:
    receiver = paging(pager, transport)
    for alert in (ALERT, Alert(**{**_values(ALERT), "action": "acknowledge"}), RESOLVED):
        await receiver.send(alert, "id")
    assert pager.incidents == {"hot/target=node": ["trigger", "acknowledge", "resolve"]}
    payload = pager.taken[0]["payload"]
    assert payload["severity"] == "critical" and payload["timestamp"] == "2001-09-09T01:46:40.000+00:00"
    assert payload["custom_details"]["value"] == 90.5


async def test_slack_is_told_and_nobody_is_called(channel: Service, transport: HttpTransport) -> None:
    receiver = slacking(channel, transport)
    await receiver.send(ALERT, "id")
    await receiver.send(RESOLVED, "id")
    first, second = channel.texts
    assert "&lt;!channel&gt;" in first and "<" not in first and "gpu-hot.md" in first
    assert second.startswith("✅ Resolved: node")


@pytest.mark.parametrize(
    ("fault", "final", "pause", "all_wait"),
    [
        (500, False, None, False),
        (502, False, None, False),
        (408, False, None, False),
        (429, False, None, True),
        ((429, {"retry-after": "7"}), False, 7.0, True),
        ((429, {"retry-after": "Infinity"}), False, None, True),
        ((429, {"retry-after": "999999999"}), False, telling.LONGEST_PAUSE_S, True),
        ((503, {"retry-after": "3"}), False, 3.0, True),
        (400, True, None, False),
        (403, True, None, False),
        (404, True, None, False),
        (410, True, None, False),
        (301, False, None, False),
        ("html", False, None, False),
        ("drop", False, None, False),
        ("garbage", False, None, False),
        ("flood", False, None, False),
    ],
)
async def test_what_an_answer_means(
    pager: Service, channel: Service, transport: HttpTransport, fault: Any, final: bool, pause: Any, all_wait: bool
) -> None:
    for service, receiver in ((pager, paging(pager, transport)), (channel, slacking(channel, transport))):
        service.faults = [fault]
        error = await refused(receiver.send(ALERT, "id"))
        assert (error.final, error.pause_s, error.all_wait) == (final, pause, all_wait), str(error)
        assert service.taken == []


async def test_a_receiver_that_hangs_is_not_waited_for(
    pager: Service, transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    monkeypatch.setattr(telling, "TIMEOUTS", replace(telling.TIMEOUTS, first_token=0.2, idle=0.2))
    pager.faults = ["hang"]
    error = await refused(paging(pager, transport).send(ALERT, "id"))
    assert not error.final and "stopped answering" in str(error)


async def test_a_secret_that_is_missing_or_wrong(pager: Service, channel: Service, transport: HttpTransport) -> None:
    assert "not set" in str(await refused(paging(pager, transport, None).send(ALERT, "id")))
    assert "no such key" in str(await refused(paging(pager, transport, "x y").send(ALERT, "id")))
    assert (await refused(paging(pager, transport, "f" * 32).send(ALERT, "id"))).final
    assert "not set" in str(await refused(slacking(channel, transport, None).send(ALERT, "id")))
    for strange in (
        "https://evil.example/services/s3cr3t",
        "file:///etc/s3cr3t",
        "no url s3cr3t",
        f"{channel.url}@x/s3cr3t",
    ):
        error = await refused(slacking(channel, transport, strange).send(ALERT, "id"))
        assert "is not one of http://127.0.0.1" in str(error)
    error = await refused(slacking(channel, transport, f"{channel.url}/services/gone/s3cr3t").send(ALERT, "id"))
    assert error.final and "no_service" in str(error)


async def test_nobody_listens(transport: HttpTransport) -> None:
    receiver = PagerDuty(table("pagerduty", url="http://127.0.0.1:9/v2/enqueue"), transport, Given(ROUTING_KEY))
    assert not (await refused(receiver.send(ALERT, "id"))).final


def _values(alert: Alert) -> dict[str, Any]:
    return {name: getattr(alert, name) for name in Alert.__slots__}


@given(
    st.text(max_size=300), st.text(max_size=50), st.dictionaries(st.text(max_size=20), st.text(max_size=50), max_size=5)
)
def test_an_alert_survives_being_kept_and_no_words_break_a_message(summary: str, source: str, details: Any) -> None:
    alert = Alert("k", "r", "error", summary, source, 5.0, details=details)
    assert unpacked(packed(alert)) == alert
    assert json.loads(json.dumps(slack_message(alert)))["text"].count("<") == 0
    mail = mailing.message(table("email", **{"host": "h", "from": "a@b.c", "to": ["d@e.f"]}), alert, "id")
    assert mail["To"] == "d@e.f" and b"\nBcc:" not in mail.as_bytes()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "3", '{"key": 1}', packed(ALERT).replace("critical", "bad"), "[" * 9_999]
)
def test_what_is_no_alert(text: str) -> None:
    with pytest.raises(ValueError, match=r"alert|JSON|line"):
        unpacked(text)


def test_who_takes_what() -> None:
    everything = table("slack", severities=["critical", "warning"], rules=["gpu *"])
    hot = Alert("k", "gpu hot", "warning", "s", "x", 0.0)
    assert takes(everything, hot) and not takes(everything, hot, ("other",))
    assert not takes(everything, Alert("k", "gpu hot", "info", "s", "x", 0.0))
    assert takes(everything, Alert("k", "gpu hot", "info", "s", "x", 0.0), ("r",))
    assert not takes(everything, Alert("k", "slow", "warning", "s", "x", 0.0))
    mail = table("email", **{"host": "h", "from": "a@b.c", "to": ["d@e.f"]})
    assert takes(mail, hot) and not takes(mail, Alert("k", "r", "error", "s", "x", 0.0, action="acknowledge"))


# Mail


class Handler:
    """What a mail server took, and what it answers next."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.answers: list[str] = []

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802 - its library's name
        if address.startswith("nobody"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - its library's name
        if self.answers:
            return self.answers.pop(0)
        self.mails.append(envelope)
        return "250 taken"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


class Post:
    """A running mail server."""

    def __init__(self, certificate: Path, tls: str) -> None:
        self.handler, self.tls = Handler(), tls
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self.trusted = ssl.create_default_context(cafile=str(certificate))

    async def __aenter__(self) -> Post:
        upgrade = self.tls == "starttls"
        more: dict[str, Any] = {"tls_context": self._context, "require_starttls": True} if upgrade else {}

        def protocol() -> SMTP:
            required = self.tls != "none"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it does not see that this is TLS from the first byte
                return SMTP(
                    self.handler, authenticator=_allowed, auth_required=required, auth_require_tls=upgrade, **more
                )

        at_once = self._context if self.tls == "implicit" else None
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(protocol, "localhost", 0, ssl=at_once, family=socket.AF_INET)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def mail(self, password: str | None = "s3cr3t", **values: Any) -> Mail:  # noqa: S107 - a test's
        told: dict[str, Any] = {
            "host": "localhost", "port": self.port, "tls": self.tls, "user": "sophia" if self.tls != "none" else "",
            "from": "sophia@example.org", "to": ["ops@example.org"], **values,
        }  # fmt: skip
        return Mail(table("email", **told), Given(password), trusted=self.trusted)


def _allowed(server: Any, session: Any, envelope: Any, mechanism: str, auth_data: Any) -> AuthResult:
    assert isinstance(auth_data, LoginPassword)
    return AuthResult(success=auth_data.password == b"s3cr3t", handled=False)


@pytest.fixture
async def starttls(certificate: Path) -> AsyncIterator[Post]:
    async with Post(certificate, "starttls") as post:
        yield post


@pytest.mark.parametrize("tls", ["starttls", "implicit", "none"])
async def test_mail_is_handed_over(certificate: Path, tls: str) -> None:
    async with Post(certificate, tls) as post:
        await post.mail().send(ALERT, "01ABC")
        (envelope,) = post.handler.mails
    assert envelope.rcpt_tos == ["ops@example.org"]
    text = envelope.content.decode()
    assert "Subject: [critical] node: it is <hot> & <!channel> here" in text
    assert "Message-ID: <01ABC@example.org>" in text and "What to do: docs/runbooks/gpu-hot.md" in text


async def test_a_wrong_password_is_not_tried_again_and_not_told(starttls: Post) -> None:
    error = await refused(starttls.mail("wr0ng").send(ALERT, "id"))
    assert error.final and "does not let us in" in str(error) and "wr0ng" not in str(error)


@pytest.mark.parametrize(("answer", "final"), [("451 come back later", False), ("554 spam", True)])
async def test_a_mail_server_that_refuses(starttls: Post, answer: str, final: bool) -> None:
    starttls.handler.answers = [answer]
    error = await refused(starttls.mail().send(ALERT, "id"))
    assert error.final == final and answer[4:] in str(error)


async def test_a_mailbox_that_is_not_there_keeps_nobody_else_from_hearing(starttls: Post) -> None:
    await starttls.mail(to=["nobody@example.org", "ops@example.org"]).send(ALERT, "id")
    assert [each.rcpt_tos for each in starttls.handler.mails] == [["ops@example.org"]]
    assert (await refused(starttls.mail(to=["nobody@example.org"]).send(ALERT, "id"))).final


async def test_a_certificate_that_nobody_vouches_for(starttls: Post) -> None:
    receiver = starttls.mail()
    receiver._trusted = None
    assert "certificate" in str(await refused(receiver.send(ALERT, "id")))
    assert starttls.handler.mails == []


async def test_a_password_never_travels_in_the_clear() -> None:
    told = {"host": "mail.example.org", "tls": "none", "user": "u", "from": "a@b.c", "to": ["d@e.f"]}
    assert "not sent without encryption" in str(
        await refused(Mail(table("email", **told), Given("p")).send(ALERT, "i"))
    )
    assert "is not set" in str(await refused(Mail(table("email", **told), Given(None)).send(ALERT, "i")))


@pytest.mark.parametrize("greeting", [b"", b"250-" + b"x" * 900 + b"\r\n", b"nonsense\r\n", b"421 busy\r\n"])
async def test_a_mail_server_that_is_none(greeting: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says nothing, or does not stop, or something else."""
    monkeypatch.setattr(mailing, "STEP_S", 0.3)
    monkeypatch.setattr(mailing, "REPLIES_MAX", 20_000)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while greeting and not writer.is_closing():
                writer.write(greeting)
                await writer.drain()
                if not greeting.startswith(b"250-"):
                    break
            await reader.read()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    told = {"host": "127.0.0.1", "port": port, "tls": "none", "from": "a@b.c", "to": ["d@e.f"]}
    assert not (await refused(Mail(table("email", **told), Given(None)).send(ALERT, "i"))).final
    server.close()


async def test_a_mail_server_that_drips_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailing, "TOTAL_S", 0.4)
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220-wait\r\n")
        await reader.read()
        gone.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    told = {
        "host": "127.0.0.1",
        "port": server.sockets[0].getsockname()[1],
        "tls": "none",
        "from": "a@b.c",
        "to": ["d@e.f"],
    }
    assert "took more than" in str(await refused(Mail(table("email", **told), Given(None)).send(ALERT, "i")))
    async with asyncio.timeout(30):
        await gone.wait()
    server.close()
