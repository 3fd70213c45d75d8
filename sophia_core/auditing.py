"""What goes into the audit log: a listener that tells it what happened, and the commands that show and check it.

What changes the keys or copies the store is told by those parts themselves. Entries name things by their ids: no
question, title or secret is in one, because the log outlives what people delete.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from local_store.errors import BadValue
from sophia_core.backlog import Backlog
from sophia_core.commands import Command, CommandError, command
from sophia_core.events import (
    AlertRaised,
    AlertResolved,
    BudgetReached,
    DeliveryFailed,
    Event,
    FailedOver,
    HealingActed,
    LoginNeeded,
    ProgramRan,
    RouteChosen,
    SessionChanged,
    SettingChanged,
    StoreStateChanged,
    TitleAsked,
    TokenRenewed,
    VoiceChanged,
)
from sophia_core.logs import correlation, redact
from sophia_core.sanitize import one_line

if TYPE_CHECKING:
    from local_store import AuditEntry, AuditReport, Store
    from sophia_core.vault import Vault

LONGEST: Final = 200
MOST_WAITING: Final = 1000
NEVER_TOLD: Final = ("key", "passphrase", "password", "secret", "token")
"""Parameters with one of these words in their name are left out, whatever command has them."""


@dataclass(frozen=True, slots=True)
class Note:
    """What will be an entry as soon as the store takes it."""

    kind: str
    subject: str
    detail: Mapping[str, str]


class Auditor:
    """Hears the bus and the registry, and writes what matters into the audit log, in the background."""

    def __init__(self, vault: Vault, paid: Collection[str] = ()) -> None:
        self._vault, self._paid = vault, frozenset(paid)
        self._backlog = Backlog[Note](vault, "audit", self._append, done=self._tell_missed)
        self._missed = 0
        self._session = ""
        self._answering: str | None = None
        self._without_login: set[str] = set()
        self._locked = 0
        self._full = False

    def __call__(self, event: Event) -> None:
        match event:
            case SessionChanged(session_id):
                self._session = session_id or self._session
            case RouteChosen() | FailedOver():
                self._routed(event)
            case TokenRenewed() | LoginNeeded():
                self._login(event)
            case StoreStateChanged():
                self._store_changed(event)
            case ProgramRan(macro=macro, program=program, code=code):
                self.note("macro.program", program, macro=macro, code="" if code is None else str(code))
            case TitleAsked(provider=provider) if provider in self._paid:
                self.note("route.paid", provider, answer="title")
            case VoiceChanged(part=part, name="elevenlabs"):
                self.note("voice.paid", "elevenlabs", part=part)
            case AlertRaised(key=key, rule=rule, severity=severity, silenced=silenced):
                self.note("alert.raised", key, rule=rule, severity=severity, silenced="yes" if silenced else "")
            case AlertResolved(key=key, rule=rule, why=why):
                self.note("alert.resolved", key, rule=rule, why=why)
            case DeliveryFailed(receiver=receiver, key=key, error=error, final=True):
                self.note("alert.not_delivered", receiver, alert=key, error=error)
            case HealingActed(what=what, provider=provider, after=after, reason=reason):
                self.note("healing.acted", provider, what=what, after="" if after is None else f"{after:g}", why=reason)
            case BudgetReached(name=name, period=period, level=level, stops=stops):
                self.note("budget.reached", name, period=period, level=f"{level:.0%}", stops="yes" if stops else "")
            case SettingChanged(name=name, source=source):
                self.note("settings.changed", name, source=source)

    def _routed(self, event: RouteChosen | FailedOver) -> None:
        """Tells of the first of a row of answers that cost money."""
        if isinstance(event, RouteChosen) and event.cached_at is not None:
            return
        before, self._answering = self._answering, event.provider
        if event.provider not in self._paid:
            return
        if isinstance(event, FailedOver):
            self.note("route.failed_over_to_paid", event.provider, failed=event.failed, error=event.error_type)
        elif event.provider != before:
            self.note("route.paid", event.provider, answer=event.answer_id)

    def _login(self, event: TokenRenewed | LoginNeeded) -> None:
        if isinstance(event, LoginNeeded):
            if event.provider not in self._without_login:
                self.note("auth.login_needed", event.provider)
            self._without_login.add(event.provider)
        elif event.ok:
            self._without_login.discard(event.provider)
        else:
            self.note("auth.renewal_failed", event.provider, error=event.detail)

    def _store_changed(self, event: StoreStateChanged) -> None:
        if event.state == "locked":
            self._locked += 1
        elif event.state == "full":
            self._filled(event)
        elif event.state == "open":
            self._opened(event)
            self._backlog.wake()

    def _filled(self, event: StoreStateChanged) -> None:
        """Tells of a store that stopped taking what is written; a full disk has room kept for this very entry."""
        store = self._vault.store
        if not self._full and store is not None and store.read_only is None:
            self.note("store.full", detail=event.detail)
        self._full = True

    def _opened(self, event: StoreStateChanged) -> None:
        # The first time it only says that it is locked; after that, every time tells of a secret that did not fit.
        if self._locked > 1:
            self.note("store.unlocked", refused=str(self._locked - 1))
        self._locked = 0
        if not event.detail and self._vault.recovered:
            self.note("store.recovered", answers=str(self._vault.recovered))
        if event.detail and self._full:
            self.note("store.recovered", was="full")
            self._full = False

    def ran(self, chosen: Command, values: Mapping[str, object], error: BaseException | None) -> None:
        """Tells of a command that ran; the registry calls it after each. Only its kind of failure is told, not why."""
        if not (chosen.spec.dangerous or chosen.spec.audited):
            return
        outcome = {"outcome": "done"} if error is None else {"outcome": "failed", "error": type(error).__name__}
        if action := correlation.get():
            outcome["action"] = action
        self.note(chosen.name, self._subject(chosen, values), **outcome)

    def _subject(self, chosen: Command, values: Mapping[str, object]) -> str:
        """What a command was about: its first parameter, for a session the one that was shown."""
        first = next(iter(chosen.spec.params), None)
        if first is None or any(word in first.name for word in NEVER_TOLD):
            return ""
        value = values.get(first.name)
        if value is None:
            return self._session if first.name == "session" else ""
        return str(redact(str(value)))

    def note(self, kind: str, subject: str = "", /, **detail: str) -> None:
        """Takes an entry to write; what looks like a secret in it is masked. Returns at once."""
        if len(self._backlog.waiting) >= MOST_WAITING:
            self._missed += 1
            return
        self._backlog.add(Note(kind, _safe(subject), {name: _safe(text) for name, text in detail.items()}))

    async def _append(self, store: Store, note: Note) -> None:
        try:
            await store.audit.append(note.kind, note.subject, note.detail)
        except BadValue:
            self._missed += 1

    def _tell_missed(self) -> None:
        if self._missed and len(self._backlog.waiting) < MOST_WAITING:
            self._backlog.waiting.append(Note("audit.missed", "", {"entries": str(self._missed)}))
            self._missed = 0

    async def written(self) -> None:
        """Waits until the store has everything told so far, or takes no more now."""
        await self._backlog.written()

    async def close(self) -> None:
        """Writes what waits. Before the store is closed."""
        await self.written()

    @command("audit.list", slash="audit")
    async def entries(self, limit: int = 50) -> list[AuditEntry]:
        """List what the audit log tells, newest first."""
        await self.written()
        return list(await (await self._vault.get()).audit.entries(limit))

    @command("audit.verify")
    async def verify(self) -> AuditReport:
        """Check that nobody changed, removed or cut off entries of the audit log."""
        await self.written()
        return await (await self._vault.get()).audit.verify()

    async def _at_fault(self, reason: str = "") -> str:
        report = await self.verify()
        if report.fault is None:
            raise CommandError("There is nothing to accept: the log is whole.", "/audit lists what it tells.")
        return one_line(report.detail, LONGEST)

    @command("audit.accept", dangerous=True, check=_at_fault)
    async def accept(self, reason: str = "") -> AuditReport:
        """Go on from a log that an earlier store came with; what was wrong is kept as an entry."""
        await self.written()
        return await (await self._vault.get()).audit.accept(reason)


def _safe(text: str) -> str:
    return one_line(str(redact(text)), LONGEST)
