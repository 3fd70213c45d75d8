"""Sound as it comes from a stranger becomes samples that may be played: signed 16-bit little-endian mono. Pure.

Servers send WAV although raw samples were asked for, MP3 under the name of raw samples, or a web page. Played as
samples these are noise at full volume in somebody's ears, so nothing is passed on that does not look like sound.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping
from operator import mul
from typing import Final

from backend_client.errors import NotOurProtocol, StreamTruncated, TimedOut
from backend_client.speech.wav import WavHead, read_wav_head

HINT: Final = "Check the address of the voice server, its model, and the format that it is asked for."
FRAME_MAX: Final = 1500
"""Bytes of the longest MP3 frame, and its neighbour's first ones."""
BLOCK: Final = 1024
"""Samples that are judged at once."""
BLOCKS_JUDGED: Final = 12
"""Loud blocks that have to sound like something; after that the rest is believed."""
BLOCKS_MOST: Final = 200
"""Blocks that are judged at most, loud or not: more than eight seconds of a voice are one."""
NOISY_IN_A_ROW: Final = 3
_LOUD: Final = 9000 * 9000
"""Mean square of a block that hurts when it is noise; speech hardly ever reaches it."""
_ALIKE: Final = 0.25
"""How much two neighbouring samples of any voice have to do with each other; in noise they have nothing."""
_NOT_SOUND: Final = re.compile(r"text/|image/|video/|application/(?:json|xml|problem|xhtml|javascript)|multipart/")
_RATES: Final[Mapping[int, tuple[int, ...]]] = {
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}
_LAYER_3: Final = 1
_KILOBITS: Final[Mapping[bool, tuple[int, ...]]] = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


class SoundDecoder:
    """Takes the bytes of an answer and gives samples of `rate`. Raises NotOurProtocol, StreamTruncated, TimedOut."""

    def __init__(
        self, rate: int, *, source_rate: int | None = None, shortest_s: float = 0.0, longest_s: float = 120.0
    ) -> None:
        self._rate, self._source = rate, source_rate or rate
        self._least = int(rate * 2 * shortest_s)
        self._most = int(rate * 2 * longest_s)
        self._longest_s = longest_s
        self._held = b""
        self._known = False
        self._wav: WavHead | None = None
        self._left: int | None = None
        """Bytes that are still to come, where the sound says how long it is."""
        self._gate = NoiseGate()
        self._stretch: Resampler | None = None
        self.given = 0
        """Bytes given out so far."""

    def head(self, headers: Mapping[str, str]) -> None:
        """Look at the head of the answer."""
        told = headers.get("content-type", "").lower()
        if _NOT_SOUND.match(told.strip()):
            kind = "a web page" if "html" in told else f"{told.partition(';')[0].strip()[:60]!r}"
            raise NotOurProtocol(f"{kind} came back in place of sound", hint=HINT)
        if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise NotOurProtocol("the sound is compressed, although we asked for it plain", hint=HINT)
        if rate := re.search(r"\brate=(\d{4,6})\b", told):
            self._source = min(max(int(rate[1]), 4000), 192_000)

    def feed(self, data: bytes) -> bytes:
        """Return the samples that are certain by now."""
        if not self._known:
            self._held += data
            if not self._recognised(final=False):
                return b""
            data, self._held = self._held, b""
        return self._samples(data)

    def close(self) -> bytes:
        """Return what is left at the end of the answer."""
        rest = b""
        if not self._known and self._held:
            self._recognised(final=True)
            data, self._held = self._held, b""
            rest = self._samples(data)
        rest += self._out(self._gate.close())
        if not self.given:
            raise NotOurProtocol("no sound came back", hint=HINT, retryable=True)
        if self._left or self.given < self._least:
            raise StreamTruncated("the sound broke off before its end")
        return rest

    def _recognised(self, *, final: bool) -> bool:
        """Whether it is known what this is; what comes before the samples is taken off."""
        head = self._held
        if head[:4] == b"RIFF"[: len(head)] and (len(head) >= 4 or not final):
            wav = read_wav_head(head)
            if wav is None:
                if final:
                    raise StreamTruncated("the WAV ends in its head")
                return False
            self._wav, self._left, self._source = wav, wav.size, wav.rate
            self._held = head[wav.start :]
        elif (found := encoded_as(head, final=final)) == "?":
            return False
        elif found:
            raise NotOurProtocol(f"{found} came back in place of plain samples", hint=HINT)
        if self._source != self._rate:
            self._stretch = Resampler(self._source, self._rate)
        self._known = True
        return True

    def _samples(self, data: bytes) -> bytes:
        if self._left is not None:
            data, self._left = data[: self._left], max(0, self._left - len(data))
        data = self._held + data
        step = self._wav.frame if self._wav else 2
        cut = len(data) // step * step
        data, self._held = data[:cut], data[cut:]
        return self._out(self._gate.feed(self._wav.mono(data) if self._wav else data))

    def _out(self, samples: bytes) -> bytes:
        if self._stretch is not None:
            samples = self._stretch.feed(samples)
        self.given += len(samples)
        if self.given > self._most:
            raise TimedOut(f"more than {self._longest_s:.0f} s of sound came for one sentence", retryable=False)
        return samples


class NoiseGate:
    """Holds back what sounds like no voice at all, until it is certain. Raises NotOurProtocol when it is noise."""

    def __init__(self) -> None:
        self._part = b""
        self._suspect: list[bytes] = []
        self._judged = self._blocks = 0
        self._voiced = False

    def feed(self, samples: bytes) -> bytes:
        """Return the samples that may be heard."""
        if self._believed():
            return samples
        data, out = self._part + samples, []
        size = BLOCK * 2
        while len(data) >= size and not self._believed():
            block, data = data[:size], data[size:]
            out += self._judge(block)
        self._part = data
        if self._believed():
            out.append(data)
            self._part = b""
        return b"".join(out)

    def close(self) -> bytes:
        """Return what was held back to the end, unless all of it was noise."""
        if self._suspect and not self._voiced:
            raise _noise()
        rest, self._part, self._suspect = b"".join([*self._suspect, self._part]), b"", []
        return rest

    def _believed(self) -> bool:
        return not self._suspect and (self._judged >= BLOCKS_JUDGED or self._blocks >= BLOCKS_MOST)

    def _judge(self, block: bytes) -> list[bytes]:
        power, alike = likeness(block)
        self._judged += power > _LOUD
        self._blocks += 1
        self._suspect.append(block)
        self._voiced |= alike >= _ALIKE and power > 0
        if power <= _LOUD or alike >= _ALIKE:
            passed, self._suspect = self._suspect, []
            return passed
        if len(self._suspect) >= NOISY_IN_A_ROW:
            raise _noise()
        return []


def _noise() -> NotOurProtocol:
    return NotOurProtocol("noise came back in place of a voice: the format is not what was asked for", hint=HINT)


def likeness(block: bytes) -> tuple[float, float]:
    """Return the mean square of the samples, and from -1 to 1 how alike neighbours are."""
    values = array("h", block)
    energy = sum(map(mul, values, values))
    return energy / max(1, len(values)), sum(map(mul, values, values[1:])) / max(1, energy)


class Resampler:
    """Turns samples of one rate into those of another, by straight lines between them: good enough for a voice."""

    def __init__(self, source: int, target: int) -> None:
        self._step = source / target
        self._at = 0.0
        """Where the next sample is taken, counted from the last one of before."""
        self._last = array("h")

    def feed(self, samples: bytes) -> bytes:
        """Return the samples that lie before the last one given."""
        values = self._last + array("h", samples)
        if len(values) < 2:
            self._last = values
            return b""
        out, at, step, end = array("h"), self._at, self._step, len(values) - 1
        while at < end:
            whole = int(at)
            left = values[whole]
            out.append(int(left + (values[whole + 1] - left) * (at - whole)))
            at += step
        self._at, self._last = at - end, values[end:]
        return out.tobytes()


def encoded_as(head: bytes, *, final: bool = False) -> str:
    """Return what the bytes are that are no samples, nothing when they may be, and `?` when more have to come."""
    if len(head) < 12 and not final:
        return "?"
    for mark, name in ((b"ID3", "MP3"), (b"OggS", "Ogg"), (b"fLaC", "FLAC"), (b"\x1aE\xdf\xa3", "WebM")):
        if head.startswith(mark):
            return name
    if head[4:8] == b"ftyp":
        return "MP4"
    if re.match(rb"\s*<(?:!doctype|html|\?xml|head|body)", head[:64], re.IGNORECASE):
        return "a web page"
    if re.match(rb'\s*\{\s*"|data: |event: ', head[:32]):
        return "text"
    if (length := _frame_length(head)) is None:
        return ""
    if len(head) < length + 4:
        # One header may be chance; another one where the frame ends is not.
        return "" if final else "?"
    return "" if _frame_length(head[length:]) is None else "MP3"


def _frame_length(head: bytes) -> int | None:
    """Return the length of the MP3 or AAC frame that begins here; None where none does."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:  # AAC in ADTS
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        return length if 7 < length < FRAME_MAX else None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    rate, bits = head[2] >> 2 & 3, head[2] >> 4
    if layer != _LAYER_3 or version not in _RATES or rate == 3 or not 0 < bits < 15:
        return None
    newest = version == 3
    kilobits = _KILOBITS[newest][bits]
    return (144 if newest else 72) * kilobits * 1000 // _RATES[version][rate] + (head[2] >> 1 & 1)
