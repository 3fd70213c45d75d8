"""Imports in other threads that let the app go first.

A thread that imports holds the interpreter almost all the time: for each thing the app wants to do meanwhile (read a
key, draw it, write it) it waits until its turn comes, and a letter took 70 ms to appear. A breath before each module
gives it its turn at once.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from types import ModuleType
from typing import Final

BREATH_S: Final = 0.001


class _Breath:
    """Finds nothing; where the app itself imports, it does not wait either."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        if threading.current_thread() is not threading.main_thread():
            time.sleep(BREATH_S)


def let_the_app_go_first() -> None:
    """From now on, in this process: not while the app is being opened, when everybody waits for just that."""
    if not any(isinstance(each, _Breath) for each in sys.meta_path):
        sys.meta_path.insert(0, _Breath())
