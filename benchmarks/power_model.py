"""What a power cut may leave of a folder, made from a record of what a process did to it.

Data is safe once its file was synced, and a name once its folder was. Of everything else any part may be on the disk:
writes land in any order, not at all, or torn between sectors; a file may have grown without its data; names of one
folder come and go in order, those of different folders independently. A removed or replaced file may be back.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

HEAD = struct.Struct("<c4Q2I")
SECTOR, PAGE = 512, 4096
How = Literal["only what was synced", "everything", "in order", "scattered"]
HOWS: tuple[How, ...] = ("only what was synced", "everything", "in order", "scattered")
WEIGHTS = (2, 1, 3, 6)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing the process did."""

    kind: str
    file: tuple[int, int] = (0, 0)
    offset: int = 0
    data: bytes = b""
    other: bytes = b""


def read_steps(trace: bytes) -> Iterator[Step]:
    """The steps of a record that `power_shim.c` wrote."""
    at = 0
    while at < len(trace):
        kind, device, number, offset, _, first, second = HEAD.unpack_from(trace, at)
        at += HEAD.size
        one, two = trace[at : at + first], trace[at + first : at + first + second]
        at += first + second
        yield Step(kind.decode(), (device, number), offset, one, two)


@dataclass(frozen=True, slots=True)
class Change:
    """Something done to the content of a file that may not be on the disk yet; data None: cut at the offset."""

    at: int
    offset: int
    data: bytes | None


@dataclass(slots=True, eq=False)
class Node:
    """A file or a folder: what is safe of it, and what is not yet."""

    folder: bool = False
    safe: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)
    names: dict[str, Node] = field(default_factory=dict)
    """Of a folder, as the process sees it."""
    safe_names: dict[str, Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Renaming:
    """Names that changed together: (folder, name, what it names from now on, if anything)."""

    at: int
    names: tuple[tuple[Node, str, Node | None], ...]

    @property
    def folders(self) -> list[Node]:
        return [folder for folder, _, _ in self.names]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of the unsafe things are on the disk."""

    how: How
    until: int
    """For "in order": the first step that is not."""
    likely: float
    grain: int
    """Bytes that are written together; 0: whole writes."""

    def kept(self, at: int, chance: random.Random) -> bool:
        match self.how:
            case "only what was synced":
                return False
            case "everything":
                return True
            case "in order":
                return at < self.until
            case "scattered":
                return chance.random() < self.likely


class Disk:
    """A folder, step by step."""

    def __init__(self, root: Path) -> None:
        """Begin with what lies in `root` now, all of it safe."""
        self._prefix = str(root.resolve())
        self._known: dict[tuple[int, int], Node] = {}
        self.root = self._scan(root)
        self._renamings: list[Renaming] = []
        self.done = 0

    def _scan(self, path: Path) -> Node:
        about = path.stat()
        node = self._known[about.st_dev, about.st_ino] = Node(folder=path.is_dir())
        if node.folder:
            node.names = {each.name: self._scan(each) for each in path.iterdir()}
            node.safe_names = dict(node.names)
        else:
            node.safe = bytearray(path.read_bytes())
        return node

    def take(self, step: Step, *, syncs: bool = True) -> None:
        """Do one step. With `syncs` false nothing ever becomes safe, as on a disk that lies."""
        match step.kind:
            case "W":
                self._known[step.file].pending.append(Change(self.done, step.offset, step.data))
            case "T":
                self._known[step.file].pending.append(Change(self.done, step.offset, None))
            case "S" if syncs:
                self._sync(self._known[step.file])
            case "S":
                pass
            case "C":
                node = self._known[step.file] = Node(folder=bool(step.offset))
                folder, name = self._place(step.data)
                self._rename((folder, name, node))
            case "R":
                folder, name = self._place(step.data)
                other, new_name = self._place(step.other)
                replaced = other.names[new_name] if step.file[1] else None
                self._rename((other, new_name, folder.names[name]), (folder, name, replaced))
            case "L":
                folder, name = self._place(step.data)
                other, new_name = self._place(step.other)
                self._rename((other, new_name, folder.names[name]))
            case "U":
                folder, name = self._place(step.data)
                self._rename((folder, name, None))
            case _:
                raise ValueError(f"the process did what cannot be recorded: {step.data.decode()}")
        self.done += 1

    def _place(self, path: bytes) -> tuple[Node, str]:
        *folders, name = path.decode()[len(self._prefix) + 1 :].split("/")
        node = self.root
        for each in folders:
            node = node.names[each]
        return node, name

    def _rename(self, *names: tuple[Node, str, Node | None]) -> None:
        for folder, name, node in names:
            _set(folder.names, name, node)
        self._renamings.append(Renaming(self.done, names))

    def _sync(self, node: Node) -> None:
        for change in node.pending:
            _write(node.safe, change.offset, change.data)
        node.pending.clear()
        if not node.folder:
            return
        # A name that is safe takes along what came before it in every folder it touches.
        reached, later = {id(node)}, []
        for renaming in reversed(self._renamings):
            if reached.isdisjoint(map(id, renaming.folders)):
                later.append(renaming)
            else:
                reached |= set(map(id, renaming.folders))
        left = set(map(id, later))
        for renaming in self._renamings:
            if id(renaming) not in left:
                for folder, name, named in renaming.names:
                    _set(folder.safe_names, name, named)
        self._renamings = later[::-1]

    # -- what a cut leaves

    def choose(self, chance: random.Random) -> Choice:
        """Which of the unsafe things shall be there, at random."""
        (how,) = chance.choices(HOWS, WEIGHTS)
        oldest = min((change.at for node in self._unsafe() for change in node.pending), default=self.done)
        return Choice(
            how,
            chance.randint(oldest, self.done),
            chance.choice((0.1, 0.5, 0.9)),
            chance.choice((0, 0, PAGE, SECTOR)),
        )

    def _unsafe(self) -> Iterator[Node]:
        return (node for node in self._known.values() if node.pending)

    def leave(self, target: Path, choice: Choice, chance: random.Random) -> None:
        """Write what is left to the new folder `target`."""
        names: dict[int, dict[str, Node]] = {}
        blocked: set[int] = set()
        for renaming in self._renamings:
            folders = set(map(id, renaming.folders))
            if folders & blocked or not choice.kept(renaming.at, chance):
                blocked |= folders
                continue
            for folder, name, node in renaming.names:
                _set(names.setdefault(id(folder), dict(folder.safe_names)), name, node)
        self._leave(self.root, target, names, choice, chance)

    def _leave(
        self, folder: Node, target: Path, names: dict[int, dict[str, Node]], choice: Choice, chance: random.Random
    ) -> None:
        target.mkdir(mode=0o700)
        for name, node in names.get(id(folder), folder.safe_names).items():
            if node.folder:
                self._leave(node, target / name, names, choice, chance)
                continue
            (target / name).write_bytes(self._content(node, name, choice, chance))
            (target / name).chmod(0o600)

    def _content(self, node: Node, name: str, choice: Choice, chance: random.Random) -> bytes:
        if name.endswith("-shm"):
            # It is written through memory, which is no step of ours: anything may be in it.
            return chance.choice((b"", bytes(32768), chance.randbytes(32768)))
        content = bytearray(node.safe)
        for change in node.pending:
            _land(content, change, choice, chance)
        return bytes(content)

    def content(self, name: str) -> bytes:
        """The content of a file in the root as the process sees it."""
        node = self.root.names[name]
        content = bytearray(node.safe)
        for change in node.pending:
            _write(content, change.offset, change.data)
        return bytes(content)


def _set(names: dict[str, Node], name: str, node: Node | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def _write(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        data = b""
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _land(content: bytearray, change: Change, choice: Choice, chance: random.Random) -> None:
    """Let as much of a change be on the disk as was chosen."""
    data, grain = change.data, choice.grain
    if data is None or not grain or choice.how != "scattered":
        if choice.kept(change.at, chance):
            _write(content, change.offset, data)
        elif data is not None and choice.how == "scattered" and chance.random() < 0.2:
            _grow(content, change.offset + len(data))
        return
    at = change.offset
    end = at + len(data)
    while at < end:
        until = min(end, (at // grain + 1) * grain)
        if choice.kept(change.at, chance):
            _write(content, at, data[at - change.offset : until - change.offset])
        at = until


def _grow(content: bytearray, size: int) -> None:
    """Let a file have its new size without its new data."""
    if len(content) < size:
        content.extend(bytes(size - len(content)))
