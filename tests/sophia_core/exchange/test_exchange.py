"""The commands: files that are new and private, reports that leave nothing out, and pages that are safe to look at."""

from __future__ import annotations

import json
import stat
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from local_store import Usage
from local_store.imports import Conversation, ImportMessage
from sophia_core.commands import CommandError, Registry
from sophia_core.events import SessionsChanged
from sophia_core.exchange.exchange import Format, file_name, format_of
from tests.sophia_core.exchange.conftest import Desk

AT = 1_700_000_000_000
HOSTILE = '<script>alert(1)</script>\x1b]0;owned\x07 \u202eevil "><img src=x onerror=1>'
CLAUDE = {"uuid": "c", "name": "B", "chat_messages": [{"uuid": "a", "sender": "human", "text": "hi", "files": [{}]}]}


async def fill(desk: Desk) -> None:
    """One session with a branch beside the one being read, and one with hostile texts."""
    messages = [
        ImportMessage("q", "user", "the question", created_at=AT),
        ImportMessage("a", "assistant", "```python\nprint(1)", "q", "thinking", model="m", created_at=AT + 1),
        ImportMessage("b", "assistant", "another answer", "q", status="failed", error="why", created_at=AT + 2),
        ImportMessage("c", "user", "and then?", "a", created_at=AT + 3),
        ImportMessage("d", "assistant", "done", "c", usage=Usage(1000, 2, None, None, 0.5), created_at=AT + 4),
    ]
    await desk.store.bulk.add(
        [
            Conversation("x", "1", "First *one*", messages, AT, AT + 9, "d", folder="work", tags=("t",)),
            Conversation("x", "2", HOSTILE, [ImportMessage("q", "user", HOSTILE, reasoning=HOSTILE)], AT, AT + 10),
        ]
    )


async def written(desk: Desk, format: Format, session: str | None = "all") -> str:
    pieces: AsyncIterator[str] = desk.exchange.pieces(await desk.exchange.chosen(session), format)
    return "".join([piece async for piece in pieces])


async def test_markdown_tells_the_branch_then_the_other_versions(desk: Desk) -> None:
    await fill(desk)
    text = await written(desk, "md")
    assert r"# First \*one\*" in text
    order = ["### 1 · You", "### 2 · m", "### 3 · You", "### 4 · Answer", "## Other versions", "### 5 (to 1) · Answer"]
    places = [text.index(each) for each in order]
    assert places == sorted(places)
    assert "> **Reasoning**\n>\n> thinking\n" in text
    assert "```python\nprint(1)\n```\n" in text
    assert "*failed: why*" in text
    assert r"*1,000 + 2 tokens · $0.5000*" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


class Page(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        for name, value in attrs:
            assert name != "href" or (value or "").startswith("#")

    def handle_data(self, data: str) -> None:
        self.said += data


async def test_html_holds_no_script_and_fetches_nothing(desk: Desk) -> None:
    await fill(desk)
    text = await written(desk, "html")
    page = Page(text)
    assert page.tags.isdisjoint({"script", "img", "iframe", "object", "embed", "link", "form", "svg", "base", "audio"})
    assert not [name for name in page.attributes if name.startswith("on")]
    assert "default-src 'none'" in text
    assert "<script>alert(1)</script>" in page.said
    assert "<pre><code>print(1)</code></pre>" in text
    assert "Other versions (1)" in text
    assert '5</a> to <a href="#m1-1">1</a>' in text
    assert "http" not in text.replace("http-equiv", "")


async def test_a_file_is_new_private_and_whole(desk: Desk, tmp_path: Path) -> None:
    await fill(desk)
    path = tmp_path / "out.json"
    done = await desk.exchange.export_to(path, await desk.exchange.chosen("all"), "json")
    assert (done.sessions, stat.S_IMODE(path.stat().st_mode)) == (2, 0o600)
    assert len(json.loads(path.read_text("utf-8"))["sessions"]) == 2
    with pytest.raises(CommandError, match="exists already"):
        await desk.exchange.export_to(path, [], "json")
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CommandError):
        await desk.exchange.export_to(link, [], "json")
    with pytest.raises(CommandError, match="cannot be written"):
        await desk.exchange.export_to(tmp_path / "no" / "folder.md", [], "md")
    (entry,) = [each for each in await desk.store.audit.entries() if each.kind == "session.export"]
    assert (entry.subject, entry.detail["sessions"]) == ("all", "2")


async def test_no_file_is_left_when_it_fails(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(desk)

    async def fails(_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(desk.store.bulk, "outline", fails)
    with pytest.raises(RuntimeError):
        await desk.exchange.export_to(tmp_path / "out.md", await desk.exchange.chosen("all"), "md")
    assert not (tmp_path / "out.md").exists()


async def test_a_session_deleted_meanwhile_is_left_out(desk: Desk) -> None:
    await fill(desk)
    ids = await desk.exchange.chosen("all")
    await desk.store.sessions.delete(ids[0])
    for format in ("md", "json", "html"):
        text = "".join([piece async for piece in desk.exchange.pieces(ids, format)])
        assert "the question" not in text
        assert "alert" in text


async def test_the_command_names_the_file_after_the_session(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    registry = Registry()
    registry.collect(desk.exchange)
    with pytest.raises(CommandError, match="no session"):
        await registry.run_line("export")
    await fill(desk)
    said = str(await registry.run_line("session.export"))
    (path,) = tmp_path.glob("*.md")
    assert said == f"Exported 1 session to {path}"
    assert path.name.startswith("script-alert-1-script")
    await registry.run_line("export all to=everything.html")
    assert (tmp_path / "everything.html").read_text().startswith("<!DOCTYPE html>")
    with pytest.raises(CommandError, match="no session"):
        await registry.run_line("export ZZZZ")


async def test_an_import_is_told_and_noted(desk: Desk, tmp_path: Path) -> None:
    registry, events = Registry(), list[object]()
    registry.collect(desk.exchange)
    desk.bus.subscribe(events.append)
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([CLAUDE, {"title": "odd"}]))
    tried = str(await registry.run_line(f"import {path} dry_run=true"))
    assert tried.startswith("Would import 1 new session from Claude with 1 message.")
    assert SessionsChanged() not in events
    said = str(await registry.run_line(f"import {path}"))
    assert said.splitlines() == [
        "Imported 1 new session from Claude with 1 message.",
        "1 had images, sound or files that are not in the file: the text says so.",
        "1 left out:",
        "  odd: it is no conversation of Claude",
    ]
    assert SessionsChanged() in events
    again = str(await registry.run_line(f"import {path}"))
    assert "1 session was here already, complete." in again
    kinds = [each.kind for each in await desk.store.audit.entries()]
    assert kinds.count("session.import") == 2


async def test_what_cannot_be_imported_says_why(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("hello")
    with pytest.raises(CommandError, match="no JSON"):
        await desk.exchange.bring_in(path)
    with pytest.raises(CommandError, match="cannot be read as SQLite"):
        await desk.exchange.bring_in(path, "llm")
    with pytest.raises(CommandError, match="no file"):
        await desk.exchange.bring_in(tmp_path / "missing")


@pytest.mark.parametrize(
    ("format", "to", "expected"),
    [(None, None, "md"), (None, "a.HTML", "html"), (None, "a.json", "json"), ("md", "a.json", "md"), (None, "a", "md")],
)
def test_the_format_is_what_the_name_says(format: Format | None, to: str | None, expected: Format) -> None:
    assert format_of(format, to) == expected


@pytest.mark.parametrize(
    ("title", "name"), [("", "session-uvwxyz"), ("../../etc", "etc-uvwxyz"), ("Größe: 5/6?", "größe-5-6-uvwxyz")]
)
def test_names_of_files_hold_no_paths(title: str, name: str) -> None:
    assert file_name(title, "ABCUVWXYZ") == name
