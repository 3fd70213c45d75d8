"""The values that go into and come out of the store. Times are integer milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

Role = Literal["system", "user", "assistant", "tool"]
Status = Literal["complete", "streaming", "interrupted", "cancelled", "failed", "partial"]
LetterState = Literal["waiting", "delivering", "dead"]
AuditFault = Literal[
    "changed", "removed", "reordered", "foreign key", "truncated", "rolled back", "no anchor", "bad anchor", "unguarded"
]
PartKind = Literal["tool_call", "tool_result", "image", "file"]
PartStatus = Literal["waiting", "running", "complete", "failed", "refused"]
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
    def head(self) -> Path:
        """The last state of the database that was vouched for, so that an earlier one is found out."""
        return self.root / "store.head"

    def head_on_device(self, store_id: str) -> Path:
        """The same once more, apart from the store: an earlier copy of the whole folder is found out too."""
        return self.device_dir / f"{store_id}.head"

    @property
    def ballast(self) -> Path:
        """Room that is kept for the moment when the disk is full."""
        return self.root / "ballast"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def blobs(self) -> Path:
        """Holds the large attachments, each a sealed file."""
        return self.root / "blobs"

    @property
    def blobs_lock(self) -> Path:
        """Shared by whoever reads the attachments of a snapshot; whoever removes attachments holds it alone."""
        return self.run / "blobs.lock"

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
    allow_network_folder: bool = False
    """Open a store on a network file system all the same."""
    mounts: Path = Path("/proc/self/mountinfo")
    """What the system says of its file systems."""


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The database is not, or not a later form of, the one that was last vouched for."""

    kind: Literal["rolled back", "replaced", "no head"]
    """An earlier state; another history that begins with an earlier state; nothing is left that could tell."""
    was_at: int | None
    """When the state was written that is missing; None when nothing tells."""
    is_at: int | None
    """When the last state was written that is here; None for a store that is older than such records."""
    messages: int
    """About how many messages are missing, at least."""

    @property
    def detail(self) -> str:
        """What is wrong, in a sentence."""
        if self.kind == "no head":
            return "the records that tell whether this is the newest state of the store are gone"
        lost = f"about {self.messages} messages are missing" if self.messages else "what was written since is missing"
        here = f"its state of {_moment(self.is_at)}" if self.is_at else "an earlier state"
        if self.kind == "replaced":
            return f"this store was put back and written to elsewhere; its state of {_moment(self.was_at)} is missing"
        return f"the store was put back to {here}, and was written until {_moment(self.was_at)}: {lost}"

    @property
    def hint(self) -> str:
        """The next step."""
        return "If you did that yourself, accept it: `sophia store accept`. Else restore the newest backup."


def _moment(at: int | None) -> str:
    return "an unknown time" if at is None else f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True, slots=True)
class Usage:
    """What one answer used, as its provider reported it."""

    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: float | None = None
    cost_known: str = ""
    """Of an answer that was read: how its cost is known, as its booking says."""


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
    pinned: bool = False
    """Listed before all others."""
    archived: bool = False
    """Listed only when asked for."""
    folder: str = ""
    tags: tuple[str, ...] = ()
    persona: str | None = None
    """Who answered last."""


@dataclass(frozen=True, slots=True)
class Group:
    """A folder or a tag, and how many sessions that are not archived it holds."""

    name: str
    sessions: int


@dataclass(frozen=True, slots=True)
class Growth:
    """What was added to an answer that another process streams."""

    message_id: str
    text: str
    reasoning: str
    begun: bool
    """True when this is all it has so far, rather than more of what was told before."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What other processes committed since the last look."""

    sessions: frozenset[str] = frozenset()
    """Begun, used, renamed, organised; their branch being read may be another one."""
    deleted: frozenset[str] = frozenset()
    messages: frozenset[str] = frozenset()
    """Whose status, or that of a part or letter of theirs, is another one."""
    letters: bool = False
    """The outbox changed."""
    many: bool = False
    """More than was kept count of: anything may have changed."""
    approvals: bool = False
    """Something waits to be allowed, or waits no more."""
    tasks: bool = False
    """The board changed."""
    growth: tuple[Growth, ...] = ()

    def __bool__(self) -> bool:
        said = self.letters or self.many or self.approvals or self.tasks
        return bool(said or self.sessions or self.deleted or self.messages or self.growth)


@dataclass(frozen=True, slots=True)
class Branch:
    """What stands beyond the messages that somebody knows already."""

    joins: str | None
    """The known message that `messages` follow; None where they begin at the root."""
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Blob:
    """An attachment's content, without the content."""

    id: str
    """The same for the same content, and only in this store."""
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class Part:
    """Something that belongs to a message beside its text."""

    kind: PartKind
    name: str = ""
    """What the tool or the file is called."""
    call_id: str | None = None
    """Which call of a tool it is, so that a result finds its call."""
    text: str = ""
    """The arguments of a call, the result as text, or what an image shows."""
    status: PartStatus = "complete"
    blob: Blob | None = None


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
    persona: str | None = None
    """Who was to answer; None for questions, and where nobody in particular was."""
    parts: tuple[Part, ...] = ()
    """Calls of tools, their results, images and files, in their order."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A stored question and the empty answer that will be streamed into."""

    question: Message
    answer: Message
    beside: Message | None = None
    """A second empty answer, where two are asked at once."""


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
class Found:
    """What a search found."""

    sessions: tuple[Session, ...] = ()
    """Those whose titles fit, the best first."""
    hits: tuple[Hit, ...] = ()
    pending: int = 0
    """How many messages, at most, are not indexed yet; of those only the newest were looked through."""
    complete: bool = True
    """False when the patience ended before everything was looked at."""
    ended: bool = False
    """True when a newer search took its place; then there is nothing in it."""


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
