"""The person's own editor, on the terminal the app steps back from."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from sophia_core.commands import CommandError
from sophia_tui.clipboard import write_private

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


def edit(text: str, folder: Path, line: list[str], run: Callable[[list[str]], int] | None = None) -> str:
    """What the editor left of a text. The file is only yours and gone afterwards. Raises CommandError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="edit-", dir=folder) as place:
        path = Path(place) / "prompt.md"
        write_private(path, text, replace=False)
        try:
            code = (run or _run)([*line, str(path)])
            if code:
                raise CommandError(f"The editor ended with {code}.", STAYS)
            return _read(path).removesuffix("\n")
        except OSError as error:
            raise CommandError(f"What the editor left cannot be read: {error}.", STAYS) from None


def _read(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        raise OSError("it is not a file any more")
    if path.stat().st_size > LARGEST:
        raise OSError(f"it has more than {LARGEST // 1_000_000} MB")
    return path.read_text(encoding="utf-8", errors="replace")


def _run(line: list[str]) -> int:
    return subprocess.run(line, check=False).returncode  # noqa: S603  # it is the person's own editor
