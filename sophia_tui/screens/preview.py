"""One attachment, as large as the screen allows."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widget import Widget

from sophia_core.attach import apart
from sophia_core.attach.errors import Refused
from sophia_core.attach.reading import Ready
from sophia_tui.graphics import Way, cell, picture_widget
from sophia_tui.screens.dialog import Box, Dialog, Line
from sophia_tui.widgets.preview import Preview


class PreviewScreen(Dialog[None]):
    """Shows what is attached; any of Esc and Enter leaves."""

    BINDINGS = [("enter", "leave", "Leave")]  # noqa: RUF012 - Textual's own way
    DEFAULT_CSS = """
    PreviewScreen Box { width: 90%; max-width: 96%; height: 90%; }
    PreviewScreen Preview { height: 1fr; width: 100%; }
    """

    def __init__(self, ready: Ready, way: Way | None = None) -> None:
        """`way` is how the terminal draws pictures; None for half blocks."""
        super().__init__()
        self.ready, self.way = ready, way
        self._drawn: Widget | None = None

    def compose_box(self) -> ComposeResult:
        yield Preview(id="preview", ascii_only=self.app.has_class("-ascii"))
        yield Line("Esc leaves", classes="keys")

    def on_mount(self) -> None:
        super().on_mount()
        preview = self.query_one(Preview)
        if self.way is not None and self.ready.kind == "image" and apart.has_pillow():
            self.call_after_refresh(self.run_worker, self._draw(self.way), group="preview", exit_on_error=False)
        else:
            preview.call_after_refresh(preview.show_ready, self.ready)

    async def _draw(self, way: Way) -> None:
        """Puts the picture itself in place of the half blocks, where that can be done."""
        preview = self.query_one(Preview)
        pixels = cell()
        wide, high = preview.size.width * pixels[0], (preview.size.height - 3) * pixels[1]
        try:
            drawn = picture_widget(await apart.thumbnail(self.ready.content, max(1, wide), max(1, high)), way)
        except Refused:
            drawn = None
        if drawn is None:
            preview.show_ready(self.ready)
            return
        await self.query_one(Box).mount(Line(f"{self.ready.name}: {self.ready.about}"), drawn, before=preview)
        preview.display = False
        self._drawn = drawn

    def action_leave(self) -> None:
        """Leaves, and takes the picture out of the terminal's memory."""
        if self._drawn is not None:
            self._drawn.image = None  # type: ignore[attr-defined]  # of either kind of widget
        super().action_leave()
