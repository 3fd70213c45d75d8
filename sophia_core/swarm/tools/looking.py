"""Tools that only look: read a file, list a folder, search in files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sophia_core.gate.asking import request
from sophia_core.gate.ports import ApprovalRequest
from sophia_core.gate.rules import matches
from sophia_core.swarm.ports import ToolResult
from sophia_core.swarm.tools.confined import Confined, Entry, OutOfReach, is_secret
from sophia_core.swarm.tools.hand import Arguments, Hand, blocking, for_model, nothing_to_ask, spec_of, text_of

MOST_LISTED: Final = 500
MOST_FOUND: Final = 200
LARGEST_SEARCHED: Final = 1 << 20
MOST_SEARCHED: Final = 64 << 20
LONGEST_LINE: Final = 300
DEFAULT_LINES: Final = 800


class Looking:
    """The tools that look at the files of a folder."""

    def __init__(self, files: Confined) -> None:
        self._files = files

    def tools(self) -> list[Hand]:
        return [
            Hand(
                spec_of(
                    "read_file",
                    "Read a text file of the folder. Long files are read in parts.",
                    "read",
                    "path",
                    path=("string", "The file, from the folder on"),
                    from_line=("integer", "The first line wanted; 1 is the first of the file"),
                    lines=("integer", f"How many lines; {DEFAULT_LINES} when not given"),
                ),
                self._ask_to_read,
                blocking(self._read),
            ),
            Hand(
                spec_of(
                    "list_files",
                    "List the files of the folder, or of one in it.",
                    "read",
                    "",
                    path=("string", "The folder to list; the whole one when not given"),
                    match=("string", "Only names like this, as in *.py or src/**"),
                ),
                nothing_to_ask,
                blocking(self._list),
            ),
            Hand(
                spec_of(
                    "search",
                    "Find a text in the files of the folder. It is looked for as it stands, without wildcards.",
                    "read",
                    "text",
                    text=("string", "What to find"),
                    path=("string", "Only in this folder"),
                    match=("string", "Only in files named like this, as in *.py"),
                    ignore_case=("boolean", "Whether small and capital letters are the same"),
                ),
                nothing_to_ask,
                blocking(self._search),
            ),
        ]

    def _ask_to_read(self, arguments: Arguments) -> ApprovalRequest | None:
        """A file that may hold secrets is read only when a person says so; any other without asking."""
        path = self._files.name(arguments["path"])
        if not is_secret(path):
            return None
        return request(
            "read_file",
            "read",
            f"Read {path}, which may hold secrets, and show it to the model.",
            why="People keep secrets in files of that name.",
            arguments={"path": path},
            folder=str(self._files.root),
            paths=(path,),
        )

    def _read(self, arguments: Arguments) -> ToolResult:
        path = self._files.name(arguments["path"])
        lines = text_of(self._files.read(path), path).splitlines(keepends=True)
        first = max(1, arguments.get("from_line", 1))
        wanted = lines[first - 1 : first - 1 + max(1, arguments.get("lines", DEFAULT_LINES))]
        last = first - 1 + len(wanted)
        note = f"\n… lines {first} to {last} of {len(lines)}." if first > 1 or last < len(lines) else ""
        return ToolResult(True, for_model("".join(wanted)) + note)

    def _list(self, arguments: Arguments) -> ToolResult:
        wanted, more = arguments.get("match", ""), False
        found: list[str] = []
        for each in self._files.entries(arguments.get("path", ".")):
            if wanted and (each.folder or not matches(wanted, each.path)):
                continue
            if more := len(found) >= MOST_LISTED:
                break
            found.append(f"{each.path}/" if each.folder else f"{each.path}  {each.size}")
        tail = "\n… there are more; name a folder or a pattern." if more else ""
        return ToolResult(True, for_model("\n".join(found) + tail) if found else "There are no such files.")

    def _search(self, arguments: Arguments) -> ToolResult:
        text = arguments["text"]
        if not text or len(text) > 500 or "\n" in text:
            raise OutOfReach("Search for one short line of text.")
        found: list[str] = []
        for line in self._found(text, arguments):
            found.append(line)
            if len(found) >= MOST_FOUND:
                found.append("… there is more; search for something rarer.")
                break
        return ToolResult(True, for_model("\n".join(found)) if found else f"{text!r} is in none of them.")

    def _found(self, text: str, arguments: Arguments) -> Iterator[str]:
        plain = arguments.get("ignore_case", False)
        wanted, left = text.casefold() if plain else text, MOST_SEARCHED
        for each in self._searched(arguments):
            left -= each.size
            if left < 0:
                yield "… not everything was searched; name a folder."
                return
            try:
                content = text_of(self._files.read(each.path), each.path)
            except OutOfReach:
                continue
            for number, line in enumerate(content.splitlines(), 1):
                if wanted in (line.casefold() if plain else line):
                    yield f"{each.path}:{number}: {line.strip()[:LONGEST_LINE]}"

    def _searched(self, arguments: Arguments) -> Iterator[Entry]:
        match = arguments.get("match", "")
        for each in self._files.entries(arguments.get("path", ".")):
            known = not match or matches(match, each.path)
            if known and not each.folder and each.size <= LARGEST_SEARCHED and not is_secret(each.path):
                yield each
