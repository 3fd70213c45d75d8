"""Which microphones and loudspeakers there are, as the process that owns PortAudio sees them.

PortAudio knows a PulseAudio or PipeWire server as one device, `pulse`, and not what hangs on it. So the server is asked
by `pactl` where there is one, and the chosen device is named to the sound library by its environment variable.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from sophia_core.memory.frames import Head
from sophia_core.sanitize import sanitize

Kind = Literal["input", "output"]

SERVER_DEVICES = ("pulse", "default")
VARIABLES: dict[Kind, str] = {"input": "PULSE_SOURCE", "output": "PULSE_SINK"}
WORDS: dict[Kind, str] = {"input": "sources", "output": "sinks"}
DEFAULTS: dict[Kind, str] = {"input": "default_source_name", "output": "default_sink_name"}
ASK_SECONDS = 2.0
LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class Found:
    """A device and how to open it."""

    id: str
    name: str
    kind: Kind
    default: bool
    index: int
    """PortAudio's number for it, good until PortAudio looks again."""
    server_name: str = ""
    """What the sound server calls it; empty where there is none."""

    def as_head(self) -> Head:
        """Return what is told of it."""
        return {"id": self.id, "name": self.name, "kind": self.kind, "default": self.default}


def find_all(backend: Any) -> list[Found]:
    """Return all microphones and loudspeakers; the server's in place of PortAudio's where a server is in use."""
    found: list[Found] = []
    kinds: tuple[Kind, Kind] = ("input", "output")
    for kind in kinds:
        plain = _of_portaudio(backend, kind)
        through = next((each for name in SERVER_DEVICES for each in plain if each.name == name), None)
        found += (through and _of_server(kind, through.index)) or plain
    return found


def choose(found: list[Found], kind: Kind, wanted: str | None) -> Found | None:
    """Return the device with this id, else the default one, else any; None where there is none of its kind."""
    fitting = [each for each in found if each.kind == kind]
    named = (each for each in fitting if each.id == wanted)
    default = (each for each in fitting if each.default)
    return next(named, None) or next(default, None) or next(iter(fitting), None)


@contextlib.contextmanager
def named_to_server(device: Found) -> Iterator[None]:
    """What is opened meanwhile through the sound server is this device; the server chooses where it has no name."""
    if not device.server_name:
        yield
        return
    variable = VARIABLES[device.kind]
    before = os.environ.pop(variable, None)
    os.environ[variable] = device.server_name
    try:
        yield
    finally:
        os.environ.pop(variable, None)
        if before is not None:
            os.environ[variable] = before


def _of_portaudio(backend: Any, kind: Kind) -> list[Found]:
    default = _default_index(backend, kind)
    taken: dict[str, int] = {}
    found = []
    for index, told in enumerate(backend.query_devices()):
        if told[f"max_{kind}_channels"] <= 0:
            continue
        name = _clean(str(told["name"]))
        taken[name] = taken.get(name, 0) + 1
        unique = name if taken[name] == 1 else f"{name} ({taken[name]})"
        found.append(Found(unique, unique, kind, index == default, index))
    return found


def _default_index(backend: Any, kind: Kind) -> int | None:
    try:
        return int(backend.query_devices(kind=kind)["index"])
    except (backend.PortAudioError, ValueError, KeyError):
        return None


def _of_server(kind: Kind, index: int) -> list[Found]:
    """What the sound server says, or nothing where it says nothing that can be read."""
    told, server = _ask("list", WORDS[kind]), _ask("info")
    default = server.get(DEFAULTS[kind]) if isinstance(server, dict) else None
    found = []
    for each in told if isinstance(told, list) else []:
        name = each.get("name") if isinstance(each, dict) else None
        # A monitor hears what a loudspeaker plays; nobody speaks into it.
        if not isinstance(name, str) or not name or name.endswith(".monitor") or name != _clean(name):
            continue
        shown = each.get("description")
        words = _clean(shown) if isinstance(shown, str) else name
        found.append(Found(name, words, kind, name == default, index, name))
    names = [each.name for each in found]
    return [replace(x, name=f"{x.name} ({x.id})") if names.count(x.name) > 1 else x for x in found]


def _ask(*words: str) -> Any:
    program = shutil.which("pactl")
    if program is None:
        return None
    try:
        asked = subprocess.run(  # noqa: S603 - fixed words
            [program, "-f", "json", *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=ASK_SECONDS
        )
        return json.loads(asked.stdout) if asked.returncode == 0 else None
    except (OSError, ValueError, RecursionError, subprocess.TimeoutExpired):
        return None


def _clean(name: str) -> str:
    return " ".join(sanitize(name).split())[:LONGEST_NAME] or "unnamed"
