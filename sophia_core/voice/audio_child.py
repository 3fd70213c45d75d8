"""The process that owns PortAudio, so that a crash, a stall or the noise of a sound library is nobody else's.

It is run by file path; what it needs of ours comes from beside this file, wherever it is started. Requests arrive as
frames on stdin and are answered in frames on stdout; sound goes both ways as the bodies of frames and nowhere else. It
lives until stdin ends: its parent stops it or is gone, for whatever reason.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import sys
import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))

from sophia_core.memory.frames import Frames, Head, frame
from sophia_core.voice.audio_list import Found, Kind, choose, find_all, named_to_server
from sophia_core.voice.audio_streams import Microphone, Refused, Speaker, Stream, reason_of

PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
BLOCK = 1 << 16
LOOK_SECONDS = 0.25
MOST_STREAMS = 8
MOST_WAITING = 200
"""Answers and frames from the microphone that may wait for a reader; 4 s of speech."""


class Unusable(Exception):
    """There is no sound here: `kind` says in which way, the text why."""

    def __init__(self, kind: str, reason: str = "") -> None:
        super().__init__(reason)
        self.kind = kind


class Outbox:
    """Writes to the parent from a thread of its own: nobody who makes sound ever waits for a reader."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._frames: deque[tuple[bool, bytes]] = deque()
        threading.Thread(target=self._write, name="outbox", daemon=True).start()

    def tell(self, head: Head, body: bytes = b"") -> None:
        """Send this after the rest; the oldest sound is dropped when nobody reads."""
        with self._changed:
            if body and len(self._frames) >= MOST_WAITING:
                oldest = next((at for at, each in enumerate(self._frames) if each[0]), None)
                if oldest is not None:
                    del self._frames[oldest]
            self._frames.append((bool(body), frame(head, body)))
            self._changed.notify()

    def _write(self) -> None:
        while True:
            with self._changed:
                while not self._frames:
                    self._changed.wait()
                _, waiting = self._frames.popleft()
            rest = memoryview(waiting)
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except OSError:
                    os._exit(0)


class Sound:
    """PortAudio and what is open in it."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._backend: Any = None
        self._found: list[Found] | None = None
        self._streams: dict[int, Stream] = {}

    @property
    def is_open(self) -> bool:
        """Say whether a microphone or a loudspeaker is open."""
        return bool(self._streams)

    def take(self, head: Head, body: bytes) -> None:
        """Do what is asked, and answer where an answer is wanted."""
        try:
            answer = self._do(head, body)
        except Unusable as error:
            answer = {"error": error.kind, "reason": str(error)}
        except Refused as error:
            answer = {"error": "refused", "reason": str(error)}
        except Exception as error:  # PortAudio raises whatever it likes; the person must hear of it
            answer = {"error": "failed", "reason": f"{type(error).__name__}: {error}"}
        if "id" in head:
            self._outbox.tell(answer | {"id": head["id"]})

    def look(self) -> None:
        """Say that this process lives, and which devices do not."""
        self._outbox.tell({"alive": True})
        for number, stream in list(self._streams.items()):
            if trouble := stream.trouble():
                del self._streams[number]
                stream.close()
                self._found = None
                self._outbox.tell({"of": number, "lost": trouble})

    def _do(self, head: Head, body: bytes) -> Head:
        match head["do"]:
            case "list":
                return {"devices": [each.as_head() for each in self._look_again()]}
            case "listen":
                return self._open("input", head)
            case "play":
                return self._open("output", head)
            case "close":
                if (stream := self._streams.pop(head["of"], None)) is not None:
                    stream.close()
            case action:
                speaker = self._streams.get(head["of"])
                if isinstance(speaker, Speaker):
                    _act(speaker, action, body)
        return {}

    def _open(self, kind: Kind, head: Head) -> Head:
        if len(self._streams) >= MOST_STREAMS:
            raise Unusable("failed", "too many sounds at once")
        wanted: str | None = head["device"]
        device = choose(self._devices(), kind, wanted)
        if device is None or (wanted is not None and device.id != wanted):
            device = choose(self._look_again(), kind, wanted)
        if device is None:
            raise Unusable("none")
        try:
            stream = self._opened(device, head)
        except Refused:
            # What is known of the devices may be old.
            device = choose(self._look_again(), kind, wanted) or device
            stream = self._opened(device, head)
        self._streams[head["of"]] = stream
        return {"device": device.name, "asked": wanted is None or device.id == wanted, "rate": stream.rate}

    def _opened(self, device: Found, head: Head) -> Stream:
        backend, number, tell = self._backend, head["of"], self._outbox.tell
        if head["device"] is None:
            # What is the server's default may have changed since it was asked.
            device = replace(device, server_name="")
        with named_to_server(device):
            stream: Stream
            if device.kind == "input":
                stream = Microphone(number, tell, backend, device.index)
            else:
                stream = Speaker(number, tell, backend, device.index, head["rate"])
            stream.start(backend)
        return stream

    def _devices(self) -> list[Found]:
        return self._found if self._found is not None else self._look_again()

    def _look_again(self) -> list[Found]:
        """PortAudio sees what was plugged in only when it starts anew, and that would end what is open."""
        if self._backend is None:
            self._backend = _load()
        elif not self._streams:
            _start_anew(self._backend)
        self._found = find_all(self._backend)
        return self._found


def _act(speaker: Speaker, action: str, body: bytes) -> None:
    match action:
        case "write":
            speaker.write(body)
        case "pause" | "resume":
            speaker.pause(action == "pause")
        case "finish":
            speaker.finish()


def _load() -> Any:
    """PortAudio, started. Raises Unusable."""
    try:
        import sounddevice
    except ImportError as error:
        raise Unusable("extra", str(error)) from error
    except OSError as error:
        raise Unusable("library", str(error)) from error
    except Exception as error:  # a broken configuration raises PortAudioError, which could not be imported
        raise Unusable("broken", reason_of(error)) from error
    return sounddevice


def _start_anew(backend: Any) -> None:
    try:
        backend._terminate()
        backend._initialize()
    except backend.PortAudioError as error:
        raise Unusable("broken", reason_of(error)) from error


def serve(sound: Sound) -> None:
    """Work until stdin ends."""
    frames = Frames()
    looked_at = time.monotonic()
    while True:
        readable, _, _ = select.select([0], [], [], LOOK_SECONDS if sound.is_open else None)
        if readable:
            block = os.read(0, BLOCK)
            if not block:
                return
            for head, body in frames.feed(block):
                sound.take(head, body)
        if sound.is_open and time.monotonic() - looked_at >= LOOK_SECONDS:
            looked_at = time.monotonic()
            sound.look()


def main() -> None:
    """Say hello, then serve; PortAudio is loaded by the first who wants sound."""
    _die_with(int(sys.argv[1]))
    _keep_to_itself()
    answers = os.dup(1)
    os.dup2(2, 1)
    outbox = Outbox(answers)
    outbox.tell({"ready": True})
    serve(Sound(outbox))
    # Without any good-bye to PortAudio, which may wait for a device that is gone.
    os._exit(0)


def _die_with(parent: int) -> None:
    """Have the kernel end this process with its parent where it can: nothing reads stdin while a device opens."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _keep_to_itself() -> None:
    """What people say passes through here: no core file, and no look into our memory by other processes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


if __name__ == "__main__":
    main()
