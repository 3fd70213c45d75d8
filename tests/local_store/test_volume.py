"""A store is not opened where two machines would write over each other, and a full disk is said to be what it is."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from local_store import NetworkFolder, StorePaths, volume
from local_store.types import KeyPolicy
from local_store.volume import look

from .conftest import CHEAP, OpenStore

LINE = "{number} 1 0:{number} / {place} rw,relatime shared:1 - {kind} {source} rw\n"


def mounts(folder: Path, *places: tuple[str, str]) -> Path:
    file = folder / "mountinfo"
    lines = [LINE.format(number=n, place=place, kind=kind, source="x") for n, (place, kind) in enumerate(places)]
    file.write_text("".join(lines), "utf-8")
    return file


@pytest.mark.parametrize(
    ("kind", "network"),
    [
        ("ext4", False),
        ("overlay", False),
        ("tmpfs", False),
        ("virtiofs", False),
        ("fuseblk", False),
        ("fuse.gocryptfs", False),
        ("nfs4", True),
        ("NFS", True),
        ("cifs", True),
        ("lustre", True),
        ("9p", True),
        ("fuse.sshfs", True),
        ("fuse.something-new", True),
    ],
)
def test_what_may_be_anywhere_counts_as_network(tmp_path: Path, kind: str, network: bool) -> None:
    file = mounts(tmp_path, ("/", "ext4" if network else "nfs"), ("/home", kind))
    assert look(Path("/home/a/store"), file).network is network


def test_the_nearest_and_latest_mount_counts(tmp_path: Path) -> None:
    file = mounts(
        tmp_path, ("/", "ext4"), ("/srv", "nfs"), ("/srv/local\\040disk", "xfs"), ("/srv2", "cifs"), ("/srv", "ext4")
    )
    assert look(Path("/srv/local disk/x"), file).kind == "xfs"
    assert look(Path("/srv/other"), file).kind == "ext4"
    assert look(Path("/srv22"), file).kind == "ext4"


def test_a_link_is_followed_to_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    file = mounts(tmp_path, ("/", "ext4"), (str(tmp_path / "far"), "nfs"))
    assert look(tmp_path / "near" / "store", file).network


@pytest.mark.parametrize("text", ["", "junk\n", "1 2 3 - nfs\n", "\x00\xff - \n", "1 2 3 4 - \n"])
def test_a_system_that_tells_nothing_refuses_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mountinfo"
    file.write_bytes(text.encode("latin-1"))
    assert not look(tmp_path, file).network
    assert not look(tmp_path, tmp_path / "missing").network


async def test_a_store_on_a_network_disk_is_refused_until_somebody_insists(
    opening: OpenStore, paths: StorePaths, tmp_path: Path
) -> None:
    file = mounts(tmp_path, ("/", "nfs4"))
    with pytest.raises(NetworkFolder, match="nfs4") as refused:
        await opening(policy=KeyPolicy(argon2=CHEAP.argon2, mounts=file))
    assert "allow_network_folder" in refused.value.hint and not paths.root.exists()
    store = await opening(policy=KeyPolicy(argon2=CHEAP.argon2, mounts=file, allow_network_folder=True))
    assert store.created


def test_each_kind_of_full_has_its_own_next_step(tmp_path: Path) -> None:
    said = {volume.why_full(number, tmp_path) for number in (errno.EDQUOT, errno.EFBIG, errno.ENOSPC)}
    assert len(said) == 3 and all(why and hint for why, hint in said)
