"""What a run is likely to use: questions, tokens, money and time, each with how far off that may be. Pure.

Nobody knows how long answers will be; so each figure is three: if all goes well, likely, and if each step is tried as
often as it may be. Budgets end a run, so nothing is estimated beyond them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sophia_core.present import dollars
from sophia_core.swarm.fill import BadText, names
from sophia_core.swarm.graph import MOST_COPIES, needs, ordered
from sophia_core.swarm.plan import Budget, Plan, Step
from sophia_core.swarm.planning import MOST_PLANNED

AT_WORK: Final = frozenset({"agent", "planner"})
"""Kinds of steps that ask a model by themselves. What an outside agent uses is not ours to know."""
CHARACTERS: Final = 4
"""Of a token, about."""
PROMPT: Final = 500
"""Tokens of what a persona is told about itself and its tools."""
SEEN: Final = 700
"""Tokens that a tool's answer adds to what the next question has to read."""


@dataclass(frozen=True, slots=True)
class Range:
    """A figure and how far off it may be."""

    low: float = 0.0
    likely: float = 0.0
    high: float = 0.0

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def __mul__(self, other: Range) -> Range:
        return Range(self.low * other.low, self.likely * other.likely, self.high * other.high)

    def most(self, limit: float | None) -> Range:
        """Return it ended by a budget."""
        return self if limit is None else Range(min(self.low, limit), min(self.likely, limit), min(self.high, limit))


ONE: Final = Range(1, 1, 1)
OF_TOOLS: Final = Range(1, 5, 20)
"""Questions of a step that calls tools by itself."""
ANSWER: Final = Range(60, 400, 2000)
FORMED: Final = Range(20, 150, 600)
"""Tokens of an answer that has a schema."""
WRITTEN: Final = Range(150, 900, 5000)
"""Tokens of an answer that changes files."""
ITEMS: Final = Range(1, 4, 20)
"""Of a list that says nothing of its length."""
PLANNED: Final = Range(1, 3, MOST_PLANNED)
CHECKS: Final = Range(1, 10, 60)
"""Seconds of a program that judges."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What is known of a model that will be asked."""

    model: str = ""
    provider: str = ""
    price: Callable[[float, float], float] | None = None
    """US dollars of so many tokens in and out; None: nobody knows."""
    known: str = ""
    """How the price is known: `configured`, `table 2026-10-01`."""
    tokens_per_s: float | None = None
    """As it was measured here; None: it has not answered yet."""
    free_tools: bool = True
    """Calls tools by itself; a small model is asked once a try."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run is likely to use."""

    steps: int
    requests: Range
    tokens_in: Range
    tokens_out: Range
    cost: Range | None
    """US dollars; None: for one of the models nobody knows what it costs."""
    seconds: Range | None
    """Time at work; None: one of the models has not been measured yet."""
    known: tuple[str, ...] = ()
    """How the prices are known."""
    unknown: tuple[str, ...] = ()
    """Models without a known price."""
    unmeasured: tuple[str, ...] = ()
    """Models that have not answered here yet."""

    @property
    def tokens(self) -> Range:
        """In and out together."""
        return self.tokens_in + self.tokens_out


@dataclass(slots=True)
class _Sum:
    requests: Range = field(default_factory=Range)
    tokens_in: Range = field(default_factory=Range)
    tokens_out: Range = field(default_factory=Range)
    cost: Range = field(default_factory=Range)
    work: Range = field(default_factory=Range)
    """Seconds of all steps, one after the other."""
    paths: dict[str, Range] = field(default_factory=dict)
    """Seconds until a step ends, as far as what it waits for decides."""


def estimate(plan: Plan, values: Mapping[str, str], rates: Mapping[str, Rate]) -> Estimate:
    """Return what a run of the plan is likely to use. `rates` are those of the plan's steps, by step id."""
    total = _Sum()
    for step in ordered(plan.steps):
        _add(total, plan, step, values, rates.get(step.id, Rate()))
    used = [rates.get(each.id, Rate()) for each in plan.steps if each.kind in AT_WORK]
    unknown = tuple(sorted({each.model or "?" for each in used if each.price is None}))
    slow = tuple(sorted({each.model or "?" for each in used if not each.tokens_per_s}))
    budget = plan.budget
    in_, out = total.tokens_in, total.tokens_out
    if budget.tokens is not None:
        in_ = in_.most(budget.tokens)
        rest = Range(*(budget.tokens - each for each in (in_.low, in_.likely, in_.high)))
        out = Range(min(out.low, rest.low), min(out.likely, rest.likely), min(out.high, rest.high))
    return Estimate(
        len(plan.steps),
        total.requests.most(budget.requests),
        in_,
        out,
        None if unknown else _cost(total, budget),
        None if slow else _time(plan, total).most(budget.seconds),
        tuple(sorted({each.known for each in used if each.known})),
        unknown,
        slow,
    )


def _cost(total: _Sum, budget: Budget) -> Range:
    """Ended by the budget of money, and in proportion by that of tokens."""
    if budget.tokens is None:
        return total.cost.most(budget.money)
    tokens = total.tokens_in + total.tokens_out
    parts = [cost * min(1.0, budget.tokens / max(1.0, used)) for cost, used in _pairs(total.cost, tokens)]
    # Where little is read and much is written the dear end may be cut more than the cheap one.
    return Range(parts[0], max(parts[:2]), max(parts)).most(budget.money)


def _add(total: _Sum, plan: Plan, step: Step, values: Mapping[str, str], rate: Rate) -> None:
    times, side_by_side = times_of(plan, step), _copies(plan, step)
    if step.kind not in AT_WORK:
        seconds = CHECKS if step.kind in ("check", "command", "merge", "outside") else Range()
        _take_time(total, step, seconds * times, seconds)
        return
    calls = OF_TOOLS if step.tools and rate.free_tools and step.answer is None else ONE
    in_ = _read(plan, step, values, calls)
    out = _written(step) * calls if calls is ONE else _written(step) + Range(40, 60, 80) * calls
    total.requests += calls * times
    total.tokens_in += in_ * times
    total.tokens_out += out * times
    if rate.price is not None:
        total.cost += Range(*(rate.price(*each) for each in _pairs(in_ * times, out * times)))
    if rate.tokens_per_s:
        one = Range(*(each / rate.tokens_per_s for each in (out.low, out.likely, out.high)))
        if step.check is not None:
            one += CHECKS
        alone = one * _again(step)
        total_time = one * times
        waves = Range(
            *(
                max(1.0, each / max(1, plan.parallel))
                for each in (side_by_side.low, side_by_side.likely, side_by_side.high)
            )
        )
        _take_time(total, step, total_time, alone * waves)


def _take_time(total: _Sum, step: Step, all_of_it: Range, until: Range) -> None:
    total.work += all_of_it
    begun = [total.paths.get(need, Range()) for need in needs(step)]
    last = Range(*(max((getattr(each, name) for each in begun), default=0.0) for name in ("low", "likely", "high")))
    total.paths[step.id] = last + until


def _time(plan: Plan, total: _Sum) -> Range:
    """The longest way through the graph, or all the work shared out, whichever takes longer."""
    ends = list(total.paths.values()) or [Range()]
    longest = [max(getattr(each, name) for each in ends) for name in ("low", "likely", "high")]
    work = (total.work.low, total.work.likely, total.work.high)
    return Range(*(max(way, all_ / max(1, plan.parallel)) for way, all_ in zip(longest, work, strict=True)))


def times_of(plan: Plan, step: Step) -> Range:
    """Return how often a step is done: for each of a list, side by side, again, and what a planner adds to it."""
    grown = ONE + PLANNED if step.kind == "planner" else ONE
    return _copies(plan, step) * _again(step) * grown


def _copies(plan: Plan, step: Step) -> Range:
    tries = Range(step.best_of, step.best_of, step.best_of)
    if not step.each:
        return tries
    giver = next((each for each in plan.steps if each.id == step.each), None)
    least, most = _length(giver.answer if giver else None)
    likely = min(max(ITEMS.likely, least), most)
    return Range(least, likely, most) * tries


def _again(step: Step) -> Range:
    """A check may send it back once more; at the worst all tries are needed."""
    return Range(1, 1.3 if step.check else 1.05, 1 + step.retry.times)


def _length(answer: Any) -> tuple[float, float]:
    """How long the list in an answer is, at least and at most."""
    schema = answer if isinstance(answer, Mapping) else {}
    inside = schema.get("properties")
    if schema.get("type") != "array" and isinstance(inside, Mapping):
        schema = next(
            (each for each in inside.values() if isinstance(each, Mapping) and each.get("type") == "array"), {}
        )
    least, most = schema.get("minItems", ITEMS.low), schema.get("maxItems", ITEMS.high)
    if not isinstance(least, int | float) or not isinstance(most, int | float):
        return ITEMS.low, ITEMS.high
    most = min(max(most, 1), MOST_COPIES)
    return min(max(least, 1), most), most


def _written(step: Step) -> Range:
    if step.kind == "planner" or step.answer is not None:
        return FORMED
    return WRITTEN if step.workspace == "worktree" else ANSWER


def _read(plan: Plan, step: Step, values: Mapping[str, str], calls: Range) -> Range:
    """Tokens that the model reads, all its questions together: each holds what was said before it."""
    base = PROMPT + _goal(plan, step, values)
    more = Range(*(SEEN * max(0.0, each - 1) / 2 for each in (calls.low, calls.likely, calls.high)))
    files = Range(0, 800, 4000) if step.workspace != "none" else Range()
    return (Range(base, base, base * 1.5) + more + files) * calls


def _goal(plan: Plan, step: Step, values: Mapping[str, str]) -> float:
    tokens = len(step.goal) / CHARACTERS
    by_id = {each.id: each for each in plan.steps}
    try:
        asked = names(step.goal)
    except BadText:
        return tokens
    for name in asked:
        giver = by_id.get(name.step)
        if giver is not None:
            tokens += _written(giver).likely * _copies(plan, giver).likely
        elif name.of in values:
            tokens += len(values[name.of]) / CHARACTERS
    return tokens


def _pairs(one: Range, other: Range) -> tuple[tuple[float, float], ...]:
    return (one.low, other.low), (one.likely, other.likely), (one.high, other.high)


def words(found: Estimate, plan: Plan) -> str:
    """Say it to a person who has to decide."""
    asked = f"about {_whole(found.requests)} questions and {_whole(found.tokens)} tokens{_money(found)}"
    if not found.requests.high and not found.tokens.high:
        asked = "no questions to models"
    limits = _limits(plan)
    end = f"It ends at {limits}." if limits else "It has no budget."
    return f"{plan.title}: {_count(found.steps, 'step')}, {asked}{_duration(found)}. {end}"


def _money(found: Estimate) -> str:
    if found.cost is None:
        return f", at a price that nobody knows ({', '.join(found.unknown)})"
    if not found.cost.high:
        return ", for nothing"
    how = f", by {', '.join(found.known)}" if found.known else ""
    cost = found.cost
    return f", for {dollars(cost.likely)} ({dollars(cost.low)} to {dollars(cost.high)}{how})"


def _duration(found: Estimate) -> str:
    if found.seconds is None:
        return ""
    low, likely, high = (_span(each) for each in (found.seconds.low, found.seconds.likely, found.seconds.high))
    return f", in {likely} ({low} to {high})"


def _limits(plan: Plan) -> str:
    budget = plan.budget
    said = [
        f"{budget.requests:,} questions" if budget.requests is not None else "",
        f"{budget.tokens:,} tokens" if budget.tokens is not None else "",
        dollars(budget.money) if budget.money is not None else "",
        _span(budget.seconds) if budget.seconds is not None else "",
    ]
    return ", ".join(each for each in said if each)


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _whole(found: Range) -> str:
    low, likely, high = (_rounded(each) for each in (found.low, found.likely, found.high))
    return f"{likely:,} ({low:,} to {high:,})"


def _rounded(value: float) -> int:
    """To two figures: more would claim to be known."""
    whole = round(value)
    return whole if whole < 100 else int(round(whole, 2 - len(str(whole))))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def estimate_data(found: Estimate) -> dict[str, Any]:
    """Return it as a run keeps it, to be held against what it used."""
    data: dict[str, Any] = asdict(found)
    return {**data, "tokens": asdict(found.tokens)}
