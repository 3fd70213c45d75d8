"""The microphones and loudspeakers of this machine, on real PortAudio and a virtual sound server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from sophia_core.voice import devices as devices_module
from sophia_core.voice.devices import LocalDevices, LocalMicrophone
from sophia_core.voice.ports import FRAME_BYTES, AudioTrouble, Device, DeviceLost, Frame, NoAudio, Notice
from tests.voice.pulse import Pulse, loud_seconds, missing, pitch, tone

ROOT = Path(__file__).parents[2]
BARGE_IN_S = 0.15
PATIENCE_S = 20.0
QUIET_FRAMES = 10
"""Of 20 ms, after which nothing more is coming."""


@pytest.fixture
def notices() -> list[Notice]:
    return []


@pytest.fixture
async def local(notices: list[Notice]) -> AsyncIterator[LocalDevices]:
    devices = LocalDevices(on_notice=notices.append)
    yield devices
    await devices.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - the kernel sets no event
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def test_the_devices_are_listed(pulse: Pulse, local: LocalDevices) -> None:
    assert local.pid is None
    found = await local.list()
    assert [each.id for each in found if each.kind == "input" and each.default] == ["mic"]
    assert [each.id for each in found if each.kind == "output" and each.default] == ["speaker"]
    assert len({each.name for each in found}) == len(found)


async def test_a_sound_is_heard_from_its_first_sample_to_its_last(pulse: Pulse, local: LocalDevices) -> None:
    mark = pulse.mark()
    playback = await local.play(24_000)
    began = time.monotonic()
    await playback.write(tone(0.6, rate=24_000))
    assert time.monotonic() - began > 0.2, "it waits while 300 ms are queued"
    assert 0.1 < playback.heard_s < 0.6
    await playback.finish()
    assert playback.heard_s == pytest.approx(0.6, abs=0.01)
    await pulse.wait_silent()
    heard = pulse.heard_loud(mark)
    assert loud_seconds(heard) == pytest.approx(0.6, abs=0.05)
    assert pitch(heard) == pytest.approx(440, rel=0.03)


async def test_what_is_aborted_is_silent_at_once(pulse: Pulse, local: LocalDevices) -> None:
    for _ in range(2):
        mark = pulse.mark()
        playback = await local.play(24_000)
        writing = asyncio.create_task(playback.write(tone(20, rate=24_000)))
        await pulse.wait_loud(mark)
        asked = time.monotonic()
        await playback.abort()
        await writing
        assert await pulse.wait_silent() - asked < BARGE_IN_S
        await playback.write(tone(1))
        await playback.abort()


async def test_a_pause_is_silent_and_nothing_of_it_is_lost(pulse: Pulse, local: LocalDevices) -> None:
    mark = pulse.mark()
    playback = await local.play(16_000)
    writing = asyncio.create_task(playback.write(tone(0.5)))
    await pulse.wait_loud(mark)
    await playback.pause()
    await pulse.wait_silent()
    heard = playback.heard_s
    assert heard < 0.4
    await playback.resume()
    await writing
    await playback.finish()
    await pulse.wait_silent()
    assert loud_seconds(pulse.heard_loud(mark)) == pytest.approx(0.5, abs=0.05)


async def test_what_is_said_into_the_microphone_arrives(pulse: Pulse, local: LocalDevices) -> None:
    frames: list[Frame] = []
    async with aclosing(local.listen()) as microphone:
        async for frame in microphone:
            if not frames:
                said = pulse.say(tone(0.5))
            assert local.microphone_open
            frames.append(frame)
            # A busy machine may leave a hole in the tone; after it comes nothing any more.
            if (
                said.poll() is not None
                and any(each.level for each in frames)
                and not any(each.level for each in frames[-QUIET_FRAMES:])
            ):
                break
    assert not local.microphone_open
    assert said.wait() == 0
    assert {len(each.pcm) for each in frames} == {FRAME_BYTES}
    loud = [each for each in frames if each.level > 0.8]
    assert len(loud) == pytest.approx(25, abs=3)
    assert pitch(b"".join(each.pcm for each in loud)) == pytest.approx(440, rel=0.03)


async def test_both_ways_at_once(pulse: Pulse, local: LocalDevices) -> None:
    mark = pulse.mark()
    async with aclosing(local.listen()) as microphone:
        await anext(microphone)
        playback = await local.play(24_000)
        await playback.write(tone(0.3, rate=24_000))
        await playback.finish()
        await anext(microphone)
    await pulse.wait_silent()
    assert loud_seconds(pulse.heard_loud(mark)) == pytest.approx(0.3, abs=0.05)


async def test_a_headset_is_found_when_plugged_in_and_replaced_when_gone(
    pulse: Pulse, local: LocalDevices, notices: list[Notice]
) -> None:
    before = {each.id for each in await local.list()}
    with pulse.plugged_in("headset") as unplug:
        assert {each.id for each in await local.list()} - before == {"headset"}
        mark = pulse.mark()
        playback = await local.play(16_000, "headset")
        assert playback.name
        await playback.write(tone(0.2))
        await playback.abort()
        assert not any(each.loud for each in pulse.heard(mark)), "it plays there and not here"
        assert notices == []
        unplug()
        assert {each.id for each in await local.list()} == before
    playback = await local.play(16_000, "headset")
    await playback.write(tone(0.2))
    await playback.finish()
    await pulse.wait_loud(mark)
    assert [(each.kind, "headset" in each.message) for each in notices] == [("fallback", True)]


async def test_devices_that_vanish_while_they_are_used_are_lost(own_pulse: Pulse, local: LocalDevices) -> None:
    async with aclosing(local.listen()) as microphone:
        await anext(microphone)
        playback = await local.play(24_000)
        await playback.write(tone(0.2, rate=24_000))
        own_pulse.kill_server()
        with pytest.raises(DeviceLost, match=r"loudspeaker .* went away"):
            async with asyncio.timeout(PATIENCE_S):
                await playback.write(tone(20, rate=24_000))
        with pytest.raises(DeviceLost, match=r"microphone .* went away") as lost:
            async with asyncio.timeout(PATIENCE_S):
                async for _ in microphone:
                    pass
        assert "text works" in lost.value.hint
    await playback.abort()
    with pytest.raises(NoAudio, match="no loudspeaker"):
        await local.play(24_000)


async def test_a_process_that_crashes_is_told_and_started_again(pulse: Pulse, local: LocalDevices) -> None:
    playback = await local.play(24_000)
    assert local.pid is not None
    os.kill(local.pid, signal.SIGSEGV)
    with pytest.raises(AudioTrouble, match="broke down: it was ended by Segmentation fault"):
        await playback.write(tone(20, rate=24_000))
    await playback.abort()
    mark = pulse.mark()
    playback = await local.play(24_000)
    await playback.write(tone(0.1, rate=24_000))
    await playback.finish()
    await pulse.wait_loud(mark)


async def test_a_process_that_hangs_is_ended_within_seconds(pulse: Pulse, local: LocalDevices) -> None:
    playback = await local.play(24_000)
    pid = local.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(AudioTrouble, match="did not answer for two seconds"):
        await playback.write(tone(20, rate=24_000))
    assert time.monotonic() - began >= 1.5
    await until(lambda: not is_alive(pid))
    await playback.abort()


async def test_a_process_that_hangs_is_silenced_by_an_abort(pulse: Pulse, local: LocalDevices) -> None:
    playback = await local.play(24_000)
    pid = local.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await playback.abort()
    assert not is_alive(pid)


async def test_the_process_ends_when_nobody_uses_it(pulse: Pulse) -> None:
    local = LocalDevices(idle_s=0.05)
    playback = await local.play(24_000)
    pid = local.pid
    assert pid is not None
    await playback.write(tone(0.2, rate=24_000))
    assert local.pid == pid, "it is in use"
    await playback.abort()
    await until(lambda: local.pid is None and not is_alive(pid))
    assert await local.list(), "it is started again"
    await local.close()


@pytest.mark.parametrize("early", [True, False])
async def test_a_cancelled_listener_leaves_no_microphone_open(pulse: Pulse, local: LocalDevices, early: bool) -> None:
    def listeners() -> int:
        return len(pulse.control("list", "short", "source-outputs").splitlines())

    async def listen() -> None:
        async with aclosing(local.listen()) as microphone:
            async for _ in microphone:
                pass

    before = listeners()
    listening = asyncio.create_task(listen())
    await until(lambda: local.pid is not None if early else listeners() > before)
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    assert not local.microphone_open
    await until(lambda: listeners() == before)


USES = """
import asyncio, sys
from sophia_core.voice.devices import LocalDevices, LocalMicrophone
async def main():
    local = LocalDevices()
    playback = await local.play(16000)
    print(local.pid, flush=True)
    while True:
        await playback.write(bytes(3200))
asyncio.run(main())
"""


async def test_the_process_dies_with_the_one_that_uses_it(pulse: Pulse) -> None:
    user = await asyncio.to_thread(subprocess.Popen, [sys.executable, "-c", USES], cwd=ROOT, stdout=subprocess.PIPE)
    assert user.stdout is not None
    pid = int(await asyncio.to_thread(user.stdout.readline))
    assert is_alive(pid)
    user.kill()
    user.communicate()
    await until(lambda: not is_alive(pid))


async def trouble(local: LocalDevices) -> AudioTrouble:
    with pytest.raises(AudioTrouble) as raised:
        await local.play(24_000)
    return raised.value


@pytest.mark.parametrize(
    ("module", "words", "hint"),
    [
        ("raise OSError('PortAudio library not found')", "PortAudio", "libportaudio2"),
        ("raise ImportError('none')", "extra `voice`", "pip install"),
        ("raise RuntimeError('Unanticipated \\x1b]0;own\\x07 host error')", "host error", "asoundrc"),
    ],
)
async def test_without_a_sound_library_there_is_a_sentence_and_a_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local: LocalDevices, module: str, words: str, hint: str
) -> None:
    (tmp_path / "sounddevice.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    told = await trouble(local)
    assert isinstance(told, NoAudio)
    assert words in told.message
    assert told.message.isprintable()
    if hint != "libportaudio2" or sys.platform == "linux":
        assert hint in told.hint
    assert local.pid is None, "the next try finds what was installed meanwhile"


@pytest.mark.skipif(bool(missing()), reason=missing() or "-")
async def test_broken_and_missing_sound_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local: LocalDevices
) -> None:
    config = tmp_path / "asound.conf"
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path / 'nobody'}")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    config.write_text("pcm.!default {{{ type nonsense\n")
    assert "cannot be used" in (await trouble(local)).message
    config.write_text("</usr/share/alsa/alsa.conf>\npcm.!default { type nonsense }\npcm.pulse { type nonsense }\n")
    told = await trouble(local)
    assert isinstance(told, NoAudio)
    assert "text works" in told.hint or "sophia voice ssh" in told.hint


async def test_devices_without_a_clock_are_played_bit_by_bit(sound_files: Path, local: LocalDevices) -> None:
    said = tone(0.3, hertz=330)
    (sound_files / "in.raw").write_bytes(said)
    heard = b""
    async with aclosing(local.listen()) as microphone:
        async for frame in microphone:
            heard += frame.pcm
            if len(heard) >= len(said):
                break
    assert heard == said
    playback = await local.play(16_000)
    await playback.write(tone(0.3))
    await playback.finish()
    assert tone(0.3) in (sound_files / "out.raw").read_bytes()
    assert playback.underruns == 0


CHILD = """
import os, sys, time
sys.path.insert(0, {root!r})
from sophia_core.memory.frames import Frames, frame
def tell(**head):
    body = head.pop("body", b"")
    os.write(1, frame(head, body))
tell(ready=True)
frames = Frames()
while block := os.read(0, 65536):
    for head, body in frames.feed(block):
        do, of = head["do"], head.get("of")
{lines}
"""


def child(folder: Path, *lines: str) -> Path:
    """A process in place of ours that does what these lines say."""
    path = folder / "child.py"
    path.write_text(CHILD.format(root=str(ROOT), lines="\n".join(f"        {line}" for line in lines)))
    return path


OPENED = 'if "id" in head: tell(id=head["id"], device="Thing", asked=True, rate=16000)'


async def test_a_microphone_that_is_turned_off_is_told_once(tmp_path: Path, notices: list[Notice]) -> None:
    lines = 'if do == "listen": [tell(of=of, levels=[0.0], body=bytes(640)) for _ in range(150)]'
    local = LocalDevices(on_notice=notices.append, child=child(tmp_path, OPENED, lines))
    async with aclosing(local.listen()) as microphone:
        for _ in range(150):
            await anext(microphone)
    assert [each.kind for each in notices] == ["muted"]
    assert notices[0].hint
    await local.close()


async def test_who_falls_behind_loses_the_oldest_and_hears_the_rest_before_the_fault() -> None:
    microphone = LocalMicrophone(lambda _: None)
    for number in range(600):
        microphone.take({"of": 1, "levels": [number / 1000]}, bytes(FRAME_BYTES))
    microphone.take({"of": 1, "lost": "it stopped"}, b"")
    assert [(await microphone.next()).level for _ in range(500)] == [number / 1000 for number in range(100, 600)]
    with pytest.raises(DeviceLost, match="it stopped"):
        await microphone.next()


@pytest.mark.parametrize(
    "nonsense",
    [
        'os.write(1, b"ALSA lib pcm.c:8570:(snd_pcm_recover) underrun occurred\\n")',
        "tell(of=of, levels=[0.5], body=bytes(10))",
        'tell(of=of, levels=["loud"], body=bytes(640))',
        "tell(of=of, levels=0.5, body=bytes(640))",
        "tell(of=of, levels=[], body=b'')",
        "tell(of=of, levels=[0.5] * 3, body=bytes(640))",
        'os.write(1, b"x" * 200000)',
        "os._exit(3)",
    ],
)
async def test_nonsense_from_the_process_is_trouble_and_no_crash(tmp_path: Path, nonsense: str) -> None:
    local = LocalDevices(child=child(tmp_path, OPENED, f'if do == "listen": {nonsense}'))
    with pytest.raises(AudioTrouble, match=r"broke down|did not answer"):
        async with aclosing(local.listen()) as microphone:
            async for _ in microphone:
                pass
    assert local.pid is None
    await local.close()


async def test_a_process_that_always_breaks_is_left_alone_for_a_while(tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text("import sys; sys.exit('no \\x1b[2J luck')")
    local = LocalDevices(child=tmp_path / "child.py")
    said = [(await trouble(local)).message for _ in range(4)]
    assert all("did not start" in each and "luck" in each and each.isprintable() for each in said[:3])
    assert "3 times within a minute" in said[3]
    await local.close()


def test_nothing_heavy_is_loaded_here() -> None:
    code = "import sys, sophia_core.voice.devices; print({'numpy', 'sounddevice'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


@pytest.mark.parametrize("rate", [0, -1, 1_000_000])
async def test_a_rate_that_no_voice_has_is_refused(local: LocalDevices, rate: int) -> None:
    with pytest.raises(AudioTrouble, match="cannot be played"):
        await local.play(rate)
    assert local.pid is None


async def test_what_is_closed_stays_closed(local: LocalDevices) -> None:
    await local.close()
    with pytest.raises(AudioTrouble, match="turned off"):
        await local.list()


def test_every_trouble_has_a_next_step() -> None:
    for error in ("extra", "library", "broken", "none", "refused", "failed", "anything"):
        told = devices_module.trouble_of(error, "why", "input")
        assert told.message.endswith((".", "why"))
        assert told.hint
    assert Device("a", "a", "input").default is False
