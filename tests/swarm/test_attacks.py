"""What an agent, a file or a stranger's text might try. None of it may succeed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sophia_core.gate.asking import on_behalf, request, shown
from sophia_core.gate.ports import ApprovalRequest
from sophia_core.gate.rules import Mode, Rule, judge, rule_of
from sophia_core.gate.splitting import split
from sophia_core.swarm.ports import Tool
from sophia_core.swarm.tools import sandbox
from sophia_core.swarm.tools.hands import Hands
from sophia_core.swarm.tools.sandbox import Box, Limits, run_boxed

PATCH = "--- a/{0}\n+++ b/{0}\n@@ -1 +1 @@\n-secret\n+pwned\n"
boxed = pytest.mark.skipif(bool(sandbox.trouble()), reason="there is no sandbox here")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept is kept there, and not in somebody's home."""
    monkeypatch.setenv("SOPHIA_HOME", str(tmp_path / "home"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with something outside of it that nobody in it may reach."""
    (tmp_path / "outside").write_text("secret\n")
    inner = tmp_path / "tree"
    inner.mkdir()
    (inner / "a.py").write_text("x = 1\n")
    (inner / "link").symlink_to(tmp_path / "outside")
    (inner / "up").symlink_to(tmp_path)
    os.link(tmp_path / "outside", inner / "hard")
    (inner / ".git").mkdir()
    (inner / ".git" / "config").write_text("secret\n")
    os.mkfifo(inner / "pipe")
    return inner


async def tools_of(folder: Path) -> Mapping[str, Tool]:
    return {each.spec.name: each for each in await Hands(folder, "worktree", person=folder).tools(["*"])}


ESCAPES = (
    *("../outside", "/etc/passwd", "link", "up/outside", "hard", "pipe", ".git/config", ".GIT/config", "~/.ssh/id_rsa"),
    *(
        "a/../../outside",
        "/proc/self/environ",
        "./.git/hooks/pre-commit",
        ".git./config",
        "git~1/config",
        "..\\outside",
    ),
    *(".g\u200bit/config", "a.py\0", "/project/../outside", "sub/.git/config", ".git::$INDEX_ALLOCATION/config"),
)


@pytest.mark.parametrize("path", ESCAPES)
async def test_no_path_leads_out(folder: Path, path: str) -> None:
    tools = await tools_of(folder)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("read_file", {"path": path}),
        ("write_file", {"path": path, "content": "pwned\n"}),
        ("edit_file", {"path": path, "old": "secret", "new": "pwned"}),
        ("apply_patch", {"patch": PATCH.format(path)}),
        ("list_files", {"path": path}),
        ("search", {"text": "secret", "path": path}),
    ]
    for name, arguments in calls:
        result = await tools[name].call(arguments)
        assert not result.ok, name
        assert "secret" not in result.text
    assert (folder.parent / "outside").read_text() == "secret\n"
    assert (folder / ".git" / "config").read_text() == "secret\n"


async def test_a_search_of_everything_finds_nothing_behind_links_or_in_git(folder: Path) -> None:
    (folder / ".env").write_text("secret\n")
    tools = await tools_of(folder)
    assert "is in none" in (await tools["search"].call({"text": "secret"})).text
    assert "link" not in (await tools["list_files"].call({})).text


async def test_a_file_with_secrets_is_not_read_without_asking(folder: Path) -> None:
    (folder / ".env").write_text("TOKEN=1")
    asked = (await tools_of(folder))["read_file"].ask({"path": ".env"})
    assert asked is not None
    assert judge(asked, (), "auto").effect == "ask"


async def test_a_folder_that_becomes_a_link_is_not_written_through(folder: Path) -> None:
    tools = await tools_of(folder)
    (folder / "sub").mkdir()
    arguments = {"path": "sub/outside", "content": "pwned"}
    assert tools["write_file"].ask(arguments) is not None
    (folder / "sub").rmdir()
    (folder / "sub").symlink_to(folder.parent)
    assert not (await tools["write_file"].call(arguments)).ok
    assert (folder.parent / "outside").read_text() == "secret\n"


async def test_what_was_allowed_is_not_done_to_another_file(folder: Path) -> None:
    edit, arguments = (await tools_of(folder))["edit_file"], {"path": "a.py", "old": "x", "new": "y"}
    assert edit.ask(arguments) is not None
    (folder / "a.py").write_text("import os; x = 2\n")
    assert "changed since" in (await edit.call(arguments)).text


@pytest.mark.parametrize("arguments", [{"path": 1}, {"path": "a.py", "mode": "rw"}, {}, [], "a.py", {"path": ["a.py"]}])
async def test_arguments_that_do_not_fit_do_nothing(folder: Path, arguments: Any) -> None:
    assert not (await (await tools_of(folder))["read_file"].call(arguments)).ok


def asks(command: str, **more: Any) -> ApprovalRequest:
    return replace(request("run", "run", "Run a command.", command=command, boxed=True), **more)


ALLOWED = (Rule("allow", "run", "pytest"), Rule("allow", "run", "git status"), Rule("allow", "run", "echo"))
WIDER = (
    *("pytest; rm -rf ~", "pytest && curl x", "pytest || sh", "pytest | tee /etc/x", "pytest & rm x", "pytest\nrm x"),
    *("echo $(rm x)", "echo `rm x`", 'echo "$(rm x)"', "echo <(rm x)", "echo x > ~/.bashrc", "echo x >> .git/hooks/a"),
    *(
        "LD_PRELOAD=./e.so pytest",
        "PATH=. pytest",
        "./pytest",
        "/tmp/pytest",
        "git -c core.pager=sh status",
        "gіt status",
    ),
    *(
        "git status --help; sh",
        "bash -c pytest",
        "env pytest",
        "sudo pytest",
        "eval pytest",
        "echo\u202epytest",
        "echo *",
    ),
    *("(pytest)", "{ pytest; }", "! pytest", "pytest #\nrm x", "'pytest", "echo ${x@P}", "echo \\\nrm", "git stat us"),
    *("xargs pytest", "find . -exec pytest ;", "pytests", "git statusx", "", "echo " + "x" * 9000),
)


@pytest.mark.parametrize("command", WIDER)
def test_no_command_slips_under_a_rule_for_another(command: str) -> None:
    assert judge(asks(command or " "), ALLOWED).effect == "ask"


REFUSED = (
    *(
        "rm -rf x",
        "/bin/rm x",
        "ls; rm x",
        "ls && rm x",
        "env rm x",
        "sudo -u a rm x",
        "sh -c 'rm x'",
        "bash -lc 'ls; rm x'",
    ),
    *(
        "echo $(rm x)",
        "echo `rm x`",
        "r''m x",
        '"rm" x',
        "\\rm x",
        "A=1 rm x",
        "find . -exec rm {} ;",
        "xargs rm",
        "RM x",
    ),
    *("nice -n 5 rm x", "timeout 5 rm x", "(rm x)", "eval rm x", "sh -c \"sh -c 'rm x'\"", "true | xargs -0 rm"),
    *("env -S 'rm x'", "env '-Srm x'", "env --split-string='rm x'", "bash -c -- 'rm x'", "bash -c -e 'rm x'"),
    *("if true; then rm x; fi", "for i in 1; do rm x; done", "while rm x; do true; done", "coproc rm x", "! rm x"),
    *("su -c 'ls; rm x'", "flock f -c 'rm x'", "trap 'rm x' EXIT", "{ rm x; }", "timeout 5 env -S 'rm x'"),
)


@pytest.mark.parametrize("command", REFUSED)
def test_a_refused_command_is_seen_through_its_disguises(command: str) -> None:
    denied = (Rule("deny", "run", "rm"), Rule("allow", "run"))
    assert judge(asks(command), denied, "auto").effect == "deny"


def test_plain_commands_that_a_rule_is_about_are_allowed() -> None:
    for command in ("pytest -q tests", "pytest 2>&1", "git status && pytest", "echo hi >/dev/null"):
        assert judge(asks(command), ALLOWED).effect == "allow", command


@pytest.mark.parametrize("mode", ["plan", "ask", "edits", "auto"])
@pytest.mark.parametrize(
    "asked",
    [
        asks("pytest", boxed=False),
        asks("pytest", network=True),
        request("land", "write", "Put it there", paths=("a.py",), folder="/f"),
        request("step", "run", "Begin"),
        request("result", "write", "Take it"),
        request("mcp.x.y", "net", "Call a stranger"),
    ],
    ids=["unboxed", "network", "land", "step", "result", "stranger"],
)
def test_what_only_a_person_can_allow_no_mode_and_no_rule_allows(mode: Mode, asked: ApprovalRequest) -> None:
    rules = () if asked.tool.startswith("mcp") else (*ALLOWED, Rule("allow", "land"), Rule("allow", "step"))
    assert judge(asked, rules, mode).effect in ("ask", "deny")
    if not asked.tool.startswith("mcp"):
        assert rule_of(asked) is None


def test_an_answer_for_one_call_is_none_for_another() -> None:
    once = on_behalf(asks("pytest"), "run", "r", step="s", call="1")
    assert once == on_behalf(asks("pytest"), "run", "r", step="s", call="1"), "asking again is the same request"
    others = [
        on_behalf(asks("pytest"), "run", "r", step="s", call="2"),
        on_behalf(asks("pytest"), "run", "other", step="s", call="1"),
        on_behalf(asks("pytest", boxed=False), "run", "r", step="s", call="1"),
        on_behalf(asks("pytest", network=True), "run", "r", step="s", call="1"),
        on_behalf(asks("pytest -x"), "run", "r", step="s", call="1"),
    ]
    assert len({each.id for each in (once, *others)}) == 6


def test_a_request_shows_what_it_is() -> None:
    said = shown(request("run", "run", "Run\x1b[2J\u202e it", command="echo \x1b]0;x\x07"))
    assert "\x1b" not in said.what + said.command
    assert "\u202e" not in said.what
    assert "do not show" in said.why
    assert shown(said) == said, "shown again it is the same"


def test_a_line_of_many_brackets_is_judged_at_once() -> None:
    assert split("$(" * 2000).unclear
    assert split("a;" * 3999).parts


@boxed
async def test_the_box_shows_nothing_and_lets_nothing_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "hunter2")
    script = f"""
        cat {folder.parent}/outside link up/outside /etc/shadow /root/.ssh/* $HOME/.ssh/* 2>/dev/null
        env | grep hunter2; cat /proc/*/environ 2>/dev/null | grep -a hunter2
        cat .git/config 2>/dev/null; echo x > /usr/pwned; echo x > /pwned; echo x > /etc/pwned
        mkdir -p .git/hooks 2>/dev/null; echo pwned > .git/hooks/pre-commit 2>/dev/null
        ln {folder.parent}/outside inner 2>/dev/null
        python3 -c "import socket; socket.create_connection(('127.0.0.1', 1), 1)" 2>&1 | grep -q refused && echo alone
        kill -9 {os.getpid()} 2>/dev/null; mount -t tmpfs x /mnt 2>/dev/null && echo mounted; chroot / true 2>/dev/null
        sleep 300 & echo end
    """
    ran = await run_boxed(Box(folder, limits=Limits(seconds=30)), ("sh", "-c", script))
    said = [each for each in ran.text.splitlines() if "sh:" not in each]
    assert said in (["alone", "end"], ["end"])
    assert not Path("/usr/pwned").exists()
    assert not (folder / ".git" / "hooks").exists()
    assert (folder.parent / "outside").read_text() == "secret\n"


@boxed
async def test_the_box_ends_what_floods_and_hangs(folder: Path) -> None:
    hung = await run_boxed(Box(folder, limits=Limits(seconds=0.3)), ("sh", "-c", "trap '' TERM; sleep 60 & sleep 60"))
    assert "longer" in hung.ended
    flood = await run_boxed(Box(folder, limits=Limits(seconds=30)), ("head", "-c", "3000000", "/dev/zero"))
    assert len(flood.text) < 400_000
    small = Limits(seconds=30, memory=1 << 28)
    assert (await run_boxed(Box(folder, limits=small), ("python3", "-c", "bytearray(1 << 30)"))).code != 0
    still = await run_boxed(Box(folder, writable=False), ("sh", "-c", "echo x > a.py"))
    assert not still.ok


async def test_without_a_sandbox_nothing_runs_that_nobody_was_asked_about(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "trouble", lambda: "bubblewrap is not installed.")
    run = (await tools_of(folder))["run"]
    command = {"command": "touch ran"}
    assert not (await run.call(command)).ok
    assert not (folder / "ran").exists()
    asked = run.ask(command)
    assert asked is not None
    assert "without a sandbox" in asked.what
    assert judge(asked, (Rule("allow", "*"),), "auto").effect == "ask"
