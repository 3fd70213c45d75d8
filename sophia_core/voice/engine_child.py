"""The process that holds one engine of the voice, so that neither its loading nor a crash is felt where people look.

It is run by file path as `engine_child.py PARENT PART [MODEL]`; what it needs of ours comes from beside this file,
wherever it is started. Requests arrive as frames on stdin and are answered in frames on stdout. One thread reads them,
so that `forget` and `more` are heard at once; the engine works in another, always at what is most urgent. The process
lives until stdin ends: its parent stops it or is gone, for whatever reason.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))

from sophia_core.memory.frames import Frames, Head, frame

PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
BLOCK = 1 << 16
PIECES_AHEAD = 2
THREADS = 4
Answer = Callable[[Head, bytes], None]
Step = Iterator[tuple[Head, bytes]]


class Job:
    """One request: what is left to do of it, and how many pieces may be sent before somebody asks for more."""

    def __init__(self, head: Head, body: bytes) -> None:
        self.number, self.kind = int(head["id"]), str(head["do"])
        self.head, self.body = head, body
        self.credit = PIECES_AHEAD
        self.steps: Step | None = None
        self.sound: list[bytes] = []
        """What has arrived of long sound and was not looked at yet."""
        self.complete = False


class Part(Protocol):
    """An engine: does a job step by step."""

    urgency: tuple[str, ...]
    """The kinds of jobs it does, the most urgent first."""
    latest_only: tuple[str, ...]
    """Those of which a later one makes an earlier one pointless."""
    by_credit: bool
    """Whether its answers wait until they are asked for."""

    def steps(self, job: Job) -> Step:
        """Do the job, yielding answers; it rests after each, and an empty one says that it waits for more sound."""
        ...


class Worker:
    """Does the jobs, the most urgent first, and of the same urgency the oldest."""

    def __init__(self, part: Part, answer: Answer) -> None:
        self._part, self._answer = part, answer
        self._changed = threading.Condition()
        self._jobs: dict[int, Job] = {}

    def take(self, head: Head, body: bytes) -> None:
        """Take what has arrived: a job, or something that belongs to one."""
        with self._changed:
            job = self._jobs.get(head["id"])
            match head["do"]:
                case "forget":
                    self._jobs.pop(head["id"], None)
                case "more" if job is not None:
                    job.credit += 1
                case "sound" if job is not None:
                    job.sound.append(body)
                    job.complete = bool(head.get("last"))
                case kind if kind in self._part.urgency:
                    self._drop_overtaken(kind)
                    self._jobs[head["id"]] = Job(head, body)
            self._changed.notify()

    def _drop_overtaken(self, kind: str) -> None:
        if kind in self._part.latest_only:
            for each in [job for job in self._jobs.values() if job.kind == kind and job.steps is None]:
                del self._jobs[each.number]
                self._answer({"id": each.number, "end": True}, b"")

    def run(self) -> None:
        """Work for ever."""
        while True:
            job = self._next()
            try:
                job.steps = job.steps or self._part.steps(job)
                answer = next(job.steps, None)
            except Exception as error:
                self._finish(job, {"error": f"{type(error).__name__}: {error}"})
                continue
            if answer is None:
                self._finish(job, {})
            elif answer[0] or answer[1]:
                self._say(job, *answer)

    def _next(self) -> Job:
        with self._changed:
            while True:
                able = [job for job in self._jobs.values() if self._is_able(job)]
                if able:
                    return min(able, key=lambda job: self._part.urgency.index(job.kind))
                self._changed.wait()

    def _is_able(self, job: Job) -> bool:
        if self._part.by_credit:
            return job.credit > 0
        return job.kind != "long" or bool(job.sound) or job.complete

    def _say(self, job: Job, head: Head, body: bytes) -> None:
        with self._changed:
            job.credit -= 1
            wanted = job.number in self._jobs
        if wanted:
            self._answer(head | {"id": job.number}, body)

    def _finish(self, job: Job, head: Head) -> None:
        with self._changed:
            wanted = self._jobs.pop(job.number, None) is not None
        if wanted:
            self._answer(head | {"id": job.number, "end": True}, b"")


class Answers:
    """Where answers go: whole frames, from whichever thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._writing = descriptor, threading.Lock()

    def __call__(self, head: Head, body: bytes = b"") -> None:
        with self._writing:
            rest = memoryview(frame(head, body))
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]


def serve(part: Any, answers: Answers) -> None:
    """Answer requests until stdin ends."""
    take = _at_once(part, answers) if hasattr(part, "detect") else _working(part, answers)
    frames = Frames()
    while block := os.read(0, BLOCK):
        for head, body in frames.feed(block):
            take(head, body)


def _at_once(detector: Any, answers: Answers) -> Answer:
    """The detector is faster than any hand-over to a thread."""

    def take(head: Head, body: bytes) -> None:
        if head["do"] == "detect":
            answers({"id": head["id"], "end": True, "p": detector.detect(body, anew=head["anew"])})

    return take


def _working(part: Part, answers: Answers) -> Answer:
    worker = Worker(part, answers)
    threading.excepthook = _end_too
    threading.Thread(target=worker.run, name="worker", daemon=True).start()
    return worker.take


def load(part: str, model: str | None) -> Any:
    """Return the engine, ready to work."""
    match part:
        case "mouth":
            from sophia_core.voice.engine_mouth import MouthPart

            return MouthPart(model)
        case "ear":
            from sophia_core.voice.engine_ear import EarPart

            return EarPart(model, threads=min(THREADS, len(os.sched_getaffinity(0)) if _LINUX else os.cpu_count() or 1))
        case "detector":
            from sophia_core.voice.engine_detector import Detector

            return Detector(model)
        case _:
            from sophia_core.voice.engine_decoder import DecoderPart

            return DecoderPart()


_LINUX = sys.platform == "linux"


def main() -> None:
    """Say hello when everything is loaded, then serve."""
    _die_with(int(sys.argv[1]))
    _keep_to_itself()
    # Sound and words go to `answers`; whatever a library prints goes to where somebody keeps the last of it.
    answers = Answers(os.dup(1))
    os.dup2(2, 1)
    os.environ |= {"OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    if sys.argv[2] != "ear":
        os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        part = load(sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
    except Exception as error:
        answers({"ready": False, "error": f"{type(error).__name__}: {error}"})
        os._exit(1)
    # Whatever a library should do some day: no sound is written to a file. (Before, Python keeps its byte code.)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    answers({"ready": True})
    serve(part, answers)
    os._exit(0)


def _end_too(failed: threading.ExceptHookArgs) -> None:
    """End with the thread that failed: whoever waits for it must hear of it."""
    os.write(2, f"{failed.exc_type.__name__}\n".encode())
    os._exit(1)


def _die_with(parent: int) -> None:
    """Have the kernel end this process with its parent where it can: nothing reads stdin while it loads."""
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _keep_to_itself() -> None:
    """What people say passes through here: no core file, and no look into our memory by other processes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if _LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


if __name__ == "__main__":
    main()
