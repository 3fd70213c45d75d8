"""Everything that can go wrong with the store.

StoreError
├── Locked               no slot opened; no typed secret would help
│   └── NeedsPassphrase  no slot opened; a person can type one of `kinds`
├── WrongKey             a secret was given and opens nothing
│   └── WrongPassphrase
├── KeysTampered         keys.json was changed by something that does not hold the key
├── KeysMissing          a database without its keys.json
├── Damaged              the database cannot be read
├── NotEncrypted         the database is a plain SQLite file
├── SchemaTooNew         written by a newer version
├── StoreFull            the disk takes no more; nothing already stored is lost
├── StoreReadOnly        the files cannot be written
├── StoreGone            the files are no longer where they were: a folder that vanished, a disk that was taken out
├── NetworkFolder        the folder lies on a network file system, where two machines would destroy the store
├── StoreBusy            another process held the store too long
├── StoreClosed          used after close()
├── NotFound             no such store, session, message or letter
├── KeyUnavailable       the OS keyring or the ssh-agent cannot be used as a slot
├── WrongState           what was asked does not fit the state of the message or letter
├── BadBackup            a file that is no sound backup of a store
└── BadValue             a value the store does not take
"""

from __future__ import annotations

from pathlib import Path


class StoreError(Exception):
    """What went wrong, where (`path`) and what a person can do about it (`hint`)."""

    def __init__(self, message: str, *, path: Path | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.hint = hint


class Locked(StoreError):
    """No key slot could be opened with what this machine has."""


class NeedsPassphrase(Locked):
    """A person has to type a secret: `kinds` names which of "passphrase" and "recovery" this store accepts."""

    def __init__(self, message: str, *, path: Path | None = None, hint: str = "", kinds: tuple[str, ...] = ()) -> None:
        super().__init__(message, path=path, hint=hint)
        self.kinds = kinds


class WrongKey(StoreError):
    """A key was given and does not fit."""


class WrongPassphrase(WrongKey):
    """A passphrase was given and does not fit."""


class KeysTampered(StoreError):
    """The key file is not what the holder of the key wrote."""


class KeysMissing(StoreError):
    """There is a database, but the key file that opens it is gone."""


class Damaged(StoreError):
    """The database cannot be read."""


class NotEncrypted(StoreError):
    """The database is a plain SQLite file."""


class SchemaTooNew(StoreError):
    """A newer version wrote this store."""


class StoreFull(StoreError):
    """The disk takes no more. What was stored before stays; later writes work once there is space."""

    def __init__(self, message: str, *, path: Path | None = None, hint: str = "", too_large: bool = False) -> None:
        super().__init__(message, path=path, hint=hint)
        self.too_large = too_large
        """True when it is a file that may not grow: other files that are deleted change nothing."""


class StoreReadOnly(StoreError):
    """The store's files or folder cannot be written."""


class StoreGone(StoreError):
    """The store's files are no longer where they were. Writing goes on once they are back."""


class NetworkFolder(StoreError):
    """The store's folder lies on a file system that other machines share."""


class StoreBusy(StoreError):
    """Another process kept the store locked for longer than we wait."""


class StoreClosed(StoreError):
    """The store was used after it was closed."""

    def __init__(self, message: str, *, path: Path | None = None, hint: str = "Unlock or open it again.") -> None:
        super().__init__(message, path=path, hint=hint)


class NotFound(StoreError):
    """There is no such thing in the store."""


class KeyUnavailable(StoreError):
    """The OS keyring or the ssh-agent does not do what a key slot needs."""


class WrongState(StoreError):
    """What was asked does not fit the state the message or letter is in."""


class BadBackup(StoreError):
    """The file is no backup of ours, is not all of it, or was changed."""


class BadValue(StoreError):
    """The value is too long or is no valid text."""
