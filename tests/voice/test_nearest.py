"""Which devices are used: those at the far end of a bridge where one answers, else this machine's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from sophia_core.voice.nearest import ASKED_AGAIN_S, NearestDevices
from sophia_core.voice.ports import FRAME_BYTES, Device, Frame, Playback


class Some:
    """Devices with a name and one microphone."""

    def __init__(self, name: str, *, answers: bool = True) -> None:
        self.name, self.answers = name, answers
        self.asked, self.closed, self.open = 0, False, 0

    async def present(self) -> bool:
        self.asked += 1
        return self.answers

    async def list(self) -> list[Device]:
        return [Device(f"{self.name} mic", self.name, "input")]

    async def listen(self, device: str | None = None) -> AsyncIterator[Frame]:
        self.open += 1
        try:
            yield Frame(bytes(FRAME_BYTES), 0.0)
            yield Frame(bytes(FRAME_BYTES), 0.0)
        finally:
            self.open -= 1

    async def play(self, rate: int, device: str | None = None) -> Playback:
        raise NotImplementedError

    async def close(self) -> None:
        self.closed = True


class Desk:
    """Devices here and there, a list of bridges, and a clock."""

    def __init__(self, *places: str, answers: bool = True) -> None:
        self.here, self.far = Some("this machine"), Some("bridge laptop", answers=answers)
        self.places, self.now, self.made = list(places), 100.0, list[str]()
        self.nearest = NearestDevices(self._here, self._far, lambda: self.places, clock=lambda: self.now)

    def _here(self) -> Some:
        self.made.append("here")
        return self.here

    def _far(self) -> Some:
        self.made.append("far")
        return self.far


async def test_without_a_bridge_nobody_is_asked_for_one() -> None:
    desk = Desk()
    assert [each.name for each in await desk.nearest.list()] == ["this machine"]
    assert desk.nearest.name == "this machine"
    assert desk.made == ["here"]


async def test_a_bridge_that_answers_is_nearer() -> None:
    desk = Desk("8767")
    assert [each.name for each in await desk.nearest.list()] == ["bridge laptop"]
    assert desk.nearest.name == "bridge laptop"
    assert desk.made == ["far"]


async def test_a_bridge_that_is_gone_gives_way_and_comes_back() -> None:
    desk = Desk("8767")
    await desk.nearest.list()
    desk.far.answers = False
    desk.now += ASKED_AGAIN_S
    assert [each.name for each in await desk.nearest.list()] == ["this machine"]
    await desk.nearest.list()
    assert desk.far.asked == 2  # not for every sentence
    desk.far.answers = True
    desk.now += ASKED_AGAIN_S
    assert [each.name for each in await desk.nearest.list()] == ["bridge laptop"]


async def test_what_is_open_stays_where_it_is_and_is_closed_with_the_iterator() -> None:
    desk = Desk("8767")
    async with aclosing(desk.nearest.listen()) as frames:
        await anext(frames)
        desk.places.clear()
        await anext(frames)
        assert (desk.far.open, desk.here.open) == (1, 0)
    assert desk.far.open == 0


async def test_closing_closes_what_was_made_and_makes_nothing() -> None:
    desk = Desk()
    await desk.nearest.close()
    assert desk.made == []
    await desk.nearest.list()
    await desk.nearest.close()
    assert desk.here.closed
    assert not desk.far.closed
