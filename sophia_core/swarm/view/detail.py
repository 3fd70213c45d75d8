"""All there is to say of one step, or of one request, as lines to read through. Pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Final

from sophia_core.metrics.view.text import Line, Piece, Tone
from sophia_core.present import cells
from sophia_core.sanitize import sanitize
from sophia_core.swarm.run_log import Live
from sophia_core.swarm.view.shapes import Asked, Call, Decided, RunView, StepView
from sophia_core.swarm.view.signs import lasted, money, sign, tokens, tone
from sophia_core.swarm.view.tables import doing

_NAME: Final = re.compile(r"\{([a-z][a-z0-9_]{0,39})\}")
MOST_LINES: Final = 400
MOST_OF_A_CALL: Final = 12
MOST_SHORT: Final = 3
SAID: Final = {"allow": "allowed", "deny": "denied", "answered": "answered", "withdrawn": "taken back"}


def step_lines(
    view: RunView, step: StepView, live: Live | None, now: int, width: int, *, ascii_only: bool = False
) -> list[Line]:
    """What a step is to do, does and did; what it says this moment last, where one reads on."""
    found = [_title(step, now, ascii_only)]
    found += _figures(step, width)
    if step.error:
        looks: Tone = "bad" if step.state == "failed" else "warning"
        found += wrapped(" ".join(filter(None, (step.error, step.hint))), width, looks)
    for asked in [*view.approvals.values(), *view.inputs.values()]:
        if asked.step == step.id:
            found += [(), *request_lines(asked, width)]
    for ended in view.decided:
        if ended.asked.step == step.id:
            found.append(_decided(ended))
    if step.goal:
        found += [(), (Piece("Goal", "title"),), *wrapped(_told(step.goal, view), width, most=8)]
    if step.calls:
        found += [(), (Piece("What it did", "title"),)]
        for call in step.calls[-20:]:
            found += _call(call, width, ascii_only)
    if step.diff is not None:
        diff = step.diff
        files = ", ".join(diff.files[:6]) + (" …" if len(diff.files) > 6 else "")
        looks = "bad" if diff.state == "conflict" else "good" if diff.state == "applied" else "warning"
        found += [(), (Piece("Changes", "title"), Piece(f"  +{diff.added}", "good"), Piece(f" -{diff.removed}", "bad"),
                       Piece(f"  {diff.state}  ", looks), Piece(files, "muted"))]  # fmt: skip
        found += diff_lines(diff.text, width)
    if step.result:
        found += [(), (Piece("Result", "title"),), *wrapped(step.result, width, most=MOST_LINES // 2)]
    if live is not None and live.text and not step.ended:
        found += [(), (Piece("Says", "title"),), *wrapped(sanitize(live.text[-4_000:]), width, most=60, last=True)]
    return found[: MOST_LINES + 80]


def _told(goal: str, view: RunView) -> str:
    """A goal with what the run was given in its places; what steps before it say stays named."""
    values = dict(view.values)
    return _NAME.sub(lambda found: values.get(found[1], found[0]), goal)


def _title(step: StepView, now: int, ascii_only: bool) -> Line:
    took = lasted((step.ended_at or now) - step.started_at) if step.started_at else ""
    who = step.role if step.kind == "agent" else step.kind
    more = "  ".join(filter(None, (who, step.model, took, f"try {step.attempts}" if step.attempts > 1 else "")))
    state = f"{sign(step.state, ascii_only=ascii_only)} {step.state}"
    given_up: tuple[Piece, ...] = (Piece("  given up", "bad"),) if step.dead else ()
    return (
        Piece(step.id, "title"),
        Piece("  "),
        Piece(state, tone(step.state)),
        *given_up,
        Piece(f"  {more}", "muted"),
    )


def _figures(step: StepView, width: int) -> list[Line]:
    parts = []
    if step.tokens:
        parts.append(f"{tokens(step.tokens_in)} in, {tokens(step.tokens_out)} out in {_calls(step.requests or 1)}")
    if step.cost:
        parts.append(money(step.cost, guessed=step.cost_known not in ("", "reported")))
    if step.worker:
        parts.append(f"on {step.worker}")
    if step.after:
        parts.append(f"after {', '.join(step.after)}")
    return wrapped("  ".join(parts), width, "muted", most=2) if parts else []


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count} calls"


def request_lines(asked: Asked, width: int) -> list[Line]:
    """What a person is asked, with all that it would do."""
    if asked.origin == "input":
        return [(Piece("Asks you", "warning"),), *wrapped(asked.what, width), (Piece("Enter answers.", "muted"),)]
    found: list[Line] = [(Piece("Waits for you  ", "warning"), Piece(asked.tool, "title"))]
    found += wrapped(asked.what, width)
    if asked.why:
        found += wrapped(asked.why, width, "muted")
    if asked.cost:
        found.append((Piece(f"Costs about {money(asked.cost)}", "muted"),))
    if asked.command:
        found += [(), *wrapped(f"$ {asked.command}", width, "accent")]
    if asked.diff:
        found += [(), *diff_lines(asked.diff, width)]
    return found


def _decided(ended: Decided) -> Line:
    said = SAID.get(ended.decision, ended.decision)
    looks: Tone = "bad" if ended.decision == "deny" else "good"
    by = f" by {ended.by}" if ended.by else ""
    note = f": {ended.note}" if ended.note else ""
    return (Piece(f"{said}{by}", looks), Piece(f"  {ended.asked.what}{note}", "muted"))


def _call(call: Call, width: int, ascii_only: bool) -> list[Line]:
    state = "running" if call.ok is None else "finished" if call.ok else "failed"
    took = f"  {lasted(call.seconds * 1000)}" if call.seconds else ""
    used = f"  {tokens(call.tokens)} tok" if call.tokens else ""
    head = (
        Piece(f"{sign(state, ascii_only=ascii_only)} ", tone(state)),
        Piece(call.what or "?", "accent"),
        Piece(f"{took}{used}", "muted"),
    )
    found: list[Line] = [head]
    if call.arguments and call.arguments not in ("{}", "null"):
        found += wrapped(" ".join(call.arguments.split()), width - 2, "muted", most=MOST_SHORT, indent=2)
    if call.text:
        most = MOST_OF_A_CALL if call.ok is False or call.model else MOST_SHORT
        found += wrapped(call.text, width - 2, most=most, indent=2)
    return found


def diff_lines(text: str, width: int, most: int = MOST_LINES // 2) -> list[Line]:
    """A diff, what comes and what goes in their tones."""
    found: list[Line] = []
    rows = text.split("\n")
    for row in rows[:most]:
        looks: Tone = ""
        if row.startswith(("+++", "---", "diff ", "index ")):
            looks = "muted"
        elif row.startswith("@@"):
            looks = "accent"
        elif row.startswith("+"):
            looks = "good"
        elif row.startswith("-"):
            looks = "bad"
        found.append((Piece(row.replace("\t", "    ")[: max(1, width)], looks),))
    if len(rows) > most:
        found.append((Piece(f"… {len(rows) - most} more lines", "muted"),))
    return found


def wrapped(
    text: str, width: int, looks: Tone = "", *, most: int = MOST_LINES, indent: int = 0, last: bool = False
) -> list[Line]:
    """The text in lines of at most so many cells: the first ones, or the last."""
    rows = list(_rows(text, max(8, width), most * (20 if last else 1) + 1))
    left = len(rows) - most
    if left > 0:
        rows = rows[-most:] if last else [*rows[: most - 1], "…"]
    return [(Piece(" " * indent + row, looks),) if row else () for row in rows]


def _rows(text: str, width: int, most: int) -> Iterator[str]:
    count = 0
    for line in text.replace("\t", "    ").split("\n"):
        for row in _cut(line, width):
            yield row
            count += 1
            if count >= most:
                return


def _cut(line: str, width: int) -> Iterator[str]:
    if line.isascii():
        if len(line) <= width:
            yield line
        else:
            yield from textwrap.wrap(line, width, replace_whitespace=False, drop_whitespace=True) or [""]
        return
    row, used = "", 0
    for char in line:
        wide = cells(char)
        if used + wide > width:
            yield row
            row, used = "", 0
        row += char
        used += wide
    yield row


def summary_words(step: StepView, live: Live | None) -> str:
    """One line for a list without columns."""
    return f"{step.id}: {step.state}, {doing(step, live)[0]}"
