"""Rows of code: highlighted line by line while they arrive, and once more as a whole when the block is closed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .ink import Ink, Run

if TYPE_CHECKING:
    from pygments.lexer import Lexer

LONGEST_LINE = 2_000
"""Characters of one line beyond which a block is not highlighted."""
LARGEST = 400_000
"""Characters of a block beyond which it is highlighted line by line only."""

CODE = Ink("code")

# The nearest ancestor of a token decides; everything else is plain code.
_ROLES = {
    "Comment": "code-comment",
    "Keyword": "code-keyword",
    "Operator.Word": "code-keyword",
    "Name.Function": "code-function",
    "Name.Class": "code-type",
    "Keyword.Type": "code-type",
    "Name.Builtin": "code-function",
    "Name.Decorator": "code-type",
    "Name.Exception": "code-type",
    "Name.Tag": "code-keyword",
    "Name.Attribute": "code-function",
    "Literal.String": "code-string",
    "Literal.Number": "code-number",
    "Literal.Date": "code-number",
    "Generic.Inserted": "code-string",
    "Generic.Deleted": "code-error",
    "Generic.Heading": "code-keyword",
    "Generic.Subheading": "code-keyword",
    "Generic.Error": "code-error",
    "Error": "code",
}


class Lexers:
    """Lexers by language name. Loading one imports modules, so it is done apart from looking one up."""

    def __init__(self) -> None:
        self._loaded: dict[str, Lexer | None] = {}
        self._inks: dict[object, Ink] = {}
        self._lines: dict[tuple[str, str], tuple[Run, ...]] = {}
        self.wanted: set[str] = set()
        """Languages that were asked for and are not loaded."""

    def get(self, language: str) -> Lexer | None:
        """The lexer, or None for an unknown language or one that is not loaded."""
        return self._loaded.get(language.lower())

    def load(self, language: str) -> None:
        """Import the lexer (tens of milliseconds the first time; safe in a thread)."""
        from pygments.lexers import get_lexer_by_name
        from pygments.util import ClassNotFound

        name = language.lower()
        try:
            lexer: Lexer | None = get_lexer_by_name(name, stripnl=False, ensurenl=False)
        except ClassNotFound:
            lexer = None
        if lexer is not None:
            list(lexer.get_tokens("x"))
        self._loaded[name] = lexer
        self.wanted.discard(name)

    def ink(self, token: object) -> Ink:
        """The ink of a pygments token type."""
        found = self._inks.get(token)
        if found is None:
            name = str(token).removeprefix("Token.")
            while name and name not in _ROLES:
                name = name.rpartition(".")[0]
            found = self._inks[token] = Ink(_ROLES[name]) if name else CODE
        return found

    def line(self, language: str, text: str) -> tuple[Run, ...]:
        """One line on its own, as good as it gets while the block is open."""
        lexer = self.get(language)
        if lexer is None or len(text) > LONGEST_LINE or not text.strip():
            if language and language.lower() not in self._loaded:
                self.wanted.add(language.lower())
            return ((text, CODE),) if text else ()
        found = self._lines.get((language, text))
        if found is None:
            runs: list[Run] = []
            for token, piece in lexer.get_tokens(text + "\n"):
                _add(runs, piece.rstrip("\n"), self.ink(token))
            if len(self._lines) > 2_000:
                self._lines.clear()
            found = self._lines[language, text] = tuple(runs)
        return found

    def whole(self, language: str, lines: list[str]) -> Iterator[tuple[Run, ...]]:
        """All lines of a closed block, one at a time, so that the caller can stop for a while after any of them."""
        lexer = self.get(language)
        if lexer is None or any(len(line) > LONGEST_LINE for line in lines) or sum(map(len, lines)) > LARGEST:
            return
        runs: list[Run] = []
        for token, piece in lexer.get_tokens("\n".join([*lines, ""])):
            ink = self.ink(token)
            first, *others = piece.split("\n")
            _add(runs, first, ink)
            for part in others:
                yield tuple(runs)
                runs = []
                _add(runs, part, ink)
        if runs:
            yield tuple(runs)


def _add(runs: list[Run], text: str, ink: Ink) -> None:
    if not text:
        return
    if runs and runs[-1][1] == ink:
        runs[-1] = (runs[-1][0] + text, ink)
    else:
        runs.append((text, ink))
