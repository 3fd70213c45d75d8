"""The process that computes vectors and holds the codes of all of them, so that the one a person looks at does neither.

It is run by file path; what it needs of ours comes from beside this file, wherever it is started. Requests arrive as
frames on stdin and are answered in frames on stdout: questions at once, texts to be looked at for later in a thread
with low priority. After each window that thread rests, so that on the whole it uses no more than the share of one core
that it was allowed. The process lives until stdin ends: its parent stops it or is gone, for whatever reason.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))

from sophia_core.memory.frames import Frames, Head, frame

if TYPE_CHECKING:
    from sophia_core.memory.matrix import Matrix
    from sophia_core.memory.model import Model, Vector

    Answer = Callable[[Head, bytes], None]

PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
BLOCK = 1 << 16
LONGEST_REST_S = 5.0
NICENESS = 10
MOST_WINDOWS = 64
"""Of one text: what follows after so many pages rarely says what it is about."""


class Work:
    """One text that is being looked at, window by window."""

    def __init__(self, model: Model, head: Head) -> None:
        self.number, self._text, self._model = head["id"], head["text"], model
        self._parts: deque[tuple[int, int]] = deque(head["parts"])
        self._windows: deque[tuple[list[int], int, int]] = deque()
        self.spans: list[tuple[int, int]] = []
        self.made: list[bytes] = []

    def step(self) -> bool:
        """Embed the next window; False when there is none, or enough of them."""
        from sophia_core.memory.model import quantised

        while not self._windows and self._parts:
            begin, end = self._parts.popleft()
            self._windows.extend(self._model.windows(self._text, begin, end))
        if not self._windows or len(self.made) == MOST_WINDOWS:
            return False
        pieces, begin, end = self._windows.popleft()
        self.spans.append((begin, end))
        self.made.append(b"".join(quantised(self._model.embed(pieces))))
        return True


class Looker:
    """Looks at texts in a thread of its own, with the lowest priority and as slowly as it was told."""

    def __init__(self, model: Model, answer: Answer) -> None:
        self._model, self._answer = model, answer
        self._changed = threading.Condition()
        self._texts: deque[Head] = deque()
        self._now: Work | None = None
        self._percent = 100
        self._not_before = 0.0

    def take(self, head: Head) -> None:
        """Look at one more text, after the others."""
        with self._changed:
            self._texts.append(head)
            self._changed.notify()

    def pace(self, percent: int) -> None:
        """Take that share of one core from now on."""
        with self._changed:
            self._percent, self._not_before = percent, 0.0
            self._changed.notify()

    def forget(self) -> None:
        """Leave every text that was not finished."""
        with self._changed:
            self._texts.clear()
            self._now = None

    def run(self) -> None:
        """Work for ever."""
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while True:
            work = self._next()
            began = time.thread_time()
            goes_on = work.step()
            if self._rest(work, time.thread_time() - began, goes_on):
                self._answer({"id": work.number, "spans": work.spans}, b"".join(work.made))

    def _next(self) -> Work:
        with self._changed:
            while True:
                may_work = self._percent > 0 and (self._now is not None or bool(self._texts))
                wait = self._not_before - time.monotonic()
                if may_work and wait <= 0:
                    self._now = self._now or Work(self._model, self._texts.popleft())
                    return self._now
                self._changed.wait(wait if may_work else None)

    def _rest(self, work: Work, used: float, goes_on: bool) -> bool:
        """Have the next step wait; True when the text is finished and still wanted."""
        with self._changed:
            pause = used * (100 / self._percent - 1) if self._percent else 0.0
            self._not_before = time.monotonic() + min(pause, LONGEST_REST_S)
            finished = self._now is work and not goes_on
            if finished:
                self._now = None
            return finished


class Server:
    """Answers requests until there are no more."""

    def __init__(self, model: Model, matrix: Matrix, requests: int, answers: int) -> None:
        self._matrix, self._requests, self._answers = matrix, requests, answers
        self._question = lru_cache(maxsize=8)(model.question)
        self._writing = threading.Lock()
        self._looker = Looker(model, self._answer)

    def serve(self) -> None:
        """Work until stdin ends."""
        threading.Thread(target=self._looker.run, name="looker", daemon=True).start()
        frames = Frames()
        while block := os.read(self._requests, BLOCK):
            for head, body in frames.feed(block):
                self._take(head, body)

    def _take(self, head: Head, body: bytes) -> None:
        match head["do"]:
            case "look":
                self._looker.take(head)
            case "pace":
                self._looker.pace(head["percent"])
            case "forget":
                self._looker.forget()
            case "add":
                self._matrix.add(bytes.fromhex(head["seqs"]), body)
                self._answer({"id": head["id"], "count": self._matrix.count})
            case "near":
                code = _code(self._question(head["text"]))
                self._answer({"id": head["id"]}, self._matrix.nearest(code, head["limit"]))
            case "score":
                from sophia_core.memory.model import scores

                self._answer({"id": head["id"]}, scores(self._question(head["text"]), body).tobytes())

    def _answer(self, head: Head, body: bytes = b"") -> None:
        with self._writing:
            rest = memoryview(frame(head, body))
            while rest:
                rest = rest[os.write(self._answers, rest) :]


def _code(vector: Vector) -> bytes:
    from sophia_core.memory.model import quantised

    return quantised(vector)[0]


def main() -> None:
    """Say hello when everything is loaded, then serve."""
    _die_with(int(sys.argv[1]))
    _keep_to_itself()
    answers = os.dup(1)
    os.dup2(2, 1)
    os.environ["OMP_WAIT_POLICY"] = "passive"
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    from sophia_core.memory.matrix import Matrix
    from sophia_core.memory.model import Model

    threading.excepthook = _end_too
    server = Server(Model(), Matrix(), 0, answers)
    os.write(answers, frame({"ready": True}))
    server.serve()
    os._exit(0)


def _end_too(failed: threading.ExceptHookArgs) -> None:
    """End with the thread that failed: whoever waits for it must hear of it."""
    os.write(2, f"{failed.exc_type.__name__}\n".encode())
    os._exit(1)


def _die_with(parent: int) -> None:
    """Have the kernel end this process with its parent where it can: nothing reads stdin while it loads."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _keep_to_itself() -> None:
    """What people said passes through here: no core file, and no look into our memory by other processes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


if __name__ == "__main__":
    main()
