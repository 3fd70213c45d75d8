"""A person at the real app: types lines, presses keys, says yes, and reads what comes of it.

Each scene is one visit; it names the commands it runs, and `test_every_command.py` checks that each of them really ran.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import pytest
from textual import events
from textual.pilot import Pilot
from textual.screen import Screen

from backend_client import BackendError
from sophia_core.commands import Command
from sophia_tui.app import SophiaApp
from sophia_tui.screens.confirm import Confirm
from tests.oidc_server import OidcServer
from tests.scripted import ScriptedReply, ScriptedTransport
from tests.sophia_tui.conftest import settle

PATIENCE_S = 60.0
"""A busy machine is slow; only what never comes is an error."""
AnyScreen = TypeVar("AnyScreen", bound=Screen[Any])


class Walk:
    """One visit."""

    def __init__(self, app: SophiaApp, pilot: Pilot[int], home: Path, transport: ScriptedTransport) -> None:
        self.app, self.pilot, self.home, self.transport = app, pilot, home, transport
        self.issuer: OidcServer | None = None
        self.ran: set[str] = set()
        """The commands that ended without an error."""
        self.failed: list[str] = []
        app.runtime.registry.after.append(self._heard)

    def _heard(self, chosen: Command, values: Mapping[str, object], error: BaseException | None) -> None:
        if error is None:
            self.ran.add(chosen.name)
        else:
            self.failed.append(f"{chosen.name}: {error}")

    async def until(self, true: Callable[[], object], what: str = "it") -> None:
        """Waits for something to be so."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not true():
                    await self.pilot.pause()
        except TimeoutError:
            raise AssertionError(f"{what} never came; failed: {self.failed}; said: {self.words()!r}") from None

    async def settle(self) -> None:
        """Waits until everything that was begun is done and drawn."""
        await settle(self.app, self.pilot)

    async def press(self, *keys: str) -> None:
        """Presses keys and waits for what they begin."""
        await self.pilot.press(*keys)
        await self.settle()

    async def paste(self, text: str) -> None:
        """Text into whatever has the focus, the way a terminal pastes."""
        self.app.post_message(events.Paste(text))
        await self.pilot.pause()

    async def begin(self, line: str) -> None:
        """Sends a line from the prompt; does not wait for its end."""
        self.app.dispatcher.forget()
        prompt = self.app.chat.prompt
        prompt.put(f"{line} " if prompt.text == line else line)  # the same line twice at once would be one too many
        self.app.chat.focus_prompt()
        await self.pilot.press("enter")

    async def do(self, line: str) -> str:
        """Sends a line and returns what was said of it."""
        before = len(self.app.chat.transcript.entries)
        await self.begin(line)
        await self.settle()
        return self.words(before)

    async def dare(self, line: str) -> str:
        """Sends a line that cannot be undone: no is taken for no, and then it is done after all."""
        name = line.split()[0].removeprefix("/")
        before = len(self.app.chat.transcript.entries)
        await self.begin(line)
        await self.screen(Confirm)
        await self.press("escape")
        assert name not in self.ran, f"{name} ran though the person said no"
        await self.begin(line)
        await self.screen(Confirm)
        await self.pilot.click("#yes")
        await self.settle()
        return self.words(before)

    async def screen(self, kind: type[AnyScreen]) -> AnyScreen:
        """Waits for a dialog, and until it takes keys."""
        await self.until(lambda: isinstance(self.app.screen, kind) and self.app.screen.is_current, kind.__name__)
        await self.pilot.pause()
        found = self.app.screen
        assert isinstance(found, kind)
        return found

    def words(self, since: int = 0) -> str:
        """What stands in the corner, and what commands said in the conversation."""
        notices = [each.text for each in self.app.chat.transcript.entries[since:] if each.role == "notice"]
        return "\n".join([*(each.message for each in self.app._notifications), *notices])

    @property
    def answer(self) -> str:
        """The last thing in the conversation."""
        entries = self.app.chat.transcript.entries
        return entries[-1].text if entries else ""

    async def ask(self, text: str = "hi") -> str:
        """Asks something and waits for the whole answer."""
        await self.do(text)
        return self.answer

    async def title(self) -> str:
        """The title of the session that is open."""
        session = await (await self.app.runtime.vault.get()).sessions.get(self.app.runtime.current.session_id or "")
        assert session is not None
        return session.title


def leave_alone_the_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own clipboard, editor, keys and terminal is seen."""
    for name in (
        "DISPLAY",
        "WAYLAND_DISPLAY",
        "TMUX",
        "SSH_AUTH_SOCK",
        "SSH_TTY",
        "SSH_CONNECTION",
        "VISUAL",
        "EDITOR",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("LC_ALL", "LANG"):
        monkeypatch.setenv(name, "C.UTF-8")
    monkeypatch.setenv("TERM", "xterm-256color")


Play: TypeAlias = Callable[[Walk], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Scene:
    """One visit: what is answered, what is set, and which commands it runs."""

    play: Play
    commands: tuple[str, ...]
    script: tuple[ScriptedReply | BackendError, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    pages: Mapping[str, ScriptedReply] = field(default_factory=dict)
    config: str = ""
    issuer: bool = False
    """Needs a real server to sign in at, and a real transport to reach it."""


SCENES: dict[str, Scene] = {}


def scene(
    *commands: str,
    script: tuple[ScriptedReply | BackendError, ...] = (),
    pages: Mapping[str, ScriptedReply] | None = None,
    config: str = "",
    issuer: bool = False,
    **env: str,
) -> Callable[[Play], Play]:
    """Declares a visit that runs these commands."""

    def mark(play: Play) -> Play:
        name = play.__name__
        assert name not in SCENES, name
        SCENES[name] = Scene(play, commands, script, env, pages or {}, config, issuer)
        return play

    return mark
