"""A worktree for each step that writes: a copy of the person's folder as it was, and what the step made of it.

The copies belong to a repository of ours in the data folder, one for each folder of the person's; their own repository
is never written to, and needs not even be one. A worktree holds no `.git` that an agent could bend. What was made is
known by commits, so that a crash loses nothing and the steps after go on from it.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from sophia_core.paths import resolve_paths
from sophia_core.swarm.place import worktrees_dir
from sophia_core.swarm.ports import StepFailed, StepWork
from sophia_core.swarm.tools.confined import OutOfReach, is_git, parts_of
from sophia_core.swarm.tools.git import Git, GitFailed

LONGEST_DIFF: Final = 400_000
_NOTHING: Final = b"0" * 40
_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True, slots=True)
class Made:
    """What steps made, against what they began with."""

    base: str
    commit: str
    files: tuple[str, ...]
    added: int
    removed: int
    diff: str
    """As people read it; cut where nobody would."""


class Conflict(Exception):
    """What was made does not go together."""

    def __init__(
        self, files: Sequence[str], *, now: Mapping[str, str] | None = None, onto: str = "", tree: str = ""
    ) -> None:
        """`now` are the blobs of a person's files. Of commits, `onto` is the one that was there, and `tree` has both
        changes in each file, marked."""
        super().__init__(f"Changes to {', '.join(files[:5])} do not go together.")
        self.files, self.now, self.onto, self.tree = tuple(files), dict(now or {}), onto, tree
        self.step = self.copy = ""
        """The step that made what came last, and which of its worktrees."""


class Worktrees:
    """The worktrees of one folder of the person's. All of it blocks."""

    def __init__(self, root: Path, folder: Path, *, finished: Sequence[str] = ()) -> None:
        """`root` is where all worktrees lie; `finished` are the steps that are: of several tries those count."""
        self._finished, self._parents = {_word(each) for each in finished}, dict[str, str]()
        self.folder = folder.resolve()
        own = root / hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        self._trees, self._lock, self._root = own / "trees", own / "lock", root
        self.git = Git(own / "repo.git")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While nobody else changes these worktrees, of whichever process: merges come one after the other."""
        with locked(self._lock.parent):
            self.git.begin()
            yield

    def place(self, run_id: str, step: str) -> Path:
        """Where the worktree of a step is or would be. Raises StepFailed for a name that is none."""
        return self._trees / _word(run_id) / _word(step)

    def clashes(self, run_id: str) -> Path:
        """Where it is noted what of the person's files the steps of a run were shown; no step is called so."""
        return self._trees / _word(run_id) / "shown.clashes"

    def prepare(self, run_id: str, step: str, before: Sequence[str]) -> Path:
        """The worktree of a step, with what the steps before made in it; made once. Raises StepFailed, Conflict."""
        if not self.folder.is_dir() or self.folder in (Path("/"), Path.home(), *Path.home().parents):
            hint = "Start it in a project's folder."
            raise StepFailed(f"{str(self.folder)!r} is no folder to copy for each step.", hint, again=False)
        path = self.place(run_id, step)
        with self.alone():
            start = self._joined(run_id, before, f"what {step} begins with")
            there = path.with_name(f"{path.name}.json").exists() and path.is_dir()
            if there and self._begun_with(run_id, step, start):
                return path
            self.git.run("update-ref", self._ref(run_id, step, "start"), start)
            self._fill(path, start)
        return path

    def _begun_with(self, run_id: str, step: str, start: str) -> bool:
        """Whether the worktree began with the same, or with what a clash made of it; else the steps before were done
        again, and it is made anew."""
        known = self.git.known(self._ref(run_id, step, "start"))
        if known is None or self._tree(known) == self._tree(start):
            return known is not None
        return known == self.git.known(self._ref(run_id, step, "anew")) and self._holds(known, start)

    def _tree(self, commit: str) -> str:
        return self.git.text("rev-parse", f"{commit}^{{tree}}")

    def begin_anew(self, run_id: str, copy: str, onto: str, tree: str) -> None:
        """Has a worktree begin with `onto`, and hold `tree` now: what both made, to be made one."""
        with self.alone():
            for each in ("start", "anew"):
                self.git.run("update-ref", self._ref(run_id, copy, each), onto)
            path = self.place(run_id, copy)
            self._fill(path, tree)

    def maker(self, run_id: str, steps: Sequence[str], files: Sequence[str]) -> tuple[str, str]:
        """The last step that changed any of these files, and its worktree; empty when none did."""
        for step in reversed(steps):
            for copy in reversed(self._copies(run_id, step)):
                names = [self.git.known(self._ref(run_id, copy, each)) for each in ("start", "end")]
                if None not in names and set(files) & set(self._names(*filter(None, names))):
                    return step, copy
        return "", ""

    def _names(self, one: str, other: str) -> list[str]:
        said = self.git.run("diff-tree", "-r", "-z", "--name-only", "--no-renames", one, other)
        return said.decode("utf-8", "surrogateescape").split("\0")[:-1]

    def _fill(self, path: Path, commit: str) -> None:
        """Puts the files there; the note beside it comes last and says that all of them are."""
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True, mode=0o700)
        index = _index(path)
        self.git.run("read-tree", "--reset", commit, tree=path, index=index)
        self.git.run("checkout-index", "-a", "-f", tree=path, index=index)
        path.with_name(f"{path.name}.json").write_text(json.dumps({"folder": str(self.folder), "start": commit}))

    def collect(self, run_id: str, step: str) -> str | None:
        """The commit of what a step made so far; None where it has no worktree here. Raises GitFailed."""
        path, refs = self.place(run_id, step), self._refs(run_id)
        start, before = refs.get(self._ref(run_id, step, "start"), ("", ""))
        if not start:
            return None
        if not path.is_dir():
            return refs.get(self._ref(run_id, step, "end"), (start, ""))[0]
        _without_repositories(path)
        tree = self._tree_of(path, _index(path))
        if tree == before:
            return start
        made = self.git.commit(tree, [start], f"{step} of {run_id}", self._ref(run_id, step, "end"))
        self._parents[made] = start
        return made

    def made(self, run_id: str, steps: Sequence[str], favour: Mapping[str, str] | None = None) -> Made:
        """What these steps made together. `favour` says of worktrees whether what they made counts (`last`) or what
        was there (`first`), where both do not go together. Raises Conflict, GitFailed."""
        with self.alone():
            base = self._base(run_id)
            commit = self._joined(run_id, steps, "what was made", favour or {})
            return self._compared(base, commit)

    def drop(self, run_id: str) -> None:
        """Takes the worktrees and commits of a run away."""
        with self.alone():
            dropped(self._lock.parent, run_id)

    def runs(self) -> list[str]:
        """The runs that have worktrees here."""
        return sorted(each.name for each in self._trees.iterdir()) if self._trees.is_dir() else []

    def _joined(
        self, run_id: str, steps: Sequence[str], message: str, favour: Mapping[str, str] = MappingProxyType({})
    ) -> str:
        """One commit with what the steps made. Raises Conflict."""
        commit = self._base(run_id)
        for step in steps:
            for each in self._copies(run_id, step):
                made = self.collect(run_id, each)
                try:
                    commit = commit if made is None else self._merged(run_id, commit, made, message, favour.get(each))
                except Conflict as clash:
                    clash.step, clash.copy = step, each
                    raise
        return commit

    def _copies(self, run_id: str, step: str) -> list[str]:
        """The step, or its copies where it was done for each item of a list; of several tries the one that counts."""
        names = {ref.split("/")[3] for ref in self._refs(run_id) if ref.endswith("/start")}
        own, chosen = _word(step), dict[str, str]()
        for name in sorted(names, key=_by_number):
            copy, _, number = name.partition("=")
            if copy != own and not copy.startswith(f"{own}+"):
                continue
            if copy not in chosen or (number and name in self._finished and chosen[copy] not in self._finished):
                chosen[copy] = name
        return list(chosen.values())

    def _refs(self, run_id: str) -> dict[str, tuple[str, str]]:
        """The commit and the tree of every ref of the run."""
        form = "--format=%(refname) %(objectname) %(tree)"
        said = self.git.text("for-each-ref", form, f"refs/sophia/{_word(run_id)}")
        return {ref: (commit, tree) for ref, commit, tree in (line.split() for line in said.splitlines())}

    def _merged(self, run_id: str, left: str, right: str, message: str, favour: str | None = None) -> str:
        """Both, three ways, without any files: nothing of it can start a program. Raises Conflict."""
        if self._parents.get(right) == left:
            return right
        if left == right or self._holds(left, right):
            return left
        if self._holds(right, left):
            return right
        code, said, wrong = self.git.tried(
            "merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", left, right
        )
        if code not in (0, 1):
            raise GitFailed(f"git merge-tree: {wrong.decode('utf-8', 'replace')[:300]}")
        tree, *files = said.decode("utf-8", "surrogateescape").rstrip("\0").split("\0")
        bad = sorted(set(filter(None, files)))
        if code == 1 and favour is None:
            raise Conflict(bad, onto=left, tree=tree)
        if code == 1:
            tree = self._favoured(tree, right if favour == "last" else left, bad)
        return self.git.commit(tree, [left, right], message, f"refs/sophia/{_word(run_id)}/joined/{tree}")

    def _favoured(self, tree: str, commit: str, files: Sequence[str]) -> str:
        """The tree with these files as they are in the commit."""
        index = self._lock.with_name("favoured.index")
        index.unlink(missing_ok=True)
        self.git.run("read-tree", tree, index=index)
        listed = self.git.run("ls-tree", "-r", "-z", commit, "--", *(f":(literal){each}" for each in files))
        gone = b"".join(b"0 " + _NOTHING + b"\t" + os.fsencode(each) + b"\0" for each in files)
        kept = b"".join(_of_index(each) for each in listed.split(b"\0")[:-1])
        self.git.run("update-index", "-z", "--index-info", index=index, given=gone + kept)
        return self.git.text("write-tree", index=index)

    def _holds(self, commit: str, other: str) -> bool:
        return self.git.tried("merge-base", "--is-ancestor", other, commit)[0] == 0

    def _base(self, run_id: str) -> str:
        """The person's folder as it was when the run first asked for it."""
        ref = f"refs/sophia/{_word(run_id)}/base"
        if (found := self.git.known(ref)) is not None:
            return found
        index = self._lock.with_name("snapshot.index")
        # A new index each time: what is known of a repository inside would have git start another git in it.
        index.unlink(missing_ok=True)
        return self.git.commit(self._tree_of(self.folder, index), [], f"before {run_id}", ref)

    def _tree_of(self, folder: Path, index: Path) -> str:
        own = [f":(exclude){each}" for each in self._inside()] if folder == self.folder else []
        self.git.run("add", "-A", "--ignore-errors", "--", ".", *own, tree=folder, index=index, ok=(1,))
        gone = self._linked(index)
        if gone:
            self.git.run("update-index", "--force-remove", "-z", "--stdin", index=index, tree=folder, given=gone)
        return self.git.text("write-tree", index=index)

    def _linked(self, index: Path) -> bytes:
        """Repositories inside, which are somebody else's."""
        listed = self.git.run("ls-files", "-s", "-z", index=index).split(b"\0")
        return b"".join(each.split(b"\t", 1)[1] + b"\0" for each in listed if each.startswith(b"160000"))

    def _inside(self) -> list[str]:
        root = self._root.resolve()
        return [str(root.relative_to(self.folder))] if root.is_relative_to(self.folder) else []

    def _compared(self, base: str, commit: str) -> Made:
        plain = ("--no-ext-diff", "--no-textconv", "--no-renames", "--no-color", "-r")
        numbers = self.git.run("diff-tree", "--numstat", "-z", *plain, base, commit).decode("utf-8", "surrogateescape")
        files, added, removed = [], 0, 0
        for line in filter(None, numbers.split("\0")):
            plus, minus, path = line.split("\t", 2)
            files.append(path)
            added += int(plus) if plus.isdigit() else 0
            removed += int(minus) if minus.isdigit() else 0
        diff = self.git.run("diff-tree", "-p", *plain, base, commit).decode("utf-8", "replace")
        return Made(base, commit, tuple(files), added, removed, diff[:LONGEST_DIFF])

    def _ref(self, run_id: str, step: str, what: str) -> str:
        return f"refs/sophia/{_word(run_id)}/{_word(step)}/{what}"


@contextmanager
def locked(own: Path) -> Iterator[None]:
    """While nobody else changes the worktrees of this place, of whichever process."""
    own.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(own / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def dropped(own: Path, run_id: str) -> None:
    """Takes the worktrees and commits of a run away from this place."""
    trees, git = own / "trees" / _word(run_id), Git(own / "repo.git")
    known = (git.repo / "HEAD").exists()
    refs = git.run("for-each-ref", "--format=delete %(refname)", f"refs/sophia/{_word(run_id)}") if known else b""
    if refs:
        git.run("update-ref", "--stdin", given=refs)
    shutil.rmtree(trees, ignore_errors=True)


def root() -> Path:
    """Where all worktrees of this machine lie: beside the store."""
    return worktrees_dir(resolve_paths())


async def prepare(work: StepWork) -> str:
    """The folder for a step that writes, made once. Raises StepFailed."""
    before = [*work.step.after, *(each for each in work.results if each not in work.step.after)]
    trees = Worktrees(root(), Path(work.folder), finished=work.finished)
    try:
        return str(await asyncio.to_thread(trees.prepare, work.run_id, work.step.id, before))
    except Conflict as error:
        raise StepFailed(f"{error}", "Retry one of the steps before it.", again=False) from None
    except (GitFailed, OSError) as error:
        raise StepFailed(f"There is no worktree for it: {error}", "See what the text says.") from None


def person_of(folder: Path) -> Path | None:
    """The person's folder that a worktree stands for; None for a folder that is none of ours. What says so lies beside
    the worktree, where no agent can write."""
    note = folder.with_name(f"{folder.name}.json")
    if not folder.is_relative_to(root()) or not note.is_file():
        return None
    return Path(json.loads(note.read_text())["folder"])


def _word(text: str) -> str:
    """A name as a part of a path and of a ref: copies of a step, `id/0`, and tries, `id~0`, are written otherwise."""
    word = text.replace("/", "+").replace("~", "=")
    plain = _PLAIN.fullmatch(word.replace("+", "").replace("=", "")) is not None
    if not plain or ".." in word or word.startswith((".", "-", "+", "=")) or word.endswith((".", ".lock", ".json")):
        raise StepFailed(f"{text!r} cannot be the name of a worktree.", again=False)
    return word


def _by_number(name: str) -> tuple[list[int], str]:
    """Copies in the order of their items, tries in the order they were begun."""
    numbers = [int(each) for each in re.findall(r"[+=](\d+)", name)]
    return numbers, name


def _of_index(line: bytes) -> bytes:
    """A line of ls-tree as update-index takes it."""
    head, path = line.split(b"\t", 1)
    mode, _, blob = head.split(b" ")
    return mode + b" " + blob + b"\t" + path + b"\0"


def _index(path: Path) -> Path:
    return path.with_name(f"{path.name}.index")


def _without_repositories(folder: Path) -> None:
    """Takes repositories away that an agent made inside: git would look into them, and obey them."""
    for above, folders, files in os.walk(folder, followlinks=False):
        for name in [each for each in (*folders, *files) if is_git(each)]:
            path = Path(above, name)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        folders[:] = [each for each in folders if not is_git(each)]


def lands(path: str, folder: Path) -> bool:
    """Whether a path can be put into the person's folder at all."""
    try:
        return bool(parts_of(path, folder))
    except OutOfReach:
        return False
