"""Two servers that fail and come back under the real program: nothing is lost, and nothing moves."""

from __future__ import annotations

import re
from pathlib import Path

from tests.contract_server import TEXT, ContractServer
from tests.e2e.conftest import Sophia
from tests.e2e.terminal import Terminal, flat

READY = "Ask SOPHIA"
CONFIG = """
[[providers]]
name = "gh200-a"
base_url = "{a}"

[[providers]]
name = "gh200-b"
base_url = "{b}"

[routing]
embedded_fallback = false
"""


async def ask(app: Terminal, question: str) -> None:
    await app.shows(READY)
    await app.type(question)
    await app.press("Enter")


async def test_failover_the_queue_and_delivery(tmp_path: Path) -> None:
    async with ContractServer() as first, ContractServer() as second:
        (tmp_path / "config.toml").write_text(CONFIG.format(a=first.base_url, b=second.base_url))
        sophia = Sophia(tmp_path, "")
        async with sophia.app((100, 30), SOPHIA_MODEL="") as app:
            await ask(app, "who is there")
            await app.shows(r"gh200-a · contract-model · 11\+9 tokens", "L0 primary")

            await first.go_down()
            await ask(app, "and now")
            screen = flat(
                await app.shows(r"gh200-b · contract-model · 11\+9 tokens", "L1 secondary", "gh200-a: nothing answers")
            )
            assert "failed" not in screen, "that another server answered is a note in the status bar, and no more"

            await second.go_down()
            await ask(app, "is anybody there")
            await app.shows("· waiting", "1 waiting to be sent", "L4 offline")
            await app.press("C-n")
            await app.hides("is anybody there")
            await app.type("a draft in another session")
            await app.shows("▌ a draft in another session")

            await second.come_up()
            await app.shows("New answers in 1 other session", within=60)
            await app.shows("▌ a draft in another session", "◆ ?who is there")
            await app.hides("waiting to be sent")

            await app.press("C-u")
            await app.type(f"/open {await sophia.latest(SOPHIA_MODEL='')}")
            await app.press("Enter")
            await app.shows(f"is anybody there SOPHIA {re.escape(TEXT)}")
            await app.press("C-q")
            await app.ended()
        asked = [seen.body["messages"][-1]["content"] for seen in (*first.chats, *second.chats)]
        questions = ["and now", "is anybody there", "who is there"]
        assert sorted(each for each in asked if each in questions) == questions, "each was asked once"
