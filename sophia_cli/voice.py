"""`sophia voice`: devices, a test of them, and files of sound, from a shell."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sophia_cli import interrupts
from sophia_cli.console import Console
from sophia_cli.exits import FAILED, OK, Quit
from sophia_cli.opening import Notices, as_quit, opened
from sophia_cli.progress import ProgressLine
from sophia_cli.prompt import read_prompt
from sophia_cli.results import as_json, show
from sophia_core.commands import CommandError
from sophia_core.events import Event, LevelMeasured, ListeningChanged, VoiceChanged
from sophia_core.settings import Loaded, load_settings

if TYPE_CHECKING:
    from sophia_core.runtime import Runtime
    from sophia_core.voice.files import WrittenDown

WIDTH: Final = 30
"""Cells of the level meter."""
OPEN: Final = "The microphone is open: speak."


def execute(args: argparse.Namespace, console: Console) -> int:
    """Does what the arguments say. Raises Quit."""
    if args.action in ("ssh", "bridge", "join"):
        from sophia_cli import voice_bridge

        return voice_bridge.execute(args, console)
    if args.action in ("say",):
        args.words = read_prompt(args.text, console)
    loaded = load_settings()
    return interrupts.run(lambda: voice(args, loaded, console), console)


async def voice(args: argparse.Namespace, loaded: Loaded, console: Console) -> int:
    """Does it and returns the exit code. Raises Quit."""
    meter = Meter(console)
    async with opened(loaded, console, [Notices(console), meter], create=False) as runtime:
        try:
            return await _do(args, runtime, console)
        except CommandError as error:
            meter.clear()
            quit_ = as_quit(error, runtime.vault)
            raise Quit(FAILED, quit_.message, error.hint) from None
        finally:
            meter.clear()


async def _do(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    match args.action:
        case "transcribe":
            return await _transcribe(args, runtime, console)
        case "say":
            return await _say(args, runtime, console)
        case "test":
            return await _test(args, runtime, console)
        case "listen":
            _print({"text": await runtime.run("voice.listen")}, "text", args, console)
        case _:
            found = await runtime.run("voice.devices")
            console.out_raw(f"{as_json(found)}\n") if args.json else show(found, console)
    return OK


async def _transcribe(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    """One file after the other; one that cannot be read does not keep the others from it."""
    code = OK
    for name in args.files:
        line = ProgressLine(console)
        try:
            path = Path(name).expanduser().absolute()  # noqa: ASYNC240 - it asks the disk nothing
            done = await runtime.voice.files.transcribed(path, _progress(line, name))
        except CommandError as error:
            line.clear()
            console.say(str(error), error.hint)
            code = FAILED
            continue
        finally:
            line.clear()
        if args.json:
            console.out_raw(f"{as_json(_fields(done))}\n")
        else:
            _tell(done, args, console)
    return code


def _progress(line: ProgressLine, name: str) -> Callable[[int, int], None]:
    def show_it(done: int, total: int) -> None:
        said = f"Writing down {name}: {_clock(done)}" + (f" of {_clock(total)}" if total else "")
        line.show("writing", done / total if total else None, said)

    return show_it


def _tell(done: WrittenDown, args: argparse.Namespace, console: Console) -> None:
    if len(args.files) > 1:
        console.out(f"{done.file}:\n")
    if done.text:
        console.out(f"{done.text}\n")
    else:
        console.say(f"nobody speaks in {done.file}")


def _fields(done: WrittenDown) -> Mapping[str, object]:
    return {**asdict(done), "text": done.text}


async def _say(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    if args.persona:
        await runtime.run("persona.use", args.persona)
    if not args.output:
        await runtime.run("voice.say", args.words)
        return OK
    line = ProgressLine(console)
    try:
        path = Path(args.output).expanduser().absolute()  # noqa: ASYNC240
        mouth, seconds = await runtime.voice.files.saved(
            args.words, path, replace=args.replace, progress=lambda done, total: _spoken(line, done, total)
        )
    finally:
        line.clear()
    if args.json:
        console.out_raw(f"{as_json({'file': str(path), 'mouth': mouth, 'seconds': round(seconds, 2)})}\n")
    elif console.err_stream.terminal:
        console.err(f"{seconds:.1f} s by {mouth} are in {args.output}\n")
    return OK


def _spoken(line: ProgressLine, done: int, total: int) -> None:
    line.show("speaking", done / total if total else None, f"Speaking: {done} of {total} sentences")


async def _test(args: argparse.Namespace, runtime: Runtime, console: Console) -> int:
    """Everything a conversation needs, one thing after the other; the first that fails ends it, and says why."""
    from sophia_core.voice.trying import tried

    sound = True
    async for step in tried(runtime.voice, seconds=args.seconds):
        sound = sound and step.ok
        if args.json:
            console.out_raw(f"{as_json(step)}\n")
        else:
            console.out(f"{'ok  ' if step.ok else 'no  '}  {step.what}: {step.found}\n")
            if step.hint:
                console.out(f"      {step.hint}\n")
    return OK if sound else FAILED


def _print(fields: Mapping[str, object], name: str, args: argparse.Namespace, console: Console) -> None:
    console.out(f"{as_json(fields)}\n" if args.json else f"{fields[name]}\n")


def _clock(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


class Meter:
    """On a terminal, one line that says that the microphone is open and how loud it is there."""

    def __init__(self, console: Console) -> None:
        self._console, self._shown = console, False

    def __call__(self, event: Event) -> None:
        match event:
            case LevelMeasured(level):
                self._draw("#" * round(level * WIDTH))
            case ListeningChanged(open=True, state="waiting") if not self._console.look.rewrites:
                self._console.say(OPEN)
            case ListeningChanged(open=False):
                self.clear()
            case VoiceChanged(part, name, reason) if reason:
                self._console.say(f"{part}: {name or 'nobody'}, because {reason}")

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._shown = False
            self._console.err_raw("\r\x1b[K")

    def _draw(self, bar: str) -> None:
        if self._console.look.rewrites:
            self._shown = True
            self._console.err_raw(f"\r\x1b[K{self._console.dim('● microphone open')} [{bar:<{WIDTH}}]")
