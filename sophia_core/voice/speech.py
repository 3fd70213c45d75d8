"""One thing being said: sentences on their way through a mouth to the loudspeaker, each made while another plays."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol

from backend_client.errors import BackendError
from sophia_core.voice.clips import Clip, Maker
from sophia_core.voice.happenings import SpeakingState
from sophia_core.voice.ports import SAMPLE_BYTES, AudioTrouble, DeviceLost, Devices, Playback
from sophia_core.voice.spoken import Sentence, Spoken

AHEAD_S: Final = 6.0
"""So much sound is made ahead of what is heard: enough for a slow server, and little is paid for in vain."""
SLICE_S: Final = 0.1
"""So much is handed to the loudspeaker at once."""
READ_AT_ONCE: Final = 1_000
"""Characters of a text that are read before others have their turn."""
JUST_BEGUN_S: Final = 1.0
"""Who asks for a repetition this early in a sentence means the one before."""
NOW_S: Final = 0.02
ABORT_S: Final = 0.5
"""A loudspeaker that is not silent by then is left alone."""


class Told(Protocol):
    """Hears how it goes."""

    def __call__(self, state: SpeakingState, sentence: str = "", mouth: str | None = None) -> None: ...


class LostDevice(Protocol):
    """Hears that the loudspeaker is gone, and that another one goes on."""

    def __call__(self, lost: DeviceLost) -> None: ...


@dataclass(frozen=True, slots=True)
class _Mark:
    """Where in what a playback plays a sentence begins."""

    from_s: float
    clip: Clip


class Speech:
    """Says what it is fed until `end`. `run` returns when all of it was heard, and may be cancelled at any time."""

    def __init__(
        self, maker: Maker, devices: Devices, told: Told, lost: LostDevice, *, output: str | None = None
    ) -> None:
        self._maker, self._devices, self._told, self._lost, self._output = maker, devices, told, lost, output
        self._spoken, self._text, self._ended, self._read_all = Spoken(), deque[str](), False, False
        self._sentences, self._clips = deque[Sentence](), dict[int, Clip]()
        self._next_number, self._made_all = 0, False
        self._playing = 0
        """The number of the sentence that is handed to the loudspeaker."""
        self._playback: Playback | None = None
        self._rate, self._written_s = 0, 0.0
        self._marks: list[_Mark] = []
        self._untold = 0
        self._timer: asyncio.TimerHandle | None = None
        self._stir, self._going = asyncio.Event(), asyncio.Event()
        self._going.set()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._making: asyncio.Task[None] | None = None
        self._sounding: asyncio.Task[None] | None = None

    # What is to be said

    def feed(self, text: str) -> None:
        """More of the text has come."""
        self._text.append(text)
        self._stir.set()

    def pass_over(self, text: str) -> None:
        """The text begins with this, which was said before."""
        self._spoken.feed(text)

    def end(self) -> None:
        """The text is over."""
        self._ended = True
        self._stir.set()

    # What a person does meanwhile

    @property
    def paused(self) -> bool:
        return not self._going.is_set()

    async def pause(self) -> None:
        """Rest in the middle of a word."""
        self._going.clear()
        self._stop_timer()
        clip = self._heard_clip()
        self._told("paused", clip.sentence.text if clip else "", clip.mouth if clip else None)
        if self._playback:
            await self._playback.pause()

    async def resume(self) -> None:
        """Go on where it rested."""
        if self._playback:
            await self._playback.resume()
        self._going.set()
        if clip := self._heard_clip():
            self._told("speaking", clip.sentence.text, clip.mouth)
        self._tell()

    async def skip(self) -> None:
        """Leave the sentence that is heard, and go on with the next."""
        at = self._heard_number()
        if at in self._clips and not self._clips[at].whole:
            await _ended(self._making)
            self._making = self._start(self._make())
        await self._jump(at + 1)

    async def repeat(self) -> None:
        """Say the sentence that is heard again; the one before, where it has only just begun."""
        at = self._heard_number()
        begun = next((mark.from_s for mark in reversed(self._marks) if mark.clip.number == at), 0.0)
        early = self._playback is not None and self._playback.heard_s - begun < JUST_BEGUN_S
        await self._jump(at - 1 if early and at - 1 in self._clips else at)

    async def set_speed(self, speed: float) -> None:
        """Say what comes after the sentence that is heard at another speed."""
        self._maker.voice = replace(self._maker.voice, speed=speed)
        playing = self._clips.get(self._playing)
        if playing is None or not playing.whole:
            return
        await _ended(self._making)
        later = [self._clips.pop(each) for each in sorted(self._clips) if each > self._playing]
        self._sentences.extendleft(clip.sentence for clip in reversed(later))
        self._next_number, self._made_all = self._playing + 1, False
        self._making = self._start(self._make())

    # How it goes on by itself

    async def run(self) -> None:
        """Say it all. Raises BackendError where nobody can speak, and AudioTrouble where nothing can be heard."""
        self._making, self._sounding = self._start(self._make()), self._start(self._play(0))
        try:
            await self._over
        finally:
            await self._silence()

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._watch)
        return task

    def _watch(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) and not self._over.done():
            self._over.set_exception(error)

    async def _make(self) -> None:
        """Have one sentence after the other spoken, not too far ahead."""
        while sentence := await self._next_sentence():
            if not self._next_number:
                self._told("preparing")
            clip = self._clips[self._next_number] = Clip(self._next_number, sentence)
            self._next_number += 1
            self._stir.set()
            await self._maker.make(clip)
            if clip.trouble:
                return
        self._made_all = True
        self._stir.set()

    async def _next_sentence(self) -> Sentence | None:
        while True:
            if self._ahead_s() < AHEAD_S:
                if self._sentences:
                    return self._sentences.popleft()
                if self._read():
                    await asyncio.sleep(0)
                    continue
                if self._read_all:
                    return None
            self._stir.clear()
            await self._stir.wait()

    def _read(self) -> bool:
        """Read on in the text; False where there is no more of it just now."""
        if self._text:
            text = self._text.popleft()
            if len(text) > READ_AT_ONCE:
                self._text.appendleft(text[READ_AT_ONCE:])
            self._sentences.extend(self._spoken.feed(text[:READ_AT_ONCE]))
            return True
        if self._ended and not self._read_all:
            self._read_all = True
            self._sentences.extend(self._spoken.finish())
            return True
        return False

    def _ahead_s(self) -> float:
        """How much sound there is that was not handed to the loudspeaker yet."""
        begun = self._marks[-1] if self._marks else None
        ready = sum(clip.seconds for number, clip in self._clips.items() if number >= self._playing)
        return ready - (self._written_s - begun.from_s if begun and begun.clip.number == self._playing else 0.0)

    async def _play(self, number: int) -> None:
        """Have sentences heard, from this one on."""
        again = False
        while True:
            try:
                await self._play_from(number)
            except DeviceLost as lost:
                if again:
                    raise
                again, number = True, self._heard_number()
                self._lost(lost)
                await self._hush()
                self._output = None
            else:
                break
        if not self._over.done():
            self._over.set_result(None)

    async def _play_from(self, number: int) -> None:
        while clip := await self._clip(number):
            if self._playback is None and not clip.pieces and (rate := self._maker.rate):
                await self._open(rate)  # it takes as long as a mouth takes to begin
            try:
                async for rate, pcm in clip.sound():
                    await self._write(clip, rate, pcm)
            except (BackendError, AudioTrouble) as trouble:
                if trouble is clip.trouble:
                    await self._finish()
                raise
            number += 1
        await self._finish()

    async def _clip(self, number: int) -> Clip | None:
        """The sentence of this number, as soon as somebody begins to speak it; None after the last one."""
        while number not in self._clips:
            if self._made_all and number >= self._next_number:
                return None
            self._stir.clear()
            await self._stir.wait()
        self._playing = number
        for old in [each for each in self._clips if each < number - 2]:
            del self._clips[old]
        self._stir.set()
        return self._clips[number]

    async def _write(self, clip: Clip, rate: int, pcm: bytes) -> None:
        step = int(rate * SLICE_S) * SAMPLE_BYTES
        for at in range(0, len(pcm), step):
            await self._going.wait()
            playback = await self._open(rate)
            if not self._marks or self._marks[-1].clip is not clip:
                self._marks.append(_Mark(self._written_s, clip))
                self._tell()
            part = pcm[at : at + step]
            await playback.write(part)
            self._written_s += len(part) / SAMPLE_BYTES / rate
            self._stir.set()

    async def _open(self, rate: int) -> Playback:
        """The loudspeaker at this rate; what it plays at another one is heard to its end first."""
        if self._playback is None or self._rate != rate:
            await self._finish()
            self._playback, self._rate = await self._devices.play(rate, self._output), rate
            self._written_s, self._marks, self._untold = 0.0, [], 0
        return self._playback

    async def _finish(self) -> None:
        if self._playback:
            await self._playback.finish()
            self._playback = None
            self._tell(now=True)

    # What is heard

    def _tell(self, *, now: bool = False) -> None:
        """Say which sentence is heard as soon as it is; what is handed over is heard a little later."""
        self._stop_timer()
        while self._untold < len(self._marks):
            mark = self._marks[self._untold]
            wait_s = mark.from_s - self._playback.heard_s if self._playback and not now else 0.0
            if wait_s > NOW_S:
                if self._going.is_set():
                    self._timer = asyncio.get_running_loop().call_later(wait_s, self._tell)
                return
            self._untold += 1
            self._told("speaking", mark.clip.sentence.text, mark.clip.mouth)

    def _heard_clip(self) -> Clip | None:
        """The sentence that is heard, not only handed over."""
        if self._playback is None or not self._marks:
            return self._clips.get(self._playing)
        heard_s = self._playback.heard_s + NOW_S
        return next((mark.clip for mark in reversed(self._marks) if mark.from_s <= heard_s), self._marks[0].clip)

    def _heard_number(self) -> int:
        clip = self._heard_clip()
        return clip.number if clip else self._playing

    async def _jump(self, number: int) -> None:
        """Be silent at once, and go on with this sentence."""
        if self._over.done():
            return
        old = self._sounding
        if old:
            old.cancel()
        await self._hush()
        await _ended(old)
        self._going.set()
        self._sounding = self._start(self._play(number))

    async def _hush(self) -> None:
        self._stop_timer()
        playback, self._playback = self._playback, None
        self._marks, self._untold = [], 0
        if playback:
            with suppress(TimeoutError):
                async with asyncio.timeout(ABORT_S):
                    await playback.abort()

    async def _silence(self) -> None:
        """Nothing is heard, made or waited for any more."""
        for task in (self._sounding, self._making):
            if task:
                task.cancel()
        await self._hush()
        await _ended(self._sounding)
        await _ended(self._making)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


async def _ended(task: asyncio.Task[None] | None) -> None:
    """End a task, and wait until it has."""
    if task is not None:
        task.cancel()
        await asyncio.wait([task])
