"""Who is asked for numbers, what they tell, and what else on this machine could be asked."""

from __future__ import annotations

from sophia_tui.screens.ask_text import AskText
from sophia_tui.screens.pick import Pick
from tests.scripted import ScriptedReply
from tests.sophia_tui.every.servers import TWO, models
from tests.sophia_tui.every.talking import shown
from tests.sophia_tui.every.walk import Walk, scene

TEXT = {"content-type": "text/plain; version=0.0.4"}
NODE = ScriptedReply((b"node_load1 0.5\n",), headers=TEXT)


@scene(
    "metrics.show",
    "metrics.targets",
    "metrics.find",
    "metrics.add",
    "metrics.remove",
    config=TWO,
    pages={"127.0.0.1:9100/metrics": NODE, "box:9100/metrics": NODE},
)
async def who_is_asked(walk: Walk) -> None:
    assert "metrics.find" in await walk.do("/metrics.targets")
    assert "node-exporter" in await walk.do("/metrics.find")
    assert "asked from now on" in await walk.do("/metrics.add box http://box:9100/metrics")
    await walk.until(lambda: walk.app.runtime.metrics.readings(), "the first numbers")
    await walk.do("/metrics.show box")
    assert "node_load1" in shown(walk)
    await walk.press("escape")
    await walk.do("/metrics.targets")
    assert "box:9100" in shown(walk)
    await walk.press("escape")
    assert "not asked any more" in await walk.do("/metrics.remove box")
    assert "box:9100" not in (walk.home / "config.toml").read_text()


@scene(
    "provider.connect",
    config=TWO,
    pages={"/models": models("alpha"), "127.0.0.1:9100/metrics": NODE},
)
async def the_wizard_and_what_measures_this_machine(walk: Walk) -> None:
    await walk.begin("/connect")
    await walk.screen(Pick)
    await walk.pilot.press("enter")
    await walk.screen(AskText)
    await walk.pilot.press("enter")
    await walk.until(lambda: isinstance(walk.app.screen, Pick), "the question about the exporter")
    await walk.press("enter")
    await walk.until(
        lambda: [each.name for each in walk.app.runtime.metrics.targets] == ["node-exporter"], "the target"
    )
    written = (walk.home / "config.toml").read_text()
    assert "127.0.0.1:9100/metrics" in written and 'kind = "node"' in written
