"""Every command there is runs in the real app, on the real store, and does what it says.

A new command needs a scene in tests/sophia_tui/every/: that is what the first test asks for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from backend_client import HttpTransport
from sophia_core.first_look import FirstLook
from sophia_core.settings import load_settings
from sophia_tui.app import SophiaApp
from sophia_tui.bindings import all_declarations
from tests.oidc_server import OidcServer
from tests.scripted import ScriptedTransport
from tests.sophia_tui.conftest import ENV, settle
from tests.sophia_tui.every import (
    alerts,
    approvals,
    board,
    comparing,
    costs,
    healing,
    keeping,
    macros,
    mcp,
    metrics,
    metrics_pane,
    objectives,
    personas,
    screens,
    servers,
    sessions,
    sound_files,
    swarm,
    swarm_pane,
    talking,
    traces,
    voice,
)
from tests.sophia_tui.every.walk import SCENES, Scene, Walk, leave_alone_the_desktop
from tests.swarm.pretending import NOBODY

ROOT = Path(__file__).parents[2]
WHERE = (
    alerts,
    approvals,
    board,
    comparing,
    costs,
    healing,
    keeping,
    macros,
    mcp,
    metrics,
    metrics_pane,
    objectives,
    personas,
    screens,
    servers,
    sessions,
    sound_files,
    swarm,
    swarm_pane,
    talking,
    traces,
    voice,
)
"""The files that declare scenes."""
ELSEWHERE = {"compare.stop": "tests/sophia_tui/test_comparing.py", "mcp.login": "tests/mcp/test_signing_in.py"}
ELSEWHERE |= dict.fromkeys(("mcp.answer", "mcp.decline"), "tests/mcp/test_servers.py")
"""Commands whose main path another test runs in the real app, and where."""


def test_every_command_has_a_scene() -> None:
    commands = {spec.name for spec in all_declarations()}
    tried = {name for scene in SCENES.values() for name in scene.commands}
    for name, path in ELSEWHERE.items():
        assert name.split(".")[-1] in (ROOT / path).read_text(), f"{path} does not run {name} any more"
    assert commands - tried - set(ELSEWHERE) == set(), f"without a scene in {WHERE[0].__package__}"
    assert (tried | set(ELSEWHERE)) - commands == set(), "no such commands any more"


def test_no_scene_is_empty_and_none_names_a_command_twice() -> None:
    for name, scene in SCENES.items():
        assert scene.commands, name
        assert [each for each, times in Counter(scene.commands).items() if times > 1] == [], name


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in, with a person's home in it and nothing of the machine's desktop."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    leave_alone_the_desktop(monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield work


@pytest.mark.parametrize("name", SCENES)
async def test_commands_do_what_they_say(name: str, apart: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, home = SCENES[name], apart.parent / "h"
    home.mkdir()
    monkeypatch.setenv("SOPHIA_NO_KEYRING", "1")
    env = {**({} if scene.config else ENV), **scene.env, "SOPHIA_HOME": str(home)}
    for variable, value in env.items():
        monkeypatch.setenv(variable, value.replace("{home}", str(home)))
    with OidcServer() if scene.issuer else nullcontext() as issuer:
        (home / "config.toml").write_text(scene.config.replace("{issuer}", issuer.issuer if issuer else ""))
        await _play(scene, home, issuer)


async def _play(scene: Scene, home: Path, issuer: OidcServer | None) -> None:
    loaded = load_settings()
    transport = ScriptedTransport(*scene.script, pages=scene.pages)
    app = SophiaApp(FirstLook.of(loaded), lambda: loaded, transport=HttpTransport() if issuer else transport)
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await app.ready.wait()
            app.runtime.swarm_side.worker.program = NOBODY  # a real one would outlive the test
            await app.runtime.vault.settled()
            await settle(app, pilot)
            walk = Walk(app, pilot, home, transport)
            walk.issuer = issuer
            await scene.play(walk)
            assert set(scene.commands) - walk.ran == set(), f"did not run; {walk.failed}"
    finally:
        await app.runtime.close()
