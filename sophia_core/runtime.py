"""The one place that joins things, and takes them apart in reverse."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backend_client.transport import HttpTransport, Transport
from sophia_core import measuring_side, server_side, store_side, swarm_side, tool_side
from sophia_core.attach.attachments import Attachments
from sophia_core.attach.explaining import Explaining
from sophia_core.attach.sight import Sight
from sophia_core.auditing import Auditor
from sophia_core.board.board import Board
from sophia_core.board.working import BoardWork
from sophia_core.chat.branches import Branches
from sophia_core.chat.cache import Cache
from sophia_core.chat.chat import Chat
from sophia_core.chat.comparing import Comparing
from sophia_core.chat.remembering import Remembering
from sophia_core.chat.titles import Titles
from sophia_core.chat.trimming import Trimming
from sophia_core.commands import Registry
from sophia_core.control import Control
from sophia_core.costs.task import for_task
from sophia_core.events import FREQUENT, Bus, Notice
from sophia_core.idle_lock import IdleLock
from sophia_core.logs import Log, correlation, new_request_id
from sophia_core.macros.library import Library
from sophia_core.macros.macros import Macros
from sophia_core.macros.tending import Tending
from sophia_core.measuring_side import MeasuringSide
from sophia_core.outbox import Outbox
from sophia_core.personas.library import Folders
from sophia_core.personas.library import Library as PersonaLibrary
from sophia_core.personas.personas import Personas
from sophia_core.providers import described, secret_variables
from sophia_core.server_side import ServerSide
from sophia_core.setting_values import SettingValues
from sophia_core.state import Current
from sophia_core.store_side import StoreSide
from sophia_core.swarm_side import SwarmSide
from sophia_core.tool_side import ToolSide
from sophia_core.tour import Tour
from sophia_core.voice import voice
from sophia_core.voice.voice import Voice

if TYPE_CHECKING:
    from backend_client.types import Provider
    from sophia_core.settings import Loaded

COMMAND_OWNERS: Final[tuple[type, ...]] = (
    *(Chat, Comparing, Branches, Trimming, Titles, Cache, Outbox),
    *(Attachments, Sight, Explaining),
    *server_side.OWNERS,
    *store_side.OWNERS,
    *(Auditor, Personas, Macros, Tending, Control),
    *voice.OWNERS,
    *(SettingValues, Tour),
    *measuring_side.OWNERS,
    *swarm_side.OWNERS,
    *tool_side.OWNERS,
    *(Board, BoardWork),
)
"""The classes whose commands work without a screen."""


class Runtime:
    """Everything that runs, built from settings. Nothing is opened until `start`."""

    def __init__(
        self, loaded: Loaded, *, transport: Transport | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self._loaded, self._env = loaded, os.environ if env is None else env
        self.settings, self.paths = loaded.settings, loaded.paths
        self.bus, self.registry, self.current = Bus(), Registry(), Current()
        self.log: Log | None = None
        self._transport = transport or HttpTransport()
        self._join_sides(self._transport)
        self._build_chat()
        self._build_voice()
        self._build_macros()
        for owner in self._owners():
            self.registry.collect(owner)
        self.registry.after += [self.auditor.ran, self.store_side.analytics.ran, self.macros.done, self.tour.ran]
        self.registry.after.append(self.titles.ran)

    def _join_sides(self, transport: Transport) -> None:
        self.store_side = kept = StoreSide(self._loaded, self.bus, self.current, self._env, lambda: self.chat.busy)
        self.vault, self.sessions, self.drafts, self.care = kept.vault, kept.sessions, kept.drafts, kept.care
        self.server_side = asked = ServerSide(self._loaded, kept.vault, self.bus, self.current, transport, self._env)
        self.login, self.client, self.providers = asked.login, asked.client, asked.providers
        self.embedded, self.degradation = asked.embedded, asked.degradation
        self.undoing = asked.models.undoing = kept.undoing
        self.measuring_side = told = MeasuringSide(self._loaded, kept.vault, self.bus, asked, transport, self._env)
        self.metrics, self.traces, self.objectives = told.metrics, told.traces, told.objectives
        self.alerts, self.healing, self.costs = told.alerts, told.healing, told.costs
        self.auditor = Auditor(kept.vault, asked.paid)
        self.swarm_side = SwarmSide(self._loaded, kept.vault, self.bus, self.current, asked)
        self.swarm = self.swarm_side.swarm
        gate, now = self.swarm_side.gate, lambda: asked.provider
        self.tool_side = ToolSide(self._loaded, kept.vault, self.bus, asked.login, now, gate, self._env)
        self.mcp = self.tool_side.mcp
        self.board, runs = Board(kept.vault, self.bus, kept.undoing), self.swarm_side
        self.board_work = BoardWork(self.board, runs.swarm, runs.steering, runs.preview, self.current)

    async def _ask_aloud(self, text: str) -> object:
        with for_task("voice"):
            return await self.run("chat.send", text)

    def _build_chat(self) -> None:
        """What brings both sides together: questions, and what comes of them."""
        self._build_personas()
        among = described(self.providers)
        secret = self._secret_variables()
        self.sight = Sight(self.client, self.providers, self.current)
        self.attachments = Attachments(self.bus, self.current, self.sight, env=self._env, secret=secret)
        self.chat = Chat(
            self.vault,
            self.client,
            self.bus,
            self.current,
            self.settings.chat,
            among=among,
            attached=self.attachments,
            manner=self.personas.manner,
        )
        self.chat.hands_for = self.tool_side.toolbox.hands_for
        self.chat.remembering = Remembering(self.store_side.memory.search)
        self.comparing = Comparing(
            self.chat,
            self.vault,
            self.bus,
            self.current,
            self.settings.chat,
            self.server_side.models.named,
            self.attachments,
            self.undoing,
        )
        self.titles = Titles(
            self.vault,
            self.chat,
            self.client.stream,
            self.bus,
            self.current,
            self.settings.chat,
            self.providers,
            self.undoing,
        )
        self.explaining = Explaining(self.attachments, self.chat.send)
        self.branches = Branches(self.vault, self.bus, self.current, lambda: self.chat.busy)
        self.trimming = Trimming(self.vault, self.bus, self.current)
        self.outbox = Outbox(self.vault, self.chat, self.bus)
        self.chat.asking.propagate = self.settings.traces.propagate
        self.chat.asking.book, self.chat.asking.barred = self.measuring_side.meter.booked, self.costs.barred
        minutes = self.settings.store.lock_after_minutes
        self.idle_lock = IdleLock(self.vault, self.bus, minutes, busy=lambda: self.chat.busy)
        self.vault.before_lock += [self.titles.rest, self.chat.close, self.measuring_side.rest, self.swarm_side.rest]
        self.vault.before_lock += [self.store_side.memory.forget, self.attachments.forget]

    def _secret_variables(self) -> list[str]:
        return [*secret_variables(self.settings), *self.measuring_side.secret_variables]

    def _build_personas(self) -> None:
        """Who answers."""
        own = self.paths.personas_dir
        self.personas = Personas(
            PersonaLibrary(own, Path.cwd()),
            Folders(own.with_name("folder-personas.toml")),
            self.bus,
            self.current,
            self.settings.chat,
            self.providers,
            self.undoing,
            usual_one=self.settings.persona,
            changed=self.degradation.look,
        )
        self.swarm_side.preview.wants = self.personas.wants
        self.swarm_side.preview.roles = self.personas.names

    def _build_voice(self) -> None:
        """Who speaks and who listens; nothing of it runs before it is used."""
        self.voice = Voice(
            self._loaded,
            self.bus,
            self.vault,
            self.current,
            self.personas,
            self.server_side.voice_servers,
            ask=self._ask_aloud,
            stop_answer=self._stop_answer,
            keep=lambda name, value: self.run("settings.set", name, value),
            env=self._env,
        )
        # The first of all: nobody listens to a locked room.
        self.vault.before_lock.insert(0, self.voice.rest)

    async def _stop_answer(self) -> None:
        if self.chat.busy:
            await self.chat.stop()

    def _build_macros(self) -> None:
        """What runs commands when nobody types them."""
        library = Library(self.paths.macros_dir, Path.cwd(), self.paths.macros_dir.with_name("trusted-macros"))
        self.macros = Macros(
            library,
            self.registry,
            self.bus,
            self.vault,
            self.current,
            env=self._env,
            secret=self._secret_variables(),
        )
        self.macros.judge = self.swarm_side.judging.verdict
        self.tending = Tending(library, self.macros.refresh, self.undoing, self.macros.idle)
        self.control = Control(self.paths.control_dir, self.bus, self._obey)
        self.setting_values, self.tour = SettingValues(self._loaded, self.bus, self._env), Tour(self.bus)

    def _owners(self) -> tuple[object, ...]:
        """Who has commands: one of each of COMMAND_OWNERS."""
        talking = (self.chat, self.comparing, self.branches, self.trimming, self.titles, self.chat.cache, self.outbox)
        attaching = (self.attachments, self.sight, self.explaining)
        guiding = (self.setting_values, self.tour)
        sides = (*self.server_side.owners, *self.store_side.owners, *self.measuring_side.owners)
        sides = (*sides, *self.swarm_side.owners, *self.tool_side.owners, self.board, self.board_work)
        return (
            *talking,
            *attaching,
            *sides,
            self.auditor,
            self.personas,
            self.macros,
            self.tending,
            self.control,
            *self.voice.owners,
            *guiding,
        )

    @property
    def provider(self) -> Provider:
        """The provider that the next question goes to, as far as is known now."""
        return self.server_side.provider

    async def start(self, *, create: bool = True) -> None:
        """Opens the log and the store and tells what was wrong with the settings. Does not raise for any of them."""
        log = await asyncio.to_thread(Log, self.paths.log_file, self.settings.log.level, self.settings.log.max_bytes)
        self.log = log
        self.measuring_side.listen()
        kept, asked = self.store_side, self.server_side
        for each in (log, asked.degradation, asked.spending, self.auditor, kept.analytics, kept.setting_changes):
            self.bus.subscribe(each, without=FREQUENT)
        self.bus.subscribe(self.tour, without=FREQUENT)
        self.bus.subscribe(self.titles, without=FREQUENT)
        if log.problem:
            self.bus.publish(Notice("warning", log.problem, "SOPHIA goes on without a log."))
        for problem in self._loaded.problems:
            self.bus.publish(Notice("warning", f"{problem.where}: {problem.message}", problem.fix))
            self.auditor.note("settings.problem", problem.where)
        await self.vault.open(create=create)
        await self.personas.begin()
        await asked.spending.settled()
        if self.vault.store is not None:
            await self.costs.settled()
            await asked.tell_missing_keys()

    def attend(self) -> None:
        """A person is here: what nobody could be reached for waits, and what broke off is offered to be gone on with.

        Watches over the servers and other processes from now on, delivers what waits, and takes command lines from
        other processes.
        """
        self.chat.queue_when_offline = self.chat.offer_continue = True
        self.outbox.start()
        self.titles.start()
        self.idle_lock.start()
        self.store_side.attend()
        self.measuring_side.attend()
        self.swarm_side.attend()
        if self.settings.control.enabled:
            self.control.start()
        self.server_side.attend()
        self.voice.attend()

    async def dispatch(self, line: str, *, confirmed: bool = False) -> object:
        """Runs a command line as one user action, under one correlation id. Raises CommandError."""
        self.idle_lock.touch()
        return await self._obey(line, confirmed)

    async def _obey(self, line: str, confirmed: bool) -> object:
        """Runs a line, also one that came over the control socket: nobody need be at the keyboard for that."""
        correlation.set(new_request_id())
        return await self.registry.run_line(line, confirmed=confirmed)

    async def run(self, name: str, /, *args: object, confirmed: bool = False, **kwargs: object) -> object:
        """Runs a command with values as one user action, under one correlation id. Raises CommandError."""
        self.idle_lock.touch()
        correlation.set(new_request_id())
        return await self.registry.run(name, *args, confirmed=confirmed, **kwargs)

    async def close(self) -> None:
        """Stops what runs, keeps what has arrived, and closes everything, whatever any of it raises."""
        async with AsyncExitStack() as last_first:
            if self.log:
                last_first.callback(self.log.close)
            last_first.push_async_callback(self.store_side.close)
            last_first.push_async_callback(self.auditor.close)
            last_first.push_async_callback(self.measuring_side.close)
            last_first.push_async_callback(self.server_side.close)
            last_first.push_async_callback(self.chat.close)
            last_first.push_async_callback(self.titles.rest)
            last_first.push_async_callback(self.store_side.rest)
            last_first.push_async_callback(self.swarm_side.close)
            last_first.push_async_callback(self.mcp.close)
            last_first.push_async_callback(self.macros.close)
            last_first.push_async_callback(self.control.close)
            last_first.push_async_callback(self.outbox.close)
            last_first.push_async_callback(self.idle_lock.close)
            last_first.push_async_callback(self.voice.close)


@asynccontextmanager
async def open_runtime(
    loaded: Loaded, *, transport: Transport | None = None, env: Mapping[str, str] | None = None
) -> AsyncIterator[Runtime]:
    """A started runtime, closed at the end whatever happens."""
    runtime = Runtime(loaded, transport=transport, env=env)
    try:
        await runtime.start()
        yield runtime
    finally:
        await runtime.close()
