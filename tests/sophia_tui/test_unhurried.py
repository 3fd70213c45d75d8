"""Imports in other threads that let the app go first."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest

from sophia_tui.unhurried import BREATH_S, _Breath, let_the_app_go_first


async def test_only_other_threads_take_a_breath(monkeypatch: pytest.MonkeyPatch) -> None:
    breaths: list[float] = []
    monkeypatch.setattr(time, "sleep", breaths.append)
    breath = _Breath()
    breath.find_spec("anything")
    assert breaths == []
    await asyncio.to_thread(breath.find_spec, "anything")
    assert breaths == [BREATH_S]


def test_it_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [each for each in sys.meta_path if not isinstance(each, _Breath)])
    let_the_app_go_first()
    let_the_app_go_first()
    assert [isinstance(each, _Breath) for each in sys.meta_path].count(True) == 1
