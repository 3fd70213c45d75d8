"""What can be wrong with something that somebody wants to attach."""

from __future__ import annotations


class Refused(Exception):
    """This cannot be attached; the text says why and `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
