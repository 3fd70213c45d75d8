"""One sentence of Markdown in plain words: what a person would say for a link, a piece of code, a sign."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from typing import Final

from sophia_core.sanitize import sanitize
from sophia_core.voice.spoken_math import formula

MOST_OF_CODE: Final = 60
"""A longer piece of code in a sentence is told about, not read."""
_CODE: Final = re.compile(r"(?<!`)(`{1,3}+)(?!`)(.+?)(?<!`)\1(?!`)")
_IMAGE: Final = re.compile(r"!\[([^\]]*)\](?:\([^()\s]*(?:\([^()]*\)[^()]*)*(?:\s+[\"'(][^\"')]*[\"')])?\)|\[[^\]]*\])")
_LINK: Final = re.compile(r"\[([^\[\]]+)\](?:\([^()]*(?:\([^()]*\)[^()]*)*\)|\[[^\]]*\])")
_FOOTNOTE: Final = re.compile(r"\[\^[^\]\s]+\]")
_ADDRESS: Final = re.compile(
    r"<?\b(?:https?|ftp)://(?:www\.)?([\w.-]*\w)(?::\d+)?[^\s<>)\]]*>?|\bwww\.([\w-]+(?:\.[\w-]+)+)[^\s<>)\]]*"
)
_MAIL: Final = re.compile(r"<(?:mailto:)?([\w.+-]+)@([\w-]+(?:\.[\w-]+)+)>")
_MATH: Final = re.compile(r"\$\$(.+?)\$\$|\\\((.+?)\\\)|(?<![\w$\\])\$(?=[^\s$])([^$]*?[^\s$\\])\$(?![\w$])")
_TAG: Final = re.compile(r"<br\s*/?>|</?[A-Za-z][^<>]{0,300}>|<!--.*?-->", re.IGNORECASE)
_ESCAPE: Final = re.compile(r"\\([!-/:-@\[-`{-~])")
_MARKS: Final = re.compile(r"\*+|~~|(?<!\w)_+(?=\S)|(?<=\S)_+(?!\w)|==(?=\S)|(?<=\S)==")
_SPACE: Final = re.compile(r"\s+")
_HELD: Final = re.compile("\ue000(\\d+)\ue001")
_DOT: Final = re.compile(r"(?<=\w)\.(?=\w)")
_CALL: Final = re.compile(r"\([^()]{0,20}\)$")
_STOPPED: Final = re.compile(r"([.!?…。！？,;:—–])[\"'”’)\]»」』）]*$")
_LOOSE: Final = re.compile(r"\s+([,.;:!?])")
_READ_AS: Final = [
    (re.compile(pattern), word)
    for pattern, word in (
        (r"\be\.\s?g\.,?(?=\s)", "for example"),
        (r"\bi\.\s?e\.,?(?=\s)", "that is"),
        (r"\betc\.(?=\s+\S)", "et cetera"),
        (r"\betc\.", "et cetera."),
        (r"\bvs\.?(?=\s)", "versus"),
        (r"\bapprox\.(?=\s)", "approximately"),
        (r"\bcf\.(?=\s)", "compare"),
        (r"\s*(?:→|⇒|-+>|=>)\s*", " to "),
        (r"\s*(?:←|<-+)\s*", " from "),
        (r"\s*≤\s*|\s+<=\s+", " at most "),
        (r"\s*≥\s*|\s+>=\s+", " at least "),
        (r"\s*≠\s*|\s+!=\s+", " is not "),
        (r"\s*≈\s*|(?<!\w)~(?=\d)", " about "),
        (r"\s>\s+(?=[A-Z])", ", "),
        (r"\s>\s", " greater than "),
        (r"\s<\s", " less than "),
        (r"\s*×\s*", " times "),
        (r"\s*±\s*", " plus or minus "),
        (r"(?<=\d)\s*°\s?C\b", " degrees Celsius"),
        (r"(?<=\d)\s*°\s?F\b", " degrees Fahrenheit"),
        (r"(?<=\d)\s*°", " degrees"),
        (r"\s+&\s+", " and "),
        (r"\s*\|\s*", ", "),
        (r"\s*[•·▪◦‣]\s*", ", "),
        (r"\s+==?\s+", " equals "),
        (r"(?<=\d)\s?–\s?(?=\d)", " to "),
    )
]


def said(raw: str) -> str:
    """Return a sentence as words and punctuation; empty where there is nothing to say."""
    held: list[str] = []

    def hold(words: str) -> str:
        held.append(words)
        return f"\ue000{len(held) - 1}\ue001"

    text = sanitize(raw).replace("\ue000", "").replace("\ue001", "")
    text = _CODE.sub(lambda found: hold(_code(found[2].strip())), text)
    text = _MATH.sub(lambda found: hold(formula(found[1] or found[2] or found[3]) or "a formula"), text)
    text = _links(text, hold)
    text = _TAG.sub(lambda found: ", " if found.group()[1:3].lower() == "br" else "", text)
    text = _ESCAPE.sub(lambda found: hold(found[1]), text)
    text = _MARKS.sub("", html.unescape(text).replace("`", ""))
    for pattern, words in _READ_AS:
        text = pattern.sub(words, text)
    text = _HELD.sub(lambda found: held[int(found[1])] if int(found[1]) < len(held) else "", text)
    return _ended(_LOOSE.sub(r"\1", _SPACE.sub(" ", "".join(filter(_heard, text)))).strip(" ,;:-–—|/"), raw)


def _links(text: str, hold: Callable[[str], str]) -> str:
    text = _IMAGE.sub(lambda found: f"image: {found[1]}" if found[1].strip() else "an image", text)
    text = _LINK.sub(r"\1", _FOOTNOTE.sub("", text))
    text = _MAIL.sub(lambda found: hold(f"{_dotted(found[1])} at {_dotted(found[2])}"), text)
    return _ADDRESS.sub(_address(hold), text)


def _address(hold: Callable[[str], str]) -> Callable[[re.Match[str]], str]:
    def words(found: re.Match[str]) -> str:
        stop = found.group()[-1] if found.group()[-1] in ".,;:!?" else ""
        return hold(f"a link to {_dotted(found[1] or found[2])}") + stop

    return words


def _dotted(name: str) -> str:
    return _DOT.sub(" dot ", name)


def _code(code: str) -> str:
    """A short piece of code as somebody would say it who points at it."""
    if len(code) > MOST_OF_CODE:
        return "a piece of code"
    name = _CALL.sub("", code) if re.fullmatch(r"[\w.:]+\([^()]{0,20}\)", code) else code
    if re.fullmatch(r"[\w./:~-]+", name):
        name = _dotted(name).replace("/", " slash ").replace("~", " home ")
        name = re.sub(r"(?<!\w)--?(?=\w)", "", name).replace("::", " ").replace("_", " ")
    return name


def _heard(char: str) -> bool:
    """Whether a letter is said: pictures, private signs and what only changes them are not."""
    if char < "\x7f":
        return char >= " " and char not in "{}<>[]^\\"
    kind = unicodedata.category(char)
    return kind not in ("So", "Co", "Cs", "Cn", "Cc", "Cf", "Sk") and not 0xFE00 <= ord(char) <= 0xFE0F


def _ended(text: str, raw: str) -> str:
    """The sentence with a mark at its end, so that the voice goes down; empty where there is no word in it."""
    if not any(map(str.isalnum, text)):
        return ""
    if _STOPPED.search(text):
        return text
    last = raw.rstrip(" *_~`\"')]")[-1:]
    return text + (last if last in ",;" and last else ".")
