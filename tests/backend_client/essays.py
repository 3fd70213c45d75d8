"""Answers whose every byte is known beforehand, so that whoever reads one can be held to it.

The text depends on the question and on the server alone. The question says `essay 17`; the scenario is `essay:NAME` for
the server of that name, `essay:NAME:truncated` and so on where it fails on the way. A partial answer that is to be gone
on with is gone on with exactly where it stops, also where another server began it.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Mapping
from typing import Any, Final

from tests.backend_client.answers import Answer
from tests.backend_client.scenarios import ERRORS, Scenario, into

ESSAYS: Final[dict[str, Scenario]] = {}
CUTS: Final = ("truncated", "clean_eof", "reset", "stall", "error", "done")
"""How an essay may end before its time."""

_PARTS: Final = ("the ", "link ", "holds, ", "grüße ", "🙂 ", "two\n\n", "words ", "später ", "end; ", "`code` ")
_ASKED: Final = re.compile(r"\bessay (\d+)")
_BEGAN: Final = re.compile(r"\[([\w-]+) (\d+)\] ")


def pieces(name: str, number: int) -> list[str]:
    """Return the deltas of the essay that the server `name` writes for question `number`."""
    chance = random.Random(number)  # noqa: S311
    return [f"[{name} {number}] ", *(chance.choice(_PARTS) for _ in range(chance.randint(4, 12))), "Done."]


def essay_text(name: str, number: int) -> str:
    """Return the whole essay."""
    return "".join(pieces(name, number))


def rest_of(name: str, body: Mapping[str, Any]) -> list[str]:
    """Return the deltas that are still to be sent: all of the essay, or what is missing of one that was begun."""
    said = [(str(each.get("role")), str(each.get("content") or "")) for each in body.get("messages") or []]
    begun = [text for role, text in said[-2:] if role == "assistant"]
    if begun and (found := _BEGAN.match(begun[-1])):
        rest = essay_text(found[1], int(found[2])).removeprefix(begun[-1])
        return [rest[:7], rest[7:]] if len(rest) > 7 else [rest]
    asked = _ASKED.findall(" ".join(text for _, text in said))
    return pieces(name, int(asked[-1]) if asked else 0)


@into(ESSAYS)
async def essay(answer: Answer, arguments: list[str]) -> None:
    """`essay:NAME:HOW`: writes the essay, whole or up to its middle and then HOW (one of CUTS)."""
    words = rest_of(arguments[0] if arguments else "server", answer.seen.body)
    how = arguments[1] if len(arguments) > 1 else ""
    await answer.begin()
    await answer.words(*words[: max(1, len(words) // 2)] if how else words)
    if how:
        await _cut(answer, how)
        return
    await answer.delta("stop", content="")
    await answer.usage()
    await answer.done()


async def _cut(answer: Answer, how: str) -> None:
    match how:
        case "truncated":
            await answer.raw(b'data: {"choices": [{"index": 0, "del')
            answer.keep_alive = False
        case "reset":
            # A reset throws away what the client has not read yet, so let it read.
            await asyncio.sleep(0.02)
            answer.reset()
        case "stall":
            await answer.stall()
        case "error":
            await answer.event(ERRORS["vllm_dead"][1])
            await answer.done()
        case "done":
            await answer.done()
        case _:
            await answer.end()
