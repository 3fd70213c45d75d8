"""`sophia voice bridge`: serves the devices of this machine to whoever has the token, on this machine alone.

`ssh -R` is what brings somebody far away here. A guest whose link is lost has a few seconds to come back.
"""

from __future__ import annotations

import asyncio
import platform
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sophia_core.sanitize import one_line
from sophia_core.voice.bridge.far_end import Guest
from sophia_core.voice.bridge.link import Link, Streams, admit
from sophia_core.voice.bridge.wire import BadWire, Kind, Packet, Verdict, spoken
from sophia_core.voice.ports import AudioTrouble, Devices, Notice

MOST_GUESTS: Final = 4
MOST_STRANGERS: Final = 8
"""Those who have not proved anything yet; the one who has been here longest makes room."""
FIRST_WORD_S: Final = 5.0
AWAY_S: Final = 10.0
"""So long a guest may be away; then the microphone is closed and nothing more is said."""


@dataclass(frozen=True, slots=True)
class BridgeState:
    """Who uses the bridge, and for what."""

    guests: int = 0
    listening: bool = False
    """The microphone is open."""
    speaking: bool = False


class Bridge:
    """Devices, served to others."""

    def __init__(
        self,
        devices: Devices,
        token: str,
        *,
        name: str = "",
        microphone: bool = True,
        on_state: Callable[[BridgeState], None] | None = None,
        away_s: float = AWAY_S,
    ) -> None:
        self._devices, self._token, self._away_s = devices, token, away_s
        self.name = one_line(name or platform.node() or "another machine", 60)
        self._microphone, self._on_state = microphone, on_state
        self._servers: list[asyncio.Server] = []
        self._strangers: dict[asyncio.Task[None], None] = {}
        self._present: set[asyncio.Task[None]] = set()
        self._guests: dict[str, Guest] = {}
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._state = BridgeState()

    @property
    def state(self) -> BridgeState:
        """Who uses it now."""
        return self._state

    async def open(self, port: int = 0) -> int:
        """Serve on a port of this machine; return it. Raises AudioTrouble."""
        try:
            server = await asyncio.start_server(self._welcome, "127.0.0.1", port)
        except OSError as error:
            hint = "Another bridge may run already; name another port, or none."
            raise AudioTrouble(f"Port {port} cannot be used: {error.strerror}.", hint) from None
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def open_socket(self, path: Path) -> None:
        """Serve on a socket in a private folder. Raises AudioTrouble."""
        try:
            self._servers.append(await asyncio.start_unix_server(self._welcome, path))
            path.chmod(0o600)  # noqa: ASYNC240 - no slower than the socket itself
        except OSError as error:
            raise AudioTrouble(f"The socket {str(path)!r} cannot be used: {error.strerror}.") from None

    async def close(self) -> None:
        """Send everybody away, close what is open; the devices stay their owner's."""
        for server in self._servers:
            server.close()
        tasks = {*self._strangers, *self._present} - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for timer in self._leaving.values():
            timer.cancel()
        guests, self._guests = list(self._guests.values()), {}
        await asyncio.gather(*(guest.close() for guest in guests), *self._closing)
        self._note()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._make_room()
        self._strangers[task] = None
        try:
            if not await self._may_enter((reader, writer)):
                return
            self._strangers.pop(task)
            self._present.add(task)
            await _Visit(self).serve((reader, writer))
        except (OSError, EOFError, BadWire):
            return  # they have gone, or might as well have
        except asyncio.CancelledError:
            return  # sent away
        finally:
            self._strangers.pop(task, None)
            self._present.discard(task)
            writer.transport.abort()

    async def _may_enter(self, streams: Streams) -> bool:
        verdict = await admit(streams, self._token, full=lambda: len(self._present) >= 2 * MOST_GUESTS)
        return verdict is Verdict.WELCOME

    def _make_room(self) -> None:
        if len(self._strangers) >= MOST_STRANGERS:
            oldest = next(iter(self._strangers))
            self._strangers.pop(oldest)
            oldest.cancel()

    def guest(self, wanted: object) -> tuple[str, Guest, bool]:
        """Return the guest who was here before under this id, or a new one; True when they are back."""
        if isinstance(wanted, str) and (known := self._guests.get(wanted)):
            if timer := self._leaving.pop(wanted, None):
                timer.cancel()
            if known.link is not None:
                known.link.drop("it came in again")
            return wanted, known, True
        if len(self._guests) >= MOST_GUESTS:
            away = next(iter(self._leaving), None)
            if away is None:
                raise BadWire("too many guests")
            self._leaving.pop(away).cancel()
            self._end(away)
        name = secrets.token_hex(16)
        guest = Guest(self._devices, microphone=self._microphone, on_change=self._note)
        self._guests[name] = guest
        return name, guest, False

    def left(self, name: str, guest: Guest, link: Link) -> None:
        """Note that this link of a guest is gone; they may come back."""
        if guest.link is not link:
            return
        guest.link = None
        if self._guests.get(name) is guest:
            self._leaving[name] = asyncio.get_running_loop().call_later(self._away_s, self._end, name)
        self._note()

    def _end(self, name: str) -> None:
        self._leaving.pop(name, None)
        if guest := self._guests.pop(name, None):
            task = asyncio.create_task(guest.close(), name="bridge guest")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            self._note()

    def _note(self) -> None:
        guests = self._guests.values()
        state = BridgeState(
            sum(guest.link is not None for guest in guests),
            any(guest.listening for guest in guests),
            any(guest.speaking for guest in guests),
        )
        if state != self._state:
            self._state = state
            if self._on_state is not None:
                self._on_state(state)

    def came(self) -> None:
        """Note that somebody came."""
        self._note()

    def notice(self, notice: Notice) -> None:
        """Tell all guests what is odd about a device."""
        words = {"notice": notice.kind, "message": notice.message[:500], "hint": notice.hint[:500]}
        for guest in self._guests.values():
            if guest.link is not None:
                guest.link.send(spoken(Kind.TOLD, words))


class _Visit:
    """One link of a guest: its first word says who they are."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._link: Link | None = None
        self._name = ""
        self._guest: Guest | None = None

    async def serve(self, streams: Streams) -> None:
        """Carry frames until the link is gone."""
        link = self._link = Link(streams, self._take)
        silence = asyncio.get_running_loop().call_later(FIRST_WORD_S, self._check_word)
        try:
            await link.serve()
        finally:
            silence.cancel()
            if self._guest is not None:
                self._bridge.left(self._name, self._guest, link)

    def _check_word(self) -> None:
        if self._guest is None and self._link is not None:
            self._link.drop("it said nothing")

    def _take(self, packet: Packet) -> None:
        if self._guest is not None:
            self._guest.take(packet)
            return
        words = packet.words() if packet.kind is Kind.ASK else {}
        if words.get("do") != "session" or self._link is None:
            raise BadWire("it does not say who it is")
        self._name, guest, back = self._bridge.guest(words.get("id"))
        self._guest = guest
        answer = {"id": self._name, "back": back, "name": self._bridge.name, **guest.standing()}
        self._link.send(spoken(Kind.ANSWER, answer, number=packet.number))
        taken = words.get("taken")
        guest.resume(self._link, taken if isinstance(taken, dict) else {})
        self._bridge.came()
