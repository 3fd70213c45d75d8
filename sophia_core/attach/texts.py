"""Text files: which bytes are text, in which encoding, and how they are put before a model."""

from __future__ import annotations

import codecs
import re
from typing import Final

from sophia_core.sanitize import one_line

TEXT_MOST: Final = 2_000_000
"""Bytes of a text file; more does not fit any model anyway."""
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_LANGUAGES: Final = {
    "py": "python", "js": "javascript", "ts": "typescript", "rs": "rust", "rb": "ruby", "sh": "sh", "yml": "yaml",
    "md": "markdown", "htm": "html", "kt": "kotlin", "cs": "csharp", "hpp": "cpp", "cc": "cpp", "h": "c", "pl": "perl",
}  # fmt: skip
_WORD: Final = re.compile(r"[a-z0-9+#]{1,12}")


def decoded(content: bytes) -> tuple[str, str] | None:
    """Return the text and the name of its encoding; None for bytes that are no text."""
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return _strictly(content, encoding)
    if found := _wide(content):
        return found
    if _CONTROLS.search(content):
        return None
    if found := _strictly(content, "utf-8"):
        return found
    # What is no UTF-8 and has no control characters is taken for what Windows writes, of which Latin-1 is a part.
    return _strictly(content, "cp1252") or _strictly(content, "latin-1")


def _strictly(content: bytes, encoding: str) -> tuple[str, str] | None:
    try:
        return content.decode(encoding), encoding.removesuffix("-sig")
    except UnicodeDecodeError:
        return None


def _wide(content: bytes) -> tuple[str, str] | None:
    """UTF-16 without a mark: every second byte of ordinary text is zero."""
    head = content[:4096]
    if len(head) < 8 or len(content) % 2:
        return None
    zeros = head[1::2].count(0), head[0::2].count(0)
    half = len(head) // 2
    for number, encoding in enumerate(("utf-16-le", "utf-16-be")):
        if zeros[number] > half * 0.6 and zeros[1 - number] < half * 0.1:
            return _strictly(content, encoding)
    return None


def fenced(name: str, text: str) -> str:
    """Return the text as a block that a model can tell from the question, whatever stands in it."""
    runs = [len(run) for run in re.findall(r"`{3,}", text)]
    fence = "`" * max(3, max(runs, default=0) + 1)
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    language = _LANGUAGES.get(ending, ending if _WORD.fullmatch(ending) else "")
    title = one_line(name, 200).replace("`", "'")
    return f"The file `{title}`:\n{fence}{language}\n{text}{'' if text.endswith(chr(10)) else chr(10)}{fence}"
