"""What strangers say reaches receivers as plain words, and what receivers say tells no secret."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import smtplib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_client import HttpTransport
from backend_client.auth import Secret
from sophia_core.alerts import rule_file
from sophia_core.alerts.mail import _Sitting
from sophia_core.alerts.mail import message as mail_message
from sophia_core.alerts.office import LONGEST_WAIT_S, Office
from sophia_core.alerts.pagerduty import event
from sophia_core.alerts.secrets import variables
from sophia_core.alerts.slack import message as slack_message
from sophia_core.alerts.tables import ReceiverTable
from sophia_core.alerts.telling import Refused, post
from sophia_core.costs.prices import Prices
from sophia_core.metrics.ports import Alert
from sophia_core.sanitize import sanitize

from .services import ROUTING_KEY, WEBHOOK, Service, serving, slack
from .test_receivers import ALERT, paging, slacking

KIB = 1024
anything = st.text(max_size=300) | st.sampled_from(
    [
        "<!channel>",
        "<https://evil|here>",
        "a\nWhat to do: run this",
        "x\r\nBcc: all@example.org",
        "`*_~",
        "\u202egnp.exe",
    ]
)
values = anything | st.integers() | st.floats()
alerts = st.builds(
    Alert,
    key=anything,
    rule=anything,
    severity=st.just("critical"),
    summary=anything,
    source=anything,
    at=st.just(1e9),
    action=st.sampled_from(["trigger", "acknowledge", "resolve"]),
    details=st.dictionaries(anything, values, max_size=80),
    runbook=anything,
)
BODY = ("Severity", "Rule", "Source", "At", "Key")
MAIL = ReceiverTable.model_validate(
    {"name": "m", "kind": "email", "host": "mail.example.org", "user": "me", "from": "s@example.org", "to": ["a@b.c"]}
)


def _bare(text: str) -> bool:
    """Whether nothing in it could be obeyed by a terminal, or hide."""
    return sanitize(text) == text


@given(alerts)
def test_no_alert_calls_anybody_in_slack(alert: Alert) -> None:
    text = slack_message(alert)["text"]
    assert "<" not in text and ">" not in text and _bare(text)
    assert text.count("\n") <= 2 and text.count("`") == 2, "only our own lines and marks"
    assert slack_message(alert)["link_names"] is False


@given(alerts)
def test_no_alert_writes_a_line_of_a_mail_that_is_ours(alert: Alert) -> None:
    mail = mail_message(MAIL, alert, "01ABC")
    assert mail["To"] == "a@b.c" and mail["Bcc"] is None and mail["Cc"] is None
    lines = mail.get_content().splitlines()
    expected = 2 + len({*BODY, *_names(alert)}) + (2 if alert.runbook else 0)
    assert len(lines) == expected, lines
    assert all(map(_bare, lines))
    mail.as_bytes()


def _names(alert: Alert) -> dict[str, object]:
    from sophia_core.alerts.telling import details_of

    return dict(details_of(alert))


@given(alerts)
def test_every_alert_is_one_that_pagerduty_takes(alert: Alert) -> None:
    told = event(alert, ROUTING_KEY)
    assert len(told["dedup_key"]) <= 255
    if alert.action == "trigger":
        payload = told["payload"]
        assert 0 < len(payload["summary"]) <= 1024 and payload["source"]
        json.dumps(payload, allow_nan=False)


async def test_a_large_alert_stays_below_what_pagerduty_takes() -> None:
    sent: list[bytes] = []

    class Wire:
        async def open(self, call: Any) -> Any:
            sent.append(call.body)
            raise OSError

    many = {f"{number}{'😀' * 100}": "😀" * 9_000 for number in range(200)}
    big = Alert("😀" * 300, "r", "critical", "😀" * 9_000, "😀" * 9_000, 1e9, details=many, runbook="😀" * 9_000)
    with pytest.raises(OSError):
        await post(Wire(), "https://x", event(big, ROUTING_KEY), Secret(ROUTING_KEY))  # type: ignore[arg-type]
    assert len(sent[0]) < 512 * KIB


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    made = HttpTransport()
    yield made
    await made.aclose()


@pytest.mark.parametrize(
    "said", [WEBHOOK, WEBHOOK.rpartition("/")[2], f"no such page: {WEBHOOK}?x", "%2Fs3cr3tWebhookPath"]
)
async def test_a_page_that_repeats_the_webhooks_path_tells_it_to_nobody(transport: HttpTransport, said: str) -> None:
    async with serving(slack) as channel:
        channel.respond = lambda service, path, body: (404, said, {})
        with pytest.raises(Refused) as caught:
            await slacking(channel, transport).send(ALERT, "id")
    assert "s3cr3t" not in str(caught.value) and "404" in str(caught.value)


async def test_a_routing_key_is_not_sent_in_clear_over_a_network(transport: HttpTransport) -> None:
    elsewhere = Service(slack, port=9)
    receiver = paging(elsewhere, transport)
    receiver.table = ReceiverTable.model_validate({"name": "r", "kind": "pagerduty", "url": "http://192.0.2.1/enqueue"})
    with pytest.raises(Refused, match="without encryption") as caught:
        await receiver.send(ALERT, "id")
    assert caught.value.final and ROUTING_KEY not in str(caught.value)


def test_a_mail_server_that_repeats_the_password_tells_it_to_nobody() -> None:
    password = "correct horse"
    sitting = _Sitting(MAIL, Secret(password), None)
    for sent in (
        password,
        base64.b64encode(password.encode()).decode(),
        base64.b64encode(f"\0me\0{password}".encode()).decode(),
    ):
        said = sitting._said(smtplib.SMTPResponseException(535, f"what is {sent}?".encode()))
        assert sent not in said and said.startswith("535 what is")


def test_where_a_file_should_be_a_pipe_or_a_device_holds_nobody_up(tmp_path: Path) -> None:
    for name, make in (("pipe", os.mkfifo), ("zero", lambda path: path.symlink_to("/dev/zero")), ("dir", Path.mkdir)):
        path = tmp_path / name
        make(path)
        file = rule_file.load(path, shipped=False)
        assert not file.readable and file.problems, name
        assert variables(path) == []
        prices = Prices(path)
        assert prices.find("h", "gpt-nothing") is None and prices.problems, name


def test_a_file_nobody_may_read_is_said(tmp_path: Path) -> None:
    loop = tmp_path / "alerts.toml"
    loop.symlink_to(loop)
    file = rule_file.read(loop)
    assert not file.readable and "cannot be read" in file.problems[0].message


async def test_a_clock_that_is_set_back_keeps_no_receiver_waiting() -> None:
    now = [1e9]
    office = Office.__new__(Office)
    office._not_before, office._clock = {}, lambda: now[0]
    office._hold_back("pd", 300.0)
    assert office._held_until("pd") == now[0] + 300
    now[0] -= LONGEST_WAIT_S + 400
    assert office._held_until("pd") == 0.0
    office._hold_back("pd", 5.0)
    assert office._held_until("pd") == now[0] + 5
    await asyncio.sleep(0)
