"""What goes with the next question: chosen, looked at, kept with it in the store, and shown to the model."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local_store.types import Part
from sophia_core.attach import sending
from sophia_core.attach.errors import Refused
from sophia_core.commands import CommandError, command
from sophia_core.events import AttachmentsChanged, Bus, Notice
from sophia_core.state import Current

if TYPE_CHECKING:
    from local_store import Store
    from local_store.types import Message
    from sophia_core.attach.reading import Ready
    from sophia_core.attach.sight import Sight

MOST: Final = 20
"""Files that go with one question."""
BYTES_MOST: Final = 32 << 20
"""Of all that waits to be sent; it is held in memory until then."""


@dataclass(frozen=True, slots=True)
class AttachedRow:
    """Something that goes with the next question."""

    number: int
    name: str
    what: str


class Attachments:
    """What waits to go with the next question of each session. Only in memory: it is stored with the question."""

    def __init__(
        self, bus: Bus, current: Current, sight: Sight, *, env: Mapping[str, str], secret: Sequence[str] = ()
    ) -> None:
        self._bus, self._current, self._sight = bus, current, sight
        self._env, self._secret = env, tuple(secret)
        self._waiting: dict[str | None, tuple[Ready, ...]] = {}

    @property
    def waiting(self) -> tuple[Ready, ...]:
        """What goes with the next question of the session in view."""
        return self.of(self._current.session_id)

    def of(self, session_id: str | None) -> tuple[Ready, ...]:
        """What goes with the next question of a session; None: of the one to come."""
        return self._waiting.get(session_id, ())

    async def forget(self) -> None:
        """Lets go of everything: the store is locked."""
        if self._waiting:
            self._waiting.clear()
            self._changed()

    # Commands

    @command("attach.add", slash="attach")
    async def add(self, path: str) -> str:
        """Attach a file to the next question: text, code, a PDF or a picture."""
        from sophia_core.attach.reading import prepared

        try:
            return await self._take(await prepared(Path(path)))
        except Refused as wrong:
            raise CommandError(str(wrong), wrong.hint) from None

    @command("attach.paste", keys=("alt+i",))
    async def paste(self) -> str:
        """Attach the picture that is in the clipboard."""
        from sophia_core.attach import clipboard
        from sophia_core.attach.reading import of_content

        try:
            content = await clipboard.picture(self._env, self._secret)
            return await self._take(await of_content("clipboard.png", content))
        except Refused as wrong:
            raise CommandError(str(wrong), wrong.hint) from None

    def _something(self) -> str | None:
        return None if self.waiting else "nothing is attached"

    @command("attach.remove", keys=("alt+minus",), slash="detach", enabled=_something)
    async def remove(self, which: str | None = None) -> str:
        """Take an attachment off again: by its number or name, else the last one; `all` takes every one."""
        before = self.waiting
        gone = before if which == "all" else (self.find(which),)
        self._keep(tuple(each for each in before if not any(each is one for one in gone)))
        return f"Taken off: {gone[0].name}." if len(gone) == 1 else "Nothing is attached any more."

    @command("attach.list", slash="attached")
    async def list(self) -> builtins.list[AttachedRow]:
        """List what goes with the next question."""
        return [AttachedRow(number, each.name, each.about) for number, each in enumerate(self.waiting, 1)]

    async def _take(self, new: Ready) -> str:
        from sophia_core.attach.reading import sized

        before = self.waiting
        if any(each.name == new.name and each.content == new.content for each in before):
            return f"{new.name} is attached already."
        if len(before) >= MOST:
            raise Refused(f"{MOST} files are attached already.", "Send them, or take one off: /detach.")
        if sum(len(each.content) for each in before) + len(new.content) > BYTES_MOST:
            raise Refused(f"With {new.name} it would be more than {sized(BYTES_MOST)}.", "Send them one by one.")
        self._keep((*before, new))
        if new.kind == "image" and (problem := await self._sight.problem()):
            self._bus.publish(Notice("warning", str(problem), problem.hint))
        return f"Attached {new.name}: {new.about}."

    def find(self, which: str | None) -> Ready:
        """The attachment of this number or name, else the last one. Raises CommandError."""
        waiting = self.waiting
        if not which:
            return waiting[-1]
        if which.isdecimal() and 0 < int(which) <= len(waiting):
            return waiting[int(which) - 1]
        if found := [each for each in waiting if each.name == which]:
            return found[-1]
        raise CommandError(f"No {which!r} is attached.", "/attached lists what is.")

    def _keep(self, left: tuple[Ready, ...], session_id: str | None = None) -> None:
        key = session_id or self._current.session_id
        self._waiting.pop(key, None)
        if left:
            self._waiting[key] = left
        self._changed()

    def _changed(self) -> None:
        self._bus.publish(AttachmentsChanged(self._current.session_id))

    # What the chat asks for

    async def parts(
        self, store: Store, session_id: str | None, earlier: Sequence[Part] = (), *, of: Sequence[Current] = ()
    ) -> tuple[Part, ...]:
        """What is stored with a question of a session, after what an earlier form of it had. Raises CommandError where
        nobody (or one `of` those) can look at its pictures, StoreError."""
        waiting = self.of(session_id)
        kept = [each for each in earlier if each.kind in ("image", "file")]
        pictures = [
            *(each for each in kept if each.kind == "image"),
            *(each for each in waiting if each.kind == "image"),
        ]
        for who in (of or (self._current,)) if pictures else ():
            if problem := await self._sight.problem(of=who):
                raise problem
        for each in waiting:
            blob = await store.blobs.put(each.content, each.media_type)
            kept.append(Part(each.kind, each.name, text=each.about, blob=blob))
        return tuple(kept)

    def sent(self, session_id: str | None) -> None:
        """What waited in a session went with its question."""
        if self._waiting.pop(session_id, None):
            self._changed()

    async def brought(
        self, store: Store, path: Sequence[Message], asked: Sequence[Part] = (), *, of: Current | None = None
    ) -> sending.Bringing:
        """What the messages of a branch bring along for the model that answers now (or for `of`), and the question to
        come with these parts. Raises StoreError."""
        shown = any(each.kind == "image" for each in asked) or not sending.has_pictures(path)
        sees = shown or await self._sight.problem(ask=False, of=of) is None
        if not sees:
            text = "The model that answers cannot look at the pictures of this conversation."
            self._bus.publish(Notice("info", text, "It is told that they are there."))
        return await sending.brought(store, path, asked, sees=sees)
