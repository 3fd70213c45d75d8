"""The encrypted local store: what people wrote survives here, and nobody without a key reads it.

Importing this package is cheap: the engine, the cryptography and the OS keyring are imported when a store is opened.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own would cost more than everything else here

if TYPE_CHECKING:
    from local_store.errors import (
        BadBackup,
        BadValue,
        Damaged,
        KeysMissing,
        KeysTampered,
        KeyUnavailable,
        Locked,
        NeedsPassphrase,
        NetworkFolder,
        NotEncrypted,
        NotFound,
        SchemaTooNew,
        StoreBusy,
        StoreClosed,
        StoreError,
        StoreFull,
        StoreGone,
        StoreReadOnly,
        WrongKey,
        WrongPassphrase,
        WrongState,
    )
    from local_store.ids import new_id
    from local_store.store import Store
    from local_store.types import (
        AgentKey,
        Argon2Cost,
        AuditEntry,
        AuditReport,
        Blob,
        Branch,
        Changes,
        CheckResult,
        Found,
        Group,
        Growth,
        Hit,
        KeyPolicy,
        Letter,
        LetterState,
        Message,
        OutboxCount,
        Part,
        Response,
        RolledBack,
        Rotation,
        Session,
        SlotChange,
        SlotInfo,
        Status,
        StorePaths,
        Turn,
        Usage,
        UsageTotals,
    )

__all__ = [
    "AgentKey",
    "Argon2Cost",
    "AuditEntry",
    "AuditReport",
    "BadBackup",
    "BadValue",
    "Blob",
    "Branch",
    "Changes",
    "CheckResult",
    "Damaged",
    "Found",
    "Group",
    "Growth",
    "Hit",
    "KeyPolicy",
    "KeyUnavailable",
    "KeysMissing",
    "KeysTampered",
    "Letter",
    "LetterState",
    "Locked",
    "Message",
    "NeedsPassphrase",
    "NetworkFolder",
    "NotEncrypted",
    "NotFound",
    "OutboxCount",
    "Part",
    "Response",
    "RolledBack",
    "Rotation",
    "SchemaTooNew",
    "Session",
    "SlotChange",
    "SlotInfo",
    "Status",
    "Store",
    "StoreBusy",
    "StoreClosed",
    "StoreError",
    "StoreFull",
    "StoreGone",
    "StorePaths",
    "StoreReadOnly",
    "Turn",
    "Usage",
    "UsageTotals",
    "WrongKey",
    "WrongPassphrase",
    "WrongState",
    "new_id",
    "open_store",
]


async def open_store(
    paths: StorePaths,
    *,
    passphrase: str | None = None,
    recovery_key: str | None = None,
    allow_keyring: bool = True,
    create: bool = True,
    policy: KeyPolicy | None = None,
    typed_only: bool = False,
    handed: bytes | None = None,
) -> Store:
    """Return an unlocked, migrated store; everything that blocks runs in a thread.

    A store that does not exist is made with one key slot: the passphrase if one is given, else the OS keyring if a real
    one answers and `allow_keyring` says so, else a key file in `paths.device_dir`, which is weak. With `typed_only` a
    store that has a passphrase or a recovery key is opened by one of them and by nothing else. `handed` is what a
    process that has it open gave to this one, which it began.

    Raises NotFound when there is no store and `create` is false; NeedsPassphrase or Locked when no slot opens without
    a person; WrongPassphrase, WrongKey; KeysTampered, KeysMissing; Damaged, NotEncrypted, SchemaTooNew; NetworkFolder;
    StoreFull, StoreReadOnly, StoreBusy. A store that a newer version wrote, or that lies where nothing can be written,
    opens for reading: `Store.read_only` says why.
    """
    from local_store.keys import Credentials
    from local_store.store import open_unlocked
    from local_store.types import KeyPolicy

    credentials = Credentials(passphrase or None, recovery_key or None, allow_keyring, handed, typed_only)
    return await open_unlocked(paths, credentials, policy or KeyPolicy(), create=create)


def __getattr__(name: str) -> object:
    if name in __all__:
        from importlib import import_module

        for home in ("errors", "types", "ids", "store"):
            module = import_module(f"local_store.{home}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
