"""Modules of the standard library that others import and hardly ever use: read when something in them is asked for.

Asyncio brings TLS along, `shutil` every way to compress, the metadata of packages how to read archives and tables. An
app that stands there, or talks to a server on its own machine, needs none of it: 2 MB, and 10 ms of its start.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from importlib.abc import Loader  # which brings half of what is not to be read

LATER: Final = frozenset(
    {"asyncio.sslproto", "bz2", "csv", "email", "importlib.metadata._adapters", "lzma", "ssl", "zipfile"}
)
_ONE_AT_A_TIME: Final = threading.RLock()


def read_later() -> None:
    """From now on, in this process; what was imported before stays as it is."""
    if not any(isinstance(each, _Finder) for each in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Finds the modules of `LATER`, and nothing else."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a module is, with a loader that waits."""
        spec = PathFinder.find_spec(name, path, target) if name in LATER else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Waiting(spec.loader)  # type: ignore[assignment]
        return spec


class _Waiting:
    """Lets a module be imported without reading it: a loader by its shape."""

    def __init__(self, real: Loader) -> None:
        self._real, self._reading = real, False

    def create_module(self, spec: ModuleSpec) -> None:
        """An ordinary one will do."""

    def exec_module(self, module: ModuleType) -> None:
        module.__class__ = _Unread

    def read(self, module: ModuleType) -> None:
        """Reads it after all. `importlib`'s own lazy loader would do so at the second import already."""
        with _ONE_AT_A_TIME:
            if self._reading or not isinstance(module, _Unread) or module.__spec__ is None:
                return  # it looks for something in itself, or another thread was quicker
            self._reading = True
            try:
                self._real.exec_module(module)
            finally:
                self._reading = False
            module.__spec__.loader = module.__loader__ = self._real
            module.__class__ = ModuleType  # type: ignore[assignment]


class _Unread(ModuleType):
    """A module in which nothing was looked for yet."""

    def __getattr__(self, name: str) -> Any:
        loader = self.__spec__.loader if self.__spec__ is not None else None
        if isinstance(loader, _Waiting) and not name.startswith("__"):
            loader.read(self)
        return ModuleType.__getattribute__(self, name)

    def __dir__(self) -> Sequence[str]:
        if self.__spec__ is not None and isinstance(self.__spec__.loader, _Waiting):
            self.__spec__.loader.read(self)
        return dir(self)
