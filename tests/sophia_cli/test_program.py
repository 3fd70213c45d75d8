"""The real program, as a shell runs it, against a real server."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import stat
import sys
from pathlib import Path

import pytest

from tests.contract_server import TEXT, ContractServer
from tests.sophia_cli.harness import PATIENCE_S, Ended, Program, ended


async def first_bytes(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        return await process.stdout.read(1)


async def test_text_arrives_while_the_server_is_still_speaking_and_ctrl_c_keeps_it(
    sophia: Program, server: ContractServer
) -> None:
    process = await sophia.start("ask", "stall_mid")
    first = await first_bytes(process)
    assert not server.chats[0].completed
    process.send_signal(signal.SIGINT)
    end = await ended(process)
    assert (end.code, first.decode() + end.out, end.err) == (130, "Hello from the\n", "")
    (session,) = (await sophia.run("sessions", "--json")).json
    shown = (await sophia.run("sessions", "show", session["id"], "--json")).json
    assert [(m["role"], m["status"], m["text"]) for m in shown["messages"]] == [
        ("user", "complete", "stall_mid"),
        ("assistant", "cancelled", "Hello from the"),
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_shutdown_or_a_closed_terminal_ends_it_as_tidily(sophia: Program, number: signal.Signals) -> None:
    process = await sophia.start("ask", "--json", "stall_mid")
    await first_bytes(process)
    process.send_signal(number)
    end = await ended(process)
    last = json.loads(end.out.splitlines()[-1])
    assert (end.code, last["type"], last["status"]) == (128 + number, "finished", "cancelled")


async def test_a_reader_that_leaves_ends_it_quietly(sophia: Program, server: ContractServer) -> None:
    reader, writer = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sophia_cli", "ask", "tokens:100000:1"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=writer,
        stderr=asyncio.subprocess.PIPE,
        env=sophia.environment(),
    )
    os.close(writer)
    assert await asyncio.to_thread(os.read, reader, 6) == b" token"
    os.close(reader)
    async with asyncio.timeout(PATIENCE_S):
        _, err = await process.communicate()
        await server.chats[0].gone.wait()
    assert (process.returncode, err) == (141, b"")


async def test_json_and_stdin(sophia: Program, server: ContractServer) -> None:
    end = await sophia.run("ask", "--json", "explain:", said="grüße\n".encode())
    assert end.code == 0
    assert "".join(event["text"] for event in end.events if event["type"] == "delta") == TEXT
    assert end.events[-1]["type"] == "finished"
    assert end.events[-1]["text"] == TEXT
    assert server.chats[0].body["messages"][-1]["content"] == "explain:\n\ngrüße"


async def test_a_locale_without_utf8_changes_nothing_in_a_pipe(sophia: Program) -> None:
    end = await sophia.run("ask", "hi", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (end.code, end.out) == (0, f"{TEXT}\n")


async def test_closed_streams_are_named_and_written_into_by_nobody(sophia: Program) -> None:
    command = f'exec "{sys.executable}" -m sophia_cli "$@"'
    for close, words, message in (
        (">&-", ("ask", "hi"), "stdout is closed"),
        ("<&-", ("ask",), "nothing to ask"),
    ):
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", f"{command} {close}", "sh", *words),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=sophia.environment(),
        )
        end = await ended(process)
        assert end.code != 0
        assert message in end.err
        assert "Traceback" not in end.err


async def test_init_makes_a_store_that_the_same_variable_unlocks(sophia: Program, tmp_path: Path) -> None:
    key_file = tmp_path / "recovery.txt"
    made = await sophia.run("init", "--yes", "--recovery-key-file", str(key_file), SOPHIA_PASSPHRASE="correct horse")
    assert (made.code, made.err) == (0, "")
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert len(key_file.read_text().strip()) == 63

    slots = (await sophia.run("keys", "--json", SOPHIA_PASSPHRASE="correct horse")).json
    assert {slot["kind"] for slot in slots} == {"passphrase", "recovery"}

    locked = await sophia.run("ask", "hi")
    assert (locked.code, locked.out) == (0, f"{TEXT}\n")
    assert "not being saved" in locked.err
    assert (await sophia.run("sessions")).code == 3
    opened = await sophia.run("sessions", "--json", SOPHIA_PASSPHRASE="correct horse")
    assert (opened.code, opened.json) == (0, [])

    again = await sophia.run("init", "--yes", "--recovery-key-file", str(key_file), SOPHIA_PASSPHRASE="correct horse")
    assert again.code == 0
    assert "exists already" in again.out


async def test_init_overwrites_no_file_and_makes_no_store_then(sophia: Program, tmp_path: Path) -> None:
    key_file = tmp_path / "precious.txt"
    key_file.symlink_to(tmp_path / "elsewhere.txt")
    end = await sophia.run("init", "--yes", "--recovery-key-file", str(key_file))
    assert end.code == 2
    assert "not overwritten" in end.err
    assert not (tmp_path / "elsewhere.txt").exists()
    assert not (sophia.home / "store").exists()


async def test_init_adds_a_recovery_key_to_a_store_without_one(sophia: Program, tmp_path: Path) -> None:
    await sophia.run("init", "--yes")
    key_file = tmp_path / "recovery.txt"
    end = await sophia.run("init", "--yes", "--recovery-key-file", str(key_file))
    assert end.code == 0
    assert "exists already" in end.out
    assert len(key_file.read_text().strip()) == 63


async def test_init_without_yes_needs_a_person(sophia: Program) -> None:
    end = await sophia.run("init")
    assert (end.code, "--yes" in end.err) == (2, True)


async def test_sessions_are_listed_searched_and_deleted(sophia: Program) -> None:
    assert (await sophia.run("sessions", "--json")).json == []
    assert not (sophia.home / "store").exists()
    last = (await sophia.run("ask", "--json", "a walrus question")).events[-1]
    (listed,) = (await sophia.run("sessions", "--json")).json
    assert (listed["id"], listed["title"], listed["message_count"]) == (last["session"], "a walrus question", 2)
    hits = (await sophia.run("sessions", "search", "walrus", "--json")).json
    assert [(hit["session_id"], hit["role"]) for hit in hits] == [(last["session"], "user")]
    assert (await sophia.run("sessions", "rm", last["session"])).code == 2
    assert (await sophia.run("sessions", "rm", last["session"], "--yes")).code == 0
    assert (await sophia.run("sessions", "--json")).json == []


async def test_commands_are_listed_without_opening_anything(sophia: Program) -> None:
    listed = (await sophia.run("commands", "--json")).json
    by_name = {each["name"]: each for each in listed}
    text = by_name["chat.send"]["params"][0]
    assert (text["name"], text["type"], text["required"]) == ("text", "str", True)
    assert by_name["session.delete"]["dangerous"] is True
    assert [each["name"] for each in listed] == sorted(by_name)
    assert not sophia.home.exists()


async def test_doctor_finds_a_healthy_set_up_healthy(sophia: Program) -> None:
    await sophia.run("init", "--yes")
    end = await sophia.run("doctor", "--json")
    checks = {each["name"]: each for each in end.json["checks"]}
    assert {each["name"] for each in end.json["checks"] if each["status"] == "fail"} == set()
    assert (end.code, end.json["ok"]) == (0, True)
    assert checks["store database"]["status"] == "ok"
    assert checks["store key slots"]["status"] == "warn"
    assert all(set(each) == {"name", "status", "detail", "fix"} for each in end.json["checks"])


async def test_doctor_fails_when_nobody_answers(sophia: Program) -> None:
    end = await sophia.run("doctor", SOPHIA_BASE_URL="http://127.0.0.1:9/v1")
    assert end.code == 1
    assert "FAIL  provider 127.0.0.1:9" in end.out


async def test_a_wrong_config_is_named_and_does_not_stop_an_answer(sophia: Program) -> None:
    sophia.home.mkdir()
    (sophia.home / "config.toml").write_text("[chat]\ntemprature = 1\n")
    end = await sophia.run("ask", "hi")
    assert (end.code, end.out) == (0, f"{TEXT}\n")
    assert f"{sophia.home}/config.toml:2: 'chat.temprature' is not a setting." in end.err


@pytest.mark.parametrize("scenario", ["garbage", "long_line"])
async def test_strange_servers_end_in_one_message(sophia: Program, scenario: str) -> None:
    end = await sophia.run("ask", scenario)
    assert (end.code, end.out) == (4, "")
    assert end.err.startswith("sophia: ")
    assert len(end.err.splitlines()) <= 2


async def test_what_is_unforeseen_goes_to_the_log_and_not_on_the_screen(sophia: Program) -> None:
    sophia.home.mkdir()
    (sophia.home / "sophia_tui").mkdir()
    broken = sophia.home / "sophia_tui" / "commands.py"
    broken.parent.joinpath("__init__.py").touch()
    broken.write_text("raise ZeroDivisionError('on purpose')")
    end = await sophia.run(
        "commands", PYTHONPATH=f"{sophia.home}:{sophia.environment()['PYTHONPATH']}", PYTHONSAFEPATH="1"
    )
    assert end.code == 1
    assert end.err.startswith("sophia: something unforeseen went wrong: ZeroDivisionError: on purpose\n")
    assert "Traceback" not in end.err
    logged = [json.loads(line) for line in (sophia.home / "logs" / "sophia.log").read_text().splitlines()]
    assert "Traceback" in logged[-1]["traceback"]


async def test_the_app_is_not_started_without_a_terminal(sophia: Program) -> None:
    end = await sophia.run()
    assert (end.code, "sophia ask" in end.err) == (2, True)


class AtTerminal:
    """The program on a pseudo-terminal of 80x24."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.seen = b""

    async def run(self, *words: str, answers: list[tuple[bytes, bytes]], **env: str) -> Ended:
        """Runs it, typing each answer once its question is on the screen."""
        master, slave = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sophia_cli", *words),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=self._program.environment(**{"TERM": "xterm", **env}),
            start_new_session=True,
        )
        os.close(slave)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.to_thread(self._converse, master, answers)
            code = await process.wait()
        os.close(master)
        return Ended(code, self.seen.decode(), "")

    def _converse(self, master: int, answers: list[tuple[bytes, bytes]]) -> None:
        position = 0
        while True:
            try:
                block = os.read(master, 4096)
            except OSError:
                return
            self.seen += block
            if answers and (found := self.seen.find(answers[0][0], position)) >= 0:
                position = found + len(answers[0][0])
                os.write(master, answers.pop(0)[1])


async def test_a_person_is_asked_for_the_passphrase_of_a_locked_store(sophia: Program) -> None:
    await sophia.run("init", "--yes", SOPHIA_PASSPHRASE="right")
    asked = [(b"leave it locked): ", b"wrong\n"), (b"leave it locked): ", b"right\n")]
    end = await AtTerminal(sophia).run("ask", "hi", answers=asked)
    assert end.code == 0
    assert TEXT in end.out
    assert "right" not in end.out
    assert "not being saved" not in end.out
    assert len((await sophia.run("sessions", "--json", SOPHIA_PASSPHRASE="right")).json) == 1


async def test_a_person_who_makes_the_store_gets_to_see_the_recovery_key(sophia: Program) -> None:
    questions = [
        (b"own key guards it): ", b"right\n"),
        (b"The same again: ", b"right\n"),
        (b"to confirm (Enter: not now): ", b"\n"),
    ]
    end = await AtTerminal(sophia).run("init", answers=questions)
    assert end.code == 0
    assert "Unlocked by: passphrase" in end.out
    assert "was not confirmed" in end.out


async def test_a_person_is_asked_for_what_a_line_lacks_and_a_script_is_not(sophia: Program) -> None:
    end = await AtTerminal(sophia).run(
        "run", "settings.set", answers=[(b"Name, or press", b"chat.titles\n"), (b"Value, or press", b"words\n")]
    )
    assert (end.code, "Usage" in end.out) == (0, False), end.out
    left = await AtTerminal(sophia).run("run", "settings.set", answers=[(b"Name, or press", b"\n")])
    assert (left.code, "nothing was done" in left.out) == (2, True)
    script = await sophia.run("run", "settings.set")
    assert (script.code, "Usage: settings.set NAME" in script.err) == (2, True)


async def test_the_app_is_not_started_on_a_dumb_terminal(sophia: Program) -> None:
    end = await AtTerminal(sophia).run(answers=[], TERM="dumb")
    assert (end.code, "cannot draw on TERM='dumb'" in end.out) == (2, True)
