"""`sophia ctl`: drives a running app through its control socket, or watches it."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sophia_cli import interrupts
from sophia_cli.console import Console
from sophia_cli.exits import FAILED, OK, UNANSWERED, USAGE, Quit, usage_error
from sophia_core.control import LONGEST_LINE, sockets
from sophia_core.paths import resolve_paths

HINT = "In the app: /control.open, or `enabled = true` under [control] in its config."
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def execute(args: argparse.Namespace, console: Console) -> int:
    """Sends the lines one after the other, or watches. Raises Quit."""
    if not args.lines and not args.watch:
        raise usage_error("there is no line to send", "sophia ctl 'chat.send \"hi\"', or sophia ctl --watch")
    return interrupts.run(lambda: control(args, resolve_paths().control_dir, console), console)


async def control(args: argparse.Namespace, folder: Path, console: Console) -> int:
    """Returns the exit code: that of the first line that fails. Raises Quit when there is no app to reach."""
    async with _reached(folder, args.pid) as (reader, writer):
        for line in args.lines:
            await _send(writer, {"line": line, "yes": args.yes})
            code = _print(await _receive(reader), args, console)
            if code != OK:
                return code
        if args.watch:
            await _send(writer, {"watch": True})
            while True:
                console.out_raw(json.dumps(await _receive(reader)) + "\n")
    return OK


def _print(answer: dict[str, Any], args: argparse.Namespace, console: Console) -> int:
    if "error" in answer:
        raise Quit(FAILED, str(answer["error"]), str(answer.get("hint", "")))
    done = answer.get("done")
    if args.json:
        console.out_raw(json.dumps(done) + "\n")
    elif isinstance(done, dict) and isinstance(done.get("text"), str):
        if done.get("error"):
            raise Quit(UNANSWERED, str(done["error"]), str(done.get("hint") or ""))
        console.out(f"{done['text']}\n")
    elif isinstance(done, list):
        console.out("".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in done))
    elif done is not None:
        console.out(f"{done if isinstance(done, str) else json.dumps(done)}\n")
    return OK


@asynccontextmanager
async def _reached(folder: Path, pid: int | None) -> AsyncIterator[Connection]:
    """The newest app that answers, or the one of that process. Raises Quit."""
    for path in sockets(folder):
        if pid is not None and path.stem != str(pid):
            continue
        try:
            reader, writer = await asyncio.open_unix_connection(path, limit=LONGEST_LINE * 4)
        except OSError:
            continue
        try:
            yield reader, writer
        finally:
            writer.close()
        return
    which = f"of process {pid} " if pid is not None else ""
    raise Quit(USAGE, f"no running app {which}can be reached", HINT)


async def _send(writer: asyncio.StreamWriter, request: dict[str, object]) -> None:
    writer.write(json.dumps(request).encode("ascii") + b"\n")
    try:
        await writer.drain()
    except ConnectionError:
        raise Quit(FAILED, "the app has gone away") from None


async def _receive(reader: asyncio.StreamReader) -> dict[str, Any]:
    try:
        line = await reader.readline()
        answer = json.loads(line) if line else None
    except (ConnectionError, ValueError):
        answer = None
    if not isinstance(answer, dict):
        raise Quit(FAILED, "the app has gone away, or does not take any more guests")
    return answer
