"""From inks to terminal styles, through the component classes of the widget, so that every colour is the theme's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.color import TRANSPARENT, Color
from textual.filter import LineFilter
from textual.strip import Strip

from sophia_tui.tints import tinted

from .ink import BOLD, DIM, ITALIC, STRIKE, TINT, UNDERLINE, Ink, Line

CSS = """
Transcript {
    background: $background;
    color: $foreground;
    overflow-x: hidden;
    overflow-y: scroll;
    scrollbar-size-vertical: 1;
    & > .transcript--user { color: $foreground; }
    & > .transcript--user-name, & > .transcript--user-bar { color: $text-primary; }
    & > .transcript--assistant { color: $foreground; }
    & > .transcript--assistant-name { color: $text-success; }
    & > .transcript--notice, & > .transcript--notice-name { color: $text-warning; }
    & > .transcript--error { color: $text-error; }
    & > .transcript--heading { color: $text-primary; }
    & > .transcript--bullet { color: $text-secondary; }
    & > .transcript--quote { color: $text-muted; }
    & > .transcript--rule { color: $text-disabled; }
    & > .transcript--link { color: $text-accent; text-style: underline; }
    & > .transcript--inline-code { color: $text-accent; background: $surface; }
    & > .transcript--table-border { color: $text-disabled; }
    & > .transcript--reasoning { color: $text-muted; }
    & > .transcript--footer { color: $text-muted; }
    & > .transcript--hint { color: $text-primary; background: $primary-muted; }
    & > .transcript--selected { color: $accent; }
    & > .transcript--code { color: $foreground; background: $surface; }
    & > .transcript--code-label { color: $text-muted; background: $surface; }
    & > .transcript--code-label-selected { color: $text-accent; background: $accent-muted; }
    & > .transcript--code-comment { color: $text-muted; background: $surface; text-style: italic; }
    & > .transcript--code-keyword { color: $text-primary; background: $surface; }
    & > .transcript--code-function { color: $text-accent; background: $surface; }
    & > .transcript--code-type { color: $text-warning; background: $surface; }
    & > .transcript--code-string { color: $text-success; background: $surface; }
    & > .transcript--code-number { color: $text-secondary; background: $surface; }
    & > .transcript--code-added { color: $text-success; background: $success-muted; }
    & > .transcript--code-removed { color: $text-error; background: $error-muted; }
    & > .transcript--code-hunk { color: $text-primary; background: $surface; }
    & > .transcript--figure { color: $foreground; background: $surface; }
    & > .transcript--math { color: $text-secondary; }
    & > .transcript--aside { color: $text-muted; }
    & > .transcript--trimmed { color: $text-warning; }
    & > .transcript--code-error { color: $text-error; background: $surface; }
}
"""

ROLES = frozenset(word.partition(" ")[0].rstrip(",") for word in CSS.replace("\n", " ").split(".transcript--")[1:])
COMPONENTS = {f"transcript--{role}" for role in ROLES}


class Palette:
    """Styles of one theme."""

    def __init__(
        self,
        base: Style,
        component: Callable[[str], Style],
        filters: Sequence[LineFilter] = (),
        background: Color = TRANSPARENT,
        *,
        links: bool = True,
    ) -> None:
        """`filters` are the app's own, for example for terminals without colours; `links`: the terminal takes them."""
        self._links = links
        self.base = base
        self.filters = list(filters)
        self._background = background
        self._component = component
        self._styles: dict[Ink, Style] = {}

    def style(self, ink: Ink) -> Style:
        """The style of an ink."""
        found = self._styles.get(ink)
        if found is None:
            if len(self._styles) > 4_000:
                self._styles.clear()
            found = self._styles[ink] = self._make(ink)
        return found

    def _make(self, ink: Ink) -> Style:
        style = self._component(f"transcript--{ink.role}") if ink.role in ROLES else self.base
        if ink.role.startswith(TINT):
            plain = self._component("transcript--assistant-name")
            style = tinted(ink.role.removeprefix(TINT), plain, self._background)
        marks = ink.marks
        if marks:
            style += Style(
                bold=True if marks & BOLD else None,
                italic=True if marks & ITALIC else None,
                strike=True if marks & STRIKE else None,
                underline=True if marks & UNDERLINE else None,
                dim=True if marks & DIM else None,
            )
        if self._links and ink.link and safe_link(ink.link):
            style += Style(link=ink.link)
        return style

    def strip(self, line: Line, gutter: tuple[str, Ink] | None, width: int) -> Strip:
        """A painted row of exactly `width` cells."""
        segments: list[Segment] = []
        if gutter is not None:
            segments.append(Segment(gutter[0], self.style(gutter[1])))
        style = self.style
        segments.extend([Segment(text, style(ink)) for text, ink in line.runs])
        cells = sum([cell_len(segment.text) for segment in segments])
        if cells < width:
            segments.append(Segment(" " * (width - cells), self.base if line.fill is None else style(line.fill)))
        for line_filter in self.filters:
            segments = line_filter.apply(segments, self._background)
        # A strip is dear to make, so it is made once.
        return Strip(segments, width) if cells <= width else Strip(segments, cells).crop(0, width)


def safe_link(url: str) -> bool:
    """Whether a link may be handed to the terminal: a web or mail address without control characters."""
    return url.startswith(("https://", "http://", "mailto:")) and url.isprintable() and len(url) < 2_000
