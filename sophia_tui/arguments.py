"""What may stand for a parameter of a command: sessions, models, files and so on, found from what is typed so far."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

from backend_client.errors import BackendError
from local_store.errors import StoreError
from sophia_core.commands import Param
from sophia_core.sanitize import one_line, sanitize
from sophia_tui.screens.fuzzy import best

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp

Kind = Literal[
    "text",
    "choice",
    "session",
    "model",
    "provider",
    "theme",
    "macro",
    "persona",
    "file",
    "folder",
    "group",
    "tag",
    "answerer",
]
STRICT: Final[frozenset[Kind]] = frozenset({"choice", "session", "provider", "theme"})
"""Of these only what is offered will do."""
BY_COMMAND: Final[dict[str, Kind]] = {
    "theme.use.name": "theme",
    "chat.compare.model_a": "answerer",
    "chat.compare.model_b": "answerer",
    "persona.use.name": "persona",
    "persona.show.name": "persona",
    "persona.default.name": "persona",
    "persona.trust.name": "persona",
    "persona.edit.name": "persona",
    "persona.duplicate.name": "persona",
    "persona.delete.name": "persona",
    "persona.export.name": "persona",
    "macro.show.name": "macro",
    "macro.run.name": "macro",
    "macro.edit.name": "macro",
    "macro.trust.name": "macro",
    "macro.delete.name": "macro",
    "macro.rename.name": "macro",
    "provider.remove.name": "provider",
    "provider.remove.instead": "provider",
    "session.move.folder": "group",
    "session.list.folder": "group",
    "backup.list.folder": "folder",
    "backup.now.to": "folder",
    "store.salvage.to": "folder",
    "session.export.to": "file",
    "code.save.path": "file",
}
BY_NAME: Final[dict[str, Kind]] = {
    "session": "session",
    "provider": "provider",
    "model": "model",
    "model_a": "model",
    "model_b": "model",
    "tag": "tag",
    "tags": "tag",
    "file": "file",
    "path": "file",
}
MOST: Final = 100
MOST_FILES: Final = 2000
"""Entries of a folder that are looked at."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing that may stand there."""

    value: str
    label: str = ""
    """What is shown; empty: the value."""
    detail: str = ""

    @property
    def shown(self) -> str:
        return self.label or self.value


def kind_of(command: str, param: Param) -> Kind:
    """What a parameter names."""
    if param.kind in get_args(Kind):
        return cast("Kind", param.kind)
    if param.kind == "yes" or "|" in param.type or param.type == "bool":
        return "choice"
    return BY_COMMAND.get(f"{command}.{param.name}") or BY_NAME.get(param.name, "text")


def choices_of(param: Param) -> tuple[str, ...]:
    """What a choice is among."""
    return ("yes", "no") if param.type == "bool" or param.kind == "yes" else tuple(param.type.split("|"))


class Arguments:
    """Finds offers. What takes reading is read in a worker; the last answers are kept for the next key."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app
        self._known: dict[tuple[Kind, str], list[Offer]] = {}
        self._models: list[Offer] | None = None

    def forget(self) -> None:
        """What was read is not true any more: another command line is begun."""
        self._known.clear()

    def at_once(self, kind: Kind, param: Param, typed: str, again: Callable[[], None]) -> Sequence[Offer]:
        """What is known now; where it has to be read first, `again` is called as soon as it was."""
        if kind in ("choice", "theme", "provider", "macro"):
            return self._here(kind, param, typed)
        if (kind, typed) in self._known:
            return self._known[kind, typed]
        if kind != "text":
            reading: Any = partial(self._read_and, kind, param, typed, again)  # may be replaced before it begins
            self._app.run_worker(reading, group="arguments", exclusive=True)
        return ()

    async def _read_and(self, kind: Kind, param: Param, typed: str, again: Callable[[], None]) -> None:
        self._known[kind, typed] = await self.find(kind, param, typed)
        again()

    async def find(self, kind: Kind, param: Param, typed: str) -> list[Offer]:
        """What fits what was typed so far, best first. Nothing that cannot be read is offered; nothing is raised."""
        with suppress(StoreError, BackendError):
            match kind:
                case "session":
                    return await self._sessions(typed)
                case "model":
                    return _fitting(typed, await self._models_there_are())
                case "answerer":
                    models = [Offer(f"{each.value}@{each.detail}") for each in await self._models_there_are()]
                    providers = [Offer(each.name, detail="provider") for each in self._app.runtime.providers]
                    return _fitting(typed, [*models, *providers])
                case "persona":
                    known = await self._app.runtime.personas.all()
                    return _fitting(typed, [Offer(each.name, detail=each.about) for each in known])
                case "file" | "folder":
                    return await asyncio.to_thread(_files, typed, folders_only=kind == "folder")
                case "group":
                    store = await self._app.runtime.vault.get()
                    return _fitting(typed, [Offer(each.name) for each in await store.organising.folders()])
                case "tag":
                    store = await self._app.runtime.vault.get()
                    return _fitting(typed, [Offer(each.name) for each in await store.organising.tags()])
                case "text":
                    return []
                case _:
                    return self._here(kind, param, typed)
        return []

    def _here(self, kind: Kind, param: Param, typed: str) -> list[Offer]:
        app = self._app
        match kind:
            case "choice":
                return _fitting(typed, map(Offer, choices_of(param)))
            case "theme":
                looks = sorted(app.looks.themes.items())
                return _fitting(typed, [Offer(name, detail="dark" if each.dark else "light") for name, each in looks])
            case "provider":
                return _fitting(typed, [Offer(each.name) for each in app.runtime.providers])
            case "macro":
                about = {spec.name for spec in app.specs}
                specs = [each.spec for each in app.runtime.registry if each.name.startswith("macro.")]
                ours = [spec for spec in specs if spec.name not in about]
                return _fitting(typed, [Offer(each.name.removeprefix("macro."), detail=each.help) for each in ours])
        return []

    async def _sessions(self, typed: str) -> list[Offer]:
        runtime = self._app.runtime
        if typed.strip():
            sessions = (await runtime.sessions.find(typed, limit=1, typing=True)).sessions[:MOST]
        else:
            sessions = tuple(await runtime.sessions.list(limit=MOST))
        offers = [Offer(each.id, one_line(each.title, 120) or "Untitled", each.id[:8]) for each in sessions]
        return offers or ([Offer(typed)] if typed.strip().isalnum() and len(typed.strip()) >= 8 else [])

    async def _models_there_are(self) -> list[Offer]:
        if self._models is None:
            listed = await self._app.runtime.registry.run("model.list")
            models = listed if isinstance(listed, list) else []
            self._models = [Offer(each.model, detail=each.provider) for each in models]
        return self._models


def _fitting(typed: str, offers: Iterable[Offer]) -> list[Offer]:
    known = list(offers)
    return [known[each.index] for each in best(typed, [f"{each.shown} {each.detail}" for each in known], MOST)]


def _files(typed: str, *, folders_only: bool) -> list[Offer]:
    """What lies in the folder that is typed, and begins like the rest of it; folders first, hidden ones when asked."""
    head, sep, start = typed.rpartition("/")
    folder = Path(head + sep).expanduser() if sep else Path.cwd()
    found: list[tuple[bool, str]] = []
    try:
        with os.scandir(folder) as entries:
            for _, entry in zip(range(MOST_FILES), entries, strict=False):
                name = entry.name
                fits = name.lower().startswith(start.lower()) and (start.startswith(".") or not name.startswith("."))
                if fits and name == sanitize(name) and "\n" not in name:
                    is_folder = entry.is_dir()
                    if is_folder or not folders_only:
                        found.append((not is_folder, name))
    except (OSError, RuntimeError, ValueError):
        return []
    return [_path(f"{head}{sep}{name}", name, file=file) for file, name in sorted(found)[:MOST]]


def _path(path: str, name: str, *, file: bool) -> Offer:
    return Offer(path, name) if file else Offer(f"{path}/", f"{name}/", "folder")
