"""`sophia voice ssh` from end to end: a box without sound, reached by SSH, speaks and listens on the laptop."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sophia_core.voice.engines import Embedded
from tests.voice import real_ssh
from tests.voice.pulse import RATE, Pulse, loud_seconds
from tests.voice.test_loop import QUESTION, alike

PATIENCE_S = 90.0
FAR = """
[voice]
mouths = ["embedded"]
ears = ["embedded"]
"""
pytestmark = pytest.mark.skipif(bool(real_ssh.missing()), reason=real_ssh.missing() or "-")


async def question() -> bytes:
    """What somebody says, at 24,000 samples a second."""
    engines = Embedded()
    try:
        return b"".join([piece async for piece in engines.mouth.speak(QUESTION)])
    finally:
        await engines.close()


def microphone_open(pulse: Pulse) -> bool:
    """Whether somebody listens besides the tests themselves: those do from the beginning."""
    return len(pulse.control("list", "short", "source-outputs").splitlines()) > 3


async def test_a_box_without_sound_speaks_and_listens_on_the_laptop(pulse: Pulse, tmp_path: Path) -> None:
    asked = await question()
    with TemporaryDirectory(prefix="sophia-far-") as far:
        Path(far, "config.toml").write_text(FAR)
        seen = {"SOPHIA_HOME": far, "SOPHIA_NO_KEYRING": "1", "PULSE_SERVER": "unix:/nowhere"}
        with real_ssh.host(seen) as host:
            sophia = shlex.quote(str(real_ssh.SOPHIA))
            line = f"{sophia} voice say 'The bridge carries every word.' && {sophia} run voice.listen"
            options = [word for each in host.options for word in ("-o", each)]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "sophia_cli", "voice", "ssh", "-p", str(host.port), *options),
                *("--program", str(real_ssh.SOPHIA), "--command", f"sh -c {shlex.quote(line)}", host.name),
                env=os.environ | {"SOPHIA_HOME": str(tmp_path), "SOPHIA_NO_KEYRING": "1", "TERM": "dumb"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                async with asyncio.timeout(PATIENCE_S):
                    mark = pulse.mark()
                    await pulse.wait_loud(mark, PATIENCE_S)
                    await asyncio.to_thread(pulse.wait_until, lambda: microphone_open(pulse), "a microphone", 60.0)
                    spoken = loud_seconds(pulse.heard_pcm(mark), RATE)
                    await pulse.said(asked, 24_000)
                    out, err = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
    assert process.returncode == 0, err.decode()
    assert spoken > 0.7
    assert alike(out.decode(), QUESTION)
    assert not microphone_open(pulse)
