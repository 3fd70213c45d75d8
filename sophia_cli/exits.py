"""Exit codes: what a script can rely on. `docs/cli.md` explains each of them."""

from __future__ import annotations

from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
STORE: Final = 3
UNANSWERED: Final = 4
SIGNALLED: Final = 128
"""Plus the number of the signal, as shells do: 130 for Ctrl-C, 143 for SIGTERM, 141 for a reader that went away."""


class Quit(Exception):
    """Ends the program with an exit code and one line about why, where there is anything to say."""

    def __init__(self, code: int, message: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


def usage_error(message: str, hint: str = "") -> Quit:
    """What to raise when the command line itself is wrong."""
    return Quit(USAGE, message, hint)
