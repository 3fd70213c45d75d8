"""Both ends of a bridge, over a link that is slow, stands still or is cut; the devices are only numbers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from sophia_core.voice.bridge.devices import BridgeDevices
from sophia_core.voice.bridge.near_end import FarPlayback
from sophia_core.voice.bridge.places import Place
from sophia_core.voice.bridge.server import Bridge, BridgeState
from sophia_core.voice.bridge.wire import new_token
from sophia_core.voice.ports import AudioTrouble, DeviceLost, Frame, NoAudio, Notice
from tests.voice.bridge_parts import Ends, ToyDevices, Wire, ends, number_of, until

RATE = 16_000
SOUND = bytes(range(256)) * (RATE * 2 // 256)
"""A second of it."""


async def _numbers(frames: AsyncIterator[Frame], count: int) -> list[int]:
    found: list[int] = []
    async for frame in frames:
        found.append(number_of(frame))
        if len(found) == count:
            break
    return found


@asynccontextmanager
async def _quick(**options: float) -> AsyncIterator[Ends]:
    """Both ends with devices for which a second takes a tenth of one."""
    async with ends(ToyDevices(pace=0.1), **options) as both:  # type: ignore[arg-type]
        yield both


async def test_devices_are_listed_with_names_that_can_be_shown() -> None:
    async with ends() as both:
        microphone, loudspeaker = await both.devices.list()
        assert (microphone.kind, microphone.default, loudspeaker.kind) == ("input", True, "output")
        assert "\x1b" not in microphone.name
        assert both.devices.name == "bridge laptop"


async def test_the_microphone_is_heard_and_closed() -> None:
    states: list[BridgeState] = []
    async with _quick() as both:
        both.bridge._on_state = states.append
        async with aclosing(both.devices.listen()) as frames:
            assert await _numbers(frames, 60) == list(range(60))
            assert both.devices.microphone_open
            assert both.bridge.state.listening
        assert not both.devices.microphone_open
        await until(lambda: not both.toys.open)
        await until(lambda: not both.bridge.state.listening)
    assert any(state.listening for state in states)


async def test_sound_is_played_to_its_end_sample_by_sample() -> None:
    async with _quick() as both:
        playback = await both.devices.play(RATE)
        await playback.write(SOUND[:1001])  # half a sample is kept
        await playback.write(SOUND[1001:])
        await playback.finish()
        assert bytes(both.toys.played[0].heard) == SOUND
        assert both.toys.played[0].finished
        assert playback.heard_s == 1.0


async def test_writing_waits_for_the_loudspeaker() -> None:
    async with ends() as both:
        playback = await both.devices.play(RATE)
        writing = asyncio.create_task(playback.write(SOUND * 20))
        await until(lambda: both.toys.played[0].heard_s > 0.3)
        sent = playback._written / RATE
        assert not writing.done()
        assert sent < both.toys.played[0].heard_s + 1.5
        await playback.abort()
        await writing


async def test_an_interruption_is_silence_at_once_and_nothing_is_written_afterwards() -> None:
    async with ends(delay_s=0.02) as both:
        playback = await both.devices.play(RATE)
        writing = asyncio.create_task(playback.write(SOUND * 5))
        await until(lambda: both.toys.played[0].heard)
        begun = time.monotonic()
        await playback.abort()
        await until(lambda: both.toys.played[0].aborted_at is not None)
        await writing
        assert (both.toys.played[0].aborted_at or 0) - begun < 0.15 + 0.02
        heard = len(both.toys.played[0].heard)
        await playback.write(SOUND)
        await both.devices.list()
        assert len(both.toys.played[0].heard) == heard
        await playback.abort()


async def test_a_pause_reaches_the_other_end_and_ends() -> None:
    async with _quick() as both:
        playback = await both.devices.play(RATE)
        await playback.write(SOUND[:640])
        await playback.pause()
        await until(lambda: both.toys.played[0].paused)
        await playback.resume()
        await until(lambda: not both.toys.played[0].paused)
        await playback.abort()


async def test_a_cut_link_loses_nothing_that_is_said() -> None:
    async with _quick() as both:
        playback = await both.devices.play(RATE)
        writing = asyncio.create_task(playback.write(SOUND * 3))
        for part in (0.2, 1.0, 2.0):
            await until(lambda part=part: len(both.toys.played[0].heard) > part * RATE * 2)  # type: ignore[misc]
            both.wire.cut()
        await writing
        await playback.finish()
        assert bytes(both.toys.played[0].heard) == SOUND * 3
        assert len(both.toys.played) == 1
        messages = [notice.message for notice in both.notices]
        assert any("was lost" in each for each in messages)
        assert any("is back" in each for each in messages)


async def test_a_cut_link_loses_nothing_that_is_heard() -> None:
    async with _quick() as both, aclosing(both.devices.listen()) as frames:
        assert await _numbers(frames, 20) == list(range(20))
        both.wire.cut()
        assert await _numbers(frames, 60) == list(range(20, 80))
        assert both.toys.opened == 1


async def test_a_bridge_that_was_started_anew_goes_on_from_what_had_arrived() -> None:
    async with _quick() as both:
        playback = await both.devices.play(RATE)
        writing = asyncio.create_task(playback.write(SOUND * 2))
        await until(lambda: len(both.toys.played[0].heard) > RATE)
        await both.bridge.close()
        again = Bridge(both.toys, both.token, name="laptop")
        both.wire._target = await again.open()
        await writing
        await playback.finish()
        first, second = (bytes(each.heard) for each in both.toys.played)
        assert (SOUND * 2).endswith(second)
        assert len(first) + len(second) >= len(SOUND) * 2  # nothing was passed over
        await again.close()


async def test_a_bridge_that_does_not_come_back_is_a_lost_device_with_a_sentence() -> None:
    async with _quick(give_up_s=0.3) as both, aclosing(both.devices.listen()) as frames:
        await _numbers(frames, 5)
        playback = await both.devices.play(RATE)
        await playback.write(SOUND[:6400])
        both.wire.refusing = True
        both.wire.cut()
        with pytest.raises(DeviceLost, match="bridge to laptop was lost") as lost:
            await _numbers(frames, 10_000)
        with pytest.raises(DeviceLost):
            await playback.finish()
        assert lost.value.hint
        with pytest.raises(NoAudio, match="cannot be reached"):
            await both.devices.list()
        both.wire.refusing = False
        assert len(await both.devices.list()) == 2


async def test_a_guest_who_stays_away_leaves_no_microphone_open() -> None:
    quick = ToyDevices(pace=0.1)
    async with ends(quick, away_s=0.2, give_up_s=0.1) as both, aclosing(both.devices.listen()) as frames:
        await _numbers(frames, 5)
        both.wire.refusing = True
        both.wire.cut()
        await until(lambda: not quick.open)
        assert both.bridge.state.guests == 0


async def test_a_link_that_stands_still_drops_the_oldest_sound_and_says_so() -> None:
    async with ends(ToyDevices(pace=0.02)) as both, aclosing(both.devices.listen()) as frames:
        await _numbers(frames, 10)
        both.wire.stand_still()
        at = len(both.toys.captured_at)
        await until(lambda: len(both.toys.captured_at) > at + 600)
        both.wire.go_on()
        found = await _numbers(frames, 200)
        assert found == sorted(found)
        assert found[-1] - 10 > len(found)  # some are missing
        assert found[-1] > len(both.toys.captured_at) - 200  # what comes now was said just now
        assert any("sound were lost" in notice.message for notice in both.notices)


async def test_trouble_at_the_far_end_is_told_as_it_is_there() -> None:
    async with ends(ToyDevices(refuses=NoAudio("There is no \x1b[1mmicrophone.", "Plug one in."))) as both:
        with pytest.raises(NoAudio, match="There is no") as error:
            await both.devices.list()
        assert "\x1b" not in str(error.value)
        assert error.value.hint == "Plug one in."
        with pytest.raises(NoAudio):
            await both.devices.play(RATE)
        async with aclosing(both.devices.listen()) as frames:
            with pytest.raises(NoAudio):
                await anext(frames)


async def test_a_microphone_that_is_lost_over_there_is_lost_here() -> None:
    async with ends(ToyDevices(pace=0.1, frames=20)) as both, aclosing(both.devices.listen()) as frames:
        with pytest.raises(AudioTrouble, match="microphone is gone"):
            await _numbers(frames, 100)


async def test_notices_of_the_far_end_are_told_here() -> None:
    async with ends() as both:
        await both.devices.list()
        both.bridge.notice(Notice("muted", "It seems to be muted.", "Unmute it."))
        await until(lambda: both.notices)
        assert both.notices == [Notice("muted", "It seems to be muted.", "Unmute it.")]


async def test_a_bridge_may_keep_its_microphone_to_itself() -> None:
    async with ends(microphone=False) as both:
        async with aclosing(both.devices.listen()) as frames:
            with pytest.raises(AudioTrouble, match="lets nobody use its microphone"):
                await anext(frames)
        assert both.toys.opened == 0
        await (await both.devices.play(RATE)).abort()


async def test_two_windows_use_one_bridge() -> None:
    async with _quick() as both:
        other = both.others()
        playbacks: list[FarPlayback] = [await each.play(RATE) for each in (both.devices, other)]
        for playback in playbacks:
            await playback.write(SOUND[:3200])
            await playback.finish()
        assert [bytes(each.heard) for each in both.toys.played] == [SOUND[:3200]] * 2
        assert both.bridge.state.guests == 2
        await other.close()
        await until(lambda: both.bridge.state.guests == 1)


async def test_the_first_bridge_that_lets_us_in_is_used() -> None:
    async with ends() as both:
        both.places[:0] = [Place("1", both.token), Place(str(both.wire.port), new_token())]
        assert await both.devices.present()
        assert len(await both.devices.list()) == 2


async def test_without_a_bridge_there_is_a_sentence() -> None:
    devices = BridgeDevices(list)
    assert not await devices.present()
    with pytest.raises(NoAudio, match="no voice bridge") as error:
        await devices.play(RATE)
    assert "sophia voice ssh" in error.value.hint
    await devices.close()


async def test_a_socket_serves_as_well_as_a_port(tmp_path: Path) -> None:
    toys, token, path = ToyDevices(), new_token(), tmp_path / "s"
    bridge = Bridge(toys, token, name="laptop")
    await bridge.open_socket(path)
    devices = BridgeDevices(lambda: [Place(str(path), token)])
    assert len(await devices.list()) == 2
    await devices.close()
    await bridge.close()


async def test_a_link_that_is_not_used_is_hung_up() -> None:
    async with ends() as both:
        devices = BridgeDevices(lambda: both.places, idle_s=0.05)
        await devices.list()
        await until(lambda: both.bridge.state.guests == 0)
        await devices.list()
        await devices.close()


async def test_closing_ends_what_is_open() -> None:
    async with _quick() as both:
        frames = both.devices.listen()
        await anext(frames)
        await both.devices.close()
        with pytest.raises(DeviceLost):
            await _numbers(frames, 10_000)
        await until(lambda: both.bridge.state.guests == 0)
        with pytest.raises(NoAudio):
            await both.devices.list()


async def test_a_narrow_link_gets_a_quarter_of_the_bytes() -> None:
    async with ends(ToyDevices(pace=0.05)) as both, aclosing(both.devices.listen()) as frames:
        await _numbers(frames, 5)
        both.wire.stand_still()
        at = len(both.toys.captured_at)
        await until(lambda: len(both.toys.captured_at) > at + 80)
        both.wire.go_on()
        await _numbers(frames, 120)
        before = both.wire.carried["down"]
        await _numbers(frames, 200)
        assert (both.wire.carried["down"] - before) / 200 < 300  # of 640


async def test_a_relay_that_ends_at_once_is_no_bridge() -> None:
    wire = Wire(1)
    await wire.open()
    wire.refusing = True
    devices = BridgeDevices(lambda: [Place(str(wire.port), new_token())])
    with pytest.raises(NoAudio, match="cannot be reached"):
        await devices.list()
    await devices.close()
    await wire.close()
