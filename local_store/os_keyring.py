"""The desktop's keyring, believed only when it is a real one.

`keyring` picks any installed backend, among them ones that write plain text or ask on the terminal we draw on. Only
backends from an allow list are used, and every call runs in a thread with a timeout, because a desktop may show a
dialog that nobody sees.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE = "sophia"
T = TypeVar("T")


class KeyringUnavailable(Exception):
    """No real keyring answered; the text says why."""


class OsKeyring:
    """The first real keyring of this session."""

    def __init__(self, modules: frozenset[str], timeout: float) -> None:
        self._modules = modules
        self._timeout = timeout

    def get(self, account: str) -> str | None:
        """Return the secret of `account`, or None when the keyring has none. Raises KeyringUnavailable."""
        return self._call(lambda: self._backend().get_password(SERVICE, account))

    def put(self, account: str, secret: str) -> str:
        """Store a secret, read it back, and return the name of the keyring. Raises KeyringUnavailable."""

        def round_trip() -> str:
            backend = self._backend()
            backend.set_password(SERVICE, account, secret)
            if backend.get_password(SERVICE, account) != secret:
                raise KeyringUnavailable(f"the keyring {backend.name!r} does not give back what it was given")
            return str(backend.name)

        return self._call(round_trip)

    def delete(self, account: str) -> None:
        """Remove the secret of `account`. Raises KeyringUnavailable, also when it was not there."""
        self._call(lambda: self._backend().delete_password(SERVICE, account))

    def _backend(self) -> KeyringBackend:
        import keyring

        for backend in _flatten(keyring.get_keyring()):
            module = type(backend).__module__
            if any(module == real or module.startswith(real + ".") for real in self._modules):
                return backend
        raise KeyringUnavailable("this session has no OS keyring")

    def _call(self, work: Callable[[], T]) -> T:
        results: list[T] = []
        failures: list[BaseException] = []

        def run() -> None:
            try:
                results.append(work())
            # Backends raise what their D-Bus, ctypes or prompt layer raises; the caller gets one type with the reason.
            except Exception as error:
                failures.append(error)

        # A daemon: a dialog that never closes must not keep the process from ending.
        thread = threading.Thread(target=run, name="sophia-keyring", daemon=True)
        thread.start()
        thread.join(self._timeout)
        if results:
            return results[0]
        if failures:
            raise KeyringUnavailable(str(failures[0]) or type(failures[0]).__name__) from failures[0]
        raise KeyringUnavailable(f"the OS keyring did not answer within {self._timeout:g} s")


def _flatten(backend: KeyringBackend) -> Iterator[KeyringBackend]:
    from keyring.backends.chainer import ChainerBackend

    if isinstance(backend, ChainerBackend):
        for inner in backend.backends:
            yield from _flatten(inner)
    else:
        yield backend
