"""What matters for trust is told in the audit log, once, in order, and without a secret."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local_store import AuditEntry, StoreFull, StorePaths
from sophia_core.auditing import LONGEST, MOST_WAITING, Auditor
from sophia_core.commands import CommandError, Registry, command
from sophia_core.events import (
    Bus,
    Event,
    FailedOver,
    LoginNeeded,
    RouteChosen,
    SessionChanged,
    StoreStateChanged,
    TokenRenewed,
)
from sophia_core.logs import correlation
from sophia_core.vault import Vault


class Desk:
    """Commands of several kinds."""

    @command("session.delete", dangerous=True)
    async def delete(self, session: str | None = None) -> None:
        """Delete a session."""

    @command("auth.login", audited=True)
    async def login(self, provider: str = "") -> None:
        """Sign in."""
        if provider == "refused":
            raise CommandError("The password sk-1234567890 is wrong.")

    @command("keys.add", audited=True)
    async def add(self, passphrase: str, label: str = "") -> None:
        """Add a key."""

    @command("chat.send")
    async def send(self, text: str) -> None:
        """Ask."""


class Room:
    """A vault with a store, and an auditor that hears its bus and a registry."""

    def __init__(self, home: Path) -> None:
        self.bus, self.registry = Bus(), Registry()
        self.vault = Vault(StorePaths(home / "store", home / "device"), self.bus, allow_keyring=False)
        self.auditor = Auditor(self.vault, {"paid"})
        self.bus.subscribe(self.auditor)
        self.registry.after.append(self.auditor.ran)
        self.registry.collect(Desk())
        self.registry.collect(self.auditor)

    def tell(self, *events: Event) -> None:
        for event in events:
            self.bus.publish(event)

    async def entries(self) -> list[AuditEntry]:
        """Oldest first."""
        return (await self.auditor.entries())[::-1]

    async def told(self) -> list[tuple[str, str]]:
        return [(each.kind, each.subject) for each in await self.entries()]


@pytest.fixture
async def closed(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path)
    yield made
    await made.auditor.close()
    await made.vault.close()


@pytest.fixture
async def room(closed: Room) -> Room:
    await closed.vault.open()
    return closed


async def test_a_quiet_run_tells_nothing(room: Room) -> None:
    await room.registry.run("chat.send", "a secret question")
    room.tell(RouteChosen("01A", "local", "m"), TokenRenewed("local", True), SessionChanged("01S"))
    assert await room.entries() == []


async def test_dangerous_and_marked_commands_are_told_after_they_ran(room: Room) -> None:
    correlation.set("c0ffee")
    await room.registry.run("session.delete", "01S", confirmed=True)
    await room.registry.run("auth.login", "lab")
    assert await room.told() == [("session.delete", "01S"), ("auth.login", "lab")]
    assert (await room.entries())[0].detail == {"outcome": "done", "action": "c0ffee"}
    correlation.set("")


async def test_a_command_that_did_not_run_is_not_told(room: Room) -> None:
    for line in ("session.delete 01S", "keys.add", "auth.login lab provider=x more"):
        with pytest.raises(CommandError):
            await room.registry.run_line(line)
    assert await room.entries() == []


async def test_of_a_failure_only_its_kind_is_told(room: Room) -> None:
    with pytest.raises(CommandError):
        await room.registry.run("auth.login", "refused")
    (entry,) = await room.entries()
    assert entry.detail == {"outcome": "failed", "error": "CommandError"}


async def test_the_session_that_was_shown_is_the_one_deleted(room: Room) -> None:
    room.tell(SessionChanged("01S"), SessionChanged(None))
    await room.registry.run("session.delete", confirmed=True)
    assert await room.told() == [("session.delete", "01S")]


async def test_a_secret_is_never_told(room: Room) -> None:
    await room.registry.run("keys.add", "open sesame", "work")
    await room.registry.run("auth.login", "sk-abcdefghijkl")
    room.auditor.note("x", "Bearer abc.def", why="hf_abcdefghijkl was refused")
    room.tell(TokenRenewed("lab", False, "bearer tok-en was refused"))
    written = repr(await room.entries())
    for secret in ("sesame", "abcdefghijkl", "abc.def", "tok-en"):
        assert secret not in written


async def test_long_and_strange_text_is_one_safe_short_line(room: Room) -> None:
    room.auditor.note("x", "\x1b]0;title\x07a\nb" + "é" * 5000, **{"ab\ud800": "\u202e" * 999})
    (entry,) = await room.entries()
    assert "\x1b" not in entry.subject and "\n" not in entry.subject
    assert len(entry.subject) <= LONGEST and all(len(text) <= LONGEST for text in entry.detail.values())


async def test_going_over_to_a_paid_provider_is_told_once_a_row(room: Room) -> None:
    room.tell(RouteChosen("01A", "local", "m"), FailedOver("r", "paid", "local", "gone", "timeout"))
    room.tell(RouteChosen("01A", "paid", "m", 2), RouteChosen("01B", "paid", "m"))
    room.tell(RouteChosen("01C", "local", "m"), RouteChosen("01D", "paid", "m", cached_at=7))
    room.tell(FailedOver("r", "free", "local", "gone", "timeout"), RouteChosen("01E", "paid", "m"))
    first, second = await room.entries()
    assert (first.kind, first.subject) == ("route.failed_over_to_paid", "paid")
    assert first.detail == {"failed": "local", "error": "timeout"}
    assert (second.kind, second.detail) == ("route.paid", {"answer": "01E"})


async def test_a_missing_sign_in_is_told_once_until_somebody_signs_in(room: Room) -> None:
    room.tell(LoginNeeded("lab", ""), LoginNeeded("lab", ""), LoginNeeded("other", ""))
    room.tell(TokenRenewed("lab", True), LoginNeeded("lab", ""), TokenRenewed("lab", False, "refused"))
    assert await room.told() == [
        ("auth.login_needed", "lab"),
        ("auth.login_needed", "other"),
        ("auth.login_needed", "lab"),
        ("auth.renewal_failed", "lab"),
    ]


async def test_what_happened_while_the_store_was_locked_is_told_when_it_opens(closed: Room) -> None:
    closed.auditor.note("settings.problem", "config.toml")
    closed.tell(*(StoreStateChanged("locked") for _ in range(3)))
    await closed.vault.open()
    assert await closed.told() == [("settings.problem", "config.toml"), ("store.unlocked", "")]
    assert (await closed.entries())[1].detail == {"refused": "2"}
    closed.tell(StoreStateChanged("locked"), StoreStateChanged("open"))
    assert len(await closed.entries()) == 2


async def test_a_store_that_recovered_is_told(room: Room) -> None:
    room.tell(StoreStateChanged("full", "no space"), StoreStateChanged("open", "Everything is saved again."))
    room.tell(StoreStateChanged("open", "Everything is saved again."))
    room.vault.recovered = 3
    room.tell(StoreStateChanged("open"))
    assert [each.detail for each in await room.entries()] == [{"detail": "no space"}, {"was": "full"}, {"answers": "3"}]
    assert (await room.entries())[0].kind == "store.full"


async def test_what_the_store_refuses_is_kept_and_written_later(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    assert room.vault.store is not None

    async def full(*_: object) -> AuditEntry:
        raise StoreFull("no space")

    with monkeypatch.context() as patched:
        patched.setattr(room.vault.store.audit, "append", full)
        for number in range(3):
            room.auditor.note("x", str(number))
        assert await room.entries() == []
    room.tell(StoreStateChanged("open", "Everything is saved again."))
    assert await room.told() == [("x", "0"), ("x", "1"), ("x", "2")]


async def test_what_nobody_takes_does_not_pile_up(closed: Room) -> None:
    for number in range(MOST_WAITING + 5):
        closed.auditor.note("x", str(number))
    closed.auditor.note("not a kind")
    await closed.vault.open()
    await closed.auditor.written()
    assert closed.vault.store is not None
    newest, *_ = await closed.vault.store.audit.entries()
    assert (newest.kind, newest.detail, newest.seq) == ("audit.missed", {"entries": "6"}, MOST_WAITING + 1)


async def test_a_note_that_is_no_entry_holds_nobody_up(room: Room) -> None:
    room.auditor.note("not a kind")
    room.auditor.note("x")
    assert await room.told() == [("x", ""), ("audit.missed", "")]


async def test_closing_writes_what_waits(closed: Room, tmp_path: Path) -> None:
    await closed.vault.open()
    closed.auditor.note("x")
    await closed.auditor.close()
    await closed.vault.close()
    again = Room(tmp_path)
    await again.vault.open()
    assert await again.told() == [("x", "")]
    await again.vault.close()


async def test_a_store_that_is_deleted_at_the_end_tells_nothing(closed: Room) -> None:
    await closed.vault.open_unsaved()
    closed.auditor.note("x")
    assert await closed.entries() == []


async def test_the_commands_show_and_check_the_log(room: Room) -> None:
    room.auditor.note("x", "1")
    listed = await room.registry.run_line("/audit 5")
    assert listed == await room.entries() and len(await room.entries()) == 1
    report = await room.registry.run("audit.verify")
    assert getattr(report, "ok", None) is True
    with pytest.raises(CommandError, match="nothing to accept"):
        await room.registry.run("audit.accept", "because")
    await asyncio.wait_for(room.registry.run("audit.accept", "because", confirmed=True), 5)
    assert [kind for kind, _ in await room.told()] == ["x", "audit.accept"]
