"""The doctor in a real runtime; only the wire is scripted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from backend_client import Secret
from backend_client.tokens import Tokens
from sophia_core import doctor
from sophia_core.doctor import Check, audio_check, clipboard_check, examine
from sophia_core.runtime import open_runtime
from sophia_core.settings import load_settings
from tests.scripted import JSON, ScriptedReply, ScriptedTransport

SERVER = {"SOPHIA_BASE_URL": "http://scripted.test/v1", "SOPHIA_MODEL": "m"}


async def findings(
    home: Path, env: dict[str, str] = SERVER, transport: ScriptedTransport | None = None
) -> dict[str, Check]:
    env = {"SOPHIA_HOME": str(home), "SOPHIA_NO_KEYRING": "1", **env}
    loaded = load_settings(env)
    async with open_runtime(loaded, transport=transport or ScriptedTransport(), env=env) as runtime:
        found = [check async for check in examine(loaded, runtime)]
    assert all(check.detail for check in found)
    assert all(check.fix for check in found if check.status != "ok")
    return {check.name: check for check in found}


async def test_a_fresh_home_with_a_server_is_healthy(tmp_path: Path) -> None:
    models = ScriptedReply((b'{"data": [{"id": "one"}, {"id": "two"}]}',), headers=JSON)
    health = ScriptedReply((b"",))
    checks = await findings(tmp_path, SERVER, ScriptedTransport(pages={"/models": models, "/health": health}))
    assert [check for check in checks.values() if check.status == "fail"] == []
    assert "2 models: one, two" in checks["provider scripted.test"].detail
    assert checks["store database"] == Check("store database", "ok", "sound")
    assert checks["store key slots"].status == "warn"
    assert checks["store recovery key"].status == "warn"
    assert checks["embedded model"].detail == "not used: SOPHIA_BASE_URL names a server"
    assert checks["python"].detail.startswith(f"CPython {sys.version_info[0]}.{sys.version_info[1]}")


async def test_a_server_that_does_not_answer_is_a_failure(tmp_path: Path) -> None:
    checks = await findings(tmp_path)
    assert checks["provider scripted.test"].status == "fail"


async def test_a_config_that_was_not_understood_is_repeated(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("thme = 'x'\n")
    checks = await findings(tmp_path)
    assert checks["config"] == Check(
        "config", "warn", f"{tmp_path}/config.toml:1: 'thme' is not a setting.", "Did you mean 'theme'?"
    )


async def test_a_damaged_store_is_a_failure(tmp_path: Path) -> None:
    await findings(tmp_path)
    (tmp_path / "store" / "sophia.db").write_bytes(b"\x55" * 65536)
    checks = await findings(tmp_path)
    assert checks["store"].status == "fail"


async def test_a_locked_store_is_not_called_sound(tmp_path: Path) -> None:
    await findings(tmp_path, {**SERVER, "SOPHIA_PASSPHRASE": "right"})
    checks = await findings(tmp_path)
    assert checks["store"].status == "warn"
    assert "SOPHIA_PASSPHRASE" in checks["store"].fix


async def test_a_store_open_to_others_is_told(tmp_path: Path) -> None:
    await findings(tmp_path)
    (tmp_path / "store" / "sophia.db").chmod(0o644)
    assert (await findings(tmp_path))["store permissions"].status == "fail"


async def test_a_model_file_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"not a model")
    env = {"SOPHIA_EMBEDDED__MODEL_PATH": str(tmp_path / "model.gguf")}
    checks = await findings(tmp_path, env)
    assert "no readable GGUF" in checks["embedded weights"].detail
    assert checks["embedded weights"].status == "fail"


def test_every_dependency_of_the_package_is_looked_at() -> None:
    import re
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=]", each)[0] for each in project["dependencies"]}
    assert {name for name, extra in doctor.DEPENDENCIES.items() if not extra} == needed


@pytest.mark.parametrize(
    ("said", "complained", "status", "detail"),
    [
        (
            b'{"portaudio": "PortAudio V19.7.0-devel, revision x", "input": 1, "output": 2}\n',
            "",
            0,
            "1 inputs, 2 outputs",
        ),
        (b'noise\n{"portaudio": "PortAudio V19", "input": 0, "output": 2}\n', "", 0, "0 inputs, 2 outputs"),
        (b"", "OSError: PortAudio library not found", 1, "the PortAudio library is missing"),
        (b"", "", -11, "the audio library ended with status -11"),
        (b"", "Traceback\nRuntimeError: \x1b[31mno card", 1, "RuntimeError: ␛[31mno card"),
    ],
)
def test_what_the_audio_library_says_or_how_it_dies(said: bytes, complained: str, status: int, detail: str) -> None:
    check = audio_check(said, complained, status)
    assert detail in check.detail
    assert (check.status == "ok") == (detail == "1 inputs, 2 outputs")


@pytest.mark.parametrize(
    ("env", "status"),
    [
        ({"TERM": "xterm-kitty"}, "ok"),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7000"}, "warn"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, "warn"),
        ({"TERM": "screen", "STY": "1.pts"}, "warn"),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/tmux"}, "ok"),
    ],
)
def test_whether_a_program_may_copy_is_guessed_from_the_terminal(env: dict[str, str], status: str) -> None:
    assert clipboard_check(env).status == status


async def test_every_provider_is_shown_with_what_it_is_and_as_whom_it_is_asked(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        """[routing]
embedded_fallback = false
[[providers]]
name = "box"
base_url = "http://box.test/v1"
kind = "vllm"
api_key_env = "BOX_KEY"
[[providers]]
name = "team"
base_url = "http://team.test/v1"
issuer = "http://sign-in.test"
tier = 3
[[providers]]
name = "signed"
base_url = "http://signed.test/v1"
issuer = "http://sign-in.test"
paid = true
"""
    )
    env = {"SOPHIA_HOME": str(tmp_path), "SOPHIA_NO_KEYRING": "1", "BOX_KEY": "k"}
    loaded = load_settings(env)
    wire = ScriptedTransport(pages={"/health": ScriptedReply((b"",))})
    async with open_runtime(loaded, transport=wire, env=env) as runtime:
        where = {"issuer": "http://sign-in.test", "client_id": "sophia", "how": "device"}
        tokens = Tokens(Secret("a"), None, 0.0, None, who="ada", roles=("admin", "dev"), **where)  # type: ignore[arg-type]
        assert runtime.vault.store
        await runtime.vault.store.secrets.set("sign-in:signed", tokens.to_text())
        found = {check.name: check async for check in examine(loaded, runtime)}
    assert "vllm, tier 0, key from the environment" in found["provider box"].detail
    assert "openai, tier 3" in found["provider team"].detail
    assert (found["sign-in team"].status, found["sign-in team"].fix) == ("warn", "sophia login team")
    assert "openai, tier 1, paid, signed in as ada (admin, dev)" in found["provider signed"].detail
    assert found["outbox"].detail == "nothing waits"


async def test_what_waits_and_what_was_given_up_is_counted(tmp_path: Path) -> None:
    env = {"SOPHIA_HOME": str(tmp_path), "SOPHIA_NO_KEYRING": "1", **SERVER}
    loaded = load_settings(env)
    async with open_runtime(loaded, transport=ScriptedTransport(), env=env) as runtime:
        store = runtime.vault.store
        assert store
        for n in range(3):
            session = await store.sessions.create(title="t")
            turn = await store.turns.begin(session.id, None, f"Q{n}", request_id="r")
            await store.outbox.queue(turn.answer.id, provider=None, model=None, error="down")
        await store.outbox.bury(turn.answer.id, "no")
        found = {check.name: check async for check in examine(loaded, runtime)}
    assert (found["outbox"].status, found["outbox"].detail) == ("warn", "2 waiting to be asked, 1 given up")
