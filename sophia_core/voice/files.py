"""What is said in sound files, written down; and what is said aloud, kept in one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

from backend_client.errors import BackendError
from sophia_core.commands import CommandError, command
from sophia_core.events import Bus, Notice, SpeechHeard
from sophia_core.long_work import LongWork, Progress
from sophia_core.personas.persona import Voice
from sophia_core.present import Verbatim
from sophia_core.sanitize import one_line
from sophia_core.voice.ports import MIC_RATE, SAMPLE_BYTES, AudioTrouble, Mouth, NoVoice
from sophia_core.voice.sound_files import SoundFile, Unwritable, WavFile

if TYPE_CHECKING:
    from sophia_core.voice.ears import Ears
    from sophia_core.voice.engines import Passage
    from sophia_core.voice.mouths import Mouths
    from sophia_core.voice.settings import VoiceSettings
    from sophia_core.voice.speaking import Texts

LONGEST_PASSAGE: Final = 4_000
PARAGRAPH_S: Final = 1.4
"""A silence this long begins a new paragraph."""
LONGEST_TEXT: Final = 200_000
"""Characters that are spoken into one file: about four hours."""
STOPPED: Final = "Nothing was kept of it."
HINT: Final = "Text works as always; `sophia doctor` says what the voice needs."
SPEAKS: Final = "voice.mouths"


@dataclass(frozen=True, slots=True)
class Said:
    """A stretch of a file, and what is said in it."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class WrittenDown:
    """What was said in a file."""

    file: str
    seconds: float
    ear: str
    """Who wrote it down; of several, who did last. Empty where nobody speaks."""
    passages: tuple[Said, ...]
    note: str = ""
    """What is odd about the file."""

    @property
    def text(self) -> str:
        """All of it, a paragraph after every silence."""
        return "".join(_joined(self.passages))

    def __str__(self) -> str:
        return self.text


class LongEar(Protocol):
    """An ear that takes sound of any length while it comes."""

    name: str

    def passages(
        self, sound: AsyncIterator[bytes], *, on_heard: Callable[[float], None] | None = None
    ) -> AsyncIterator[Passage]: ...


def _available(files: Files) -> str | None:
    return None if files.settings.enabled else "the voice is switched off (`voice.enabled`)"


class Files:
    """Sound files: taken in and made."""

    def __init__(
        self,
        settings: VoiceSettings,
        bus: Bus,
        work: LongWork,
        texts: Texts,
        *,
        ears: Callable[[], Ears],
        mouths: Callable[[], Mouths],
        embedded: Callable[[], LongEar],
        voice_of: Callable[[], Awaitable[Voice]],
        editable: Callable[[], bool],
    ) -> None:
        """`embedded` is the ear of this machine, which takes long sound as it comes; `voice_of` says how whoever
        answers now sounds, `editable` whether there is a prompt that takes what was written down."""
        self.settings, self._bus, self._work = settings, bus, work
        self._ears, self._mouths, self._embedded = ears, mouths, embedded
        self._texts, self._voice_of, self._editable = texts, voice_of, editable

    # Taken in

    @command("voice.transcribe", enabled=_available)
    async def transcribe_command(self, path: str, *, to: Literal["prompt", "result"] = "prompt") -> str:
        """Write down what is said in a sound file: into the prompt, or with `to=result` for a macro or script."""
        done = await self.transcribed(typed_path(path))
        if not done.text:
            return f"Nobody speaks in {done.file}."
        if to == "result" or not self._editable():
            return Verbatim(done.text)
        self._bus.publish(SpeechHeard(_safe_line(done.text), done.ear, done.seconds, "prompt"))
        return f"What is said in {done.file} ({_time(done.seconds)}) is in the prompt."

    async def transcribed(self, path: Path, progress: Progress | None = None) -> WrittenDown:
        """Write down what is said in a file, as a work that can be stopped. Raises CommandError."""

        async def whole(shown: Progress) -> WrittenDown:
            return await self._transcribe(path, progress or shown)

        try:
            return await self._work.run("Writing down", whole, stopped=STOPPED)
        except (AudioTrouble, BackendError) as error:
            raise CommandError(one_line(str(error), 300), one_line(error.hint, 300) or HINT) from None

    async def _transcribe(self, path: Path, progress: Progress) -> WrittenDown:
        file = await asyncio.to_thread(SoundFile, path)
        ears, heard = self._ears(), 0.0

        def tell(seconds: float) -> None:
            nonlocal heard
            heard = max(heard, seconds)
            progress(int(heard), max(int(file.seconds), int(heard)) if file.seconds else 0)

        reading = self._embedded_passages if ears.first in (None, "embedded") else self._in_stretches
        passages: list[Said] = []
        by = ""
        async with aclosing(reading(file, ears, tell)) as found:  # type: ignore[type-var]
            async for ear, passage in found:
                if passage.text:
                    by = ear
                    passages.append(passage)
        if file.seconds and heard + 1 < file.seconds:
            file.breaks_off = True
        note = f"{file.name} breaks off after {_time(heard)}." if file.breaks_off else ""
        if note:
            self._bus.publish(Notice("warning", note, "What is there was written down."))
        return WrittenDown(file.name, round(max(heard, 0.0), 2), by, tuple(passages), note)

    async def _embedded_passages(
        self, file: SoundFile, ears: Ears, tell: Callable[[float], None]
    ) -> AsyncIterator[tuple[str, Said]]:
        """By the ear on this machine, which hears as fast as it can and leaves silence out."""
        if ears.first is None:
            raise NoVoice("Nobody can write down what is said.", "Name somebody in `voice.ears`.")
        language = self.settings.language
        if language and not language.casefold().startswith("en"):
            raise NoVoice(f"The ear on this machine understands English only, not {language!r}.", HINT)
        ear, end = self._embedded(), 0.0

        async def counted() -> AsyncGenerator[bytes]:
            nonlocal end
            async with aclosing(file.pieces()) as pieces:
                async for piece in pieces:
                    end += len(piece) / SAMPLE_BYTES / MIC_RATE
                    yield piece

        sound = counted()
        try:
            async with aclosing(ear.passages(sound, on_heard=tell)) as found:  # type: ignore[type-var]
                async for each in found:
                    yield ear.name, Said(round(each.start_s, 2), round(each.end_s, 2), _safe(each.text))
        finally:
            await sound.aclose()
        tell(end)

    async def _in_stretches(
        self, file: SoundFile, ears: Ears, tell: Callable[[float], None]
    ) -> AsyncIterator[tuple[str, Said]]:
        """By whoever can, a minute at a time: where one fails, the next goes on with the same minute."""
        from sophia_core.voice.stretches import Stretch, Stretches

        stretches, end = Stretches(), 0.0

        async def ask(each: Stretch) -> tuple[str, Said]:
            found = await ears.transcribe(each.pcm, language=self.settings.language)
            return found.by, Said(round(each.start_s, 2), round(each.end_s, 2), _safe(found.text))

        async with aclosing(file.pieces()) as pieces:
            async for piece in pieces:
                end += len(piece) / SAMPLE_BYTES / MIC_RATE
                # Looking for a pause takes a moment, in which nobody should wait for a key.
                for each in await asyncio.to_thread(list, stretches.feed(piece)):
                    yield await ask(each)
                    tell(each.end_s)
        for each in await asyncio.to_thread(list, stretches.finish()):
            yield await ask(each)
        tell(end)

    # Made

    @command("voice.save", enabled=_available)
    async def save_command(self, path: str, text: str = "", *, replace: bool = False) -> str:
        """Keep the last answer, or a text, as it is read aloud: in a WAV file."""
        words = text or await self._texts.last_answer()
        done, seconds = await self.saved(words, typed_path(path), replace=replace)
        return f"{_time(seconds)} of speech by {done} are in {path}."

    async def saved(
        self, text: str, path: Path, *, replace: bool = False, progress: Progress | None = None
    ) -> tuple[str, float]:
        """Write a text as speech to a WAV file; return who spoke, and the seconds. Raises CommandError."""
        if len(text) > LONGEST_TEXT:
            raise CommandError(f"{LONGEST_TEXT:,} characters are spoken at most.", "Save it in parts.")
        sentences = await asyncio.to_thread(_sentences, text)
        if not sentences:
            raise CommandError("There is nothing to say aloud in it.", "Give it words.")

        async def whole(shown: Progress) -> tuple[str, float]:
            return await self._speak_to(path, sentences, replace, progress or shown)

        try:
            return await self._work.run("Speaking", whole, stopped=STOPPED)
        except (AudioTrouble, BackendError) as error:
            raise CommandError(one_line(str(error), 300), one_line(error.hint, 300) or HINT) from None

    async def _speak_to(
        self, path: Path, sentences: Sequence[str], replace: bool, progress: Progress
    ) -> tuple[str, float]:
        """All of it by one mouth: where one fails in the middle, the next begins again, in one voice throughout."""
        mouths, voice = self._mouths(), await self._voice_of()
        order = list(mouths.order(voice.engine))
        trouble: Exception = NoVoice("Nobody is set up to speak.", f"Name somebody in `{SPEAKS}`.")
        for mouth, following in zip(order, (*order[1:], None), strict=True):
            file = await asyncio.to_thread(WavFile, path, mouth.rate, replace=replace)
            try:
                await self._speak_all(mouth, voice, sentences, file, progress)
                await asyncio.to_thread(file.settle)
            except Unwritable:
                raise
            except (BackendError, AudioTrouble) as error:
                trouble = error
                mouths.failed(mouth, error, following)
            else:
                mouths.succeeded(mouth)
                return mouth.name, file.seconds
            finally:
                file.discard()
        raise trouble

    async def _speak_all(
        self, mouth: Mouth, voice: Voice, sentences: Sequence[str], file: WavFile, progress: Progress
    ) -> None:
        known = voice.engine == mouth.name or voice.name in getattr(mouth, "voices", ())
        name, speed = (voice.name or None) if known else None, min(max(voice.speed * self.settings.speed, 0.5), 2.0)
        for number, sentence in enumerate(sentences):
            progress(number, len(sentences))
            async with aclosing(mouth.speak(sentence, voice=name, speed=speed)) as sound:  # type: ignore[type-var]
                async for pcm in sound:
                    await asyncio.to_thread(file.write, pcm)
        if not file.seconds:
            raise NoVoice(f"{mouth.name} said nothing.", HINT)


def typed_path(typed: str) -> Path:
    """A path as somebody typed it."""
    return Path(typed).expanduser().absolute()


def _sentences(text: str) -> list[str]:
    """A text in Markdown as it is read aloud."""
    from sophia_core.voice.spoken import Spoken

    spoken = Spoken()
    return [each.text for each in (*spoken.feed(text), *spoken.finish())]


def _safe(text: str) -> str:
    return " ".join(one_line(text, LONGEST_PASSAGE).split())


def _safe_line(text: str) -> str:
    """For the prompt: never a command line."""
    return " ".join(text.split()).lstrip("/ ")


def _joined(passages: Sequence[Said]) -> Iterator[str]:
    before: Said | None = None
    for each in passages:
        if before is not None:
            yield "\n\n" if each.start_s - before.end_s >= PARAGRAPH_S else " "
        yield each.text
        before = each


def _time(seconds: float) -> str:
    """As a person says it: `12 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
