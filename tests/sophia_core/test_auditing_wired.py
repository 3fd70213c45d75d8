"""The whole runtime: what people do and what goes wrong is in the audit log afterwards."""

from __future__ import annotations

from pathlib import Path

from local_store import AuditReport
from sophia_core.runtime import Runtime
from tests.scripted import chat
from tests.sophia_core.conftest import OpenBench


async def told(runtime: Runtime) -> list[tuple[str, str]]:
    """Oldest first."""
    return [(each.kind, each.subject) for each in await runtime.auditor.entries()][::-1]


async def test_asking_and_looking_tells_nothing(bench: OpenBench) -> None:
    made = await bench(chat("hi"))
    await made.runtime.dispatch("chat.send hello")
    await made.runtime.dispatch("session.list")
    assert await told(made.runtime) == []


async def test_what_cannot_be_undone_is_told(bench: OpenBench) -> None:
    made = await bench(chat("hi"))
    await made.runtime.dispatch("chat.send hello")
    session = made.runtime.current.session_id
    assert session is not None
    await made.runtime.dispatch("breaker.open " + made.runtime.provider.name)
    await made.runtime.dispatch("session.delete", confirmed=True)
    assert await told(made.runtime) == [("breaker.open", made.runtime.provider.name), ("session.delete", session)]
    report = await made.runtime.run("audit.verify")
    assert isinstance(report, AuditReport) and report.ok


async def test_a_problem_with_the_settings_is_told_and_survives(bench: OpenBench, tmp_path: Path) -> None:
    first = await bench(SOPHIA_LOG__LEVEL="deafening")
    entries = await told(first.runtime)
    assert [kind for kind, _ in entries] == ["settings.problem"]
    await first.runtime.close()
    assert await told((await bench()).runtime) == entries
