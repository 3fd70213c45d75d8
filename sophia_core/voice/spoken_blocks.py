"""What stands between paragraphs and cannot be read letter by letter: code, tables, formulas, and what is hidden.

A block takes lines until it is over; what it then has to say is Markdown again.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final, Literal

from sophia_core.voice.spoken_math import formula

SPOKEN_ROWS: Final = 8
SPOKEN_COLUMNS: Final = 4
"""A larger table is told about, not read."""
NAMED_COLUMNS: Final = 6
MOST_OF_A_CELL: Final = 300
MOST_OF_A_FORMULA: Final = 400
LANGUAGES: Final = {
    "bash": "shell commands",
    "console": "shell commands",
    "c": "C",
    "c#": "C sharp",
    "c++": "C plus plus",
    "cpp": "C plus plus",
    "cs": "C sharp",
    "csharp": "C sharp",
    "css": "CSS",
    "csv": "CSV",
    "dockerfile": "Docker file",
    "go": "Go",
    "graphql": "Graph QL",
    "html": "HTML",
    "ini": "settings",
    "java": "Java",
    "javascript": "JavaScript",
    "js": "JavaScript",
    "json": "JSON",
    "jsx": "JavaScript",
    "latex": "LaTeX",
    "makefile": "Make file",
    "md": "Markdown",
    "php": "PHP",
    "plaintext": "text",
    "powershell": "PowerShell",
    "ps1": "PowerShell",
    "py": "Python",
    "python3": "Python",
    "r": "R",
    "rb": "Ruby",
    "rs": "Rust",
    "sh": "shell commands",
    "shell": "shell commands",
    "sql": "SQL",
    "tex": "LaTeX",
    "text": "text",
    "toml": "TOML",
    "ts": "TypeScript",
    "tsx": "TypeScript",
    "txt": "text",
    "typescript": "TypeScript",
    "xml": "XML",
    "yaml": "YAML",
    "yml": "YAML",
    "zsh": "shell commands",
}
_FIGURES: Final = {"mermaid": "A Mermaid diagram.", "dot": "A diagram.", "plantuml": "A diagram.", "math": "A formula."}
_LANGUAGE: Final = re.compile(r"[ \t]*\{?\.?([\w+#.-]{1,20})")
_QUOTES: Final = re.compile(r"^[ \t]*(?:>[ \t]?)+")
_DELIMITER: Final = re.compile(r"[ \t]*\|?(?:[ \t]*:?-+:?[ \t]*\|)*(?:[ \t]*:?-+:?[ \t]*)?\|?[ \t]*")
_CELL: Final = re.compile(r"(?<!\\)\|")
_HIDDEN: Final = re.compile(
    r"<(think|thinking|reasoning|reflection|script|style|svg)(?:[ \t][^>]*)?>|<(!--)", re.IGNORECASE
)
_YES_NO: Final = str.maketrans(
    {"✅": "yes", "✔": "yes", "☑": "yes", "✓": "yes", "❌": "no", "✗": "no", "✘": "no", "✖": "no", "\ufe0f": ""}
)


class Fence:
    """Code, of which only the kind and the size are told."""

    kind: ClassVar[Literal["code"]] = "code"

    def __init__(self, mark: str, language: str, *, quoted: bool) -> None:
        found = _LANGUAGE.match(language)
        self._mark, self._language, self._quoted = mark, found[1].lower() if found else "", quoted
        self._lines = 0

    def take(self, line: str) -> str | None:
        """None: the block goes on; else what follows it of this line."""
        if self._quoted:
            if not _QUOTES.match(line):
                return line
            line = _QUOTES.sub("", line, count=1)
        bare = line.strip()
        if len(bare) >= len(self._mark) and not bare.strip(self._mark[0]):
            return ""
        self._lines += 1
        return None

    def said(self) -> list[str]:
        if not self._lines:
            return []
        if self._language in _FIGURES:
            return [_FIGURES[self._language]]
        size = "1 line" if self._lines == 1 else f"{self._lines:,} lines"
        if self._language == "diff":
            return [f"A diff, {size}."]
        return [f"A block of {self._name()}, {size}."]

    def _name(self) -> str:
        """What the code is written in, as it is called."""
        if not self._language:
            return "code"
        unknown = self._language.replace("-", " ").replace("_", " ").strip().capitalize()
        return LANGUAGES.get(self._language) or unknown or "code"


class Formula:
    """A displayed formula."""

    kind: ClassVar[Literal["formula"]] = "formula"

    def __init__(self, mark: str) -> None:
        self._end = {"$": "$$", "[": r"\]", "b": r"\end"}[mark[0] if mark[0] == "$" else mark[1]]
        self._text = ""

    def take(self, line: str) -> str | None:
        """None: it goes on; else what follows it of this line."""
        text, end, rest = line.partition(self._end)
        self._text = f"{self._text} {text}"[: MOST_OF_A_FORMULA + 1]
        if not end:
            return None
        return rest.partition("}")[2] if end == r"\end" else rest

    def said(self) -> list[str]:
        return [f"{formula(self._text) or 'a formula'}."] if self._text.strip() else []


class Table:
    """Rows and columns: read row by row where it is small, else only told about."""

    kind: ClassVar[Literal["table"]] = "table"

    def __init__(self, first: str) -> None:
        self._headed = bool(_DELIMITER.fullmatch(first))
        self._rows: list[list[str]] = [] if self._headed else [_cells(first)]
        self._header: list[str] = []
        self._count = len(self._rows)

    def take(self, line: str) -> str | None:
        """None: the line is a row of it; else the line."""
        plain = _QUOTES.sub("", line, count=1).strip()
        if "|" not in plain:
            return line
        if _DELIMITER.fullmatch(plain) and not self._headed and self._count == 1:
            self._headed, self._header = True, self._rows.pop()
            self._count = 0
            return None
        self._count += 1
        if self._count <= SPOKEN_ROWS:
            self._rows.append(_cells(plain))
        return None

    def said(self) -> list[str]:
        columns = [name for name in self._header if name]
        title = f" with the columns {_listed(columns)}" if columns else ""
        if self._count > SPOKEN_ROWS or max(map(len, [self._header, *self._rows]), default=0) > SPOKEN_COLUMNS:
            return [f"A table of {self._count:,} rows{title}."]
        rows = [row for each in self._rows if (row := self._row(each))]
        return [f"A table{title}.", *rows] if columns else rows

    def _row(self, cells: list[str]) -> str:
        names = [*self._header, *[""] * len(cells)]
        said = [f"{name}: {cell}" if name else cell for name, cell in zip(names, cells, strict=False) if cell]
        return ", ".join(said) + "." if said else ""


class Hidden:
    """What nobody is meant to read: reasoning, comments, scripts. It takes letters, as it may be one long line."""

    kind: ClassVar[Literal["text"]] = "text"

    def __init__(self, mark: str) -> None:
        name = mark.strip("<>").split()[0].lower()
        self._end = "-->" if name == "!--" else f"</{name}>"
        self._tail = ""

    def ended_by(self, char: str) -> bool:
        """Whether this letter is the last of it."""
        self._tail = (self._tail + char.lower())[-len(self._end) :]
        return self._tail == self._end

    def take(self, line: str) -> str | None:
        return None

    def said(self) -> list[str]:
        return []


Block = Fence | Formula | Table | Hidden


def opens_hidden(line: str) -> bool:
    """Whether a line begins with a mark that hides what follows."""
    return bool(_HIDDEN.fullmatch(line))


def is_row(line: str) -> bool:
    """Whether a line can be the first of a table; one without a mark at its beginning is known by what is under it."""
    return (line.startswith("|") and line.count("|") > 1) or ("|" in line and bool(_DELIMITER.fullmatch(line)))


def _cells(row: str) -> list[str]:
    bare = row.strip().removeprefix("|")
    parts = [part.strip() for part in _CELL.split(bare)]
    if parts and not parts[-1]:
        parts.pop()
    return [part.replace(r"\|", "|").translate(_YES_NO)[:MOST_OF_A_CELL] for part in parts]


def _listed(names: list[str]) -> str:
    if len(names) > NAMED_COLUMNS:
        names = [*names[:NAMED_COLUMNS], f"{len(names) - NAMED_COLUMNS} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
