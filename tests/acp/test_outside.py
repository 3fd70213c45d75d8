"""Steps that an outside agent does: what it asks passes the gate, what it reaches for stays shut, it always ends."""

from __future__ import annotations

import asyncio
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sophia_core.acp.outside import OutsideRunner
from sophia_core.gate.ports import ApprovalRequest, Decision
from sophia_core.paths import resolve_paths
from sophia_core.swarm.plan import Budget, Step
from sophia_core.swarm.ports import BudgetReached, StepFailed, StepResult, StepWork
from sophia_core.swarm.tools import sandbox
from sophia_core.swarm.tools.worktrees import prepare
from tests.swarm.step_host import KeptHost

PATIENCE_S = 60.0
ROUGH = ("dying", "hanging", "flooding", "noise", "itself", "future", "login", "refusing", "peeking")
boxed = pytest.mark.skipif(bool(sandbox.trouble()), reason="there is no sandbox here")
pytestmark = [boxed, pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")]


class World:
    """A folder of the person's, its worktree, and agents that are configured."""

    def __init__(self, root: Path) -> None:
        self.folder, self.paths = root / "folder", resolve_paths({"SOPHIA_HOME": str(root / "home")})
        self.folder.mkdir()
        (self.folder / "sums.py").write_text("def double(x):\n    return 3 * x\n")
        (self.folder / ".env").write_text("KEY=secret\n")
        (root / "outside").write_text("secret\n")
        (self.folder / "link").symlink_to(root / "outside")
        self.paths.config_file.parent.mkdir(parents=True, exist_ok=True)
        here = Path(__file__).parent
        agents = {"good": "small", "hostile": "small"} | dict.fromkeys(ROUGH, "rough")
        lines = [
            f'[{how}]\nprogram = ["{sys.executable}", "{here / kind}_agent.py", "{how}"]\n'
            f'folders = ["{here}"]\nnetwork = false\n'
            for how, kind in agents.items()
        ]
        self.paths.config_file.with_name("agents.toml").write_text("".join(lines))

    async def run(self, how: str, host: KeptHost, **more: Any) -> StepResult:
        """Has an agent that behaves so do a step in a worktree."""
        left = more.pop("left", Budget())
        step = replace(Step("mend", "Mend sums.py.", "outside", program=(how,), workspace="worktree"), **more)
        work = StepWork("run", step, 1, str(self.folder), {}, left=left)
        if step.workspace == "worktree":
            work = replace(work, folder=await prepare(work))
        judging = SimpleNamespace(hidden=_nothing_hidden)
        runtime = SimpleNamespace(paths=self.paths, swarm_side=SimpleNamespace(judging=judging))
        async with asyncio.timeout(PATIENCE_S):
            return await OutsideRunner(cast("Any", SimpleNamespace(runtime=runtime))).run(work, host)

    @property
    def tree(self) -> Path:
        """The worktree of the step."""
        return next(self.paths.store_dir.with_name("worktrees").glob("*/trees/run/mend"))


async def _nothing_hidden() -> tuple[str, ...]:
    return ()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("SOPHIA_HOME", str(tmp_path / "home"))  # worktrees lie beside the store of this process
    monkeypatch.setenv("MY_SECRET", "key")
    return World(tmp_path)


async def test_what_it_asks_passes_the_gate_and_what_it_does_is_told(world: World) -> None:
    host = KeptHost()
    result = await world.run("good", host)
    assert result.value == "mode default, yes, 0, def double(x):\n    return 2 * x"
    assert (result.spent.tokens_in, result.spent.tokens_out) == (20, 10)
    assert "2 * x" in (world.tree / "sums.py").read_text()
    assert "3 * x" in (world.folder / "sums.py").read_text()
    start, edit, command = host.asked
    assert (start.tool, start.boxed, start.network) == ("outside", True, False)
    assert (edit.tool, edit.paths, edit.isolated) == ("edit_file", ("sums.py",), True)
    assert "+    return 2 * x" in edit.diff
    assert (command.tool, command.command, command.boxed, command.network) == ("run", "cat sums.py", True, False)
    assert [each["tool"] for each in host.of("tool.called")] == ["Edit sums.py"]
    assert [each["ok"] for each in host.of("tool.finished")] == [True]
    assert host.of("model.called")[0]["tokens_out"] == 10
    assert any("answers" in each.action for each in host.shown)
    again = await world.run("good", KeptHost(host.kept))
    assert again == result


async def test_what_is_refused_is_not_done(world: World) -> None:
    class Refusing(KeptHost):
        async def pass_(self, request: ApprovalRequest) -> Decision:
            self.asked.append(request)
            return Decision(request.tool == "outside", note="not that")

    host = Refusing()
    with pytest.raises(StepFailed, match="not that"):
        await world.run("good", host, approval="always")
    assert [each.isolated for each in host.asked] == [False] * len(host.asked)
    assert "3 * x" in (world.tree / "sums.py").read_text()
    with pytest.raises(StepFailed, match="refused"):
        await world.run("good", KeptHost(decision=Decision(False)))


async def test_a_hostile_agent_reaches_nothing(world: World) -> None:
    result = await world.run("hostile", KeptHost(decision=Decision(True)))
    # A file of that name is its worktree's own; the person's is not in there.
    assert result.value == "wrote /project/.env wrote itself /project/.env no ␛[31mred"
    assert (world.folder.parent / "outside").read_text() == "secret\n"
    assert (world.folder / ".env").read_text() == "KEY=secret\n"


async def test_in_the_persons_folder_it_changes_nothing_and_sees_no_secrets(world: World) -> None:
    assert (await world.run("peeking", KeptHost(), workspace="read")).value.startswith("not done: Permission denied")
    assert (await world.run("itself", KeptHost(), workspace="read")).value.startswith("not done: Read-only")
    assert (await world.run("itself", KeptHost(), workspace="none")).value.startswith("not done: Read-only")
    assert not (world.folder / "own.txt").exists()
    home = world.paths.store_dir.with_name("agents") / "itself"
    assert list(home.iterdir()) == []


async def test_it_writes_in_its_worktree_but_where_each_change_is_asked_for_through_us_alone(world: World) -> None:
    asked_for = await world.run("itself", KeptHost(), approval="always")
    assert asked_for.value.startswith("not done: Read-only")
    assert (await world.run("itself", KeptHost())).value == "written"
    assert (world.tree / "own.txt").exists()
    assert not (world.folder / "own.txt").exists()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("dying", "ended with 3"),
        ("flooding", "more than 10 MiB"),
        ("future", "version 9"),
        ("login", "sign in"),
        ("refusing", "refuses"),
    ],
)
async def test_however_it_fails_the_step_says_how(world: World, how: str, says: str) -> None:
    with pytest.raises(StepFailed, match=says) as raised:
        await world.run(how, KeptHost(), workspace="none")
    assert how != "dying" or "out of luck" in raised.value.hint


async def test_what_is_no_message_is_passed_over(world: World) -> None:
    assert (await world.run("noise", KeptHost(), workspace="none")).value == "still here"


async def test_cancelled_it_is_told_so_and_nothing_of_it_is_left(world: World) -> None:
    host = KeptHost()
    running = asyncio.create_task(world.run("hanging", host, workspace="none"))
    async with asyncio.timeout(PATIENCE_S):
        while not any("hanging" in each.text for each in host.shown):
            assert not running.done()
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    own = [each for each in Path("/proc").glob("[0-9]*/cmdline") if b"rough_agent.py\0hanging" in _read(each)]
    assert own == []


async def test_a_budget_ends_it(world: World) -> None:
    with pytest.raises(BudgetReached, match="25 tokens"):
        await world.run("noise", KeptHost(), workspace="none", left=Budget(tokens=25))


async def test_without_a_program_or_with_a_wrong_file_the_step_says_what_to_do(world: World) -> None:
    with pytest.raises(StepFailed, match="no program 'nobody-has-this'"):
        await world.run("nobody-has-this", KeptHost())
    world.paths.config_file.with_name("agents.toml").write_text("[a]\nprogramm = 1\n")
    with pytest.raises(StepFailed, match="programm"):
        await world.run("a", KeptHost())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
