"""Alerts as the app has them: the watch, the office that delivers, and the commands about both."""

from __future__ import annotations

import asyncio
import builtins
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from local_store.errors import NotFound, StoreError, WrongState
from sophia_core.alerts.guard import Guard, Sources, alert_of
from sophia_core.alerts.office import Office
from sophia_core.alerts.rules import LONGEST_KEY
from sophia_core.alerts.secrets import KeptSecrets, accounts
from sophia_core.alerts.silences import duration, parts
from sophia_core.alerts.telling import Receiver, Refused
from sophia_core.commands import VERBATIM, BadArguments, CommandError, command
from sophia_core.events import AlertAcknowledged, Bus, Notice
from sophia_core.metrics.ports import Alert
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from backend_client.transport import Transport
    from local_store.alerts import Silence, Standing
    from local_store.deliveries import Delivery
    from sophia_core.alerts.rule import Rule
    from sophia_core.alerts.settings import AlertSettings
    from sophia_core.alerts.tables import ReceiverTable
    from sophia_core.settings import ProviderSettings
    from sophia_core.vault import Vault

TEST_S = 45.0
SCREEN = "screen"
"""The receiver that is always there."""


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert that stands."""

    number: int
    severity: str
    standing: str
    summary: str
    source: str
    created_at: int
    key: str


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule that is watched."""

    rule: str
    severity: str
    about: str
    standing: int
    """How many alerts of it stand."""
    where: str


@dataclass(frozen=True, slots=True)
class ReceiverRow:
    """Somebody who is told."""

    receiver: str
    kind: str
    secret: str
    """Where its key, webhook address or password is."""
    takes: str
    waiting: int
    dead: int


@dataclass(frozen=True, slots=True)
class SilenceRow:
    """What is kept quiet."""

    number: int
    match: str
    until: int | None
    """Milliseconds since the epoch; None: until somebody ends it."""
    reason: str
    id: str


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """What a receiver has not taken."""

    number: int
    receiver: str
    standing: str
    error: str
    created_at: int
    key: str
    id: str


class Alerts:
    """Built without looking at anything; `start` begins to watch and to deliver."""

    def __init__(
        self,
        vault: Vault,
        bus: Bus,
        transport: Transport,
        settings: AlertSettings,
        path: Path,
        env: Mapping[str, str],
        *,
        here: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`path` is the file with rules and receivers; `here` is what this machine is called."""
        self._vault, self._bus, self._transport, self._settings = vault, bus, transport, settings
        self._secrets, self._clock = KeptSecrets(vault, env), clock
        self.sources = Sources()
        self._built: tuple[tuple[ReceiverTable, ...], dict[str, Receiver]] = ((), {})
        self.office = Office(vault, bus, self.receivers, settings.give_up_hours * 3600, clock=clock)
        name = one_line(here or _node(), 60)
        self.guard = Guard(
            vault, bus, self.office, self.sources, path, here=name, shipped=settings.shipped_rules, clock=clock
        )
        self._running = False

    @property
    def running(self) -> bool:
        """Whether somebody is told of what is wrong."""
        return self._running

    def start(self) -> None:
        """Watch and deliver from now on, where the settings say so."""
        if self._settings.enabled and not self._running:
            self._running = True
            self.office.start()
            self.guard.start()

    async def rest(self) -> None:
        """Let what is being told end. Before the store is locked."""
        await self.office.rest()

    async def close(self) -> None:
        """Stop; whoever comes next goes on."""
        if self._running:
            await self.guard.close()
            await self.office.close()

    def accounts(self) -> builtins.list[ProviderSettings]:
        """The receivers as what a key can be kept for."""
        return accounts(self.guard.read_now().receivers)

    def receivers(self) -> dict[str, Receiver]:
        """Whom to tell, by name."""
        tables = self.guard.file.receivers
        if self._built[0] != tables:
            self._built = (tables, {each.name: self._receiver(each) for each in tables})
        return self._built[1]

    def _receiver(self, table: ReceiverTable) -> Receiver:
        match table.kind:
            case "pagerduty":
                from sophia_core.alerts.pagerduty import PagerDuty

                return PagerDuty(table, self._transport, self._secrets)
            case "slack":
                from sophia_core.alerts.slack import Slack

                return Slack(table, self._transport, self._secrets)
            case "email":
                from sophia_core.alerts.mail import Mail

                return Mail(table, self._secrets)

    # What stands

    @command("alerts.list", slash="alerts")
    async def list(self) -> builtins.list[AlertRow]:
        """List the alerts that stand: what is wrong now, and who was told."""
        return [_alert_row(number, each) for number, each in enumerate(await self._standing(), 1)]

    async def _standing(self) -> builtins.list[Standing]:
        return await (await self._vault.get()).alerts.list()

    @command("alerts.ack", audited=True)
    async def ack(self, alert: str) -> str:
        """Say that somebody looks after an alert; name it by its number in /alerts, or the start of its key."""
        found = _chosen("alert", alert, [(each.key, each) for each in await self._standing()], "/alerts lists them.")
        store = await self._vault.get()
        told = _told(found)
        if not await store.alerts.acknowledge(found.key, self.guard.posts(told) if found.told else []):
            raise CommandError("Somebody looks after it already, or it is over.", "/alerts shows what stands.")
        self.guard.looked_after.add(found.key)
        self._bus.publish(AlertAcknowledged(found.key, found.rule))
        self.office.poke()
        return f"{one_line(found.summary, 80)}: acknowledged."

    @command("alerts.rules")
    async def rules(self) -> builtins.list[RuleRow]:
        """List what is watched for, and tell what is wrong with the file of rules."""
        file = await asyncio.to_thread(self.guard.read_now)
        for problem in file.problems:
            self._bus.publish(Notice("warning", f"{problem.where}: {problem.message}", problem.fix))
        standing = [alert.rule for alert, _ in self.guard.watch.standing()]
        return [_rule_row(each, standing.count(each.name)) for each in file.rules]

    # Silences

    @command("alerts.silence", audited=True)
    async def silence(self, match: Annotated[str, VERBATIM], *, during: str = "1h", reason: str = "") -> str:
        """Keep alerts quiet, like `target=node-1` or `rule="gpu hot"`; for an hour, or as long as `during=2d` says."""
        try:
            parts(match)
            seconds = duration(during)
        except ValueError as error:
            raise BadArguments(
                f"Cannot read this silence: {error}.", "Write it like: rule=gpu* target=node-1"
            ) from None
        store = await self._vault.get()
        until = int((self._clock() + seconds) * 1000) if seconds else None
        made = await _stored(store.alerts.silence(match, reason=one_line(reason, 200), until=until))
        self.guard.look_again()
        return f"{made.match} is quiet{f' for {during}' if seconds else ' until you end it: /alerts.unsilence'}."

    @command("alerts.silences")
    async def silences(self) -> builtins.list[SilenceRow]:
        """List what is kept quiet."""
        return [
            SilenceRow(number, one_line(each.match, 200), each.until, one_line(each.reason, 200), each.id)
            for number, each in enumerate(await self._silences(), 1)
        ]

    async def _silences(self) -> builtins.list[Silence]:
        return await (await self._vault.get()).alerts.silences(int(self._clock() * 1000))

    @command("alerts.unsilence", audited=True)
    async def unsilence(self, silence: str) -> str:
        """End a silence; name it by its number in alerts.silences, or the start of its id."""
        known = [(each.id, each) for each in await self._silences()]
        found = _chosen("silence", silence, known, "alerts.silences lists them.")
        await _stored((await self._vault.get()).alerts.unsilence(found.id))
        self.guard.look_again()
        return f"{one_line(found.match, 80)} is told again."

    # Receivers

    @command("alerts.receivers")
    async def told(self) -> builtins.list[ReceiverRow]:
        """List who is told of alerts, and what they have not taken yet."""
        tables = (await asyncio.to_thread(self.guard.read_now)).receivers
        waiting = await (await self._vault.get()).deliveries.list()
        return [await self._receiver_row(each, waiting) for each in tables]

    async def _receiver_row(self, table: ReceiverTable, waiting: builtins.list[Delivery]) -> ReceiverRow:
        mine = [each.state for each in waiting if each.receiver == table.name]
        dead = mine.count("dead")
        place = await self._secrets.place(table)
        return ReceiverRow(table.name, table.kind, place, ", ".join(table.severities), len(mine) - dead, dead)

    @command("alerts.test", audited=True)
    async def test(self, receiver: str) -> str:
        """Tell a receiver of a trouble that is none, and that it is over: `screen` is this one."""
        alert = self._test_alert()
        if receiver == SCREEN:
            self._bus.publish(Notice("warning", alert.summary, "This is how an alert looks here."))
            return "This screen tells of alerts so."
        await asyncio.to_thread(self.guard.read_now)
        known = self.receivers()
        if receiver not in known:
            names = ", ".join([*known, SCREEN])
            raise CommandError(f"There is no receiver {receiver[:60]!r}.", f"There is: {names}.")
        await self._try(known[receiver], alert)
        return f"{receiver} has taken a test alert, and that it is over."

    async def _try(self, receiver: Receiver, alert: Alert) -> None:
        from local_store.ids import new_id

        try:
            async with asyncio.timeout(TEST_S):
                for action in ("trigger", "resolve"):
                    await receiver.send(replace(alert, action=action), new_id())
        except Refused as error:
            hint = _hint(receiver.table) if error.secret or error.final else "alerts.test asks it once more."
            raise CommandError(f"{receiver.table.name} did not take it: {error}.", hint) from None
        except TimeoutError:
            raise CommandError(f"{receiver.table.name} did not take it within {TEST_S:.0f} s.") from None

    def _test_alert(self) -> Alert:
        from local_store.ids import new_id

        words = "This is a test of SOPHIA's alerts: nothing is wrong."
        return Alert(f"sophia/test/{new_id()}", "test", "info", words, self.guard.watch.here, self._clock())

    # Deliveries

    @command("alerts.dead")
    async def dead(self) -> builtins.list[DeliveryRow]:
        """List what receivers have not taken: first what was given up, then what is still tried."""
        return [_delivery_row(number, each, self._clock()) for number, each in enumerate(await self._untold(), 1)]

    async def _untold(self) -> builtins.list[Delivery]:
        found = await (await self._vault.get()).deliveries.list()
        return sorted(found, key=lambda each: each.state != "dead")

    @command("alerts.retry", audited=True)
    async def retry(self, delivery: str) -> str:
        """Tell a receiver again what it has not taken; name it by its number in alerts.dead, or `all`."""
        chosen = await self._some(delivery, waiting=True)
        store = await self._vault.get()
        for each in chosen:
            await _stored(store.deliveries.retry(each.id))
            self.office.forgive(each.receiver)
        when = "now" if self._running else "when SOPHIA is next open"
        return f"{_counted(len(chosen), 'alert')} told again {when}."

    async def _about(self, delivery: str) -> str:
        """Names what would be given up."""
        chosen = await self._some(delivery)
        return ", ".join(f"{each.receiver}: {one_line(each.key, 60)}" for each in chosen[:3])

    @command("alerts.drop", dangerous=True, check=_about)
    async def drop(self, delivery: str) -> str:
        """Give up what a receiver has not taken; name it by its number in alerts.dead, or `all` that is dead."""
        chosen = await self._some(delivery)
        store = await self._vault.get()
        for each in chosen:
            await _stored(store.deliveries.drop(each.id))
        return f"{_counted(len(chosen), 'alert')} not told."

    async def _some(self, delivery: str, *, waiting: bool = False) -> builtins.list[Delivery]:
        """What is named. `all` is what was given up; with `waiting` also what waits for its next try."""
        found = await self._untold()
        if delivery.strip().lower() == "all":
            if some := [each for each in found if each.state == "dead" or (waiting and each.state == "ready")]:
                return some
            raise CommandError("Nothing was given up.", "alerts.dead lists what is still tried.")
        known = [(each.id, each) for each in found]
        return [_chosen("delivery", delivery, known, "alerts.dead lists them.")]


async def _stored(work: Any) -> Any:
    """What the store answers; what it refuses is a mistake of the person."""
    try:
        return await work
    except (NotFound, WrongState, StoreError) as error:
        raise CommandError(f"{error}.", error.hint) from None


def _chosen(what: str, wanted: str, known: list[tuple[str, Any]], hint: str) -> Any:
    """The one of this number, or whose id starts so. Raises CommandError."""
    wanted = wanted.strip()
    if wanted.isascii() and wanted.isdecimal() and 0 < int(wanted[:9]) <= len(known):
        return known[int(wanted[:9]) - 1][1]
    lowered = wanted.lower()[:LONGEST_KEY]
    found = [each for id_, each in known if lowered and id_.lower().startswith(lowered)]
    exact = [each for id_, each in known if id_.lower() == lowered]
    if len(found) == 1 or exact:
        return (exact or found)[0]
    if found:
        raise CommandError(f"More than one {what} starts with {wanted[:60]!r}.", "Give more of it.")
    raise CommandError(f"There is no {what} {wanted[:60]!r}.", hint)


def _alert_row(number: int, each: Standing) -> AlertRow:
    standing = "acknowledged" if each.acknowledged_at else "told" if each.told else "silenced"
    summary, source = one_line(each.summary, 200), one_line(each.source, 60)
    return AlertRow(number, each.severity, standing, summary, source, each.at, one_line(each.key, 255))


def _rule_row(rule: Rule, standing: int) -> RuleRow:
    condition = rule.condition
    about = getattr(condition, "signal", "") or type(condition).__name__.lower()
    return RuleRow(rule.name, rule.severity, about, standing, Path(rule.where).name)


def _delivery_row(number: int, each: Delivery, now: float) -> DeliveryRow:
    wait = each.retry_at / 1000 - now
    when = f", again in {wait:.0f} s" if each.state == "ready" and wait >= 1 else ""
    tries = f", {each.attempts} failed" if each.attempts else ""
    words = {"ready": "waiting", "sending": "being sent", "dead": "given up"}[each.state]
    standing = f"{words}{tries}{when}"
    key, error = one_line(each.key, 255), one_line(each.error, 200)
    return DeliveryRow(number, each.receiver, standing, error, each.created_at, key, each.id)


def _told(standing: Standing) -> Alert:
    return replace(alert_of(standing), action="acknowledge")


def _hint(table: ReceiverTable) -> str:
    if table.secret_env:
        return f"Set {table.secret_env}, or keep it: sophia login alert:{table.name} --with-token"
    return f"Keep its secret with: sophia login alert:{table.name} --with-token"


def _counted(count: int, what: str) -> str:
    return f"1 {what} is" if count == 1 else f"{count} {what}s are"


def _node() -> str:
    import platform

    return platform.node() or "this machine"
