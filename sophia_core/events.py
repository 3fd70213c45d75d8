"""Everything that happens, on one page.

Frozen values in the past tense, with ids rather than objects. Whoever shows something listens here; nobody
who publishes knows who listens. Every start has exactly one finish, also on cancel, failure and exit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal

from backend_client import happenings
from sophia_core.board.happenings import BoardChanged
from sophia_core.gate import happenings as asked
from sophia_core.metrics import happenings as measured
from sophia_core.swarm import happenings as ran
from sophia_core.voice import happenings as heard

# What the client tells is an event as it stands.
AnswerEnded = happenings.AnswerEnded
AttemptSent = happenings.AttemptSent
BreakerChanged = happenings.BreakerChanged
FailedOver = happenings.FailedOver
ProviderProbed = happenings.ProviderProbed
QueueWaited = happenings.QueueWaited
TokenRenewed = happenings.TokenRenewed
# So is what the metrics tell.
AlertAcknowledged = measured.AlertAcknowledged
AlertRaised = measured.AlertRaised
AlertResolved = measured.AlertResolved
BudgetReached = measured.BudgetReached
DeliveryFailed = measured.DeliveryFailed
HealingActed = measured.HealingActed
MetricsMeasured = measured.MetricsMeasured
ObjectiveChanged = measured.ObjectiveChanged
# And what the voice tells.
LevelMeasured = heard.LevelMeasured
ListeningChanged = heard.ListeningChanged
SpeakingChanged = heard.SpeakingChanged
SpeechHeard = heard.SpeechHeard
VoiceChanged = heard.VoiceChanged
VoiceDegraded = heard.VoiceDegraded

TurnStatus = Literal["complete", "interrupted", "cancelled", "failed", "partial", "queued"]
NoticeLevel = Literal["info", "warning", "error"]
StoreState = Literal["opening", "open", "locked", "unsaved", "full", "failed", "closed"]


class Level(IntEnum):
    """How far from the best service the app is; one value for the whole app to show."""

    PRIMARY = 0
    SECONDARY = 1
    PAID = 2
    EMBEDDED = 3
    OFFLINE = 4


@dataclass(frozen=True, slots=True)
class MacroStarted:
    run_id: str
    name: str
    steps: int


@dataclass(frozen=True, slots=True)
class MacroStepped:
    """A step begins."""

    run_id: str
    name: str
    """The macro whose step it is; another one while a macro calls one."""
    number: int
    steps: int
    what: str


@dataclass(frozen=True, slots=True)
class ProgramRan:
    """A macro ran a program that a person had allowed."""

    run_id: str
    macro: str
    program: str
    """Its name; what it was given is nobody else's business."""
    code: int | None
    """What it ended with; None when it could not be started or was ended."""


@dataclass(frozen=True, slots=True)
class WorkProgressed:
    """Something on the store takes long, such as a backup; told anew with every percent."""

    number: int
    what: str
    """As the beginning of a sentence: `The backup`."""
    done: int
    total: int
    """0 while nobody knows how much there is."""


@dataclass(frozen=True, slots=True)
class WorkEnded:
    """It is done, has failed or was stopped; whoever asked for it says which."""

    number: int


@dataclass(frozen=True, slots=True)
class MacroFinished:
    run_id: str
    name: str
    ending: Literal["finished", "stopped", "failed", "cancelled"]
    text: str


@dataclass(frozen=True, slots=True)
class TourStepped:
    """A lesson of the guided tour asks for its next step."""

    lesson: str
    number: int
    steps: int
    text: str


@dataclass(frozen=True, slots=True)
class TourEnded:
    """The tour is over, done or given up."""

    text: str


@dataclass(frozen=True, slots=True)
class MacrosChanged:
    """There are other macros now, and so other commands."""


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """A file or picture that goes with a question."""

    kind: Literal["image", "file"]
    name: str
    about: str
    """What it is, in a few words."""
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class TurnStarted:
    session_id: str
    question_id: str
    answer_id: str
    request_id: str
    question: str
    prefix: str = ""
    """Text the answer already has, when it continues an earlier one."""
    delivered: bool = False
    """The question had waited in the outbox: nobody has just typed it, and its session need not be the one shown."""
    attached: tuple[AttachedFile, ...] = ()
    """What goes with the question."""
    persona: str | None = None
    """Who answers; None: nobody in particular."""
    beside: str = ""
    """The id of the answer that this one is compared with: both stream at once, and that one is shown."""


@dataclass(frozen=True, slots=True)
class ComparisonStarted:
    """One question is asked of two models at once; the turns of both answers follow."""

    session_id: str
    question_id: str
    question: str
    left_id: str
    right_id: str
    left: str
    """Who is asked for it, as a person named them."""
    right: str


@dataclass(frozen=True, slots=True)
class ComparisonEnded:
    """Both answers of a comparison have ended, however they did."""

    left_id: str
    right_id: str


@dataclass(frozen=True, slots=True)
class RouteChosen:
    answer_id: str
    provider: str
    model: str
    attempt: int = 1
    cached_at: int | None = None
    """Milliseconds since the epoch, when the answer comes from the cache: the time it was first given."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    answer_id: str
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    answer_id: str
    text: str


CallStatus = Literal["waiting", "asking", "running", "complete", "failed", "refused"]


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """An answer asks for a tool; told again as more of it arrives, and once more when it is over."""

    answer_id: str
    index: int
    name: str
    arguments: str
    """As much of them as has arrived."""
    status: CallStatus = "waiting"
    """`waiting` while it arrives, `asking` while a person has to allow it; `failed` also where it broke off."""


@dataclass(frozen=True, slots=True)
class TurnFinished:
    session_id: str
    answer_id: str
    request_id: str
    text: str
    status: TurnStatus
    provider: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    error: str | None = None
    hint: str | None = None
    error_type: str | None = None
    """The kind of error, in OpenRouter's stable names: `timeout`, `authentication`, `provider_unavailable` …"""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    first_token_s: float | None = None
    duration_s: float = 0.0
    saved: bool = True
    """False when the store could not take the answer yet; it is kept in memory and tried again."""
    cached_at: int | None = None
    """Milliseconds since the epoch, when the answer comes from the cache: the time it was first given."""
    begun_by: str | None = None
    """The provider of the answer this one goes on from: the text is of both."""
    cost_known: str = ""
    """How the cost is known: reported, configured, amortised, estimated, or from a list of a date."""


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """The current session, or the branch shown of it, is another one now."""

    session_id: str | None


@dataclass(frozen=True, slots=True)
class SessionsChanged:
    """The list of sessions is out of date."""


@dataclass(frozen=True, slots=True)
class TitleAsked:
    """A model was asked for the title of a session, which is no turn of it."""

    provider: str
    cost_usd: float | None = None
    saved: bool = True
    """Whether the books of the store have it."""


@dataclass(frozen=True, slots=True)
class ChangedElsewhere:
    """Another process changed these; `SessionsChanged` follows."""

    sessions: frozenset[str]
    """Begun, used, renamed or organised."""
    deleted: frozenset[str]
    messages: frozenset[str]
    """Messages that stand otherwise now."""
    many: bool = False
    """Anything may have changed."""


@dataclass(frozen=True, slots=True)
class AnswerGrew:
    """More of an answer in the current session that another process streams."""

    answer_id: str
    text: str
    reasoning: str
    begun: bool
    """This is all of it so far, rather than more of what was told before."""


@dataclass(frozen=True, slots=True)
class SettingsEdited:
    """The config file is another one now."""


@dataclass(frozen=True, slots=True)
class SettingChanged:
    """The app changed a setting, as text; None where it is not set."""

    name: str
    before: str | None
    after: str | None
    source: str
    """The command that did."""


@dataclass(frozen=True, slots=True)
class Notice:
    level: NoticeLevel
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class StoreStateChanged:
    state: StoreState
    detail: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class KeysChanged:
    """The key slots changed; `weak` means that only this device's own key file guards the store."""

    weak: bool
    recovery_confirmed: bool


@dataclass(frozen=True, slots=True)
class EmbeddedProgressed:
    stage: str
    fraction: float | None
    detail: str


@dataclass(frozen=True, slots=True)
class DegradationChanged:
    level: Level
    reason: str


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """One try at a provider failed before its first content; `retrying` says whether another follows."""

    request_id: str
    provider: str
    attempt: int
    error: str
    retrying: bool
    wait_s: float
    fault: str = ""
    """Whose it was: network, server, caller, account, model."""
    error_type: str = ""
    """The kind of error, in OpenRouter's stable names."""
    status: int | None = None
    """The HTTP status, where the server answered with one."""


@dataclass(frozen=True, slots=True)
class LoginNeeded:
    """A provider answers only after somebody has signed in."""

    provider: str
    hint: str


@dataclass(frozen=True, slots=True)
class OutboxChanged:
    """How many questions wait for a provider that can be reached, and how many were given up."""

    waiting: int
    dead: int


@dataclass(frozen=True, slots=True)
class PersonaChanged:
    """Somebody else answers from now on; None: nobody in particular."""

    persona: str | None
    title: str = ""
    colour: str = ""


@dataclass(frozen=True, slots=True)
class AttachmentsChanged:
    """Other files go with the next question of a session than before."""

    session_id: str | None


Event = (
    TurnStarted
    | ComparisonStarted
    | ComparisonEnded
    | RouteChosen
    | TextDelta
    | ReasoningDelta
    | ToolCalled
    | TurnFinished
    | SessionChanged
    | SessionsChanged
    | TitleAsked
    | ChangedElsewhere
    | AnswerGrew
    | SettingsEdited
    | SettingChanged
    | Notice
    | StoreStateChanged
    | KeysChanged
    | EmbeddedProgressed
    | DegradationChanged
    | AttemptSent
    | AttemptFailed
    | FailedOver
    | BreakerChanged
    | QueueWaited
    | AnswerEnded
    | ProviderProbed
    | TokenRenewed
    | ObjectiveChanged
    | HealingActed
    | MetricsMeasured
    | AlertRaised
    | AlertAcknowledged
    | AlertResolved
    | BudgetReached
    | DeliveryFailed
    | LoginNeeded
    | OutboxChanged
    | MacroStarted
    | MacroStepped
    | ProgramRan
    | WorkProgressed
    | WorkEnded
    | MacroFinished
    | MacrosChanged
    | PersonaChanged
    | AttachmentsChanged
    | TourStepped
    | TourEnded
    | SpeakingChanged
    | ListeningChanged
    | LevelMeasured
    | SpeechHeard
    | VoiceChanged
    | VoiceDegraded
    | ran.SwarmTold
    | asked.ApprovalAsked
    | asked.ApprovalDecided
    | BoardChanged
)
Listener = Callable[[Event], None]
FREQUENT: Final[frozenset[type]] = frozenset({TextDelta, ReasoningDelta, AnswerGrew, LevelMeasured, ran.LiveChanged})
"""What comes with every token and every sound: most listeners can do without."""


class Bus:
    """Calls every listener in order, on the one event loop; listeners return at once."""

    def __init__(self) -> None:
        self._listeners: tuple[tuple[Listener, frozenset[type]], ...] = ()
        self._of: dict[type, tuple[Listener, ...]] = {}
        """Who hears each kind of event, as far as one came."""

    def publish(self, event: Event) -> None:
        kind = type(event)
        listeners = self._of.get(kind)
        if listeners is None:
            listeners = self._of[kind] = tuple(each for each, without in self._listeners if kind not in without)
        for listener in listeners:
            listener(event)

    def subscribe(self, listener: Listener, *, without: frozenset[type] = frozenset()) -> Callable[[], None]:
        """Adds a listener, which is not called for events `without`; the value returned takes it away again."""
        self._listeners = (*self._listeners, (listener, without))
        self._of = {}

        def unsubscribe() -> None:
            self._listeners = tuple(each for each in self._listeners if each[0] is not listener)
            self._of = {}

        return unsubscribe
