"""Writes the tables of docs/when-things-fail.md by letting every fault happen.

    python -m tools.fault_matrix            writes them into the page
    python -m tools.fault_matrix --check    writes nothing; fails when the page says something else

Each fault is a switch of the contract server that the tests use. `sophia ask` runs against it in this process, with a
store of its own: once with that server alone, once more where questions may be queued, and once with a second server
that is well. What a row says is what was printed, stored and returned then. Nothing outside this machine is asked.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from local_store import Message
from sophia_cli.answer import exit_code
from sophia_cli.ask import answer_in, writer_for
from sophia_cli.console import Console, Stream
from sophia_cli.opening import opened
from sophia_cli.parser import parse
from sophia_core.events import AttemptFailed, Event, LoginNeeded, TurnFinished
from sophia_core.settings import load_settings
from tests.backend_client.certificates import self_signed, serving_with
from tests.contract_server import TEXT, ContractServer

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs/when-things-fail.md"
FIRST, SECOND = "gh200-a", "gh200-b"
FIRST_TOKEN_S, IDLE_S, TOTAL_S = 0.9, 0.7, 1.6
USUAL: Final = {FIRST_TOKEN_S: "120 s", IDLE_S: "60 s", TOTAL_S: "1800 s"}
"""What the page says in place of the short times used here: the defaults."""
TOLD_TO_WAIT_S: Final = 0.99
AT_ONCE: Final = 6
"""Faults that are tried at the same time."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that can go wrong."""

    title: str
    scenario: str
    """Of the contract server; `!` begins one that is no answer: down, tls, dns, cap, unsigned."""
    slow: bool = False
    """Whether it is left out of the tests: it takes some timeout or pause, or its words are those of this machine."""
    endless: bool = False
    """Whether only the time for the whole answer ends it."""


BEFORE: Final = (
    Fault("connection refused", "!down", True),
    Fault("its name cannot be found (DNS)", "!dns", True),
    Fault("its certificate is not trusted", "!tls", True),
    Fault("accepts, then says nothing", "stall_headers", True),
    Fault("headers, then nothing", "stall_first", True),
    Fault("keep-alive comments, and never a word", "keep_alive_forever", True),
    Fault("headers a byte at a time, for ever", "slow_loris:head", True),
    Fault("connection reset before the headers", "reset_headers", True),
    Fault("connection reset before the first word", "reset_first", True),
    Fault("the stream ends before the first word", "empty", True),
    Fault("an error as the first event", "sse_error_first", True),
    Fault("401, wrong key", "openai_key"),
    Fault("nobody is signed in where that is needed", "!unsigned"),
    Fault("402, no credit", "openrouter_credit"),
    Fault("403, not allowed", "status:403"),
    Fault("403, refused by a content policy", "openrouter_moderation"),
    Fault("404, no such model", "vllm_404"),
    Fault("408, timed out at the server", "openrouter_timeout", True),
    Fault("413, too large", "openrouter_large"),
    Fault("400, the conversation is too long for the model", "vllm_context"),
    Fault("400, a wrong request", "vllm_validation"),
    Fault("422, cannot be processed", "vllm_media"),
    Fault("429 without `Retry-After`", "openrouter_limit", True),
    Fault("429 with `Retry-After: 1`", "busy:429:1", True),
    Fault("429 with `Retry-After: 600`", "busy:429:600"),
    Fault("429 that names a time, from a clock a day behind", "skewed:-86400:1", True),
    Fault("429, quota used up", "openai_quota"),
    Fault("500", "vllm_dead", True),
    Fault("502 with a web page", "status:502", True),
    Fault("503, queue full", "vllm_busy", True),
    Fault("503, loading its model", "llamacpp_loading", True),
    Fault("529, overloaded", "openrouter_529", True),
    Fault("307, sent elsewhere", "redirect"),
    Fault("a web page with status 200", "html_200"),
    Fault("JSON in place of a stream", "json_200"),
    Fault("bytes that mean nothing", "garbage"),
    Fault("no HTTP at all", "not_http"),
    Fault("one line of 10 MB", "long_line"),
    Fault("gzip, although it was not asked for", "gzipped"),
    Fault("two different lengths in its headers", "two_headers:length", True),
    Fault("only a paid server could answer, and the daily cap is reached", "!cap"),
)
AFTER: Final = (
    Fault("connection reset", "reset_mid"),
    Fault("cut off within an event", "truncated"),
    Fault("ends without a finish reason", "clean_eof"),
    Fault("`[DONE]` without a finish reason", "done_without_finish:3"),
    Fault("an error event, then `[DONE]`", "sse_error_after"),
    Fault("an error in OpenRouter's form", "openrouter_error_after"),
    Fault("finish reason `abort`", "abort"),
    Fault("hangs", "stall_mid", True),
    Fault("comments, and never another word", "keep_alive_forever:after", True, endless=True),
    Fault("a byte at a time of a line that never ends", "slow_loris:after", True, endless=True),
    Fault("one line of 10 MB", "long_line:after"),
)
HARMLESS: Final = (
    Fault("a character split over several packets", "split_utf8"),
    Fault("one byte at a time", "one_byte"),
    Fault("comments between and within events", "comments"),
    Fault("CRLF line ends", "odd_lines:crlf"),
    Fault("the same header twice", "two_headers:type"),
    Fault("another content type", "wrong_type:text/plain"),
    Fault("no content type", "wrong_type"),
    Fault("a server whose clock is a day behind", "skewed:-86400"),
    Fault("a stream faster than any reader", "tokens:5000"),
    Fault("broken off after the finish reason", "no_done"),
    Fault("`[DONE]`, and then it never hangs up", "stall_end"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one question ended."""

    finished: TurnFinished
    stored: Message
    said: str
    """On stderr, lines joined."""
    code: int
    tries: Counter[str]
    pauses: tuple[float, ...]
    queued: bool
    unsigned: bool
    """Somebody has to sign in first."""


@asynccontextmanager
async def _faulty(fault: Fault, folder: Path) -> AsyncIterator[str]:
    """The address of a server that fails so."""
    kind = fault.scenario[1:] if fault.scenario.startswith("!") else ""
    if kind == "dns":
        yield "http://gh200-a.invalid/v1"
        return
    async with ContractServer(serving_with(self_signed(folder)) if kind == "tls" else None) as server:
        if not kind:
            server.fault = fault.scenario
        if kind == "down":
            await server.go_down()
        yield server.base_url


def _table(name: str, base_url: str, *more: str) -> str:
    """A `[[providers]]` entry that needs no look at the server's list of models."""
    lines = (
        "[[providers]]",
        f'name = "{name}"',
        f'base_url = "{base_url}"',
        'model = "contract-model"',
        'kind = "vllm"',
        "context_window = 32768",
        *more,
    )
    return "\n".join(lines)


async def suffer(fault: Fault, folder: Path, *, second: str = "", queue: bool = False) -> Outcome:
    """Asks one question through a server that fails so; `second` is the address of one that is well."""
    home = folder / f"{'queue' if queue else 'two' if second else 'one'}"
    home.mkdir()
    capped = fault.scenario == "!cap"
    more = ["paid = true"] if capped else []
    more += ['issuer = "https://login.invalid"'] if fault.scenario == "!unsigned" else []
    more += [f"first_token_timeout = {FIRST_TOKEN_S}", f"idle_timeout = {IDLE_S}"] if fault.slow else []
    more += [f"total_timeout = {TOTAL_S}"] if fault.endless else []
    async with _faulty(fault, home) as address:
        config = f"[routing]\nembedded_fallback = false\n{'daily_cap_usd = 0.0' if capped else ''}\n"
        config += _table(FIRST, address, *more) + ("\n" + _table(SECOND, second) if second else "")
        (home / "config.toml").write_text(config, "utf-8")
        words = ["hi", *(["--verbose"] if second else []), *(["--queue"] if queue else [])]
        outcome = await _ask(words, home)
    return outcome


async def _ask(words: list[str], home: Path) -> Outcome:
    args = parse("ask", words)[1]
    loaded = load_settings({"SOPHIA_HOME": str(home)})
    assert not loaded.problems, loaded.problems  # noqa: S101
    events: list[Event] = []
    with (home / "out").open("wb") as out, (home / "err").open("wb") as err:
        console = Console(Stream(out.fileno(), terminal=False), Stream(err.fileno(), terminal=False))
        writer = writer_for(args, console)
        async with opened(loaded, console, [writer, events.append]) as runtime:
            finished = await answer_in("hi", args, runtime, console, writer)
            assert runtime.vault.store is not None  # noqa: S101
            stored = await runtime.vault.store.messages.get(finished.answer_id)
            queued = bool(await runtime.vault.store.outbox.list())
        code = console.exit_code(exit_code(finished))
    failed = [event for event in events if isinstance(event, AttemptFailed)]
    tries = Counter(event.provider for event in failed if event.provider)
    if finished.provider:
        tries[finished.provider] += 1
    pauses = tuple(event.wait_s for event in failed if event.retrying and event.wait_s)
    said = (home / "err").read_text("utf-8")
    assert (home / "out").read_text("utf-8").rstrip("\n") == finished.text  # noqa: S101
    unsigned = any(isinstance(event, LoginNeeded) for event in events)
    return Outcome(finished, stored, said, code, tries, pauses, queued, unsigned)


# What a row says


def _shown(said: str) -> str:
    """What was printed, as the page shows it: without the address and the short times of this run."""
    for seconds, usual in USUAL.items():
        said = said.replace(f"{seconds:g} s", usual)
    said = re.sub(r"127\.0\.0\.1:\d+", "gh200-a.example:8000", said)
    said = re.sub(r" \(_ssl\.c:\d+\)", "", said)
    lines = [line.strip().removeprefix("sophia: ") for line in said.splitlines()]
    return "<br>".join(_cell(line) for line in lines if line)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")


def _kept(outcome: Outcome) -> str:
    stored = outcome.stored
    what = {"complete": "the answer", "partial": "the text so far"}.get(stored.status, "the question")
    assert bool(stored.text) == (stored.status != "failed")  # noqa: S101
    return f"{what}, *{stored.status}*"


def _done(alone: Outcome, queue: Outcome) -> str:
    if alone.finished.status == "partial":
        return "asks once; `/continue`"
    count = alone.tries[FIRST]
    asked = {0: "does not ask", 1: "asks once"}.get(count, f"asks {count} times")
    if alone.unsigned:
        asked = "does not ask"
    if alone.pauses and min(alone.pauses) >= TOLD_TO_WAIT_S:
        asked += ", as late as it was told to"
    return asked + ("; queues" if queue.queued else "")


def _with_second(alone: Outcome, both: Outcome) -> str:
    if both.finished.provider != SECOND:
        assert (both.code, both.stored.text) == (alone.code, alone.stored.text)  # noqa: S101
        return "is not asked"
    assert both.finished.text == TEXT  # noqa: S101
    assert both.tries[FIRST] <= 1  # noqa: S101
    return "answers"


async def row(fault: Fault, second: str) -> str:
    """The row of one fault."""
    with TemporaryDirectory(prefix="sophia-faults-") as name:
        folder = Path(name)
        alone = await suffer(fault, folder)
        whole = alone.finished.status == "complete"
        cells = [fault.title, _shown(alone.said) or "the answer", _kept(alone)]
        if whole:
            assert alone.stored.text == alone.finished.text  # noqa: S101
            expected = " token" * 5000 if fault.scenario.startswith("tokens") else TEXT
            assert alone.finished.text == expected, fault  # noqa: S101
        else:
            queue = await suffer(fault, folder, queue=True)
            both = await suffer(fault, folder, second=second)
            cells += [_done(alone, queue), _with_second(alone, both)]
        cells.append(str(alone.code))
    return f"| {' | '.join(cells)} |"


HEAD: Final = (
    "| fault | what you read | what is kept | what SOPHIA does | a second server | exit code |",
    "|---|---|---|---|---|---|",
)
SHORT_HEAD: Final = ("| oddity | what you read | what is kept | exit code |", "|---|---|---|---|")
TABLES: Final = {"before": (BEFORE, HEAD), "after": (AFTER, HEAD), "harmless": (HARMLESS, SHORT_HEAD)}


async def rows(faults: Iterable[Fault]) -> list[str]:
    """The rows of these faults, tried some at a time."""
    few = asyncio.Semaphore(AT_ONCE)
    async with ContractServer() as well:

        async def one(fault: Fault) -> str:
            async with few:
                return await row(fault, well.base_url)

        return await asyncio.gather(*(one(fault) for fault in faults))


def written(page: str, name: str, lines: Iterable[str]) -> str:
    """The page with one table replaced."""
    begin, end = f"<!-- {name}: made by tools/fault_matrix.py -->\n", f"<!-- end of {name} -->"
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{PAGE} has no place for the table {name!r}")
    return f"{before}{begin}{chr(10).join(lines)}\n{end}{after}"


@contextlib.contextmanager
def plain_environment() -> Iterator[None]:
    """No keyring, no proxy, no settings of whoever runs this."""
    kept = dict(os.environ)
    for each in [name for name in os.environ if name.startswith("SOPHIA_") or name.lower().endswith("_proxy")]:
        del os.environ[each]
    os.environ["SOPHIA_NO_KEYRING"] = "1"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


def main() -> int:
    """Makes the tables; with --check says whether the page has them."""
    parser = argparse.ArgumentParser(description="Writes the tables of docs/when-things-fail.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page says something else")
    check = parser.parse_args().check
    page = old = PAGE.read_text("utf-8")
    with plain_environment():
        made = asyncio.run(rows([fault for faults, _ in TABLES.values() for fault in faults]))
    for name, (faults, head) in TABLES.items():
        page = written(page, name, [*head, *made[: len(faults)]])
        made = made[len(faults) :]
    if check:
        print(f"{PAGE.name}: {'up to date' if page == old else 'out of date'}")
        return int(page != old)
    PAGE.write_text(page, "utf-8")
    print(f"{PAGE.name}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
