"""Worktrees, and what was made in them on its way into the person's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from sophia_core.gate.ports import Decision
from sophia_core.swarm.plan import Step
from sophia_core.swarm.ports import StepFailed, StepWork
from sophia_core.swarm.tools.clashing import SentBack
from sophia_core.swarm.tools.confined import OutOfReach
from sophia_core.swarm.tools.merge_step import MergeRunner
from sophia_core.swarm.tools.merging import Landing
from sophia_core.swarm.tools.sweeping import forget, sweep
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


class Answering(KeptHost):
    """Somebody who answers what is asked."""

    def __init__(self, *answers: str) -> None:
        super().__init__()
        self.answers, self.questions = list(answers), list[str]()

    async def ask(self, id_: str, question: str) -> str:
        self.questions.append(question)
        return self.answers.pop(0)


async def clashing(tmp_path: Path, person: Path, *answers: str) -> tuple[Worktrees, MergeRunner, StepWork, Answering]:
    """A run that changed a.txt and b.txt, and a person who changed a.txt as well."""
    trees, host = trees_of(tmp_path, person), Answering(*answers)
    code = trees.prepare("r", "code", ())
    (code / "a.txt").write_text("THEIRS\n")
    (code / "b.txt").write_text("b\n")
    (person / "a.txt").write_text("MINE\n")
    work = StepWork("r", Step("merge", "", kind="merge", after=("code",)), 1, str(person), {})
    return trees, MergeRunner(tmp_path / "worktrees"), work, host


@pytest.mark.parametrize(("answer", "there"), [("mine", "MINE\n"), ("Theirs.", "THEIRS\n")])
async def test_where_a_persons_change_clashes_they_say_whose_counts(
    tmp_path: Path, person: Path, answer: str, there: str
) -> None:
    trees, runner, work, host = await clashing(tmp_path, person, "what?", answer)
    await runner.run(work, host)
    assert (person / "a.txt").read_text() == there
    assert (person / "b.txt").exists()
    assert len(host.questions) == 2 and "a.txt" in host.questions[0], "what is no answer is asked again"
    assert host.of("diff.conflict") == [{"files": ["a.txt"]}]
    Landing(trees).take_back(str(host.of("diff.applied")[0]["commit"]))
    assert ((person / "a.txt").read_text(), (person / "b.txt").exists()) == ("MINE\n", False)


async def test_a_step_that_is_sent_back_sees_both_and_what_it_makes_of_them_lands(tmp_path: Path, person: Path) -> None:
    trees, runner, work, host = await clashing(tmp_path, person, "back")
    with pytest.raises(SentBack) as back:
        await runner.run(work, host)
    assert back.value.step == "code" and "a.txt" in str(back.value)
    assert (person / "a.txt").read_text() == "MINE\n"
    code = trees.prepare("r", "code", ())
    assert "<<<<<<<" in (code / "a.txt").read_text() and "MINE" in (code / "a.txt").read_text()
    (code / "a.txt").write_text("OURS\n")
    again = KeptHost()
    await runner.run(work, again)
    assert (person / "a.txt").read_text() == "OURS\n"
    assert "-MINE" in again.asked[0].diff, "a person sees what becomes of their files as they are now"


@pytest.mark.parametrize(("answer", "there"), [("first", "left\n"), ("last", "right\n"), ("back", "both\n")])
async def test_where_steps_clash_a_person_says_which_counts(
    tmp_path: Path, person: Path, answer: str, there: str
) -> None:
    trees, host = trees_of(tmp_path, person), Answering(answer)
    for name in ("left", "right"):
        (trees.prepare("r", name, ()) / "a.txt").write_text(f"{name}\n")
    runner = MergeRunner(tmp_path / "worktrees")
    work = StepWork("r", Step("merge", "", kind="merge", after=("left", "right")), 1, str(person), {})
    if answer == "back":
        with pytest.raises(SentBack):
            await runner.run(work, host)
        right = trees.prepare("r", "right", ())
        assert {"left", "right"} <= set((right / "a.txt").read_text().split())
        (right / "a.txt").write_text("both\n")
        host = Answering()
    await runner.run(work, host)
    assert (person / "a.txt").read_text() == there


def test_what_the_steps_before_do_again_is_what_a_step_begins_with(tmp_path: Path, person: Path) -> None:
    trees = trees_of(tmp_path, person)
    code = trees.prepare("r", "code", ())
    (code / "b.txt").write_text("first\n")
    test = trees.prepare("r", "test", ["code"])
    (test / "c.txt").write_text("mine\n")
    assert (trees.prepare("r", "test", ["code"]) / "c.txt").exists(), "its own work is kept when it is tried again"
    (code / "b.txt").write_text("second\n")
    test = trees.prepare("r", "test", ["code"])
    assert (test / "b.txt").read_text() == "second\n"
    assert not (test / "c.txt").exists()


async def test_what_belongs_to_no_run_goes_when_it_is_old(tmp_path: Path, person: Path) -> None:
    trees = trees_of(tmp_path, person)
    for run in ("known", "gone"):
        trees.prepare(run, "code", ())

    async def known(run: str) -> str | None:
        return run if run == "known" else None

    place = tmp_path / "worktrees"
    assert await sweep(known, place=place) == []
    assert await sweep(known, place=place, older_s=-1) == ["gone"]
    assert trees.runs() == ["known"]
    forget("known", place)
    assert trees.runs() == []
    assert not trees.git.repo.exists(), "nothing is left of a folder that nobody works on"
    assert trees.prepare("new", "code", ()).is_dir()
