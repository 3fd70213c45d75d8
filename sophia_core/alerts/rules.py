"""From what is known now to what is told: the standing of every alert. Pure; the clock comes with every look.

An alert goes quiet → waiting → standing → ending → quiet. It waits until it was bad for as long as its rule says
without a break in the watching, stands from then on, and ends once it was good for as long. It is told when it begins
to stand, unless a silence covers it, and what was told is resolved when it ends, however it does.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from sophia_core.alerts.findings import HERE, Judge, Look, findings, number
from sophia_core.alerts.rule import Finding, Rule
from sophia_core.metrics.ports import Alert
from sophia_core.sanitize import one_line

GAP_S: Final = 60.0
"""After a longer break in the watching nobody knows how long something has been so."""
FORGOTTEN_S: Final = 900.0
"""What nobody could judge for so long is over: its target is gone."""
LONGEST_KEY: Final = 255
LONGEST_SUMMARY: Final = 1_024
NO_LONGER: Final = "it is no longer measured"
RULE_GONE: Final = "its rule is gone"
TARGET_GONE: Final = "its target is not asked any more"
LONGEST_COOLDOWN_S: Final = 86_400.0
_NAMED: Final = re.compile(r"\{(\w+)\}")
Quiet = Callable[[Alert], bool]
"""Whether a silence covers an alert."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that became of an alert."""

    kind: Literal["raised", "told", "resolved"]
    """`told` is one that was silenced when it was raised."""
    alert: Alert
    told: bool
    """Whether somebody is to hear of it, or has heard of it."""
    why: str = ""


@dataclass(slots=True)
class _Standing:
    phase: Literal["waiting", "standing", "ending", "quiet"]
    since: float
    """When this phase began."""
    seen: float
    """When it was last judged."""
    alert: Alert | None = None
    told: bool = False
    cool: float = 0.0
    """Not raised anew before."""


@dataclass(slots=True)
class Watch:
    """The standing of all alerts of this process."""

    here: str = HERE
    """What this machine is called, for what only it knows."""
    judge: Judge = findings
    _standing: dict[tuple[str, str], _Standing] = field(default_factory=dict)
    """By rule and key."""

    def step(
        self, rules: Sequence[Rule], look: Look, quiet: Quiet = lambda alert: False, *, complete: bool = True
    ) -> list[Change]:
        """What changed with this look. Two looks may be any time apart, and the clock may have been set. `complete`
        says that there are no other rules: alerts of others are over."""
        changes: list[Change] = []
        found: set[tuple[str, str]] = set()
        for rule in rules:
            for key, finding in self._grouped(rule, look).items():
                found.add((rule.name, key))
                changes += self._advance(rule, key, finding, look.at, quiet)
        known = {rule.name for rule in rules}
        for place in [each for each in self._standing if each not in found]:
            now = self._standing[place]
            gone = RULE_GONE if complete and place[0] not in known else TARGET_GONE if _is_left(now, look) else ""
            changes += self._end(place, now, look.at, 0.0, gone) if gone else self._unknown(place, now, look.at, quiet)
        return changes

    def adopt(self, alert: Alert, *, told: bool, at: float) -> None:
        """Go on from an alert that stood before this process began; it ends as if it had been seen here."""
        self._standing[alert.rule, alert.key] = _Standing("standing", at, at, replace(alert, action="trigger"), told)

    def standing(self) -> list[tuple[Alert, bool]]:
        """The alerts that stand, and whether each was told."""
        return [(each.alert, each.told) for each in self._standing.values() if each.alert is not None]

    def _grouped(self, rule: Rule, look: Look) -> dict[str, Finding]:
        """What the rule finds by key: of things that are one alert, the bad one counts, then the unknown one."""
        groups: dict[str, list[Finding]] = {}
        for each in self.judge(rule, look):
            groups.setdefault(self._key(rule, each), []).append(each)
        return {key: _together(rule, each) for key, each in groups.items()}

    def _key(self, rule: Rule, finding: Finding) -> str:
        parts = [rule.name, *(f"{name}={finding.labels[name]}" for name in rule.group if name in finding.labels)]
        if finding.source == HERE:  # each machine has a budget and turns of its own
            parts.append(f"on={self.here}")
        key = one_line("/".join(parts), 10_000)
        if len(key) > LONGEST_KEY:
            digest = hashlib.sha256(key.encode()).hexdigest()[:16]
            key = f"{key[: LONGEST_KEY - 17]}~{digest}"
        return key

    def _advance(self, rule: Rule, key: str, finding: Finding, at: float, quiet: Quiet) -> list[Change]:
        place = (rule.name, key)
        now = self._standing.get(place)
        if now is None:
            if not finding.bad:
                return []
            now = self._standing[place] = _Standing("quiet", at, at)
        if finding.bad is None:
            return self._unknown(place, now, at, quiet)
        self._keep_time(now, at)
        if finding.bad:
            return self._bad(rule, key, finding, now, at, quiet)
        return self._good(rule, place, now, at, quiet)

    def _keep_time(self, now: _Standing, at: float) -> None:
        """What is counted in this phase begins anew after a break, or when the clock was set back."""
        if not 0 <= at - now.seen <= GAP_S:
            now.since = at
        now.seen, now.cool = at, min(now.cool, at + LONGEST_COOLDOWN_S)

    def _bad(self, rule: Rule, key: str, finding: Finding, now: _Standing, at: float, quiet: Quiet) -> list[Change]:
        if now.phase in ("standing", "ending"):
            now.phase = "standing"
            return self._tell_late(now, quiet)
        if now.phase == "quiet":
            now.phase, now.since = "waiting", at
        if at - now.since < rule.for_s or at < now.cool:
            return []
        now.phase, now.since = "standing", at
        now.alert = _alert(rule, key, finding, at, self.here)
        now.told = not quiet(now.alert)
        return [Change("raised", now.alert, now.told)]

    def _good(self, rule: Rule, place: tuple[str, str], now: _Standing, at: float, quiet: Quiet) -> list[Change]:
        if now.phase == "standing":
            now.phase, now.since = "ending", at
        if now.phase == "ending":
            if at - now.since < rule.resolve_after_s:
                return self._tell_late(now, quiet)
            return self._end(place, now, at, rule.cooldown_s)
        now.phase = "quiet"
        if at >= now.cool:
            del self._standing[place]
        return []

    def _unknown(self, place: tuple[str, str], now: _Standing, at: float, quiet: Quiet) -> list[Change]:
        now.seen = min(now.seen, at)
        if at - now.seen < FORGOTTEN_S:
            return self._tell_late(now, quiet) if now.alert is not None else []
        return self._end(place, now, at, 0.0, NO_LONGER)

    def _tell_late(self, now: _Standing, quiet: Quiet) -> list[Change]:
        """The silence is over and the trouble is not."""
        if now.alert is None or now.told or now.phase == "ending" or quiet(now.alert):
            return []
        now.told = True
        return [Change("told", now.alert, told=True)]

    def _end(self, place: tuple[str, str], now: _Standing, at: float, cooldown: float, why: str = "") -> list[Change]:
        alert, told = now.alert, now.told
        if cooldown and alert is not None:
            now.phase, now.since, now.alert, now.told, now.cool = "quiet", at, None, False, at + cooldown
        else:
            del self._standing[place]
        if alert is None:
            return []
        return [Change("resolved", replace(alert, action="resolve", at=at), told, why)]


def _is_left(now: _Standing, look: Look) -> bool:
    """Whether it is about a target that was taken away."""
    return now.alert is not None and look.leaves_out(now.alert.details.get("target"))


def _together(rule: Rule, found: Sequence[Finding]) -> Finding:
    if len(found) == 1:
        return found[0]
    bad = [each for each in found if each.bad]
    first = next(iter(bad or [each for each in found if each.bad is None] or found))
    more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
    labels = {name: value for name, value in first.labels.items() if name in rule.group}
    return replace(first, text=f"{first.text}{more}", labels=labels)


def _alert(rule: Rule, key: str, finding: Finding, at: float, here: str) -> Alert:
    details: dict[str, str | float | int] = {name: one_line(text, 300) for name, text in finding.labels.items()}
    if finding.value is not None:
        details["value"] = finding.value
    said = _filled(rule, finding) if rule.summary else finding.text
    source = here if finding.source == HERE else finding.source
    summary = one_line(said, LONGEST_SUMMARY) or rule.name
    return Alert(
        key, rule.name, rule.severity, summary, one_line(source, 200) or here, at, details=details, runbook=rule.runbook
    )


def _filled(rule: Rule, finding: Finding) -> str:
    """The rule's own words, with what was found; nothing of what was found is taken for a name again."""
    values: Mapping[str, str] = {
        **finding.labels,
        "value": "" if finding.value is None else number(finding.value),
        "text": finding.text,
        "rule": rule.name,
    }
    return _NAMED.sub(lambda name: values.get(name[1], name[0]), rule.summary)
