"""The values that go into and come out of the store. Times are integer milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

Role = Literal["system", "user", "assistant", "tool"]
Status = Literal["complete", "streaming", "interrupted", "cancelled", "failed", "partial"]
LetterState = Literal["waiting", "delivering", "dead"]
AuditFault = Literal[
    "changed", "removed", "reordered", "foreign key", "truncated", "rolled back", "no anchor", "bad anchor", "unguarded"
]
SlotKind = Literal["keyring", "device", "passphrase", "recovery", "ssh-agent"]

REAL_KEYRINGS: Final = frozenset(
    f"keyring.backends.{name}" for name in ("SecretService", "kwallet", "libsecret", "macOS", "Windows")
)


@dataclass(frozen=True, slots=True)
class StorePaths:
    """Where a store lives."""

    root: Path
    """Holds the database, the key file and the locks of running instances."""
    device_dir: Path
    """Holds the device key; apart from `root`, so that a copy of the store alone opens nothing."""

    @property
    def database(self) -> Path:
        return self.root / "sophia.db"

    @property
    def keys(self) -> Path:
        return self.root / "keys.json"

    @property
    def audit_head(self) -> Path:
        """How far the audit log went, told apart from the database, so that a shortened log is found out."""
        return self.root / "audit.head"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def creation_lock(self) -> Path:
        """Held by whoever makes the store or changes its key file."""
        return self.run / "keys.lock"

    @property
    def presence_lock(self) -> Path:
        """Shared by every process that has the store open; whoever exchanges the database holds it alone."""
        return self.run / "open.lock"

    @property
    def exchange(self) -> Path:
        """The database under its next key, while that is being written."""
        return self.root / "sophia.db.next"


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """What one guess at the passphrase costs."""

    memory_kib: int = 64 * 1024
    iterations: int = 3
    lanes: int = 4


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """How key slots are made and which keyrings are believed."""

    argon2: Argon2Cost = field(default_factory=Argon2Cost)
    keyring_modules: frozenset[str] = REAL_KEYRINGS
    """Keyring backends from any other module are refused: some write plain text, some prompt on the terminal."""
    keyring_timeout: float = 20.0
    """Seconds; a desktop may show a dialog meanwhile."""
    agent_socket: str | None = None
    """Where the ssh-agent listens; None: where SSH_AUTH_SOCK says."""
    agent_timeout: float = 3.0
    """Seconds for the agent to list its keys."""
    agent_sign_timeout: float = 20.0
    """Seconds for a signature; the agent may ask a person to confirm it."""
    busy_timeout: float = 20.0
    """Seconds to wait for a process that is exchanging the database."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one answer used, as its provider reported it."""

    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Sums over answers that reported their usage."""

    answers: int
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    cost_usd: float
    priced_answers: int
    """How many of `answers` had a cost; `cost_usd` is complete only when they are equal."""


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation; its messages form a tree."""

    id: str
    title: str
    """Empty until somebody names it."""
    created_at: int
    updated_at: int
    message_count: int
    """All branches together."""
    active_leaf: str | None
    """The last message of the branch being read."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the tree."""

    id: str
    session_id: str
    parent_id: str | None
    role: Role
    text: str
    reasoning: str
    status: Status
    provider: str | None
    model: str | None
    request_id: str
    finish_reason: str | None
    error: str | None
    created_at: int
    finished_at: int | None
    usage: Usage | None
    queued: LetterState | None = None
    """Where its letter in the outbox stands; None for a message that has none."""
    continues: str | None = None
    """The id of the answer this one goes on from."""
    cached_at: int | None = None
    """When the text was first given, for an answer that came from the response cache."""
    begun_by: str | None = None
    """The provider of the answer this one goes on from: the text is of both."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A stored question and the empty answer that will be streamed into."""

    question: Message
    answer: Message


@dataclass(frozen=True, slots=True)
class Letter:
    """A question that could not be sent yet."""

    id: str
    """The id of the empty answer that waits for it."""
    session_id: str
    question_id: str
    question: str
    provider: str | None
    """The provider it was meant for; None: any."""
    model: str | None
    state: LetterState
    attempts: int
    """Deliveries that failed and were counted."""
    error: str
    """Why it was not delivered last time."""
    created_at: int
    retry_at: int
    """Not before this time; 0: as soon as possible."""


@dataclass(frozen=True, slots=True)
class OutboxCount:
    """How many letters are in each state."""

    waiting: int = 0
    delivering: int = 0
    dead: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """An answer given before to the very same request."""

    text: str
    provider: str | None
    model: str | None
    at: int
    """When the text was first given."""
    message_id: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that matches a search."""

    message_id: str
    session_id: str
    session_title: str
    role: Role
    snippet: str
    """Plain text around the first match, at most a few dozen words, "…" where it was cut."""
    created_at: int
    matches: tuple[tuple[int, int], ...]
    """Where the matches are: (start, end) offsets into `snippet`."""


@dataclass(frozen=True, slots=True)
class SlotInfo:
    """One way to open the store, without its secret."""

    id: str
    kind: SlotKind
    label: str
    weak: bool
    """True for the device slot: whoever copies both folders can read the store."""
    created_at: int


@dataclass(frozen=True, slots=True)
class AgentKey:
    """A key that an ssh-agent holds and that can open a store."""

    fingerprint: str
    """As `ssh-add -l` shows it: `SHA256:…`."""
    comment: str
    blob: bytes


@dataclass(frozen=True, slots=True)
class SlotChange:
    """What a change of the key slots did."""

    added: SlotInfo | None = None
    removed: tuple[SlotInfo, ...] = ()
    rotate: str = ""
    """Why the store's keys should be exchanged now; empty when there is no reason to."""
    leftover: str = ""
    """A secret of a removed slot that could not be deleted, and why."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """What an exchange of the store's keys did."""

    epoch: int
    """How many data keys this store has had."""
    bytes: int
    """The size of the database."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one check."""

    name: str
    ok: bool
    detail: str
    fix: str | None = None
    """What to do about it, when it is not ok."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something that was done, as the audit log has it."""

    seq: int
    """Its number; the first is 1 and none is left out."""
    at: int
    kind: str
    """What happened, such as `keys.passphrase`."""
    subject: str
    """What it happened to."""
    detail: Mapping[str, str]
    epoch: int
    """Which data key was in use."""
    mac: str
    """The code over all of this and over the entry before, as hex digits."""


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Whether the audit log is what was written."""

    ok: bool
    entries: int
    """How many entries there are."""
    fault: AuditFault | None
    first: int | None
    """The first entry that the fault concerns."""
    detail: str
    hint: str
    behind: int
    """How many of the last entries the anchor does not vouch for yet: after a crash, or while others write."""
    head: str
    """The code of the last entry that fits: noted elsewhere, it proves later that nothing before it was changed."""
