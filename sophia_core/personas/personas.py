"""The commands about personas: who answers, and how they are asked."""

from __future__ import annotations

import asyncio
import builtins
import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sophia_core.chat.manner import Manner, usual
from sophia_core.commands import CommandError, command
from sophia_core.events import FREQUENT, Bus, Event, Notice, PersonaChanged, SessionChanged
from sophia_core.personas.library import Folders, Library
from sophia_core.personas.persona import NAME, NOBODY, RESERVED, Persona, Voice
from sophia_core.personas.variables import fill, used, values_here
from sophia_core.personas.writing import skeleton
from sophia_core.sanitize import one_line
from sophia_core.shelves import content_of
from sophia_core.state import Current
from sophia_core.undoing import Change, Undoing

if TYPE_CHECKING:
    from backend_client.types import Provider
    from sophia_core.settings import ChatSettings

LIST_HINT: Final = "`sophia persona list` lists them."
FIELDS: Final = ("top_p", "frequency_penalty", "presence_penalty", "seed")
"""What of the sampling has no field of its own in a request."""


class PersonaError(CommandError):
    """A persona cannot be had, or not be written."""


@dataclass(frozen=True, slots=True)
class PersonaInfo:
    """A persona in the list."""

    name: str
    title: str
    about: str
    route: str
    """The provider and model it would have; empty: whoever is best."""
    where: str
    """Who it comes from: `shipped`, `yours`, or `folder`."""
    trusted: bool
    current: bool


@dataclass(frozen=True, slots=True)
class Face:
    """What is seen of a persona wherever it has answered."""

    title: str
    colour: str = ""


class Personas:
    """Lists and changes personas, and says who answers now."""

    def __init__(
        self,
        library: Library,
        folders: Folders,
        bus: Bus,
        current: Current,
        settings: ChatSettings,
        providers: Sequence[Provider],
        undoing: Undoing,
        *,
        usual_one: str = "",
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`usual_one` answers where a folder has no other default; `changed` is called when somebody else answers."""
        self._library, self._folders, self._bus, self._current = library, folders, bus, current
        self._settings, self._providers, self._undoing, self._changed = settings, providers, undoing, changed
        self._usual, self._default = usual_one, current.persona
        self._able: dict[str, Persona] = {}
        """Those that may answer, as they were when the folders were looked at last."""
        self._unread = False
        """Somebody answers of whom only the name is known yet."""
        self._looked_at: dict[str, str] = {}
        """The digest of every text that was shown, by the persona's name."""
        self._told: str | None = None
        self._missed: set[str] = set()
        bus.subscribe(self._heard, without=FREQUENT)

    # Who answers

    async def begin(self) -> None:
        """Lets the default of this folder answer from the start. Says what stands in its way."""
        name = await asyncio.to_thread(self._folders.default, Path.cwd()) or self._usual
        if not name or name == NOBODY or self._current.persona is not None:
            return
        try:
            await self._find(name)
        except PersonaError as error:
            self._bus.publish(Notice("warning", f"The default persona cannot answer: {error}", error.hint))
            return
        self._default = name
        if self._current.session_id is None:
            self._set(name)

    def _heard(self, event: Event) -> None:
        """A new conversation begins with who was chosen last; one that is opened goes on with who answered in it."""
        if isinstance(event, SessionChanged):
            self._set(self._default if event.session_id is None else self._current.persona)

    def _set(self, name: str | None) -> None:
        self._current.persona = name
        if name == self._told:
            return
        self._told = name
        persona = self._able.get(name) if name else None
        self._unread = name is not None and persona is None
        self._current.preference = self._preference(persona)
        face = self.face(name)
        self._bus.publish(PersonaChanged(name, face.title if face else "", face.colour if face else ""))
        self._changed()

    def _preference(self, persona: Persona | None) -> tuple[str | None, str | None]:
        """Who the persona would have answer; a provider that is not here is nobody's."""
        if persona is None or (persona.provider is None and persona.model is None):
            return None, None
        if persona.provider is None or any(each.name == persona.provider for each in self._providers):
            return persona.provider, persona.model
        text = f"{persona.title} would be answered by {persona.provider}, which is not among your providers."
        self._bus.publish(Notice("info", text, "The best one that can be reached answers instead."))
        return None, None

    def face(self, name: str | None) -> Face | None:
        """How a persona looks; by its name alone where nobody has read it yet or it is gone. Does not block."""
        if not name:
            return None
        persona = self._able.get(name)
        return Face(persona.title, persona.colour) if persona else Face(one_line(name, 40))

    async def learn(self, names: Iterable[str | None]) -> None:
        """Reads the personas where one of these is not known yet, for their faces."""
        if {name for name in names if name} - self._able.keys():
            await self._look()

    async def manner(self, name: str | None, *, folder: str = "") -> Manner:
        """How a persona is asked now, one of another `folder` too. For one that cannot be had, how nobody in particular
        is; that is told once.
        """
        if not name:
            return usual(self._settings)
        try:
            persona = await self._find(name, folder)
        except PersonaError as error:
            if name not in self._missed:
                self._missed.add(name)
                self._bus.publish(Notice("warning", f"{error} Nobody in particular answers instead.", error.hint))
            return usual(self._settings)
        self._missed.discard(name)
        return await self._manner_of(persona)

    async def _manner_of(self, persona: Persona) -> Manner:
        sampling, settings = persona.sampling, self._settings
        named = {each: getattr(sampling, each) for each in FIELDS}
        return Manner(
            persona.name,
            await self.preview(persona),
            settings.temperature if sampling.temperature is None else sampling.temperature,
            settings.max_tokens if sampling.max_tokens is None else sampling.max_tokens,
            sampling.reasoning,
            {key: value for key, value in named.items() if value is not None},
            persona.cache,
            persona.memory,
            persona.tools,
        )

    async def wants(self, name: str | None, *, folder: str = "") -> tuple[str | None, str | None]:
        """The provider and the model that a persona would have answer; None: whoever the routing says."""
        try:
            return self._preference(await self._find(name, folder)) if name else (None, None)
        except PersonaError:
            return None, None

    async def voice(self, name: str | None) -> Voice:
        """How a persona sounds; one that cannot be had sounds like nobody in particular."""
        try:
            return (await self._find(name)).voice if name else Voice()
        except PersonaError:
            return Voice()

    async def preview(self, persona: Persona) -> str:
        """The prompt as it would be sent from here now."""
        if not used(persona.prompt):
            return fill(persona.prompt, {})
        return fill(persona.prompt, await asyncio.to_thread(values_here, Path.cwd()))

    # What there is

    async def _look(self) -> dict[str, Persona]:
        named = (await asyncio.to_thread(self._library.look)).named
        trusted = await asyncio.to_thread(self._library.trusted_of, named)
        self._able = {each.name: each for each in trusted}
        if self._unread:
            self._told = None
            self._set(self._current.persona)
            self._unread = False
        return named

    async def _known(self, name: str) -> Persona:
        """The persona of that name, trusted or not. Raises PersonaError."""
        named = await self._look()
        if name in named:
            return named[name]
        near = difflib.get_close_matches(name, named, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else LIST_HINT
        raise PersonaError(f"There is no persona {one_line(name, 60)!r}.", hint)

    async def _find(self, name: str, folder: str = "") -> Persona:
        """The persona of that name, of another folder where one is named. Raises PersonaError when there is none, or
        nobody has looked at it yet.
        """
        persona = await self._of(folder, name) or await self._known(name)
        if not await asyncio.to_thread(self._library.is_trusted, persona):
            hint = f"Read it, then trust it: /persona.show {name}, /persona.trust {name}."
            raise PersonaError(f"{name!r} comes with this folder, and nobody has looked at it yet.", hint)
        return persona

    async def _of(self, folder: str, name: str) -> Persona | None:
        """The persona that this folder brings, where it is not the one that was looked at already."""
        if not folder or Path(folder) == Path.cwd():
            return None
        shelf = await asyncio.to_thread(lambda: self._library.elsewhere(Path(folder)).look())
        found = shelf.named.get(name)
        return found if found is not None and found.project else None

    async def all(self) -> builtins.list[Persona]:
        """Every persona, by name."""
        return [each for _, each in sorted((await self._look()).items())]

    async def names(self) -> builtins.list[str]:
        """Return the name of every persona."""
        return [each.name for each in await self.all()]

    @command("persona.list")
    async def list(self) -> builtins.list[PersonaInfo]:
        """List the personas: who can answer."""
        found = await self.all()
        return [
            PersonaInfo(
                each.name,
                each.title,
                each.about,
                " ".join(filter(None, (each.provider, each.model))),
                self._library.where(each),
                each.name in self._able,
                each.name == self._current.persona,
            )
            for each in found
        ]

    @command("persona.show")
    async def show(self, name: str) -> str:
        """Show the text of a persona."""
        persona = await self._known(name)
        self.looked_at(persona)
        return persona.source

    def looked_at(self, persona: Persona) -> None:
        """Its whole text was shown to a person: this text is what they may trust."""
        self._looked_at[persona.name] = persona.digest

    @command("persona.check")
    async def check(self) -> builtins.list[str]:
        """Say what is wrong with persona files, with the place and what to do."""
        shelf = await asyncio.to_thread(self._library.look)
        return [str(each) for each in shelf.problems] or ["every persona is sound"]

    @command("persona.use", slash="persona")
    async def use(self, name: str) -> str:
        """Let this persona answer from now on; `none` for nobody in particular."""
        chosen = None if name.lower() in (NOBODY, "nobody", "") else name
        persona = await self._find(chosen) if chosen else None
        before = self._current.persona, self._default
        self._choose(chosen, chosen)
        if before[0] != chosen:
            undo, redo = partial(self._choose_later, *before), partial(self._choose_later, chosen, chosen)
            words = f"{persona.title} answers" if persona else "nobody in particular answers"
            self._undoing.record(Change(words, undo, redo))
        if persona is None:
            return "Nobody in particular answers from now on."
        return " ".join(filter(None, (f"{persona.title} answers from now on.", persona.greeting)))

    def _choose(self, name: str | None, default: str | None) -> None:
        self._default = default
        self._set(name)

    async def _choose_later(self, name: str | None, default: str | None) -> None:
        self._choose(name, default)

    @command("persona.default")
    async def default(self, name: str = "") -> str:
        """Let a persona answer whenever a conversation begins in this folder; `none` ends that, no name tells who."""
        here = Path.cwd()
        if not name:
            chosen = await asyncio.to_thread(self._folders.default, here) or self._usual
            return f"{chosen} answers here by default." if chosen else "Nobody in particular answers here by default."
        someone = None if name == NOBODY else (await self._find(name)).name
        before = await self._write(self._folders.choose, here, someone)
        words = f"{someone or 'nobody in particular'} answers in {here.name} by default"
        undo, redo = (partial(self._write, self._folders.choose, here, each) for each in (before, someone))
        self._undoing.record(Change(words, undo, redo))
        if someone and self._current.session_id is None:
            self._choose(someone, someone)
        return f"{words[0].upper()}{words[1:]} from now on."

    @command("persona.trust", audited=True)
    async def trust(self, name: str) -> str:
        """Let a persona of this folder answer from now on, as long as its text stays the same."""
        persona = await self._known(name)
        if self._looked_at.get(name, persona.digest) != persona.digest:
            raise PersonaError(f"{name!r} was changed after you looked at it.", f"Read it again: /persona.show {name}.")
        await self._write(self._library.trust, persona.digest)
        return f"{name} may answer, as long as it is not changed."

    # What is written

    async def _write(self, work: Callable[..., object], *values: object, **named: object) -> str | None:
        """Does what writes a file. Raises PersonaError."""
        try:
            done = await asyncio.to_thread(partial(work, *values, **named))
        except FileExistsError as error:
            raise PersonaError(f"{error}.", "Add replace=true to put this one in its place.") from None
        except (ValueError, OSError) as error:
            raise PersonaError(f"It cannot be kept: {error}") from None
        return None if done is None else str(done)

    async def save(self, name: str, text: str, *, replace: bool = True, foreign: bool = False) -> str:
        """Write a persona of the person's own, which can be taken back; return where. Raises PersonaError."""
        before = await asyncio.to_thread(self._own_text, name)
        path = await self._write(partial(self._library.keep, name, text, replace=replace, foreign=foreign))
        redo = partial(self._put_back, name, text)
        undo = partial(self._put_back, name, before) if before is not None else partial(self._remove, name)
        self._undoing.record(
            Change(f"the persona {name} was {'changed' if before is not None else 'made'}", undo, redo)
        )
        await self._changed_file(name)
        return str(path)

    def _own_text(self, name: str) -> str | None:
        """The text of the person's own persona, sound or not; None where there is none."""
        path = self._library.own / f"{name}.toml"
        try:
            return path.read_text("utf-8", "replace") if NAME.fullmatch(name) else None
        except OSError:
            return None

    async def _put_back(self, name: str, text: str) -> None:
        await self._write(partial(self._library.put, name, text, replace=True))
        await self._changed_file(name)

    async def _remove(self, name: str) -> None:
        await self._write(self._library.take, name)
        await self._changed_file(name)

    async def _changed_file(self, name: str) -> None:
        """Who answers now may look another way, or be gone."""
        named = await self._look()
        if self._current.persona == name:
            self._told = None
            self._set(name if name in named else None)
        if self._default == name and name not in named:
            self._default = None

    @command("persona.new")
    async def new(self, name: str, prompt: str, *, about: str = "", replace: bool = False) -> str:
        """Make a persona of your own: its name, and what it is told about itself."""
        path = await self.save(name, skeleton(prompt, about=about), replace=replace)
        return f"Made {name}, in {path}. /persona {name} lets it answer."

    @command("persona.duplicate")
    async def duplicate(self, name: str, new_name: str) -> str:
        """Make one of your own from a persona, to be changed."""
        persona = await self._find(name)
        path = await self.save(new_name, persona.source, replace=False)
        return f"Made {new_name} of {name}, in {path}."

    @command("persona.delete")
    async def delete(self, name: str) -> str:
        """Delete a persona of your own; it can be taken back, and its text stays in the folder as `.bak`."""
        text = await asyncio.to_thread(self._own_text, name)
        if text is None:
            persona = await self._known(name)
            source = "with this folder" if persona.project else "with SOPHIA"
            raise PersonaError(f"{name!r} comes {source} and cannot be deleted.", "Make one of your own beside it.")
        await self._remove(name)
        undo, redo = partial(self._put_back, name, text), partial(self._remove, name)
        self._undoing.record(Change(f"the persona {name} was deleted", undo, redo))
        return f"Deleted {name}; /undo brings it back."

    @command("persona.import")
    async def import_file(self, file: str, name: str = "", *, replace: bool = False) -> str:
        """Take a persona over from a file; it may hold nothing that a reader does not see."""
        path = _path(file)
        content = await asyncio.to_thread(content_of, path, "persona")
        if not isinstance(content, bytes):
            raise PersonaError(f"It cannot be taken over: {content}")
        chosen = name or path.stem.lower().replace(" ", "_")
        if not NAME.fullmatch(chosen) or chosen in RESERVED:
            hint = f"Give it one: /persona.import {one_line(path.name, 60)} NAME."
            raise PersonaError("The name of the file cannot be a persona's name.", hint)
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            raise PersonaError("It cannot be taken over: it is not UTF-8.", "Save the file as UTF-8.") from None
        where = await self.save(chosen, text, replace=replace, foreign=True)
        return f"Took over {chosen}, in {where}. /persona {chosen} lets it answer."

    @command("persona.export")
    async def export(self, name: str, file: str) -> str:
        """Write the text of a persona to a new file, or into a folder."""
        persona, path = await self._known(name), _path(file)

        def write() -> Path:
            chosen = path / f"{name}.toml" if path.is_dir() else path
            with chosen.open("x", encoding="utf-8", newline="\n") as new:
                new.write(persona.source)
            return chosen

        try:
            return f"Wrote {await asyncio.to_thread(write)}."
        except FileExistsError:
            raise PersonaError("There is a file of that name already.", "Choose another one.") from None
        except OSError as error:
            raise PersonaError(f"It cannot be written: {error.strerror}.", "Choose another folder.") from None

    async def text_of(self, name: str) -> tuple[str, str]:
        """The text of a persona and where it lies; both are empty when there is none."""
        text = await asyncio.to_thread(self._own_text, name)
        if text is not None:
            return text, str(self._library.own / f"{name}.toml")
        persona = (await self._look()).get(name)
        return (persona.source, str(persona.path)) if persona else ("", "")


def _path(file: str) -> Path:
    """Where a person means; a `~` of somebody who is not there stays as it is."""
    try:
        return Path(file).expanduser()
    except RuntimeError:
        return Path(file)
