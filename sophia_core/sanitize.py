"""Makes text from outside safe to put on a terminal.

Whatever a model, a file, a server or an exception says passes `sanitize` (or, for a stream, `StreamSanitizer`) before
it is drawn. Nothing that a terminal could obey survives; what is taken out is shown where a reader would want to know:

| in the text                                        | becomes                                                         |
|----------------------------------------------------|-----------------------------------------------------------------|
| tab, line feed                                     | themselves                                                      |
| carriage returns before a line feed or at the end  | nothing                                                         |
| other carriage returns (a run of them)             | `␍`                                                             |
| other C0 controls, ESC and DEL                     | their Control Picture: `␛`, `␇`, `␡`                            |
| C1 controls (8-bit CSI, OSC, DCS …)                | their seven-bit spelling made visible: `␛[`, `␛]`, `␛P`         |
| bidi embeddings, overrides, isolates               | `⟪U+202E⟫`: they reorder what is read, so they are named        |
| bidi marks, zero-width and tag characters, soft    | nothing: without them the text shows as what it is              |
| hyphen, annotation, variation selectors from 17 on |                                                                 |
| line and paragraph separators                      | line feed                                                       |
| lone surrogates and noncharacters                  | `�`                                                             |
| ZWJ and ZWNJ                                       | kept after a non-ASCII letter, mark or symbol, else nothing     |
| more than eight combining marks on one character   | the first eight                                                 |

The result is for plain text. Where a widget would read `[markup]`, pass it through `plain_markup` as well.
"""

import re
import unicodedata
from functools import cache

MAX_MARKS = 8
"""Combining marks kept on one character; written languages need fewer."""

_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f"
_BIDI = "\u202a-\u202e\u2066-\u2069"
_SEPARATORS = "\u2028\u2029"
_INVISIBLE = (
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
_JOINERS = "\u200c\u200d"
_INVALID = "\ud800-\udfff\ufdd0-\ufdef" + "".join(
    f"{chr(p + 0xFFFE)}{chr(p + 0xFFFF)}" for p in range(0, 0x110000, 0x10000)
)
_SPECIAL = f"{_CONTROLS}{_BIDI}{_SEPARATORS}{_INVISIBLE}{_JOINERS}{_INVALID}"

# A superset of the combining marks: neither word characters nor the symbol and punctuation blocks that come in long
# runs (box drawing, dashes, CJK punctuation, emoji). `unicodedata` decides; this only chooses where to ask.
# The two expressions with it take milliseconds to compile, so that waits for the first text.
_MARKISH = (
    r"[^\w\x00-\u02ff\u2000-\u200b\u200e-\u20cf\u2100-\u2cee\u2e00-\u3029\u3030-\u3098\u309b-\ua66e"
    r"\uac00-\ufb1d\ufe30-\uffff\U0001f000-\U0001faff]"
)
_INVALID_CHAR = re.compile(f"[{_INVALID}]")
_INVISIBLE_CHAR = re.compile(f"[{_INVISIBLE}]")


@cache
def _needs_work() -> re.Pattern[str]:
    return re.compile(f"[{_SPECIAL}]|{_MARKISH}{{{MAX_MARKS + 1}}}")


@cache
def _markish() -> re.Pattern[str]:
    return re.compile(_MARKISH)


@cache
def _work() -> re.Pattern[str]:
    return re.compile(f"(?:[{_SPECIAL}]|{_MARKISH})+")


def sanitize(text: str) -> str:
    """The text with everything a terminal could obey made harmless; clean text comes back as the same object."""
    return StreamSanitizer().feed(text)


class StreamSanitizer:
    """Sanitises text that arrives in pieces: the outputs joined are `sanitize` of the inputs joined, however cut.

    There is nothing to flush at the end. One instance serves one stream.
    """

    __slots__ = ("_marks", "_previous", "_returned")

    def __init__(self) -> None:
        self._returned = False
        self._previous = ""
        self._marks = 0

    def feed(self, text: str) -> str:
        """The safe form of the next piece; may be empty when the piece held nothing to show."""
        if not text:
            return ""
        if self._is_clean(text):
            self._previous = text[-1]
            self._marks = 0
            return text
        return self._rewrite(text)

    def _is_clean(self, text: str) -> bool:
        if self._returned or (self._marks and text[0] >= "\u0300"):
            return False
        if _is_plain(text):
            return True
        if _needs_work().search(text):
            return False
        return text[-1] < "\u0300" or not _is_mark(text[-1])

    def _rewrite(self, text: str) -> str:
        pieces: list[str] = []
        position = 0
        for run in _work().finditer(text):
            if run.start() > position:
                pieces.append(self._plain(text[position : run.start()]))
            pieces.extend(map(self._character, run.group()))
            position = run.end()
        if position < len(text):
            pieces.append(self._plain(text[position:]))
        return "".join(pieces)

    def _plain(self, text: str) -> str:
        """Text that holds nothing special, after whatever went before it."""
        shown = self._settle_return(text[0]) + text
        self._previous = text[-1]
        self._marks = 0
        return shown

    def _character(self, char: str) -> str:
        if char == "\r":
            self._returned = True
            return ""
        if char in _JOINERS:
            return self._joiner(char)
        shown = _stand_in(char)
        if not shown:
            return ""
        if shown >= "\u0300" and _is_mark(shown[0]):
            return self._mark(shown)
        shown = self._settle_return(shown) + shown
        self._previous = shown[-1]
        self._marks = 0
        return shown

    def _settle_return(self, following: str) -> str:
        """What a pending carriage return turns out to be, now that the next visible character is known."""
        if not self._returned:
            return ""
        self._returned = False
        if following[0] == "\n":
            return ""
        self._previous = "␍"
        self._marks = 0
        return "␍"

    def _joiner(self, char: str) -> str:
        if self._returned or self._marks > MAX_MARKS or not _joins(self._previous):
            return ""
        self._previous = char
        return char

    def _mark(self, char: str) -> str:
        before = self._settle_return(char)
        self._marks = min(self._marks + 1, MAX_MARKS + 1)
        if self._marks > MAX_MARKS:
            return before
        self._previous = char
        return before + char


def one_line(text: str, limit: int = 200) -> str:
    """The text as one safe line of at most `limit` characters, its line breaks and tabs as spaces, cut with `…`."""
    head = text[: limit * 16]
    line = re.sub(r"[\n\t]+", " ", sanitize(head)).strip(" ")
    if len(line) <= limit and len(head) == len(text):
        return line
    return line[: max(0, limit - 1)].rstrip(f" {_JOINERS}") + "…"


def plain_markup(text: str) -> str:
    """The text written so that a Textual widget which reads `[markup]` shows it as it is."""
    return text.replace("[", r"\[")


def _is_plain(text: str) -> bool:
    """Whether there is nothing to look for, told ten times faster than by looking for it; True for nearly all text.
    Whatever this module takes out or names is not printable, or can be taken for a combining mark."""
    printable = text.replace("\n", "").replace("\t", "").isprintable()
    return printable and (text.isascii() or not _markish().search(text))


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M"


def _joins(char: str) -> bool:
    """Whether a joiner after this character can be part of writing (Persian, Indic scripts) or of an emoji."""
    return char > "\x7f" and (unicodedata.category(char)[0] in "LM" or unicodedata.category(char) in ("So", "Sk"))


def _stand_in(char: str) -> str:
    code = ord(char)
    if code < 0x20 and char not in "\n\t":
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if 0x80 <= code <= 0x9F:
        return f"␛{chr(code - 0x40)}"
    if char in _SEPARATORS:
        return "\n"
    if 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069:
        return f"⟪U+{code:04X}⟫"
    if _INVALID_CHAR.match(char):
        return "\ufffd"
    return "" if _INVISIBLE_CHAR.match(char) else char
