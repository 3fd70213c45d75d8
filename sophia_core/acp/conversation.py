"""One conversation with an outside agent: it is greeted, put into a mode that asks, given its task, and heard out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from acp import PROTOCOL_VERSION, RequestError, connect_to_agent, text_block
from acp.schema import ClientCapabilities, FileSystemCapabilities, Implementation

from sophia_core.acp.hands import Hands
from sophia_core.acp.outside import files_of
from sophia_core.acp.permission import Standing
from sophia_core.acp.starting import covered
from sophia_core.acp.telling import Telling
from sophia_core.acp.terminals import Terminals
from sophia_core.acp.wire import Wire, quiet
from sophia_core.sanitize import one_line
from sophia_core.swarm.ports import Spent, StepFailed, StepHost

if TYPE_CHECKING:
    from sophia_core.acp.outside import Job
    from sophia_core.acp.starting import Started

T = TypeVar("T")
GREETED_S: Final = 120.0
"""For it to start and begin a session; some fetch things first."""
SILENT_S: Final = 900.0
"""An agent that says nothing for so long, while it waits for nothing of ours, hangs."""
LOOK_S: Final = 1.0
PARTING_S: Final = 1.0
SIGN_IN: Final = -32000
ASKING: Final = ("ask", "default", "manual", "normal", "read-only", "plan")
"""Modes in which agents ask before they change anything, the best first."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a conversation ended."""

    stop: str
    text: str
    spent: Spent


class Conversation:
    """With one agent, about one step."""

    def __init__(self, job: Job, host: StepHost, process: Started, nonce: str) -> None:
        self._job, self._process = job, process
        self.telling = Telling(job.work, host, job.agent.name, nonce)
        place = job.place
        shown = str(place.lends or place.folder)
        isolated = place.lends is not None and process.boxed
        standing = Standing(place.folder, shown, process.boxed, job.agent.network, isolated)
        self._terminals = Terminals(
            place.folder, shown, writable=place.writable, lends=place.lends, covered=lambda: covered(place)
        )
        self._hands = Hands(host, files_of(place), standing, self._terminals, self.telling)
        self._hands.writable = job.work.step.workspace == "worktree"
        self._hands.always = job.work.step.approval == "always"
        quiet()
        self._wire = Wire(*process.pipes)
        self._gone = asyncio.Event()
        self._wire.ended = self._gone.set
        self._agent = connect_to_agent(self._hands, self._wire)
        self._writing = asyncio.create_task(self.telling.write())
        self._watching = asyncio.create_task(self._watch())
        self._why = ""

    async def hold(self) -> Ended:
        """To its end. Raises StepFailed; cancelled, it tells the agent so."""
        async with _patience(GREETED_S, "the agent did not get ready"):
            await self._until_over(self._greet())
            session = await self._until_over(
                self._agent.new_session(cwd=self._process.seen_as, mcp_servers=[]),
            )
        self._hands.session_id = session.session_id
        await self._settle(session)
        try:
            answer = await self._until_over(
                self._agent.prompt(session_id=session.session_id, prompt=[text_block(self._job.asked)])
            )
        except (asyncio.CancelledError, StepFailed):
            with suppress(Exception):
                async with asyncio.timeout(PARTING_S):
                    await self._agent.cancel(session_id=session.session_id)
            raise
        self.telling.usage(answer.usage)
        if self.telling.reached is not None:
            raise self.telling.reached
        return Ended(answer.stop_reason, self.telling.text, self.telling.spent)

    async def _greet(self) -> None:
        files = FileSystemCapabilities(read_text_file=True, write_text_file=self._hands.writable)
        able = ClientCapabilities(fs=files, terminal=True)
        told = Implementation(name="sophia", title="SOPHIA", version="1")
        greeted = await self._agent.initialize(PROTOCOL_VERSION, able, told)
        if greeted.protocol_version != PROTOCOL_VERSION:
            said = f"the agent speaks version {greeted.protocol_version} of the protocol, not {PROTOCOL_VERSION}"
            raise StepFailed(said, "Use a version of it that does.", again=False)

    async def _settle(self, session: Any) -> None:
        """Puts it into the mode that was wished for, or else into one that asks; where it has none, its box holds."""
        offered = [each.id for each in session.modes.available_modes] if session.modes else []
        mode = self._job.agent.mode or next((each for each in ASKING if each in offered), "")
        if self._job.agent.mode and mode not in offered:
            known = one_line(", ".join(offered) or "none", 300)
            raise StepFailed(f"the agent has no mode {mode!r}", f"It has: {known}.", again=False)
        if mode and (session.modes is None or session.modes.current_mode_id != mode):
            async with _patience(GREETED_S, "the agent did not change its mode"):
                await self._until_over(self._agent.set_session_mode(session_id=session.session_id, mode_id=mode))

    async def _until_over(self, asked: Awaitable[T]) -> T:
        """What it answers; unless it ends, says too much or hangs before. Raises StepFailed."""
        answering = asyncio.ensure_future(asked)
        ends: Sequence[asyncio.Task[Any]] = [
            asyncio.create_task(each.wait()) for each in (self._gone, self.telling.over, self._hands.put_down)
        ]
        try:
            await asyncio.wait({answering, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if self._hands.put_down.is_set():
                raise asyncio.CancelledError
            if answering.done() and not self.telling.over.is_set():
                return answering.result()
            raise await self._trouble()
        except RequestError as error:
            raise self._refused(error) from None
        except ConnectionError:
            raise await self._trouble() from None
        except ValueError as error:
            said = one_line(str(error), 200)
            raise StepFailed(f"the agent said what the protocol does not know: {said}", self._words) from None
        finally:
            for each in (answering, *ends):
                each.cancel()
            await asyncio.wait({answering, *ends}, timeout=PARTING_S)
            if answering.done() and not answering.cancelled():
                answering.exception()

    def _refused(self, error: RequestError) -> StepFailed:
        said = one_line(str(error), 300)
        details = error.data.get("details", "") if isinstance(error.data, dict) else ""
        if error.code == SIGN_IN:
            hint = (
                f"Sign in with it by hand once, with HOME={self._job.place.home}, or grant it its key in agents.toml."
            )
            return StepFailed("the agent wants somebody to sign in", hint, again=False)
        return StepFailed(f"the agent could not do it: {said} {one_line(str(details), 300)}".strip(), self._words)

    async def _trouble(self) -> StepFailed:
        if self.telling.reached is not None:
            return self.telling.reached
        if self.telling.flooded or self._wire.trouble:
            why = self._wire.trouble or "it told more than anybody could read"
            return StepFailed(f"the agent was ended: {why}", self._words)
        if self._why:
            return StepFailed(f"the agent was ended: {self._why}", self._words)
        with suppress(TimeoutError):
            async with asyncio.timeout(PARTING_S):
                await self._process.process.wait()
        return StepFailed(f"the agent ended with {self._process.process.returncode} in the middle", self._words)

    @property
    def _words(self) -> str:
        said = self._process.complaint
        return f"It said: {said}" if said else ""

    async def _watch(self) -> None:
        """Ends an agent that hangs. What waits for a person or for a command of ours is no silence of its own."""
        since = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_S)
            since = max(since, self._wire.at) if not self._hands.waiting else time.monotonic()
            if time.monotonic() - since > SILENT_S:
                self._why = f"it said nothing for {SILENT_S / 60:g} minutes"
                self._gone.set()
                return

    async def close(self, seconds: float) -> None:
        """Ends what we do for it, and writes down what it told. The process is ended by who started it."""
        for each in (self._writing, self._watching):
            each.cancel()
        await asyncio.gather(self._writing, self._watching, return_exceptions=True)
        await self._terminals.close()
        with suppress(Exception):
            async with asyncio.timeout(PARTING_S):
                await self._agent.close()
        await self.telling.finish("", seconds)


class _patience:  # noqa: N801 - used as a word
    """So long, and no longer. Raises StepFailed."""

    def __init__(self, seconds: float, what: str) -> None:
        self._seconds, self._what = seconds, what
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *raised: Any) -> None:
        try:
            await self._timeout.__aexit__(*raised)
        except TimeoutError:
            raise StepFailed(f"{self._what} within {self._seconds:g} s") from None
