"""Keeping, editing, copying and telling: what a person does with what was said."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from local_store import Message, Usage
from local_store.damage import LOST_MESSAGE
from sophia_core.commands import CommandError
from sophia_core.events import TurnFinished
from sophia_tui.app import SophiaApp
from sophia_tui.branching import tree_rows
from sophia_tui.clipboard import Clipboard, give, programs, takes_osc52, write_private
from sophia_tui.editor import edit, editor_of
from sophia_tui.footers import LOST, entry_of
from sophia_tui.gauge import taken
from sophia_tui.notifying import Notifier, sequence_of
from sophia_tui.screens.pick import Pick
from sophia_tui.terminal import takes_links
from tests.scripted import chat
from tests.sophia_tui.conftest import settle

OpenApp = Callable[..., AbstractAsyncContextManager[tuple[SophiaApp, Pilot[int]]]]
TWO = chat("```sh\nls\n```\n\nthen\n\n```sh\npwd\n```\n")


def message(id: str, role: str = "assistant", parent: str | None = None, text: str = "x", **more: object) -> Message:
    fields: dict[str, object] = {
        "id": id, "session_id": "s", "parent_id": parent, "role": role, "text": text, "reasoning": "",
        "status": "complete", "provider": None, "model": None, "request_id": "r", "finish_reason": None,
        "error": None, "created_at": 0, "finished_at": 0, "usage": None, **more,
    }  # fmt: skip
    return Message(**fields)  # type: ignore[arg-type]


async def ask(app: SophiaApp, pilot: Pilot[int], text: str) -> None:
    app.chat.prompt.put(text)
    await pilot.press("enter")
    await settle(app, pilot)


# -- files


async def test_a_code_block_is_saved_and_nothing_is_written_over(open_app: OpenApp, tmp_path: Path) -> None:
    path = tmp_path / "run.sh"
    async with open_app(TWO) as (app, pilot):
        await ask(app, pilot, "hi")
        assert await app.runtime.run("code.save", str(path)) == f"Saved {path}"
        assert path.read_text() == "pwd\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(CommandError, match="exists already"):
            await app.runtime.run("code.save", str(path))
        app.chat.transcript.select_previous_code()
        app.chat.transcript.select_previous_code()
        await app.runtime.run("code.save", str(path), replace=True)
        assert path.read_text() == "ls\n"
        with pytest.raises(CommandError, match="cannot be written"):
            await app.runtime.run("code.save", str(tmp_path / "missing" / "x"))


def test_a_link_is_never_written_through(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("kept")
    (tmp_path / "link").symlink_to(target)
    for replace in (True, False):
        with pytest.raises(OSError):
            write_private(tmp_path / "link", "lost", replace=replace)
    assert target.read_text() == "kept"


# -- the editor


def editor(tmp_path: Path, body: str) -> list[str]:
    path = tmp_path / "editor"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return [str(path)]


async def test_what_the_editor_wrote_comes_back_and_nothing_stays_on_the_disk(tmp_path: Path) -> None:
    line = editor(tmp_path, 'cp "$1" "$1~"; printf "%s more" "$(cat "$1")" > "$1"')
    assert await edit("text", tmp_path / "run", line) == "text more"
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize("body", ["exit 3", 'rm "$1"', 'rm "$1"; ln -s /etc/passwd "$1"', 'rm "$1"; mkfifo "$1"'])
async def test_what_an_editor_spoils_is_said(tmp_path: Path, body: str) -> None:
    with pytest.raises(CommandError) as refused:
        await edit("text", tmp_path / "run", editor(tmp_path, body))
    assert refused.value.hint == "What was there before stays."


def test_the_persons_editor_is_found() -> None:
    def which(name: str) -> str | None:
        return f"/bin/{name}" if name in ("ed", "vi") else None

    assert editor_of({"VISUAL": "ed -s", "EDITOR": "vi"}, which) == ["/bin/ed", "-s"]
    assert editor_of({"VISUAL": " "}, which) == ["/bin/vi"]
    for wrong in ("nowhere", "'open"):
        with pytest.raises(CommandError):
            editor_of({"EDITOR": wrong}, which)
    with pytest.raises(CommandError, match="No editor"):
        editor_of({}, lambda _: None)


async def test_a_prompt_stays_where_there_is_no_terminal_to_lend(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITOR", "true")
    async with open_app() as (app, pilot):
        app.chat.prompt.put("typed")
        await pilot.press("alt+e")
        await settle(app, pilot)
        assert app.chat.prompt.text == "typed"


# -- the clipboard


def test_only_programs_of_this_machine_take_text() -> None:
    def which(name: str) -> str:
        return f"/bin/{name}"

    desk = {"WAYLAND_DISPLAY": "w", "DISPLAY": ":0"}
    assert [line[0] for line in programs(desk, which)] == ["/bin/wl-copy", "/bin/xclip", "/bin/xsel"]
    assert programs({**desk, "SSH_TTY": "/dev/pts/1"}, which) == []
    assert [line[0] for line in programs({"TMUX": "x", "SSH_TTY": "y"}, which)] == ["/bin/tmux"]
    assert not takes_osc52({"TERM": "linux"})
    assert takes_osc52({"TERM": "xterm-256color"})


async def test_a_program_that_fails_confirms_nothing(tmp_path: Path) -> None:
    assert await give(editor(tmp_path, "cat > /dev/null"), "text")
    assert not await give(editor(tmp_path, "exit 1"), "text")
    assert not await give([str(tmp_path / "missing")], "text")


async def test_what_was_copied_can_be_had_as_a_file(open_app: OpenApp) -> None:
    async with open_app(TWO) as (app, pilot):
        with pytest.raises(CommandError, match="Nothing was copied"):
            await app.runtime.dispatch("/tofile")
        await ask(app, pilot, "hi")
        await pilot.press("ctrl+y")
        await settle(app, pilot)
        said = str(await app.runtime.dispatch("/tofile"))
        path = app.runtime.paths.control_dir / f"copied-{os.getpid()}.md"
        assert str(path) in said
        assert path.read_text() == "pwd\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        app.dispatcher.clipboard = Clipboard(app, {"TERM": "linux"})
        app.dispatcher.copy("other", "answer")
        await settle(app, pilot)
        assert path.read_text() == "other", "a terminal without a clipboard gets the file at once"


# -- telling


@pytest.mark.parametrize(
    ("env", "sequence"),
    [
        ({"TERM_PROGRAM": "WezTerm"}, "\x1b]9;{}\x07"),
        ({"TERM": "xterm-kitty"}, "\x1b]9;{}\x07"),
        ({"TERM": "foot"}, "\x1b]777;notify;SOPHIA;{}\x07"),
        ({"TERM": "xterm-kitty", "TMUX": "1"}, ""),
        ({"TERM": "xterm-256color"}, ""),
    ],
)
def test_only_terminals_that_show_notifications_are_sent_one(env: dict[str, str], sequence: str) -> None:
    assert sequence_of(env) == sequence


async def test_a_long_answer_rings_for_somebody_who_is_away(open_app: OpenApp, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[bool] = []
    async with open_app() as (app, _):
        monkeypatch.setattr(app, "bell", lambda: rung.append(True))
        notifier = Notifier(app, {})
        app.chat.session_id = "s"
        long = TurnFinished("s", "a", "r", "text", "complete", duration_s=30.0)
        app.runtime.idle_lock.touch()
        notifier.ended(long)
        assert not rung, "somebody is here"
        app.app_focus = False
        notifier.ended(TurnFinished("s", "a", "r", "text", "complete", duration_s=3.0))
        notifier.ended(TurnFinished("s", "a", "r", "text", "cancelled", duration_s=30.0))
        assert not rung, "short, or stopped by the person"
        notifier.ended(long)
        assert rung == [True]


# -- figures


def test_the_figures_of_a_session_are_sums_and_trimming_empties_the_window() -> None:
    said = [
        message("q", "user", text="x" * 30),
        message("a", usage=Usage(100, 20, cost_usd=0.5)),
        message("q2", "user", text="y" * 30),
        message("b", usage=Usage(150, 30)),
    ]
    found = taken(said)
    assert (found.tokens_in, found.tokens_out, found.cost_usd, found.context) == (250, 50, 0.5, 180)
    assert taken(said, "q2").context < 20


def test_the_tree_names_every_message_and_marks_the_branch_shown() -> None:
    said = [
        message("q", "user", text="why?"),
        message("a", parent="q", text="one"),
        message("b", parent="q", text="two"),
        message("c", "user", parent="b", text="more"),
        message("lost", parent="gone", text="alone"),
    ]
    rows = tree_rows(said, {"q", "b", "c"})
    assert [(row.value, row.label) for row in rows] == [
        ("q", "● You: why?"),
        ("a", "○ ├ SOPHIA: one"),
        ("b", "● └ SOPHIA: two"),
        ("c", "●   You: more"),
        ("lost", "○ SOPHIA: alone"),
    ]


def test_the_tree_names_the_models_where_answers_differ() -> None:
    said = [
        message("q", "user", text="why?"),
        message("a", parent="q", text="one " * 40, model="small"),
        message("b", parent="q", text="two", model="large"),
        message("c", "user", parent="b", text="more"),
        message("d", parent="c", text="three", model="large"),
    ]
    labels = [row.label for row in tree_rows(said, set())]
    assert labels[1].startswith("○ ├ small: one") and labels[2] == "○ └ large: two"
    assert labels[4] == "○   SOPHIA: three"


async def test_one_jumps_to_another_branch_from_the_tree(open_app: OpenApp) -> None:
    async with open_app(chat("one"), chat("two")) as (app, pilot):
        await ask(app, pilot, "hi")
        await pilot.press("ctrl+r")
        await settle(app, pilot)
        assert app.chat.transcript.entries[-1].text == "two"
        app.dispatcher.start("branch.tree")
        while not isinstance(app.screen, Pick):
            await pilot.pause()
        await pilot.press("up", "enter")
        await settle(app, pilot)
        assert app.chat.transcript.entries[-1].text == "one"


async def test_trimming_is_seen_and_the_status_bar_knows_the_sums(open_app: OpenApp) -> None:
    async with open_app(chat("one"), chat("two")) as (app, pilot):
        await ask(app, pilot, "hi")
        await ask(app, pilot, "again")
        app.dispatcher.start("chat.trim", 1)
        await settle(app, pilot)
        assert [bool(entry.above) for entry in app.chat.transcript.entries] == [False, False, True, False]
        app.dispatcher.start("chat.untrim")
        await settle(app, pilot)
        assert not any(entry.above for entry in app.chat.transcript.entries)


# -- what stands beside a message


def test_a_damaged_message_says_what_helps() -> None:
    assert LOST == LOST_MESSAGE
    entry = entry_of(message("a", text=LOST), None, LOST, "")
    assert (entry.status, entry.attention) == ("damaged", True)
    assert "salvage" in entry.footer


def test_terminals_that_would_print_a_link_get_none() -> None:
    assert takes_links({"TERM": "xterm-256color"})
    assert not takes_links({"TERM": "linux"})
    assert not takes_links({"TERM": "xterm", "STY": "1.screen"})
