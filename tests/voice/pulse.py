"""A microphone and a loudspeaker that exist only in memory: a private PulseAudio server in real time.

`Pulse` speaks sound into the virtual microphone and notes what comes out of the virtual loudspeaker, and when. Every
worker of a parallel run has a server and a folder of its own; all its processes end with it, even if it is killed.
`alsa_files` is the other way: ALSA reads the microphone from a file and writes the loudspeaker to one, bit by bit and
as fast as it can.
"""

from __future__ import annotations

import asyncio
import ctypes
import ctypes.util
import importlib.util
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import wave
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

RATE = 16_000
SPEAKER, MICROPHONE, MIC_SINK = "speaker", "mic", "micsink"
PROGRAMS = ("pulseaudio", "pactl", "parec", "pacat")
PLUGINS = ("/etc/alsa/conf.d/99-pulse.conf", "/usr/share/alsa/alsa.conf.d/pulse.conf")
START_SECONDS = 20.0
PR_SET_PDEATHSIG = 1
LOUD = 300
"""A sample that somebody hears; a tone of `tone` has thousands of them."""


def missing() -> str:
    """Return what the tests with sound lack here; empty when nothing."""
    if sys.platform != "linux":
        return "virtual sound devices are made with PulseAudio on Linux"
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if ctypes.util.find_library("portaudio") is None:
        lacking.append("libportaudio2")
    if not any(Path(path).exists() for path in PLUGINS):
        lacking.append("libasound2-plugins")
    if importlib.util.find_spec("sounddevice") is None:
        lacking.append("the extra `voice`")
    return f"missing for virtual sound devices: {', '.join(lacking)}; run tools/system_packages.sh" if lacking else ""


def tone(seconds: float, *, hertz: float = 440.0, rate: int = RATE, loudness: float = 0.5) -> bytes:
    """Return an even tone."""
    step = 2 * math.pi * hertz / rate
    top = loudness * 32767
    return array("h", [round(top * math.sin(step * at)) for at in range(round(seconds * rate))]).tobytes()


def silence(seconds: float, rate: int = RATE) -> bytes:
    """Return nothing to hear."""
    return bytes(2 * round(seconds * rate))


def read_wav(path: Path) -> tuple[bytes, int]:
    """Return the samples of a mono WAV file and their rate."""
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        return file.readframes(file.getnframes()), file.getframerate()


def pitch(pcm: bytes, rate: int = RATE) -> float:
    """Return the frequency of a tone, by how often it rises through zero; a few clicks do not matter."""
    samples = array("h", pcm)
    rises = [at for at in range(1, len(samples)) if samples[at - 1] < 0 <= samples[at]]
    periods = sorted(after - before for before, after in pairwise(rises))
    usual = [each for each in periods if abs(each / periods[len(periods) // 2] - 1) < 0.1]
    return rate * len(usual) / sum(usual) if usual else 0.0


def loud_seconds(pcm: bytes, rate: int = RATE, slice_ms: int = 5) -> float:
    """Return for how long something can be heard in this sound."""
    size = 2 * (rate * slice_ms // 1000)
    slices = (array("h", pcm[at : at + size]) for at in range(0, len(pcm) - size + 1, size))
    return sum(max(map(abs, each)) > LOUD for each in slices) * slice_ms / 1000


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece of what the loudspeaker played, and when it arrived."""

    at: float
    """`time.monotonic()`."""
    pcm: bytes

    @property
    def loud(self) -> bool:
        """Say whether there is anything to hear in it."""
        return max(map(abs, array("h", self.pcm)), default=0) > LOUD


class Pulse:
    """A running server; `env` is what a process needs to use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        runtime = folder / "xdg" / "pulse"
        self.env = {
            "XDG_RUNTIME_DIR": str(folder / "xdg"),
            "PULSE_RUNTIME_PATH": str(runtime),
            "PULSE_STATE_PATH": str(folder / "xdg" / "pulse-state"),
            "PULSE_SERVER": f"unix:{runtime / 'native'}",
            "PULSE_COOKIE": str(folder / "cookie"),
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self._threads: list[threading.Thread] = []
        self._heard: list[Heard] = []
        self._arrived = threading.Condition()

    def start(self) -> None:
        """Start the server and listen to its loudspeaker."""
        for name in ("xdg/pulse", "xdg/pulse-state"):
            (self.folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        loaded = (
            f"module-native-protocol-unix socket={self.env['PULSE_RUNTIME_PATH']}/native auth-anonymous=1",
            f"module-null-sink sink_name={SPEAKER} rate=48000 channels=1",
            f"module-null-sink sink_name={MIC_SINK} rate=48000 channels=1",
            f"module-remap-source source_name={MICROPHONE} master={MIC_SINK}.monitor",
        )
        options = [word for module in loaded for word in ("-L", module)]
        quiet = ("-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes")
        self._processes.append(self._run("pulseaudio", *quiet, *options))
        self._wait_for_server()
        self.control("set-default-sink", SPEAKER)
        self.control("set-default-source", MICROPHONE)
        # Whoever plays to a null sink waits a second or two unless somebody listens to it closely; whoever listens
        # waits as long too, unless it begins after them.
        for name in (SPEAKER, MIC_SINK):
            self.control("suspend-sink", name, "1")
        self._record(f"{SPEAKER}.monitor", self._note)
        self._record(MICROPHONE, lambda _: None)
        self._wait_for_recorders()
        for name in (SPEAKER, MIC_SINK):
            self.control("suspend-sink", name, "0")
        self.wait_until(lambda: bool(self._heard), "the loudspeaker is heard")

    def stop(self) -> None:
        """End the server and all that use it from here."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        for thread in self._threads:
            thread.join()
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
        self._processes.clear()
        self._threads.clear()

    def kill_server(self) -> None:
        """Have the server vanish, and every device with it."""
        self._processes[0].kill()
        self._processes[0].wait()

    def control(self, *words: str) -> str:
        """Ask `pactl`; return what it says."""
        asked = subprocess.run(
            ["pactl", *words], env=os.environ | self.env, capture_output=True, text=True, timeout=30, check=True
        )
        return asked.stdout.strip()

    @contextmanager
    def plugged_in(self, name: str) -> Iterator[Callable[[], None]]:
        """Plug in one more loudspeaker with a microphone, `name` and `name.monitor`; yields what unplugs it early."""
        module = self.control("load-module", "module-null-sink", f"sink_name={name}", "rate=48000", "channels=1")
        there = [module]

        def unplug() -> None:
            if there:
                self.control("unload-module", there.pop())

        try:
            yield unplug
        finally:
            unplug()

    def say(self, pcm: bytes, rate: int = RATE, sink: str = MIC_SINK) -> subprocess.Popen[bytes]:
        """Begin to speak into the microphone; the process ends when all was said."""
        process = self._run(
            "pacat", "--playback", "-d", sink, "--raw", "--latency-msec=20", *_format(rate), stdin=subprocess.PIPE
        )
        self._processes.append(process)

        def feed() -> None:
            assert process.stdin is not None
            try:
                process.stdin.write(pcm)
                process.stdin.close()
            except OSError:
                process.poll()

        self._threads.append(threading.Thread(target=feed, daemon=True))
        self._threads[-1].start()
        return process

    async def said(self, pcm: bytes, rate: int = RATE, sink: str = MIC_SINK) -> None:
        """Speak into the microphone to the end."""
        await asyncio.to_thread(self.say(pcm, rate, sink).wait)

    def forget(self) -> None:
        """Forget what was heard until now; a mark from before means nothing any more."""
        with self._arrived:
            del self._heard[:-1]

    def mark(self) -> int:
        """Return the place from which `heard` may go on."""
        return len(self._heard)

    def heard(self, mark: int = 0) -> list[Heard]:
        """Return what the loudspeaker played since the mark; `RATE` samples a second."""
        return self._heard[mark:]

    def heard_pcm(self, mark: int = 0) -> bytes:
        """Return the same as one sound."""
        return b"".join(each.pcm for each in self.heard(mark))

    def heard_loud(self, mark: int = 0) -> bytes:
        """Return it from its first sound to its last."""
        pieces = self.heard(mark)
        loud = [at for at, each in enumerate(pieces) if each.loud]
        return b"".join(each.pcm for each in pieces[loud[0] : loud[-1] + 1]) if loud else b""

    async def wait_loud(self, mark: int = 0, seconds: float = START_SECONDS) -> Heard:
        """Return the first piece with something to hear, when it came."""
        await asyncio.to_thread(self.wait_until, lambda: any(x.loud for x in self.heard(mark)), "a sound", seconds)
        return next(each for each in self.heard(mark) if each.loud)

    async def wait_silent(self, quiet_s: float = 0.15, seconds: float = START_SECONDS) -> float:
        """Wait until nothing was heard for so long; return when the last sound came, 0.0 for never."""

        def silent() -> bool:
            newest = self._heard[-1].at if self._heard else 0.0
            return newest - self.last_loud() >= quiet_s

        await asyncio.to_thread(self.wait_until, silent, "silence", seconds)
        return self.last_loud()

    def last_loud(self) -> float:
        """Return when something was heard last, 0.0 for never."""
        return next((each.at for each in reversed(self._heard) if each.loud), 0.0)

    def wait_until(self, true: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
        """Wait for what the next pieces of sound may bring."""
        with self._arrived:
            if not self._arrived.wait_for(true, seconds):
                raise AssertionError(f"waited {seconds} s in vain for {what}")

    def _note(self, pcm: bytes) -> None:
        with self._arrived:
            self._heard.append(Heard(time.monotonic(), pcm))
            self._arrived.notify_all()

    def _record(self, source: str, note: Callable[[bytes], None]) -> None:
        process = self._run("parec", "-d", source, "--latency-msec=20", *_format(RATE), stdout=subprocess.PIPE)
        self._processes.append(process)

        def read() -> None:
            assert process.stdout is not None
            odd = b""
            while block := os.read(process.stdout.fileno(), 1 << 16):
                block, odd = odd + block, b""
                if len(block) % 2:
                    block, odd = block[:-1], block[-1:]
                note(block)

        self._threads.append(threading.Thread(target=read, daemon=True))
        self._threads[-1].start()

    def _wait_for_server(self) -> None:
        end = time.monotonic() + START_SECONDS
        while subprocess.run(["pactl", "info"], env=os.environ | self.env, capture_output=True).returncode:
            if time.monotonic() > end or self._processes[0].poll() is not None:
                raise AssertionError("PulseAudio did not start")
            time.sleep(0.05)

    def _wait_for_recorders(self) -> None:
        end = time.monotonic() + START_SECONDS
        while len(self.control("list", "short", "source-outputs").splitlines()) < 3:
            if time.monotonic() > end:
                raise AssertionError("nobody records")
            time.sleep(0.02)

    def _run(
        self, *words: str, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            words,
            env=os.environ | self.env,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )


def alsa_files(folder: Path, microphone: bytes) -> tuple[dict[str, str], Path]:
    """Return the environment for a microphone that says these samples, and the file that the loudspeaker writes.

    Both have 16,000 samples a second. Nothing is paced: seconds of sound take milliseconds.
    """
    said, heard, config = folder / "in.raw", folder / "out.raw", folder / "asound.conf"
    said.write_bytes(microphone)
    config.write_text(
        f"""
</usr/share/alsa/alsa.conf>
pcm.sophia_out  {{ type plug; slave {{ pcm "sophia_file" rate 16000 channels 1 format S16_LE }} }}
pcm.sophia_file {{ type file; slave.pcm "null"; file "{heard}"; format "raw" }}
pcm.sophia_in   {{ type plug; slave {{ pcm "sophia_infile" rate 16000 channels 1 format S16_LE }} }}
pcm.sophia_infile {{ type file; slave.pcm "null"; file "/dev/null"; infile "{said}"; format "raw" }}
pcm.!default {{ type asym; playback.pcm "sophia_out"; capture.pcm "sophia_in" }}
"""
    )
    return {"ALSA_CONFIG_PATH": str(config), "PULSE_SERVER": f"unix:{folder / 'nobody'}"}, heard


def _format(rate: int) -> tuple[str, ...]:
    return ("--format=s16le", f"--rate={rate}", "--channels=1")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
