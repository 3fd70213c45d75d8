"""Attachments on the screen: the row above the prompt, dropped files, the picker and the preview."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from textual.css.query import NoMatches

from local_store.errors import StoreError
from sophia_core.attach.dropping import dropped
from sophia_core.attach.sight import Blind, Seer
from sophia_core.commands import CommandError
from sophia_core.events import AttachmentsChanged, Event, SessionChanged, StoreStateChanged
from sophia_tui.widgets.attachments import Chip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sophia_core.attach.reading import Ready
    from sophia_tui.app import SophiaApp

WITHOUT, CANCEL = "without", "cancel"


class Attaching:
    """Keeps the row true and brings files in by every way there is."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app
        self._folder: Path | None = None
        """Where the last file was chosen."""
        self._last_drop = ""

    def attend(self) -> None:
        """There is a runtime: what it attaches is shown from now on."""
        chips = self._app.chat.attachments
        chips.remove_one = lambda number: self._app.dispatcher.start("attach.remove", str(number))
        chips.show_one = lambda number: self._app.dispatcher.start("attach.view", str(number))
        self._app.chat.prompt.take_paste = self.pasted
        self._app.runtime.bus.subscribe(self._heard)
        self._show()

    def _heard(self, event: Event) -> None:
        if isinstance(event, AttachmentsChanged | SessionChanged | StoreStateChanged):
            with suppress(NoMatches):  # the screen is taken down
                self._show()

    def _show(self) -> None:
        waiting = self._app.runtime.attachments.waiting
        self._app.chat.attachments.show([Chip(each.name, each.about, each.kind == "image") for each in waiting])

    def pasted(self, text: str) -> bool:
        """Takes what was pasted where it stands for files; pasted once more it is text."""
        prompt = self._app.chat.prompt
        if not self._app.ready.is_set() or not prompt.available or prompt.text.startswith("/"):
            return False
        if not text:  # what terminals send for a clipboard that holds a picture
            self._app.dispatcher.start("attach.paste")
            return True
        paths = dropped(text)
        if not paths or text == self._last_drop:
            self._last_drop = ""
            return False
        self._app.run_worker(self._take(text, paths), group="attach", exit_on_error=False)
        return True

    async def _take(self, text: str, paths: Sequence[Path]) -> None:
        if not await asyncio.to_thread(lambda: all(os.path.isfile(path) for path in paths)):
            self._app.chat.prompt.paste(text)
            return
        self._last_drop = text
        for path in paths:
            try:
                said = await self._app.runtime.run("attach.add", str(path))
            except CommandError as error:
                self._app.dispatcher.notice("warning", str(error), error.hint)
            else:
                self._app.dispatcher.notice("info", str(said), "Paste it again for its name as text.")

    async def choose(self) -> str | None:
        """Asks for a file and attaches it; what was done."""
        from sophia_tui.screens.file_picker import FilePicker

        folder = self._folder
        if folder is None:
            folder = await asyncio.to_thread(_working_folder)
        picked = FilePicker(folder)
        chosen: Path | None = await self._app.push_screen_wait(picked)
        if chosen is None:
            return None
        self._folder = chosen.parent
        return str(await self._app.runtime.run("attach.add", str(chosen)))

    async def unseen(self, trouble: Blind) -> bool:
        """Asks what is to become of a question whose picture nobody would see; whether it is sent now."""
        from sophia_tui.screens.pick import Pick, PickItem

        without = any(each.kind == "image" for each in self._app.runtime.attachments.waiting)
        items: list[PickItem[Seer | str]] = [
            PickItem(each, " ".join(filter(None, ("Ask", each.provider, each.model))), "answers from now on; /undo")
            for each in trouble.able
        ]
        items += [PickItem(WITHOUT, "Send without", "the words only")] if without else []
        items.append(PickItem(CANCEL, "Cancel", "nothing is sent, and the picture stays"))
        chosen: Seer | str | None = await self._app.push_screen_wait(Pick(str(trouble), items))
        if isinstance(chosen, Seer):
            await self._app.runtime.run("model.use", chosen.provider, chosen.model)
        elif chosen == WITHOUT:
            await self._take_pictures_off()
        return chosen not in (None, CANCEL)

    async def _take_pictures_off(self) -> None:
        """The files that are attached beside them stay."""
        numbers = [n for n, each in enumerate(self._app.runtime.attachments.waiting, 1) if each.kind == "image"]
        for number in reversed(numbers):
            await self._app.runtime.run("attach.remove", str(number))

    async def view(self, which: str | None) -> None:
        """Shows an attachment of the next question, or else the newest one of the conversation."""
        from sophia_tui.graphics import way_here
        from sophia_tui.screens.preview import PreviewScreen

        waiting = self._app.runtime.attachments.waiting
        if waiting:
            ready = self._app.runtime.attachments.find(which)
        else:
            ready = await self._newest()
        driver = self._app._driver  # Textual has no public name for it
        way = None if self._app.ascii_only else await way_here(os.environ, driver)
        await self._app.push_screen_wait(PreviewScreen(ready, way))

    async def _newest(self) -> Ready:
        from sophia_core.attach.reading import Ready

        runtime = self._app.runtime
        store = await runtime.vault.get()
        path = await store.messages.path(runtime.current.session_id) if runtime.current.session_id else []
        for message in reversed(path):
            for part in reversed(message.parts):
                if part.blob is not None and (part.kind == "image" or part.kind == "file"):
                    try:
                        content = await store.blobs.get(part.blob.id)
                    except StoreError as error:
                        raise CommandError(f"{part.name} cannot be read: {error}", error.hint) from None
                    return Ready(part.name, part.kind, part.blob.media_type, content, part.text)
        raise CommandError("Nothing is attached in this conversation.", "/attach PATH attaches a file.")


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except OSError:
        return Path.home()
