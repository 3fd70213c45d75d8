"""What a power cut leaves of a folder, and of a store in it; the benchmark cuts more often and in every task."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.power_model import Choice, Disk, Step

ROOT = Path(__file__).parents[2]
NOTHING = Choice("only what was synced", 0, 0.0, 0)
ALL = Choice("everything", 0, 1.0, 0)
HALF = Choice("scattered", 0, 0.5, 512)
HAVE_COMPILER = sys.platform == "linux" and shutil.which("cc")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    made.mkdir()
    (made / "old").write_bytes(b"before")
    return made


def number(path: Path) -> tuple[int, int]:
    return path.stat().st_dev, path.stat().st_ino


def left(disk: Disk, target: Path, choice: Choice, seed: int = 0) -> dict[str, bytes]:
    disk.leave(target, choice, random.Random(seed))  # noqa: S311
    return {path.name: path.read_bytes() for path in target.iterdir()}


def named(root: Path, name: str) -> bytes:
    return str(root.resolve() / name).encode()


def test_only_what_was_synced_is_safe(root: Path, tmp_path: Path) -> None:
    disk, file = Disk(root), number(root / "old")
    disk.take(Step("W", file, 0, b"BE"))
    disk.take(Step("S", file))
    disk.take(Step("W", file, 2, b"FORE"))
    assert left(disk, tmp_path / "a", NOTHING) == {"old": b"BEfore"}
    assert left(disk, tmp_path / "b", ALL) == {"old": b"BEFORE"}
    assert disk.content("old") == b"BEFORE"


def test_a_disk_that_lies_keeps_nothing(root: Path, tmp_path: Path) -> None:
    disk, file = Disk(root), number(root / "old")
    disk.take(Step("W", file, 0, b"BE"), syncs=False)
    disk.take(Step("S", file), syncs=False)
    assert left(disk, tmp_path / "a", NOTHING) == {"old": b"before"}


def test_a_synced_file_without_a_synced_name_is_lost(root: Path, tmp_path: Path) -> None:
    disk, new = Disk(root), (1, 1)
    for step in (Step("C", new, 0, named(root, "new")), Step("W", new, 0, b"x"), Step("S", new)):
        disk.take(step)
    assert left(disk, tmp_path / "a", NOTHING) == {"old": b"before"}
    disk.take(Step("S", number(root), 1))
    assert left(disk, tmp_path / "b", NOTHING) == {"old": b"before", "new": b"x"}


def test_a_removed_file_may_be_back_until_its_folder_is_synced(root: Path, tmp_path: Path) -> None:
    disk = Disk(root)
    disk.take(Step("U", data=named(root, "old")))
    assert left(disk, tmp_path / "a", NOTHING) == {"old": b"before"}
    assert left(disk, tmp_path / "b", ALL) == {}
    disk.take(Step("S", number(root), 1))
    assert left(disk, tmp_path / "c", NOTHING) == {}


def test_a_rename_over_a_file_leaves_one_of_the_two(root: Path, tmp_path: Path) -> None:
    disk, new = Disk(root), (1, 1)
    for step in (Step("C", new, 0, named(root, "new")), Step("W", new, 0, b"after"), Step("S", new)):
        disk.take(step)
    disk.take(Step("R", (0, 0), 0, named(root, "new"), named(root, "old")))
    found = [left(disk, tmp_path / str(seed), HALF, seed) for seed in range(30)]
    assert {each["old"] for each in found} == {b"before", b"after"}
    assert all("new" not in each or each["old"] == b"before" for each in found)


def test_two_folders_change_places_together(root: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (root / name).mkdir()
        (root / name / name).touch()
    disk = Disk(root)
    disk.take(Step("R", (0, 1), 0, named(root, "one"), named(root, "two")))
    for seed in range(20):
        disk.leave(tmp_path / str(seed), HALF, random.Random(seed))  # noqa: S311
        places = {path.parent.name: path.name for path in (tmp_path / str(seed)).glob("*/*")}
        assert places in ({"one": "one", "two": "two"}, {"one": "two", "two": "one"})


def test_writes_tear_between_sectors_and_land_in_any_order(root: Path, tmp_path: Path) -> None:
    disk, file = Disk(root), number(root / "old")
    disk.take(Step("W", file, 0, b"a" * 1024))
    disk.take(Step("W", file, 1024, b"b" * 512))
    found = {left(disk, tmp_path / str(seed), HALF, seed)["old"].ljust(1536, b"-") for seed in range(60)}
    kept = {tuple(each[at : at + 512] in (b"a" * 512, b"b" * 512) for at in (0, 512, 1024)) for each in found}
    assert (False, False, True) in kept, "the later write alone"
    assert (True, False, False) in kept, "half of the first write"


def test_in_order_keeps_what_came_before(root: Path, tmp_path: Path) -> None:
    disk, file = Disk(root), number(root / "old")
    disk.take(Step("W", file, 0, b"1"))
    disk.take(Step("W", file, 1, b"2"))
    assert left(disk, tmp_path / "a", Choice("in order", 1, 0.0, 0)) == {"old": b"1efore"}


def test_what_cannot_be_recorded_voids_the_run(root: Path) -> None:
    with pytest.raises(ValueError, match="cannot be recorded: mmap"):
        Disk(root).take(Step("X", data=b"mmap"))


@pytest.mark.skipif(not HAVE_COMPILER, reason="needs Linux and cc")
def test_cutting_the_power_while_a_store_is_made_loses_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.power", "--only", "create", "--cuts", "5"]
    ended = subprocess.run(
        [*command, "--folder", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert " 0 of 5 states lost" in ended.stdout
