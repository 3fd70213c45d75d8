"""What every test starts from."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def no_settings_of_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have SOPHIA configured; the tests must not see it."""
    for name in [name for name in os.environ if name.startswith("SOPHIA_")]:
        monkeypatch.delenv(name)
