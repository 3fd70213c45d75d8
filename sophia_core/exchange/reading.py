"""Reads conversations from a file of any known kind, whose kind it finds out by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

from local_store.errors import StoreError
from local_store.imports import Conversation, Skipped
from sophia_core.exchange import chatgpt, claude, json_format, open_webui, sources
from sophia_core.exchange.items import BadFile, BadItem, Item, Items
from sophia_core.exchange.media import Media
from sophia_core.exchange.sources import Progress

Kind = Literal["chatgpt", "claude", "open-webui", "llm", "oterm", "sophia"]
KINDS: Final[tuple[str, ...]] = get_args(Kind)
NAMES: Final[Mapping[str, str]] = {
    "chatgpt": "ChatGPT",
    "claude": "Claude",
    "open-webui": "Open WebUI",
    "llm": "llm",
    "oterm": "oterm",
    "sophia": "SOPHIA",
}
NOT_UTF8 = "had bytes that are no Unicode text: replaced by �"
_Reader = Callable[[Mapping[str, Any]], Conversation | Skipped]
_KNOWS: Final[tuple[tuple[Kind, Callable[[Mapping[str, Any]], bool], _Reader], ...]] = (
    ("chatgpt", chatgpt.knows, chatgpt.conversation),
    ("claude", claude.knows, claude.conversation),
    ("sophia", json_format.knows, json_format.conversation),
    ("open-webui", open_webui.knows, open_webui.conversation),
)


@dataclass(slots=True)
class Reading:
    """A file that is being read. Iterate over it once."""

    path: Path
    kind: Kind | None = None
    """What it was said to be or, as soon as something was read, found to be."""
    progress: Progress | None = None
    problem: str = ""
    """Why the rest of the file could not be read."""
    _media: Media = field(default_factory=Media)

    def close(self) -> None:
        """Let go of the images and files, after everything that was read has been stored."""
        self._media.close()

    def __iter__(self) -> Iterator[Conversation | Skipped]:
        """Raises BadFile when nothing can be read at all; what goes wrong later is told in `problem`."""
        started = False
        try:
            for found in self._found():
                started = True
                yield found
        except OSError as error:
            raise BadFile(f"{str(self.path)!r} cannot be read: {error.strerror or error}") from None
        except BadFile as error:
            if not started:
                raise
            self.problem = str(error)
            yield Skipped("", "", f"the rest of the file: {error}")

    def _found(self) -> Iterator[Conversation | Skipped]:
        from local_store import foreign

        if self.path.exists() and not self.path.is_file():
            raise BadFile(f"{str(self.path)!r} cannot be read: it is no file")
        if self.kind in ("llm", "oterm") or foreign.is_sqlite(self.path):
            yield from self._database()
            return
        self._media = Media(self.path if sources.is_archive(self.path) else None)
        with sources.opened(self.path) as source:
            self.progress = source.progress
            for part in source.parts:
                yield from self._json(part.blocks)

    def _database(self) -> Iterator[Conversation | Skipped]:
        from local_store import foreign

        try:
            kind = foreign.kind_of(self.path)
        except StoreError as error:
            raise BadFile(error.message) from None
        if kind is None or self.kind not in (None, kind):
            raise BadFile(f"it is no database of {NAMES[self.kind] if self.kind else 'llm or oterm'}")
        self.kind = kind
        yield from foreign.read(self.path, kind)

    def _json(self, blocks: Iterator[bytes]) -> Iterator[Conversation | Skipped]:
        items = Items(blocks)
        checked = False
        for item in items:
            if not checked and items.header.get("format") == json_format.FORMAT:
                json_format.check(items.header)
                checked = True
            if isinstance(item, BadItem):
                yield Skipped(f"element {item.number}", "", item.reason)
            else:
                yield self._conversation(item)
        if self.kind is None and items.header.get("format") == json_format.FORMAT:
            json_format.check(items.header)
            self.kind = "sophia"

    def _conversation(self, item: Item) -> Conversation | Skipped:
        value = item.value
        if not isinstance(value, dict):
            return Skipped(f"element {item.number}", "", "it is no conversation")
        for kind, knows, reader in _KNOWS:
            if self.kind in (None, kind) and knows(value):
                self.kind = kind
                found = reader(value) if kind != "chatgpt" else chatgpt.conversation(value, self._media)
                return _mended(found) if item.mended else found
        title = value.get("title") or value.get("name")
        named = title if isinstance(title, str) else ""
        return Skipped(
            f"element {item.number}",
            named,
            f"it is no conversation of {NAMES.get(self.kind or '', 'any known program')}",
        )


def _mended(found: Conversation | Skipped) -> Conversation | Skipped:
    if isinstance(found, Skipped):
        return found
    from dataclasses import replace

    return replace(found, remarks=(*found.remarks, (NOT_UTF8, 1)))
