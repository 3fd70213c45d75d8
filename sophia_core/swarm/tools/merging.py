"""What agents made goes into the person's folder: shown as a whole, allowed by a person, all of it or nothing.

Merges come one after the other. Where the person changed a file meanwhile, both changes are joined line by line; where
that does not go, nothing is touched. What is being put there is written down first, so that after a crash the rest
follows, and afterwards it can be taken back.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from sophia_core.sanitize import one_line
from sophia_core.swarm.tools.confined import Confined, OutOfReach
from sophia_core.swarm.tools.diffs import diff_of
from sophia_core.swarm.tools.git import Git, blob_id
from sophia_core.swarm.tools.worktrees import Conflict, Worktrees

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

    def land(
        self, base: str, commit: str, *, seen: Mapping[str, str] = MappingProxyType({}), leave: Sequence[str] = ()
    ) -> tuple[str, ...]:
        """Puts it there, all or nothing; doing it again is the same. `seen` are blobs of the person's that were known
        when it was made, so that it takes their place; `leave` are files that stay. Raises Conflict, OutOfReach,
        GitFailed."""
        with self._trees.alone():
            note = self._notes / f"{commit}.json"
            placed = self._read(note) if note.exists() else []
            if not placed or seen or leave:
                placed = self._planned(base, commit, seen, leave)
            self._write(note, placed)
            self._put(placed)
        return tuple(each.path for each in placed)

    def shown(self, files: Sequence[str], commit: str) -> str:
        """What would become of these files as they are now, for people."""
        with self._trees.alone():
            return "".join(diff_of(each, *self._texts(each, commit)) for each in files)

    def _texts(self, path: str, commit: str) -> tuple[str | None, str | None]:
        code, after, _ = self._git.tried("cat-file", "blob", f"{commit}:{path}")
        now = self._files.read_or_none(path)
        return (None if now is None else now.decode("utf-8", "replace")), (
            after.decode("utf-8", "replace") if code == 0 else None
        )

    def _marked(self, base: str, commit: str, path: str) -> bytes | None:
        """The file with both changes, between marks where they do not go together; None where one is no file."""
        found = {each: (old, new) for _, old, new, each in self._changed(base, commit)}
        (old, new), now = found.get(path, (_NOTHING, _NOTHING)), self._now(path, keep=True)
        return None if _NOTHING in (old, now, new) else self._both(old, now, new)[1]

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

    def _planned(self, base: str, commit: str, seen: Mapping[str, str], leave: Sequence[str]) -> list[Placed]:
        """What each file will be; nothing is written yet. Raises Conflict, OutOfReach."""
        found, bad = list[Placed](), dict[str, str]()
        for mode, old, new, path in self._changed(base, commit):
            if mode not in _PLAIN:
                raise OutOfReach(f"{one_line(path)} is a link, or a repository of its own, and is not taken over.")
            if path in leave:
                continue
            now, old = self._now(path), seen.get(path, old)
            if now not in (old, new):
                now = self._now(path, keep=True)
            after = new if now in (old, new) else self._joined(old, now, new)
            if after is None:
                bad[path] = now
            else:
                found.append(Placed(path, now, after, _PLAIN[mode]))
        if bad:
            raise Conflict(list(bad), now=bad)
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

    def _now(self, path: str, *, keep: bool = False) -> str:
        """The blob of what lies in the person's folder. Raises OutOfReach for what is no plain file."""
        content = self._files.read_or_none(path)
        if content is None:
            return _NOTHING
        return self._git.keep(content) if keep else blob_id(content)

    def _joined(self, old: str, now: str, new: str) -> str | None:
        """Both changes, line by line; None where they do not go together."""
        if _NOTHING in (old, now, new):
            return None
        code, said = self._both(old, now, new)
        return self._git.keep(said) if code == 0 else None

    def _both(self, old: str, now: str, new: str) -> tuple[int, bytes]:
        """Whether they go together, as git says it, and both in one."""
        with tempfile.TemporaryDirectory(prefix="sophia-") as folder:
            paths = [Path(folder, name) for name in ("yours", "before", "theirs")]
            for path, blob in zip(paths, (now, old, new), strict=True):
                path.write_bytes(self._git.blob(blob))
            code, said, _ = self._git.tried("merge-file", "-p", "-q", *(str(each) for each in paths))
        return code, said

    def _put(self, placed: Sequence[Placed]) -> None:
        for each in placed:
            now = self._now(each.path)
            if now == each.after:
                continue
            if now != each.before:
                raise Conflict([each.path], now={each.path: self._now(each.path, keep=True)})
            if each.after == _NOTHING:
                self._files.remove(each.path)
            else:
                mode = each.mode if now == _NOTHING or each.mode == 0o755 else None
                self._files.write(each.path, self._git.blob(each.after), mode=mode)

    def known(self, run_id: str) -> dict[str, str]:
        """The blobs of the person's files that steps of this run were shown as what they have to go together with."""
        note = self._trees.clashes(run_id)
        return dict(json.loads(note.read_text())) if note.exists() else {}

    def show(self, run_id: str, base: str, commit: str, now: Mapping[str, str], copy: str) -> None:
        """Puts files with both changes into a worktree, and remembers what of the person's is in them."""
        with self._trees.alone():
            tree = Confined(self._trees.place(run_id, copy))
            for path in now:
                if (both := self._marked(base, commit, path)) is not None:
                    tree.write(path, both)
            self._write_text(self._trees.clashes(run_id), json.dumps({**self.known(run_id), **now}))

    def _write(self, note: Path, placed: Sequence[Placed]) -> None:
        self._write_text(note, json.dumps([asdict(each) for each in placed]))

    def _write_text(self, note: Path, text: str) -> None:
        from sophia_core.config_file import write_atomically

        write_atomically(note, text)

    def _read(self, note: Path) -> list[Placed]:
        return [Placed(**each) for each in json.loads(note.read_text())]
