"""Kills SOPHIA with `kill -9` in the middle of answers, again and again, and looks at what it finds afterwards.

    python -m benchmarks.kills [--kills 50] [--screens 10] [--seed N]

Each time a real process streams an answer into one shared store and is killed at a random moment: mostly the runtime
without a screen, which tells through a pipe what it published and when; sometimes the whole app in tmux, where what
counts is what was on the screen. Then the store is opened again and must hold every question that was accepted so far
and at least all text shown more than 300 ms before the kill; the text must be the beginning of what was sent, the
answer must be `interrupted`, and the store must be sound.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import ROOT, child_env, spread, table
from benchmarks.streaming_server import Kind, document, serving
from benchmarks.terminal import READY, SOPHIA, fresh_home, has_tmux, screen

if TYPE_CHECKING:
    from local_store import Message, Store
    from sophia_core.events import Event

PROMISED_MS = 300
"""Text shown earlier than this before a kill is never lost."""
NOT_ABOUT_KILLS = frozenset({"key slots", "recovery key"})
"""Checks that tell a person to protect the store better; a new store has not been."""
TOKENS = 1200
COUNTED = re.compile(r"\b\d{5}\b")


@dataclass(slots=True)
class Killed:
    """What had been seen of one answer when its process was killed."""

    question: str
    kind: Kind
    accepted: bool
    """Whether the question had been shown as asked."""
    finished: bool
    """Whether the end of the answer had been shown."""
    at: float
    """When the process was killed, in monotonic seconds."""
    shown: list[tuple[float, int]] = field(default_factory=list)
    """(when, how many characters) had been shown, both growing."""

    @property
    def chars(self) -> int:
        """Characters that had been shown at all."""
        return self.shown[-1][1] if self.shown else 0

    def promised(self) -> int:
        """Characters that must be found again."""
        limit = self.at - PROMISED_MS / 1000
        return max((chars for when, chars in self.shown if when < limit), default=0)

    def gap_ms(self, kept: int) -> float:
        """Milliseconds before the kill that the oldest lost text had been shown; 0.0 when nothing was lost."""
        return next(((self.at - when) * 1000 for when, chars in self.shown if chars > kept), 0.0)


@dataclass(frozen=True, slots=True)
class Found:
    """What one kill left behind."""

    how: str
    status: str
    shown: int
    kept: int
    gap_ms: float


# -- the process that is killed


def child(question: str) -> None:
    """Asks one question with the real runtime and writes what it publishes, when it publishes it, to stdout."""
    from sophia_core.runtime import open_runtime
    from sophia_core.settings import load_settings

    async def ask() -> None:
        async with open_runtime(load_settings()) as runtime:
            runtime.bus.subscribe(_tell)
            await runtime.run("chat.send", question)

    asyncio.run(ask())


def _tell(event: Event) -> None:
    from sophia_core.events import TextDelta, TurnFinished, TurnStarted

    match event:
        case TurnStarted():
            what: dict[str, object] = {"kind": "asked"}
        case TextDelta(text=text):
            what = {"kind": "text", "chars": len(text)}
        case TurnFinished(status=status):
            what = {"kind": "finished", "status": status}
        case _:
            return
    # One write past every buffer: what the reader has not got when we are killed was not shown.
    os.write(1, json.dumps({**what, "at": time.monotonic()}).encode() + b"\n")


# -- killing it


def kill_runtime(home: Path, url: str, question: str, after_chars: int, after_s: float = 0.0) -> Killed:
    """Runs the runtime and kills it `after_s` seconds after it has published so many characters, or at its end."""
    command = [sys.executable, "-m", "benchmarks.kills", "--child", question]
    with subprocess.Popen(command, cwd=ROOT, env=child_env(home, url), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        seen = Killed(question, "mix", accepted=False, finished=False, at=0.0)
        try:
            for line in process.stdout:
                _note(seen, line)
                if seen.finished or (seen.accepted and seen.chars >= after_chars):
                    break
            if after_s:
                time.sleep(after_s)
        finally:
            process.send_signal(signal.SIGKILL)
            seen.at = time.monotonic()
        for line in process.stdout:
            _note(seen, line)
    return seen


def _note(seen: Killed, line: bytes) -> None:
    if not line.endswith(b"\n"):
        return
    told = json.loads(line)
    match told["kind"]:
        case "asked":
            seen.accepted = True
        case "text":
            seen.shown.append((told["at"], seen.chars + told["chars"]))
        case "finished":
            seen.finished = True


def kill_screen(home: Path, url: str, question: str, after_chars: int, after_s: float = 0.0) -> Killed:
    """Runs the whole app in tmux and kills it `after_s` seconds after so many characters are on its screen."""
    ends = _ends()
    seen = Killed(question, "count", accepted=False, finished=False, at=0.0)
    with screen(SOPHIA, child_env(home, url)) as running:
        running.wait_for(READY, 60)
        running.type(question)
        running.press("Enter")
        patience, until = time.monotonic() + 60, 0.0
        while not until or time.monotonic() < until:
            time.sleep(0.01)
            # The newest number on the screen tells how much text was shown by now; larger ones are ports.
            counted = [number for each in COUNTED.findall(running.text()) if (number := int(each)) < len(ends)]
            if counted:
                seen.accepted = True
                seen.shown.append((time.monotonic(), max(seen.chars, ends[max(counted)])))
            if not until and seen.accepted and seen.chars >= after_chars:
                until = time.monotonic() + after_s
            if time.monotonic() > patience:
                raise TimeoutError(f"no answer on the screen:\n{running.text()}")
        os.kill(running.pid, signal.SIGKILL)
        seen.at = time.monotonic()
    return seen


def _ends() -> list[int]:
    """Where each numbered word ends in the text."""
    ends, size = [], 0
    for piece in document(TOKENS, "count"):
        ends.append(size + len(piece.rstrip()))
        size += len(piece)
    return ends[:-1]


# -- what is left


async def verify(home: Path, killed: list[Killed], how: str) -> Found:
    """Opens the store as the next start does and returns what the last kill left.

    Raises AssertionError where a promise is broken: to this kill or to the questions of those before it.
    """
    async with await _open_again(home) as store:
        await store.turns.recover()
        await _check(store)
        answers = await _answers(store)
    for each in killed:
        assert each.question in answers or not each.accepted, f"the question {each.question!r} is lost"
    return judge(killed[-1], answers.get(killed[-1].question), how)


async def verify_pages(home: Path) -> None:
    """Reads every page of the store. Raises AssertionError where it is not sound."""
    async with await _open_again(home) as store:
        await _check(store, full=True)


async def _open_again(home: Path) -> Store:
    from local_store import StorePaths, open_store
    from sophia_core.paths import resolve_paths

    paths = resolve_paths({"SOPHIA_HOME": str(home)})
    return await open_store(StorePaths(paths.store_dir, paths.device_dir), allow_keyring=False)


async def _check(store: Store, *, full: bool = False) -> None:
    unsound = [each for each in await store.check(full=full) if not each.ok and each.name not in NOT_ABOUT_KILLS]
    assert not unsound, f"the store is not sound: {unsound}"


async def _answers(store: Store) -> dict[str, Message]:
    """The answer to each stored question."""
    found: dict[str, Message] = {}
    for session in await store.sessions.list(limit=10_000):
        messages = await store.messages.all(session.id)
        asked = {message.id: message.text for message in messages if message.role == "user"}
        found |= {asked[each.parent_id]: each for each in messages if each.parent_id in asked}
    return found


def judge(killed: Killed, answer: Message | None, how: str) -> Found:
    """What was kept of the answer; AssertionError where that is not what was promised."""
    if answer is None:
        assert not killed.shown, "an answer was shown that is not in the store"
        return Found(how, "not asked yet", 0, 0, 0.0)
    whole = "".join(document(TOKENS, killed.kind))
    assert whole.startswith(answer.text), f"this was never sent: {answer.text[-80:]!r}"
    # A kill between the last write and telling of it finds a complete answer; before that, it must say interrupted.
    ended = killed.finished or answer.text == whole
    assert answer.status == ("complete" if ended else "interrupted"), f"the answer says {answer.status!r}"
    kept, promised = len(answer.text), killed.promised()
    gap = killed.gap_ms(kept)
    assert kept >= promised, (
        f"{promised - kept} of {promised} characters are lost; the first was shown {gap:.0f} ms ago"
    )
    return Found(how, answer.status, killed.chars, kept, gap)


# -- fifty of them


def series(kills: int, screens: int, chance: random.Random) -> list[Found]:
    """Kills so many processes, `screens` of them with a screen, and judges each."""
    found: list[Found] = []
    killed: list[Killed] = []
    with serving(tokens=TOKENS) as url, fresh_home() as home:
        for number in range(kills):
            with_screen = number * screens // kills != (number + 1) * screens // kills
            rate, kill = (400, kill_screen) if with_screen else (chance.choice((150, 400, 1500)), kill_runtime)
            kind = "count" if with_screen else "mix"
            question = f"Question {number} of {kills}: tokens={TOKENS} rate={rate} kind={kind}"
            chars = chance.choice((0, 0, 1, chance.randrange(2000)))
            killed.append(kill(home, url, question, chars, chance.random() * 1.1))
            found.append(asyncio.run(verify(home, killed, "screen" if with_screen else "runtime")))
        asyncio.run(verify_pages(home))
    return found


def report(found: list[Found]) -> None:
    """Prints what was found, per kind of process."""
    rows = []
    for how in dict.fromkeys(each.how for each in found):
        these = [each for each in found if each.how == how]
        gaps = spread([each.gap_ms for each in these])
        rows.append(
            {
                "killed": how,
                "kills": len(these),
                "interrupted": sum(each.status == "interrupted" for each in these),
                "gap p50 ms": round(gaps.p50),
                "worst gap ms": round(gaps.most),
                "of the promise": gaps.most / PROMISED_MS,
                "chars shown": sum(each.shown for each in these),
                "chars kept": sum(each.kept for each in these),
            }
        )
    print(table(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument(
        "--screens", type=int, default=None, help="how many of them run the whole app (default: a fifth)"
    )
    parser.add_argument("--seed", type=int, default=None, help="repeats the moments of an earlier run")
    parser.add_argument("--child", metavar="QUESTION", help="be the process that is killed")
    args = parser.parse_args()
    if args.child:
        child(args.child)
        return
    seed = random.randrange(1_000_000) if args.seed is None else args.seed
    screens = (args.kills // 5 if args.screens is None else args.screens) if has_tmux() else 0
    print(f"kills: {args.kills} times kill -9 while an answer streams, {screens} of them the whole app (seed {seed})")
    report(series(args.kills, screens, random.Random(seed)))
    print("  every accepted question found, every answer a beginning of what was sent, store sound each time")


if __name__ == "__main__":
    main()
