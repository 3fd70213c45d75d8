from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sophia_core.settings import Loaded, load_settings
from tests.contract_server import ContractServer
from tests.sophia_cli.harness import Piped, Program, piped


@pytest.fixture
def pipe() -> Iterator[Piped]:
    """A console that writes into pipes."""
    with piped() as console:
        yield console


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """Settings with a home of their own and one server, whose transport the test scripts."""
    env = {"SOPHIA_HOME": str(tmp_path), "SOPHIA_BASE_URL": "http://scripted.test/v1", "SOPHIA_MODEL": "scripted"}
    monkeypatch.setenv("SOPHIA_NO_KEYRING", "1")
    return load_settings(env)


@pytest.fixture
async def server() -> AsyncIterator[ContractServer]:
    async with ContractServer() as running:
        yield running


@pytest.fixture
def sophia(tmp_path: Path, server: ContractServer) -> Program:
    """The program, pointed at the contract server."""
    return Program(tmp_path / "home", {"SOPHIA_BASE_URL": server.base_url, "SOPHIA_MODEL": "contract-model"})
