"""A virtual microphone and loudspeaker for every test that needs sound."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.voice.pulse import Pulse, alsa_files, missing, silence


@contextmanager
def _running() -> Iterator[Pulse]:
    # Not under pytest's own folder: the path of a socket may be 107 bytes long and no longer.
    with TemporaryDirectory(prefix="sophia-pulse-") as folder:
        server = Pulse(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def pulse_server() -> Iterator[Pulse]:
    """One server for all tests of this worker."""
    if reason := missing():
        pytest.skip(reason)
    with _running() as server:
        yield server


@pytest.fixture
def pulse(pulse_server: Pulse, monkeypatch: pytest.MonkeyPatch) -> Pulse:
    """The server, and an environment in which all that is started uses it."""
    for name, value in pulse_server.env.items():
        monkeypatch.setenv(name, value)
    return pulse_server


@pytest.fixture
def own_pulse(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pulse]:
    """A server for one test that breaks it."""
    if reason := missing():
        pytest.skip(reason)
    with _running() as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def sound_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Devices that are files: write the microphone to `in.raw` before use, read the loudspeaker from `out.raw`."""
    if reason := missing():
        pytest.skip(reason)
    env, _ = alsa_files(tmp_path, silence(1.0))
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return tmp_path
