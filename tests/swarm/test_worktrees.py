"""Worktrees, and what was made in them on its way into the person's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from sophia_core.swarm.ports import Decision, Step, StepFailed, StepWork
from sophia_core.swarm.tools.confined import OutOfReach
from sophia_core.swarm.tools.merging import Landing, MergeRunner
from sophia_core.swarm.tools.worktrees import Conflict, Worktrees
from tests.swarm.step_host import KeptHost


@pytest.fixture
def person(tmp_path: Path) -> Path:
    folder = tmp_path / "person"
    folder.mkdir()
    (folder / "a.txt").write_text("one\ntwo\nthree\nfour\nfive\n")
    (folder / ".env").write_text("TOKEN=x\n")
    return folder


def trees_of(tmp_path: Path, person: Path, *finished: str) -> Worktrees:
    return Worktrees(tmp_path / "worktrees", person, finished=finished)


def test_a_step_goes_on_from_the_one_before_and_all_of_it_lands_at_once(tmp_path: Path, person: Path) -> None:
    trees = trees_of(tmp_path, person)
    code = trees.prepare("r", "code", ())
    assert sorted(each.name for each in code.iterdir()) == ["a.txt"], "secrets stay behind, and there is no .git"
    (code / "a.txt").write_text("ONE\ntwo\nthree\nfour\nfive\n")
    (code / "new").mkdir()
    (code / "new" / "b.txt").write_text("b\n")
    test = trees.prepare("r", "test", ["code"])
    assert (test / "new" / "b.txt").read_text() == "b\n"
    assert trees.prepare("r", "test", ["code"]) == test, "made once"
    made = trees.made("r", ["code", "test"])
    assert made.files == ("a.txt", "new/b.txt")
    assert (made.added, made.removed) == (2, 1)
    (person / "a.txt").write_text("one\ntwo\nthree\nfour\nFIVE\n")
    assert Landing(trees).land(made.base, made.commit) == made.files
    assert (person / "a.txt").read_text() == "ONE\ntwo\nthree\nfour\nFIVE\n", "what the person did meanwhile is kept"
    assert Landing(trees).land(made.base, made.commit) == made.files, "again is the same"
    Landing(trees).take_back(made.commit)
    assert (person / "a.txt").read_text() == "one\ntwo\nthree\nfour\nFIVE\n"
    assert not (person / "new" / "b.txt").exists()
    trees.drop("r")
    assert trees.runs() == []


def test_what_does_not_go_together_touches_nothing(tmp_path: Path, person: Path) -> None:
    trees = trees_of(tmp_path, person)
    code = trees.prepare("r", "code", ())
    (code / "a.txt").write_text("MINE\n")
    (code / "b.txt").write_text("b\n")
    made = trees.made("r", ["code"])
    (person / "a.txt").write_text("YOURS\n")
    with pytest.raises(Conflict) as clash:
        Landing(trees).land(made.base, made.commit)
    assert clash.value.files == ("a.txt",)
    assert (person / "a.txt").read_text() == "YOURS\n"
    assert not (person / "b.txt").exists()


def test_two_agents_that_change_the_same_line_clash(tmp_path: Path, person: Path) -> None:
    trees = trees_of(tmp_path, person)
    for name in ("left", "right"):
        (trees.prepare("r", name, ()) / "a.txt").write_text(f"{name}\n")
    with pytest.raises(Conflict):
        trees.made("r", ["left", "right"])


def test_of_several_tries_the_one_that_finished_counts(tmp_path: Path, person: Path) -> None:
    trees = trees_of(tmp_path, person, "code", "code~1")
    for name in ("code~0", "code~1", "code~2"):
        (trees.prepare("r", name, ()) / "a.txt").write_text(f"{name}\n")
    landed = trees.made("r", ["code"])
    assert "+code~1" in landed.diff
    assert "code~0" not in landed.diff


def test_a_crash_while_files_are_put_there_is_gone_on_with(tmp_path: Path, person: Path) -> None:
    trees = trees_of(tmp_path, person)
    code = trees.prepare("r", "code", ())
    for name in ("x", "y"):
        (code / name).write_text(name)
    made = trees.made("r", ["code"])
    Landing(trees).land(made.base, made.commit)
    (person / "y").unlink()
    assert Landing(trees).land(made.base, made.commit) == ("x", "y")
    assert (person / "y").read_text() == "y"


def test_links_and_repositories_of_an_agent_are_not_taken_over(tmp_path: Path, person: Path) -> None:
    trees = trees_of(tmp_path, person)
    code = trees.prepare("r", "code", ())
    inner = code / "sub" / ".git"
    inner.mkdir(parents=True)
    (inner / "config").write_text(f"[core]\nfsmonitor = touch {tmp_path}/pwned\n")
    (code / ".gitattributes").write_text("* filter=evil\n")
    (code / "link").symlink_to("/etc/passwd")
    made = trees.made("r", ["code"])
    assert "sub/.git/config" not in made.files
    with pytest.raises(OutOfReach, match="link"):
        Landing(trees).land(made.base, made.commit)
    assert not (tmp_path / "pwned").exists()
    assert not (person / ".gitattributes").exists(), "all or nothing"


@pytest.mark.parametrize("name", ["../x", ".git", "a b", "-x", "", "x.lock", "a/../../b"])
def test_a_step_of_a_strange_name_has_no_worktree(tmp_path: Path, person: Path, name: str) -> None:
    with pytest.raises(StepFailed):
        trees_of(tmp_path, person).place("r", name)


async def test_a_merge_asks_for_all_of_it_and_is_done_once(tmp_path: Path, person: Path) -> None:
    (trees_of(tmp_path, person).prepare("r", "code", ()) / "a.txt").write_text("MINE\n")
    runner = MergeRunner(tmp_path / "worktrees")
    work = StepWork("r", Step("merge", "", kind="merge", after=("code",)), 1, str(person), {})
    refusing = KeptHost(decision=Decision(False, note="not like this"))
    with pytest.raises(StepFailed, match="not like this"):
        await runner.run(work, refusing)
    assert (person / "a.txt").read_text().startswith("one")
    host = KeptHost()
    await runner.run(work, host)
    assert (person / "a.txt").read_text() == "MINE\n"
    (asked,) = host.asked
    assert (asked.tool, asked.paths) == ("land", ("a.txt",))
    assert "+MINE" in asked.diff
    (person / "a.txt").write_text("later\n")
    await runner.run(work, KeptHost(host.kept))
    assert (person / "a.txt").read_text() == "later\n", "what was done once is not done again"
