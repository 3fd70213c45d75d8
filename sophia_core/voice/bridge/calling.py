"""The way to a bridge: finds it, proves who we are, and finds it again when the link was lost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from sophia_core.sanitize import one_line
from sophia_core.voice.bridge.coding import Coding, Width
from sophia_core.voice.bridge.link import HANDSHAKE_S, Link, LinkLost, Refused, Streams, enter, reason_of
from sophia_core.voice.bridge.near_end import FarMicrophone, Stream, trouble_of
from sophia_core.voice.bridge.places import Place
from sophia_core.voice.bridge.wire import BadWire, Kind, Packet, Verdict, Words, spoken
from sophia_core.voice.ports import DeviceLost, NoAudio, Notice

CONNECT_S: Final = 2.0
ANSWER_S: Final = 15.0
AGAIN_S: Final = (0.05, 0.2, 0.4, 0.8, 1.0)
MOST_LOST: Final = 3
"""So often a request is repeated over another link."""
GIVE_UP_S: Final = 12.0
"""So long a lost bridge is looked for; it keeps what is open for a little less."""
IDLE_S: Final = 60.0
START_HINT: Final = "On the machine with the microphone: sophia voice ssh HOST. Text works as always."
BACK_HINT: Final = "Look after the connection; sound works again once the bridge is back, and text always."
WHY: Final = {
    Verdict.WRONG_TOKEN: ("The bridge does not know our token.", "It was started anew: join it again."),
    Verdict.WRONG_VERSION: ("The bridge is of another version.", "Update SOPHIA on both machines."),
    Verdict.FULL: ("The bridge has as many guests as it takes.", "Close another window of SOPHIA."),
}


class Call:
    """A connection to a bridge, made when it is needed, and the streams that go over it."""

    def __init__(
        self,
        find: Callable[[], Sequence[Place]],
        notify: Callable[[Notice], None],
        *,
        give_up_s: float = GIVE_UP_S,
        idle_s: float = IDLE_S,
    ) -> None:
        self._find, self._notify = find, notify
        self._give_up_s, self._idle_s = give_up_s, idle_s
        self._link: Link | None = None
        self._carrying: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()
        self._session = ""
        self._numbers = itertools.count(1)
        self._names = itertools.count()
        self._waiting: dict[int, asyncio.Future[Words]] = {}
        self._streams: dict[int, Stream] = {}
        self._idle: asyncio.TimerHandle | None = None
        self._closed = False
        self.width = Width()
        self.peer = ""
        """Whose devices they are; empty until it is known."""

    @property
    def link(self) -> Link | None:
        """The connection; None while there is none."""
        return self._link

    def new_stream(self) -> int:
        """Return a number for something to be opened."""
        return next(self._names) % 65_535 + 1

    async def open(self, stream: Stream) -> None:
        """Open a stream at the far end. Raises AudioTrouble."""
        link = await self.connected()
        stream.restart(link, 0)
        self._streams[stream.number] = stream
        try:
            await self.ask(stream.opening)
        except BaseException:
            self.forget(stream.number)
            raise

    def forget(self, number: int) -> None:
        """Note that a stream is closed."""
        self._streams.pop(number, None)
        self._rest()

    def tell(self, words: Words) -> None:
        """Send a request whose answer nobody needs; a lost link is told by other means."""
        if self._link is not None:
            self._link.send(spoken(Kind.ASK, words, number=0))

    async def ask(self, words: Words) -> Words:
        """Return the bridge's answer; asks again after a lost link. Raises AudioTrouble."""
        for pause_s in (*AGAIN_S[:MOST_LOST], None):
            link = await self.connected()
            try:
                async with asyncio.timeout(ANSWER_S):
                    answer = await self._ask(link, words)
                break
            except LinkLost as error:
                if pause_s is None:
                    raise DeviceLost(f"The voice bridge is lost again and again: {error}.", BACK_HINT) from None
                await asyncio.sleep(pause_s)
            except TimeoutError:
                raise DeviceLost("The bridge does not answer.", BACK_HINT) from None
        self._rest()
        if "error" in answer:
            raise trouble_of(answer)
        return answer

    async def connected(self) -> Link:
        """Return a link that lives, made now if there is none. Raises NoAudio."""
        async with self._connecting:
            if self._closed:
                raise NoAudio("Sound was turned off.")
            if self._link is None:
                await self._connect()
            self._rest()
            if self._link is None:
                raise NoAudio("The bridge went away at once.", BACK_HINT)
            return self._link

    async def close(self) -> None:
        """Hang up, and end what is open."""
        self._closed = True
        for stream in list(self._streams.values()):
            stream.fail(DeviceLost("Sound was turned off."))
        self._streams.clear()
        await self._hang_up()

    async def _hang_up(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        if self._link is not None:
            self._link.drop("we hung up")
        carrying, self._carrying = self._carrying, None
        if carrying is not None and carrying is not asyncio.current_task():
            carrying.cancel()
            await asyncio.wait([carrying])

    async def _connect(self) -> None:
        """Raises NoAudio with the best reason there is."""
        places, reasons = self._find(), list[NoAudio]()
        for place in places:
            try:
                await self._try(place)
            except Refused as error:
                reasons.append(NoAudio(*WHY.get(error.verdict, ("The bridge does not let us in.", START_HINT))))
            except BadWire as error:
                reasons.append(NoAudio(f"There is no bridge of SOPHIA: {error}.", START_HINT))
            except (OSError, LinkLost, TimeoutError) as error:
                message = f"The voice bridge cannot be reached: {one_line(reason_of(error), 200)}."
                reasons.append(NoAudio(message, START_HINT))
            else:
                return
        raise reasons[0] if reasons else NoAudio("There is no voice bridge on this machine.", START_HINT)

    async def _try(self, place: Place) -> None:
        async with asyncio.timeout(CONNECT_S):
            streams = await _dial(place)
        began: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                await enter(streams, place.token)
            link = Link(streams, self._take)
            carrying = asyncio.create_task(self._carry(link, began), name="voice bridge")
        except BaseException:
            streams[1].transport.abort()
            raise
        try:
            await self._introduce(link)
        except BaseException:
            began.cancel()
            link.drop("it did not begin")
            await asyncio.wait([carrying])
            raise
        self._carrying, self.width.coding = carrying, Coding.PCM
        began.set_result(None)

    async def _introduce(self, link: Link) -> None:
        """Say who we are, and have streams go on that were open. Raises LinkLost, BadWire, TimeoutError."""
        streams = dict(self._streams)
        taken = {str(each.number): each.taken for each in streams.values() if isinstance(each, FarMicrophone)}
        async with asyncio.timeout(HANDSHAKE_S):
            answer = await self._ask(link, {"do": "session", "id": self._session, "taken": taken})
        if not isinstance(answer.get("id"), str):
            raise BadWire("it does not say who we are")
        self._session, self.peer = answer["id"][:64], one_line(str(answer.get("name", "")), 60)
        known = _standing(answer) if answer.get("back") is True else {}
        self._link = link
        for number, stream in streams.items():
            if self._streams.get(number) is not stream:
                continue
            if number not in known:
                self.tell(stream.opening)
            stream.restart(link, known.get(number))

    async def _ask(self, link: Link, words: Words) -> Words:
        number = next(self._numbers)
        answered: asyncio.Future[Words] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answered
        try:
            link.send(spoken(Kind.ASK, words, number=number))
            if link.lost is not None:
                raise LinkLost(link.lost)
            return await answered
        finally:
            self._waiting.pop(number, None)

    def _take(self, packet: Packet) -> None:
        match packet.kind:
            case Kind.ANSWER:
                answered = self._waiting.get(packet.number)
                if answered is not None and not answered.done():
                    answered.set_result(packet.words())
                elif packet.number == 0 and "error" in (words := packet.words()):
                    self._note_refusal(words)
            case Kind.TOLD if packet.stream == 0:
                self._hear(packet.words())
            case Kind.FRAME | Kind.HEARD | Kind.TOLD:
                if stream := self._streams.get(packet.stream):
                    stream.take(packet)
            case _:
                raise BadWire(f"a bridge does not say {packet.kind.name}")

    def _note_refusal(self, words: Words) -> None:
        """What was open before the link was lost could not be opened again."""
        number = words.get("of")
        if isinstance(number, int) and (stream := self._streams.get(number)):
            stream.fail(trouble_of(words))

    def _hear(self, words: Words) -> None:
        kind = words.get("notice")
        if kind in ("fallback", "muted"):
            message, hint = one_line(str(words.get("message", "")), 300), one_line(str(words.get("hint", "")), 300)
            self._notify(Notice(kind, message, hint))

    async def _carry(self, link: Link, began: asyncio.Future[None]) -> None:
        """Serve a link to its end, then look for the bridge again if anything is open."""
        reason = await link.serve()
        for answered in list(self._waiting.values()):
            if not answered.done():
                answered.set_exception(LinkLost(reason))
                answered.exception()
        with contextlib.suppress(asyncio.CancelledError):
            await began
        if began.cancelled() or self._link is not link:
            return
        self._link = None
        if self._streams and not self._closed:
            await self._look_again(reason)

    async def _look_again(self, reason: str) -> None:
        name = self.peer or "the other machine"
        message = f"The voice bridge to {name} was lost: {one_line(reason, 200)}."
        self._notify(Notice("link", message, "SOPHIA looks for it for some seconds; text works as always."))
        until = time.monotonic() + self._give_up_s
        trouble = NoAudio(message, BACK_HINT)
        pauses = itertools.chain(AGAIN_S, itertools.repeat(AGAIN_S[-1]))
        while self._streams and not self._closed and time.monotonic() < until:
            try:
                await self.connected()
            except NoAudio as error:
                trouble = error
                await asyncio.sleep(next(pauses))
            else:
                self._notify(Notice("link", f"The voice bridge to {self.peer or name} is back."))
                return
        for stream in list(self._streams.values()):
            stream.fail(DeviceLost(message, trouble.hint or BACK_HINT))
        self._streams.clear()

    def _rest(self) -> None:
        """Hang up when nothing was open for a while."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._link is not None and not self._streams:
            self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._link.drop, "nobody uses it")


async def _dial(place: Place) -> Streams:
    """Raises OSError, TimeoutError."""
    if place.port is None:
        return await asyncio.open_unix_connection(place.address)
    return await asyncio.open_connection("127.0.0.1", place.port, family=socket.AF_INET)


def _standing(answer: Words) -> dict[int, int]:
    """What is still open at the far end, and how much has arrived of it. Raises BadWire."""
    playing, listening = answer.get("playing"), answer.get("listening")
    if not isinstance(playing, dict) or not isinstance(listening, list):
        raise BadWire("it does not say what is open")
    try:
        return {int(number): int(count) for number, count in playing.items()} | {int(each): 0 for each in listening}
    except (TypeError, ValueError):
        raise BadWire("it does not say what is open") from None
