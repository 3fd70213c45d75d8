"""What somebody without any plan does at a terminal: keys, words, lines, pastes, clicks and other sizes, by a seed.

Everything is the bytes a terminal would send, but for sizes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

Deed: TypeAlias = str | tuple[int, int]
"""Bytes from the terminal, or a new size of it."""

PLAIN: Final[Mapping[str, str]] = {
    "enter": "\r",
    "escape": "\x1b",
    "tab": "\t",
    "shift+tab": "\x1b[Z",
    "space": " ",
    "backspace": "\x7f",
    "delete": "\x1b[3~",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "pageup": "\x1b[5~",
    "pagedown": "\x1b[6~",
    "ctrl+end": "\x1b[1;5F",
    "ctrl+home": "\x1b[1;5H",
    "f1": "\x1bOP",
    "f2": "\x1bOQ",
    "f3": "\x1bOR",
    "f4": "\x1bOS",
    "f5": "\x1b[15~",
    "f6": "\x1b[17~",
    "question_mark": "?",
    "left_parenthesis": "(",
    "underscore": "_",
    "right_square_bracket": "]",
    "left_square_bracket": "[",
}
MOVES: Final = ("up", "down", "left", "right", "home", "end", "pageup", "pagedown", "tab", "shift+tab", "space")
WORDS: Final = (
    "hello", "why", "plan", "a", "sea animals", "x" * 300, "naïve café",
    "日本語の文", "👩‍👩‍👧‍👦 family", "\u0301\u0302combining",
    "[red]markup[/]", "`code`", "```py\nprint(1)", "|a|b|", "0", "-1", "1e999", "paper", "vim", "emacs", "default",
    "left", "right", "scripted", "plain", "~/nothing", "note.txt", "None", "''", '"', "\\",
    "name=value", "{date}", "../up",
)  # fmt: skip
HOSTILE: Final = (
    "\x1b]52;c;aGk=\x07",
    "\x9b31m \u202eevil\u202c",
    "line\r\nline\rline\n" * 40,
    "\x00\x01\x02\x03",
    "a" * 5000,
    "\u200b\u2066\ufeff" * 50,
    "Z\u0353\u0359\u0332" * 200,
    "file:///etc/hosts\nnote.txt",
    "/new\n/session.delete",
    "\\frac{" * 300,
    "[[[[" * 200 + "](x)" * 200,
    "\t" * 300,
    "👨‍👩‍👧" * 200,
)
GARBAGE: Final = (
    "\x1b[", "\x1bO", "\x1b[999;999R", "\x1b[?62c", "\x1b[<999;99999;99999M", "\x1b[200~", "\x1b[201~",
    "\x1b[1;1;1u",    "\x1b[?1;2$y", "\x1b]11;rgb:ffff/ffff/ffff\x07", "\x1b[I", "\x1b[O", "\x9d",
    "\x1b[48;24;80;480;800t",
    "\x1b[27;5;9~",
)  # fmt: skip
SIZES: Final = ((80, 24), (120, 40), (200, 50), (1, 1), (20, 5), (10, 3), (300, 80), (40, 100), (99, 24), (100, 24))


def bytes_of(key: str) -> str:
    """What a terminal sends for one key, by its name; nothing for one that it does not know."""
    if key in PLAIN:
        return PLAIN[key]
    if key.startswith("ctrl+") and len(key) == 6 and key[-1].isalpha():
        return chr(ord(key[-1]) - 96)
    if key.startswith("alt+"):
        rest = key[4:]
        arrows = {"up": "A", "down": "B", "right": "C", "left": "D", "home": "H", "end": "F"}
        pages = {"pageup": "5", "pagedown": "6", "delete": "3"}
        if rest in arrows:
            return f"\x1b[1;3{arrows[rest]}"
        return f"\x1b[{pages[rest]};3~" if rest in pages else f"\x1b{bytes_of(rest) or rest[:1]}"
    return key if len(key) == 1 else ""


class Person:
    """Thinks of one deed after the other."""

    def __init__(self, seed: int, lines: Sequence[str]) -> None:
        """`lines` are commands worth typing, without what they need."""
        self.draw, self.lines = random.Random(seed), lines
        self.likes: Sequence[str] = ()
        """Whole lines that are typed now and then as they are."""
        self.keys: Sequence[str] = ()
        """The keys that run commands now; several one after the other stand in one."""
        self.size = (120, 40)
        kinds: dict[Callable[[], Sequence[Deed]], int] = {
            self._bound: 30,
            self._move: 22,
            self._letters: 12,
            self._words: 8,
            self._line: 10,
            self._enter: 9,
            self._escape: 6,
            self._click: 14,
            self._wheel: 6,
            self._drag: 3,
            self._paste: 3,
            self._resize: 2,
            self._garbage: 2,
        }
        self._kinds, self._weights = list(kinds), list(kinds.values())

    def next(self) -> Sequence[Deed]:
        """Some deeds that belong together."""
        return self.draw.choices(self._kinds, self._weights)[0]()

    def _bound(self) -> Sequence[Deed]:
        chosen = self.draw.choice(self.keys) if self.keys else "escape"
        parts = [bytes_of(part) for part in chosen.split()]
        return parts[:1] if len(parts) > 1 and self.draw.random() < 0.2 else parts

    def _move(self) -> Sequence[Deed]:
        return [PLAIN[self.draw.choice(MOVES)]] * self.draw.choice((1, 1, 1, 2, 5))

    def _letters(self) -> Sequence[Deed]:
        return [self.draw.choice("abcdefghijklmnopqrstuvwxyz0123456789 /?.:@-_#'\"`$*") for _ in range(3)]

    def _words(self) -> Sequence[Deed]:
        return list(self.draw.choice(WORDS)[:40].replace("\n", "\x1b\r"))

    def _line(self) -> Sequence[Deed]:
        more = [self.draw.choice(WORDS)[:20].replace("\n", " ") for _ in range(self.draw.choice((0, 0, 1, 1, 2)))]
        liked = self.likes and self.draw.random() < 0.25
        line = self.draw.choice(self.likes) if liked else " ".join([f"/{self.draw.choice(self.lines)}", *more])
        clear = [PLAIN["escape"], PLAIN["f2"], PLAIN["ctrl+end"], "\x15", "\x15"]
        return [*clear, *line, *(["\r"] if self.draw.random() < 0.8 else ["\t", "\r"])]

    def _enter(self) -> Sequence[Deed]:
        return ["\r"]

    def _escape(self) -> Sequence[Deed]:
        return ["\x1b"]

    def _place(self) -> tuple[int, int]:
        return self.draw.randint(1, max(1, self.size[0])), self.draw.randint(1, max(1, self.size[1]))

    def _click(self) -> Sequence[Deed]:
        (x, y), button = self._place(), self.draw.choice((0, 0, 0, 0, 2, 1, 8, 16))
        once = [f"\x1b[<{button};{x};{y}M", f"\x1b[<{button};{x};{y}m"]
        return once * self.draw.choice((1, 1, 1, 2, 3))

    def _wheel(self) -> Sequence[Deed]:
        x, y = self._place()
        return [f"\x1b[<{self.draw.choice((64, 65, 66, 67, 68))};{x};{y}M"] * self.draw.choice((1, 3, 10))

    def _drag(self) -> Sequence[Deed]:
        (x, y), places = self._place(), [self._place() for _ in range(4)]
        return [f"\x1b[<0;{x};{y}M", *(f"\x1b[<32;{a};{b}M" for a, b in places), f"\x1b[<0;{x};{y}m"]

    def _paste(self) -> Sequence[Deed]:
        return [f"\x1b[200~{self.draw.choice(HOSTILE)}\x1b[201~"]

    def _resize(self) -> Sequence[Deed]:
        self.size = self.draw.choice(SIZES) if self.draw.random() < 0.8 else self._place()
        return [self.size]

    def _garbage(self) -> Sequence[Deed]:
        return [self.draw.choice(GARBAGE)]
