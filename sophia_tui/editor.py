"""The person's own editor, on the terminal the app steps back from; everything but the drawing goes on meanwhile."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sophia_core.commands import CommandError
from sophia_tui.clipboard import write_private

if TYPE_CHECKING:
    from textual.app import App

Run: TypeAlias = Callable[[list[str]], Awaitable[int]]
MEANT_FOR_IT: Final = (signal.SIGINT, signal.SIGQUIT)
GRACE_S: Final = 2.0
"""How long an editor may take to go when the app is left."""

LARGEST = 4_000_000
"""Bytes that are taken back from an editor."""
STAYS = "What was there before stays."


def editor_of(env: Mapping[str, str], which: Callable[[str], str | None] = shutil.which) -> list[str]:
    """The command line of the editor: $VISUAL, $EDITOR, or one that is usually there. Raises CommandError."""
    for chosen in (env.get("VISUAL"), env.get("EDITOR")):
        if chosen and chosen.strip():
            try:
                words = shlex.split(chosen)
            except ValueError:
                raise CommandError(f"$EDITOR cannot be read: {chosen!r}.", "export EDITOR=nano") from None
            path = which(words[0])
            if path is None:
                raise CommandError(f"There is no editor {words[0]!r} here.", "export EDITOR=nano, or another one.")
            return [path, *words[1:]]
    for name in ("nano", "vim", "vi", "micro", "emacs"):
        if path := which(name):
            return [path, *(["-nw"] if name == "emacs" else [])]
    raise CommandError("No editor was found.", "export EDITOR=… names yours.")


async def edit(text: str, folder: Path, line: list[str], run: Run | None = None) -> str:
    """What the editor left of a text. The file is only yours and gone afterwards. Raises CommandError."""
    with _written(text, folder) as path:
        try:
            code = await (run or _run)([*line, str(path)])
            if code:
                raise CommandError(f"The editor ended with {code}.", STAYS)
            return _read(path).removesuffix("\n")
        except OSError as error:
            raise CommandError(f"What the editor left cannot be read: {error}.", STAYS) from None


@contextmanager
def _written(text: str, folder: Path) -> Iterator[Path]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="edit-", dir=folder) as place:
        path = Path(place) / "prompt.md"
        write_private(path, text, replace=False)
        yield path


@contextmanager
def lent(app: App[Any]) -> Iterator[None]:
    """The terminal is the editor's: the app draws nothing, and Ctrl+C is not for it. Raises CommandError."""
    from textual.app import SuspendNotSupported

    try:
        with app.batch_update(), app.suspend(), _deaf():
            yield
    except SuspendNotSupported:
        raise CommandError("This terminal cannot be lent to an editor.") from None
    finally:
        app.refresh()


@contextmanager
def _deaf() -> Iterator[None]:
    """What Ctrl+C and Ctrl+\\ send goes to everybody on the terminal, and is meant for the editor."""
    loop, before = asyncio.get_running_loop(), {number: signal.getsignal(number) for number in MEANT_FOR_IT}
    for number in before:
        loop.add_signal_handler(number, int)  # a handler, unlike being ignored, is not handed down to the editor
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _read(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        raise OSError("it is not a file any more")
    if path.stat().st_size > LARGEST:
        raise OSError(f"it has more than {LARGEST // 1_000_000} MB")
    return path.read_text(encoding="utf-8", errors="replace")


async def _run(line: list[str]) -> int:
    """Waits for the editor without holding anybody up; when the app is left, the editor is asked to go, too."""
    editor = await asyncio.create_subprocess_exec(*line)  # it is the person's own editor
    try:
        return await editor.wait()
    except asyncio.CancelledError:
        await _end(editor)
        raise


async def _end(editor: asyncio.subprocess.Process) -> None:
    for stop in (editor.terminate, editor.kill):
        with suppress(ProcessLookupError):
            stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                await editor.wait()
                return
