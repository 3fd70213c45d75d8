"""The real program inside GNU screen, which passes fewer things on than other terminals do."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import pytest

from tests.contract_server import TEXT
from tests.e2e.conftest import Sophia
from tests.e2e.terminal import SOPHIA, terminal

NAME = "sophia-e2e"

pytestmark = pytest.mark.skipif(shutil.which("screen") is None, reason="GNU screen is not installed")


async def test_an_answer_and_a_lone_esc_come_through(sophia: Sophia, tmp_path: Path) -> None:
    sockets = tmp_path / "s"
    sockets.mkdir(mode=0o700)
    env = sophia.environment(SCREENDIR=str(sockets), TERM="screen-256color")
    inside = ("screen", "-S", NAME, "-c", "/dev/null", "-U", "-T", "screen-256color", *SOPHIA)
    try:
        async with terminal(inside, env, (80, 24)) as app:
            await app.shows("Ask SOPHIA")
            await app.type("hello there")
            await app.press("Enter")
            await app.shows(re.escape(TEXT[:20]), "Ask SOPHIA")
            await app.press("F1")
            await app.shows("Type to filter")
            await app.press("Escape")  # with the mouse on, it would come with the next key only
            await app.hides("Type to filter")
            await app.resize(60, 18)
            await app.shows("Ask SOPHIA")
            await app.press("C-q")
            await app.ended()
    finally:
        quitting = await asyncio.create_subprocess_exec(
            *("screen", "-S", NAME, "-X", "quit"), env=env, stdout=asyncio.subprocess.DEVNULL
        )
        await quitting.wait()
