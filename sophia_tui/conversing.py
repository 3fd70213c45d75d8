"""The commands on what is said: keep it, edit it elsewhere, unfold it, and find one's way in its branches."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sophia_core.commands import CommandError, command

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp


class ConversationCommands:
    """What a person can do with messages and code blocks, beyond reading and copying them."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app

    def _has_text(self) -> str | None:
        return None if self._app.chat.transcript.entries else "there is nothing in this conversation yet"

    def _in_session(self) -> str | None:
        return None if self._app.chat.session_id else "no session is open"

    @command("code.save", slash="save", needs_app=True, enabled=_has_text)
    async def save_code(self, path: str, *, replace: bool = False) -> str:
        """Save the selected code block, or the last one, to a file; `replace=true` where there is one already."""
        transcript = self._app.chat.transcript
        code = transcript.selected_code() or transcript.last_code()
        if code is None:
            raise CommandError("There is no code block here.", "copy.message copies a whole message.")
        return _save(path, code[1], replace)

    @command("message.save", needs_app=True, enabled=_has_text)
    async def save_message(self, path: str, *, replace: bool = False) -> str:
        """Save the selected message, or the last answer, to a file as Markdown."""
        return _save(path, self._message(), replace)

    @command("copy.file", slash="tofile", needs_app=True)
    async def copy_to_file(self) -> str:
        """Write what was copied last to a file that is gone when you leave: for terminals without a clipboard."""
        clipboard = self._app.dispatcher.clipboard
        if not clipboard.last:
            raise CommandError("Nothing was copied yet.", "copy.message and copy.code copy.")
        return clipboard.to_file()

    @command("prompt.editor", keys=("alt+e",), slash="editor", needs_app=True)
    async def edit_prompt(self) -> str | None:
        """Go on writing the question in your own editor ($VISUAL, $EDITOR); what streams goes on meanwhile."""
        app, prompt = self._app, self._app.chat.prompt
        session_id = app.feed.draft_of
        edited = await self._edited(prompt.text)
        if app.feed.draft_of != session_id:
            await app.runtime.drafts.save(session_id, edited)
            return "Another session was opened meanwhile: what you wrote is in the prompt of the one before."
        prompt.put(edited)
        app.chat.focus_prompt()
        return None

    @command("message.editor", needs_app=True, enabled=_has_text)
    async def view_message(self) -> None:
        """Look at the selected message, or the last answer, in your own editor; changes there change nothing here."""
        await self._edited(self._message())

    async def _edited(self, text: str) -> str:
        from sophia_tui.editor import edit, editor_of, lent

        line = editor_of(os.environ)
        with lent(self._app):
            return await edit(text, self._app.runtime.paths.control_dir, line)

    def _message(self) -> str:
        chat = self._app.chat
        entry = chat.transcript.selected_entry or next(
            (each for each in reversed(chat.transcript.entries) if each.role == "assistant"), None
        )
        if entry is None:
            raise CommandError("There is no answer here yet.")
        return entry.text

    @command("message.unfold", keys=("alt+u",), needs_app=True, enabled=_has_text)
    async def unfold(self) -> None:
        """Unfold or fold the tool calls, results and files of the selected message, or of the last that has any."""
        self._app.chat.transcript.unfold()

    @command("message.trace", keys=("alt+t",), needs_app=True, enabled=_has_text)
    async def trace(self) -> object:
        """Show where the time of the selected answer went, or of the last one."""
        transcript = self._app.chat.transcript
        entry = transcript.selected_entry
        if entry is not None and entry.role == "user":
            after = transcript.entries[transcript.entries.index(entry) + 1 :]
            entry = next((each for each in after if each.role == "assistant"), None)
        last = next((each for each in reversed(transcript.entries) if each.role == "assistant"), None)
        if (chosen := entry or last) is None or chosen.role != "assistant":
            raise CommandError("There is no answer here yet.")
        return await self._app.runtime.run("trace.show", chosen.id)

    @command("chat.trim_here", needs_app=True, enabled=_has_text)
    async def trim_here(self) -> str:
        """Send only what is from the selected message on from now on; /untrim takes it back."""
        entry = self._app.chat.transcript.selected_entry
        if entry is None:
            raise CommandError("No message is selected.", "Select one first, with Alt+Up.")
        return str(await self._app.runtime.run("chat.trim", message=entry.id))

    @command("branch.tree", slash="tree", needs_app=True, enabled=_in_session)
    async def tree(self) -> None:
        """Show the conversation with all its branches, and jump to one."""
        from sophia_tui.branching import tree_rows
        from sophia_tui.screens.pick import Pick

        app, session_id = self._app, self._app.chat.session_id or ""
        store = await app.runtime.vault.get()
        messages = list(await store.messages.all(session_id))
        path = [each.id for each in await store.messages.path(session_id)]
        items = tree_rows(messages, set(path), ascii_only=app.ascii_only)
        last = next((item.label for item in items if path and item.value == path[-1]), "")
        chosen: str | None = await app.push_screen_wait(Pick("All branches of this conversation", items, current=last))
        if chosen is not None:
            app.feed.jump_to = chosen
            await app.runtime.run("branch.show", chosen)


def _save(path: str, text: str, replace: bool) -> str:
    from sophia_tui.clipboard import write_private

    place = Path(path).expanduser()
    try:
        write_private(place, text if text.endswith("\n") else text + "\n", replace=replace)
    except FileExistsError:
        raise CommandError(f"{place} exists already.", "Another name, or replace=true.") from None
    except OSError as error:
        raise CommandError(f"{place} cannot be written: {error.strerror or error}.", "Choose another place.") from None
    return f"Saved {place.absolute()}"
