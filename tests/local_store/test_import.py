"""Importing the package loads nothing heavy; opening a store puts the engine where sqlite-utils finds it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import local_store

REPOSITORY = Path(__file__).parent.parent.parent
HEAVY = ("asyncio", "sqlcipher3", "sqlite3", "sqlite_utils", "cryptography", "keyring")


def python(code: str) -> str:
    """Return what a fresh interpreter prints."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    finished = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return finished.stdout.strip()


def test_importing_the_package_and_its_values_loads_nothing_heavy() -> None:
    code = "import sys, local_store; local_store.Session, local_store.StoreError, local_store.new_id"
    assert python(f"{code}; print([name for name in {HEAVY} if name in sys.modules])") == "[]"


def test_every_public_name_exists() -> None:
    assert all(getattr(local_store, name) is not None for name in local_store.__all__)
    assert local_store.__all__ == sorted(local_store.__all__, key=lambda name: (name[0].islower(), name))
    with pytest.raises(AttributeError, match="nothing_like_it"):
        local_store.nothing_like_it  # noqa: B018


def test_sqlite_utils_uses_the_same_engine() -> None:
    code = """
from local_store import engine
dbapi = engine.load()
import sqlite_utils.utils, sqlcipher3
print(sqlite_utils.utils.sqlite3 is sqlcipher3, dbapi.sqlite_version_info >= (3, 51, 3))
"""
    assert python(code) == "True True"


def test_an_engine_that_cannot_be_shared_is_refused() -> None:
    code = """
import sqlite_utils
from local_store import StoreError, engine
try:
    engine.load()
except StoreError as error:
    print(error.message)
"""
    assert "imported before" in python(code)


def test_making_a_store_brings_no_library_of_upgrades_along(tmp_path: Path) -> None:
    code = f"""
import asyncio, pathlib, sys
from local_store import StorePaths, open_store
async def make(home):
    await (await open_store(StorePaths(home / "store", home / "device"), allow_keyring=False)).close()
asyncio.run(make(pathlib.Path({str(tmp_path)!r})))
print("sqlite_utils" in sys.modules, "numpy" in sys.modules)
"""
    assert python(code) == "False False"
