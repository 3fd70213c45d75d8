"""The keyboard's place in the conversation: an entry, and perhaps a code block in it."""

from __future__ import annotations

from .copying import Code, code_blocks
from .flow import Flow


class Cursor:
    """Moves over entries and code blocks. Pure: it only says where it is."""

    def __init__(self) -> None:
        self.entry = -1
        """Number of the entry, -1 for none."""
        self.code = -1
        """Number of the code block in it, -1 for none."""

    def clear(self) -> None:
        """Nothing is selected."""
        self.entry, self.code = -1, -1

    def at(self, entry: int) -> None:
        """Select an entry."""
        self.entry, self.code = entry, -1

    def shift(self, count: int) -> None:
        """So many entries came before all others."""
        if self.entry >= 0:
            self.entry += count

    def codes(self, flow: Flow, number: int) -> list[Code]:
        """Code blocks of an answer."""
        view = flow.views[number]
        return code_blocks(view.text) if view.entry.role == "assistant" else []

    def current(self, flow: Flow) -> Code | None:
        """The code block under the cursor; without one, the first of the selected entry."""
        if not 0 <= self.entry < len(flow.views):
            return None
        found = self.codes(flow, self.entry)
        if not found:
            return None
        return found[self.code] if 0 <= self.code < len(found) else found[0]

    def move(self, flow: Flow, step: int) -> Code | None:
        """Go to the next (1) or previous (-1) code block; None, and no move, where there is none.

        Without a selection the newest block comes first, whatever the direction.
        """
        if self.entry < 0:
            number, code = len(flow.views) - 1, -1
            step_entry = -1
        else:
            number = self.entry
            code = self.code + step if self.code >= 0 else (0 if step > 0 else -1)
            if self.code >= 0 and code < 0:
                number -= 1
            step_entry = step
        while 0 <= number < len(flow.views):
            found = self.codes(flow, number)
            index = code if code >= 0 else len(found) - 1
            if 0 <= index < len(found):
                self.entry, self.code = number, index
                return found[index]
            number += step_entry
            code = 0 if step_entry > 0 else -1
        return None

    def row(self, flow: Flow, code: Code) -> int | None:
        """About where a code block of the selected entry is, in rows of the flow."""
        view = flow.views[self.entry]
        view.prepare()
        flow.touched()
        line = 0
        for index, part in enumerate(view.parts or []):
            if part.block is None or part.start > 0:
                continue
            line += part.block.source.count("\n")
            if line > code.line:
                return flow.span(self.entry, index)[0]
        return None
