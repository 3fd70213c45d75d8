"""What agents made goes into the person's folder: shown as a whole, allowed by a person, all of it or nothing.

Merges come one after the other. Where the person changed a file meanwhile, both changes are joined line by line; where
that does not go, nothing is touched. What is being put there is written down first, so that after a crash the rest
follows, and afterwards it can be taken back.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sophia_core.gate.asking import on_behalf, request
from sophia_core.sanitize import one_line, sanitize
from sophia_core.swarm.ports import StepFailed, StepHost, StepResult, StepWork
from sophia_core.swarm.tools.changing import warning
from sophia_core.swarm.tools.confined import Confined, OutOfReach
from sophia_core.swarm.tools.git import Git, GitFailed
from sophia_core.swarm.tools.worktrees import Conflict, Made, Worktrees, root

if TYPE_CHECKING:
    from sophia_core.swarm.engine.runners import Means

LONGEST_SHOWN: Final = 60_000
_NOTHING: Final = "0" * 40
_PLAIN: Final = {"100644": 0o644, "100755": 0o755, "000000": 0o644}
"""The modes of plain files; links and repositories are not taken over."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A file as it was found in the person's folder and as it is put there; blobs of ours, none where there is none."""

    path: str
    before: str
    after: str
    mode: int = 0o644


class Landing:
    """Puts what was made into the folder. All of it blocks."""

    def __init__(self, trees: Worktrees) -> None:
        self._git: Git = trees.git
        self._trees, self._files = trees, Confined(trees.folder)
        self._notes = trees.git.repo.with_name("landed")

    def land(self, base: str, commit: str) -> tuple[str, ...]:
        """Puts it there, all or nothing; doing it again is the same. Raises Conflict, OutOfReach, GitFailed."""
        with self._trees.alone():
            note = self._notes / f"{commit}.json"
            placed = self._read(note) if note.exists() else self._planned(base, commit)
            self._write(note, placed)
            self._put(placed)
        return tuple(each.path for each in placed)

    def take_back(self, commit: str) -> tuple[str, ...]:
        """Makes the files what they were before, unless one is another by now. Raises Conflict, OutOfReach."""
        with self._trees.alone():
            note = self._notes / f"{commit}.json"
            if not note.exists():
                raise OutOfReach("Nothing of that was put into this folder.")
            placed = self._read(note)
            back = [Placed(each.path, each.after, each.before, each.mode) for each in placed]
            changed = [each.path for each in back if self._now(each.path) not in (each.before, each.after)]
            if changed:
                raise Conflict(changed)
            self._put(back)
            note.unlink()
        return tuple(each.path for each in placed)

    def _planned(self, base: str, commit: str) -> list[Placed]:
        """What each file will be; nothing is written yet. Raises Conflict, OutOfReach."""
        found, bad = [], []
        for mode, old, new, path in self._changed(base, commit):
            if mode not in _PLAIN:
                raise OutOfReach(f"{one_line(path)} is a link, or a repository of its own, and is not taken over.")
            now = self._now(path)
            after = new if now in (old, new) else self._joined(old, now, new)
            if after is None:
                bad.append(path)
            else:
                found.append(Placed(path, now, after, _PLAIN[mode]))
        if bad:
            raise Conflict(bad)
        return found

    def _changed(self, base: str, commit: str) -> list[tuple[str, str, str, str]]:
        """New mode, old blob, new blob and path of every file that is another."""
        said = self._git.run("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", base, commit)
        fields = said.decode("utf-8", "surrogateescape").split("\0")[:-1]
        found = []
        for head, path in zip(fields[::2], fields[1::2], strict=True):
            old_mode, mode, old, new, _ = head.removeprefix(":").split(" ")
            found.append((old_mode if old_mode not in _PLAIN else mode, old, new, path))
        return found

    def _now(self, path: str) -> str:
        """The blob of what lies in the person's folder. Raises OutOfReach for what is no plain file."""
        content = self._files.read_or_none(path)
        return _NOTHING if content is None else self._git.keep(content)

    def _joined(self, old: str, now: str, new: str) -> str | None:
        """Both changes, line by line; None where they do not go together."""
        if _NOTHING in (old, now, new):
            return None
        with tempfile.TemporaryDirectory(prefix="sophia-") as folder:
            paths = [Path(folder, name) for name in ("yours", "before", "theirs")]
            for path, blob in zip(paths, (now, old, new), strict=True):
                path.write_bytes(self._git.blob(blob))
            code, said, _ = self._git.tried("merge-file", "-p", "-q", *(str(each) for each in paths))
        return self._git.keep(said) if code == 0 else None

    def _put(self, placed: Sequence[Placed]) -> None:
        for each in placed:
            now = self._now(each.path)
            if now == each.after:
                continue
            if now != each.before:
                raise Conflict([each.path])
            if each.after == _NOTHING:
                self._files.remove(each.path)
            else:
                mode = each.mode if now == _NOTHING or each.mode == 0o755 else None
                self._files.write(each.path, self._git.blob(each.after), mode=mode)

    def _write(self, note: Path, placed: Sequence[Placed]) -> None:
        from sophia_core.config_file import write_atomically

        write_atomically(note, json.dumps([asdict(each) for each in placed]))

    def _read(self, note: Path) -> list[Placed]:
        return [Placed(**each) for each in json.loads(note.read_text())]


class MergeRunner:
    """Does the steps of the kind `merge`."""

    def __init__(self, place: Path) -> None:
        """`place` is where all worktrees lie."""
        self._place = place

    async def run(self, work: StepWork, host: StepHost) -> StepResult:
        """What the steps before made, in the person's folder. Raises StepFailed."""
        before = [*work.step.after, *(each for each in work.results if each not in work.step.after)]

        async def collected() -> dict[str, Any]:
            return await asyncio.to_thread(self._collected, work, before)

        made = await host.once("collect", collected)
        if made.get("conflict"):
            await self._clash(host, made["conflict"])
        found = Made(**{**made, "files": tuple(made["files"])})
        if not found.files:
            return StepResult("Nothing was changed.")
        await host.tell("diff.proposed", _told(found))
        await self._allowed(work, host, found)
        return await self._landed(work, host, found)

    def _trees(self, work: StepWork) -> Worktrees:
        return Worktrees(self._place, Path(work.folder), finished=work.finished)

    def _collected(self, work: StepWork, before: Sequence[str]) -> dict[str, Any]:
        try:
            return asdict(self._trees(work).made(work.run_id, before))
        except Conflict as error:
            return {"conflict": list(error.files)}
        except (GitFailed, OSError) as error:
            raise StepFailed(f"what was made cannot be collected: {error}") from None

    async def _allowed(self, work: StepWork, host: StepHost, made: Made) -> None:
        """A person has to say so, whatever the rules are. Raises StepFailed."""
        asked = request(
            "land",
            "write",
            f"Put changes to {len(made.files)} file{'s' * (len(made.files) > 1)} into your folder:"
            f" {', '.join(made.files[:6])}{' …' * (len(made.files) > 6)}",
            diff=made.diff,
            why=warning(made.files),
            arguments={"commit": made.commit, "base": made.base},
            folder=work.folder,
            paths=made.files,
        )
        asked = on_behalf(asked, "run", work.run_id, step=work.step.id, call=str(work.attempt))
        decision = await host.pass_(asked)
        if not decision.allowed:
            await host.tell("diff.dropped", {"by": decision.by})
            note = f": {one_line(decision.note)}" if decision.note else ""
            raise StepFailed(f"the changes were refused{note}", "They stay in their worktrees.", again=False)

    async def _landed(self, work: StepWork, host: StepHost, made: Made) -> StepResult:
        async def land() -> dict[str, Any]:
            return await asyncio.to_thread(self._put, work, made)

        done: Mapping[str, Any] = await host.once("land", land)
        if done.get("conflict"):
            await self._clash(host, done["conflict"])
        await host.tell("diff.applied", {"commit": made.commit, "files": list(done["files"])})
        names = ", ".join(one_line(each, 80) for each in done["files"][:20])
        return StepResult(f"Changed in your folder: {names}.")

    def _put(self, work: StepWork, made: Made) -> dict[str, Any]:
        try:
            return {"files": list(Landing(self._trees(work)).land(made.base, made.commit))}
        except Conflict as error:
            return {"conflict": list(error.files)}
        except (OutOfReach, GitFailed, OSError) as error:
            raise StepFailed(f"nothing was put into your folder: {error}", again=False) from None

    async def _clash(self, host: StepHost, files: Sequence[str]) -> None:
        shown = [one_line(each, 200) for each in files]
        await host.tell("diff.conflict", {"files": shown})
        hint = "Nothing was touched. Retry the step that made them, or this one when your files are settled."
        raise StepFailed(f"changes to {', '.join(shown[:5])} do not go together", hint, again=False)


def _told(made: Made) -> dict[str, Any]:
    return {
        "branch": made.commit[:12],
        "base": made.base[:12],
        "files": [one_line(each, 200) for each in made.files[:200]],
        "added": made.added,
        "removed": made.removed,
        "diff": sanitize(made.diff[:LONGEST_SHOWN]),
    }


def merge_runner(means: Means) -> MergeRunner:
    """Who does merge steps in a worker."""
    return MergeRunner(root())
