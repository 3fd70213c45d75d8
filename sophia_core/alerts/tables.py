"""The tables of `alerts.toml`: what a rule and a receiver may say there."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sophia_core.alerts.rule import (
    COOLDOWN_S,
    GROUP,
    RESOLVE_AFTER_S,
    Absence,
    Anomaly,
    Budget,
    Burn,
    Condition,
    Quantile,
    Rule,
    Threshold,
)
from sophia_core.alerts.silences import duration
from sophia_core.metrics.ports import Severity
from sophia_core.sanitize import one_line
from sophia_core.setting_kinds import Address, Section

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
SLACK_HOST = "https://hooks.slack.com"


def _seconds(given: object) -> object:
    return duration(given) if isinstance(given, str) else given


def _printable(text: str) -> str:
    if one_line(text, 10_000) != text:
        raise ValueError("it has to be one line of characters that show")
    return text


def _host(host: str) -> str:
    if urlsplit(f"//{host}").hostname != host.lower() or not host.isascii():
        raise ValueError("it has to be the name or the address of a host")
    return host


def _address(text: str) -> str:
    name, at, host = text.rpartition("@")
    if not (name and at and host) or any(char in text for char in " <>,;\r\n") or not text.isascii():
        raise ValueError("it has to be an e-mail address like oncall@example.org")
    return text


Duration = Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=366 * 86_400)]
Words = Annotated[str, Field(max_length=500), AfterValidator(_printable)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,39}$")]
ReceiverName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")]
Pattern = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Mailbox = Annotated[str, Field(max_length=254), AfterValidator(_address)]
Pair = tuple[str, str, Annotated[float, Field(gt=0, le=10_000)]]


class RuleTable(Section):
    """One `[[rule]]`: what to watch for."""

    name: Name = Field(description="What it is called; one of yours takes the place of a shipped one.")
    kind: Literal["threshold", "absence", "burn", "anomaly", "budget"] = Field(
        "threshold", description="A bound is crossed, a target is silent, an error budget burns, a provider is odd …"
    )
    off: bool = Field(False, description="Leaves it out, also a shipped one of this name.")
    signal: Words = Field("", description="What is measured: `time_to_first_token`, `gpu_temperature` …")
    above: float | None = Field(None, allow_inf_nan=False, description="Bad above this; seconds, bytes, °C, or 0 to 1.")
    below: float | None = Field(None, allow_inf_nan=False, description="Bad below this.")
    quantile: Quantile = Field("", description="Of times: p50, p95, p99 or mean.")
    per: Literal["", "model", "gpu", "tenant"] = Field("", description="Judge each of these by itself.")
    share_of: Words = Field("", description="The bound is a share of this signal: `gpu_memory_total`.")
    targets: Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=100)] = Field(
        ("*",), description="Which targets; `*` stands for anything, `sophia` is this app."
    )
    objective: Pattern = Field("*", description="Of `burn`: which objective.")
    windows: Annotated[tuple[Pair, ...], Field(min_length=1, max_length=10)] = Field(
        (("1h", "5m", 14.4), ("6h", "30m", 6.0)),
        description="Of `burn`: long window, short window, how many times too fast.",
    )
    provider: Pattern = Field("*", description="Of `anomaly`: which provider.")
    budget: Pattern = Field("*", description="Of `budget`: which budget.")
    levels: Annotated[tuple[Annotated[float, Field(gt=0, le=100)], ...], Field(min_length=1, max_length=20)] = Field(
        (0.5, 0.8, 1.0), description="Of `budget`: shares of it, each an alert of its own."
    )
    for_: Duration = Field(0.0, alias="for", description="How long it has to be so: 30s, 5m.")
    resolve_after: Duration = Field(RESOLVE_AFTER_S, description="How long it has to be over.")
    cooldown: Annotated[Duration, Field(le=86_400)] = Field(
        COOLDOWN_S, description="How long it is not raised again after it was resolved."
    )
    severity: Severity = Field("warning", description="critical, error, warning or info.")
    group: tuple[Literal["target", "model", "gpu", "tenant", "objective", "provider", "budget", "level"], ...] = Field(
        GROUP,
        description="What makes an alert of its own; empty: all of it is one alert.",
    )
    summary: Words = Field("", description="What is said; `{target}`, `{value}`, `{text}` … are filled in.")
    runbook: Words = Field("", description="The page that says what to do.")
    receivers: Annotated[tuple[ReceiverName, ...], Field(max_length=50)] = Field(
        (), description="Whom to tell; everybody who takes its severity when empty."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kind == "threshold" and not self.off:
            if not self.signal:
                raise ValueError("a threshold needs a signal")
            if (self.above is None) == (self.below is None):
                raise ValueError("a threshold needs one of above and below")
            if self.quantile and self.per:
                raise ValueError("quantiles are told of a whole target: leave out per or quantile")
        if self.kind == "anomaly" and self.above is None and not self.off:
            raise ValueError("an anomaly needs above: the score from which on it is one")
        return self

    def rule(self, where: str) -> Rule:
        """The rule that this table is."""
        return Rule(
            self.name,
            self._condition(),
            self.severity,
            self.for_,
            self.resolve_after,
            self.cooldown,
            self.targets,
            self.group,
            self.summary,
            self.runbook,
            self.receivers,
            where,
        )

    def _condition(self) -> Condition:
        match self.kind:
            case "absence":
                return Absence()
            case "burn":
                return Burn(self.objective, self.windows)
            case "anomaly":
                return Anomaly(self.above or 0.0, self.provider)
            case "budget":
                return Budget(self.levels, self.budget)
        bound = self.above if self.above is not None else self.below or 0.0
        return Threshold(self.signal, self.above is not None, bound, self.quantile, self.per, self.share_of)


class ReceiverTable(Section):
    """One `[[receiver]]`: whom to tell, and how."""

    name: ReceiverName = Field(description="What it is called.")
    kind: Literal["pagerduty", "slack", "email"] = Field(description="How it is told.")
    severities: Annotated[tuple[Severity, ...], Field(min_length=1)] = Field(
        ("critical", "error", "warning"), description="Which alerts it takes."
    )
    rules: Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=100)] = Field(
        ("*",), description="Of which rules; `*` stands for anything."
    )
    secret_env: Annotated[str, Field(pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$", max_length=200)] = Field(
        "", description="The environment variable that holds its routing key, webhook address or password."
    )
    url: Address | None = Field(None, description="Of `pagerduty`: another address, as for its European service.")
    host: str = Field("", max_length=253, description="Of `email`: the server that takes mail.")
    port: int = Field(0, ge=0, le=65_535, description="Of `email`: its port; 587, 465 or 25 when 0.")
    tls: Literal["starttls", "implicit", "none"] = Field("starttls", description="Of `email`: how it is encrypted.")
    user: Words = Field("", description="Of `email`: who signs in; nobody when empty.")
    sender: Mailbox | None = Field(None, alias="from", description="Of `email`: who it comes from.")
    to: Annotated[tuple[Mailbox, ...], Field(max_length=50)] = Field((), description="Of `email`: who gets it.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kind == "email":
            if not (self.host and self.sender and self.to):
                raise ValueError("an email receiver needs host, from and to")
            _host(self.host)
        if self.kind != "email" and (self.host or self.user or self.sender or self.to):
            raise ValueError("host, user, from and to are of email receivers")
        if self.kind == "email" and self.url is not None:
            raise ValueError("an email receiver has a host, no url")
        return self

    @property
    def at(self) -> str:
        """Where it is reached, without anything secret: a key that is kept counts for this place only."""
        match self.kind:
            case "pagerduty":
                return self.url or PAGERDUTY_URL
            case "slack":
                return self.url or SLACK_HOST
        return f"https://{self.host}:{self.smtp_port}"

    @property
    def smtp_port(self) -> int:
        """Its port."""
        return self.port or {"starttls": 587, "implicit": 465, "none": 25}[self.tls]


Entry = dict[str, Any]
