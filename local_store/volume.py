"""The file system a store lies on: one that several machines share would destroy it, and one may be full or read-only.

The log of the database rests on memory that all its processes share. Processes on two machines share none, so each
would overwrite what the other wrote, and both would believe all is well.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local_store.errors import NetworkFolder

_NETWORK = (
    "9p acfs afpfs afs beegfs ceph cifs coda davfs gfs gfs2 glusterfs gpfs lustre ncpfs nfs nfs3 nfs4 ocfs2 orangefs"
    " pvfs2 smb3 smbfs vboxsf vmhgfs prl_fs webdav"
)
NETWORK: Final = frozenset(_NETWORK.split())
_LOCAL_FUSE = (
    "bindfs cryfs encfs exfat exfat-fuse ext4 fuse-ext2 fuse-overlayfs gocryptfs lxcfs mergerfs ntfs ntfs-3g"
    " securefs snapfuse squashfuse unionfs unionfs-fuse vfat zfs zfs-fuse"
)
LOCAL_FUSE: Final = frozenset(_LOCAL_FUSE.split())
"""File systems of user space that keep their data on this machine; any other may be anywhere."""
ESCAPE: Final = re.compile(r"\\([0-7]{3})")
HINT: Final = (
    "Set SOPHIA_HOME to a folder on a disk of this machine. If only this machine ever uses that folder, insist with"
    " `store.allow_network_folder = true` in the settings."
)


@dataclass(frozen=True, slots=True)
class Volume:
    """Where a folder lies."""

    kind: str
    """The name of the file system; empty where the system does not tell."""
    mounted_at: str

    @property
    def network(self) -> bool:
        """True when other machines may write to it too."""
        if self.kind.startswith("fuse."):
            return self.kind.removeprefix("fuse.") not in LOCAL_FUSE
        return self.kind in NETWORK


UNKNOWN: Final = Volume("", "")


def look(path: Path, mounts: Path) -> Volume:
    """Return the volume of `path`, whether or not it exists yet. Never raises: where nothing tells, it is UNKNOWN."""
    try:
        place = os.path.realpath(path)
        lines = mounts.read_bytes().decode("utf-8", "surrogateescape").splitlines()
    except (OSError, ValueError):
        return UNKNOWN
    found = UNKNOWN
    for volume in _volumes(lines):
        # A later line covers an earlier one with the same name.
        if _holds(volume.mounted_at, place) and len(volume.mounted_at) >= len(found.mounted_at):
            found = volume
    return found


def _volumes(lines: list[str]) -> Iterator[Volume]:
    for line in lines:
        before, separator, after = line.partition(" - ")
        fields, about = before.split(" "), after.split(" ")
        if separator and len(fields) > 4:
            yield Volume(about[0].lower(), ESCAPE.sub(lambda found: chr(int(found[1], 8)), fields[4]))


def _holds(folder: str, place: str) -> bool:
    return place == folder or place.startswith(folder.rstrip("/") + "/")


def refuse_network(path: Path, mounts: Path) -> None:
    """Raise NetworkFolder when other machines may write where `path` is."""
    volume = look(path, mounts)
    if volume.network:
        message = f"{str(path)!r} lies on a network file system ({volume.kind}), where a database is not safe"
        raise NetworkFolder(message, path=path, hint=HINT)


def why_full(number: int | None, folder: Path) -> tuple[str, str]:
    """Return what there is no room for, and the next step, after an operation in `folder` failed with `number`."""
    if number == errno.EDQUOT:
        return "your quota of this disk is used up", "Delete files of yours there, or ask for a larger quota."
    if number == errno.EFBIG:
        return "a file may not grow further", "Raise the limit on file sizes (`ulimit -f`), or that of the disk."
    if _no_more_files(folder):
        return "the disk can hold no more files", "Delete files that are not needed; many small ones count most."
    return "the disk is full", "Free some disk space."


def _no_more_files(folder: Path) -> bool:
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_files > 0 and found.f_favail == 0 and found.f_bavail > 0


def free_bytes(folder: Path) -> int:
    """Return how many bytes an ordinary user can still write there; 0 when nothing tells."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize
