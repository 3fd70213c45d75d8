"""Changes, drawings and what stands beside a message, in the running widget."""

from __future__ import annotations

from textual.geometry import Offset

from sophia_tui.transcript import Aside, Entry, Transcript
from tests.sophia_tui.transcript.test_transcript import find, screen, settled, stage

DIFF = "```diff\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\n same\n```\n"
CHART = "See:\n\n```mermaid\ngraph LR\n  A[One] --> B[Two]\n```\n\nend"


def roles(view: Transcript, text: str) -> set[str]:
    row = view._rows[find(view, text).y]
    return {ink.role for run, ink in row.line.runs if run.strip()}


async def test_lines_that_came_and_went_are_told_apart() -> None:
    async with stage() as (_, view):
        view.show([Entry("1", "assistant", DIFF)])
        assert roles(view, "+new") == {"code-added"}
        assert roles(view, "-old") == {"code-removed"}
        assert roles(view, "@@") == {"code-hunk"}
        assert roles(view, " same") == {"code"}


async def test_a_diff_without_its_name_is_known_by_its_beginning() -> None:
    async with stage() as (_, view):
        view.show([Entry("1", "assistant", DIFF.replace("```diff", "```")), Entry("2", "assistant", "```\n- zed\n```")])
        assert roles(view, "+new") == {"code-added"}
        assert roles(view, "- zed") == {"code"}


async def test_a_chart_is_drawn_when_it_is_complete_and_its_source_is_a_click_away() -> None:
    async with stage() as (pilot, view):
        view.begin(Entry("1", "assistant", "", status="streaming"))
        view.feed("1", CHART[:40])
        view.flush()
        assert "graph LR" in "\n".join(screen(view))
        view.feed("1", CHART[40:])
        view.flush()
        view.finish("1")
        assert "│ One │────▶│ Two │" in "\n".join(screen(view))
        await pilot.click(Transcript, offset=find(view, "[source]", 2))
        await settled(pilot)
        assert "A[One] --> B[Two]" in "\n".join(screen(view))
        await pilot.click(Transcript, offset=find(view, "[drawing]", 2))
        await settled(pilot)
        assert "│ One │" in "\n".join(screen(view))
        assert view.last_code() == ("mermaid", "graph LR\n  A[One] --> B[Two]\n")


async def test_a_picture_that_cannot_be_drawn_is_its_source() -> None:
    async with stage() as (_, view):
        view.show([Entry("1", "assistant", "```mermaid\npie\n  a: 3\n```")])
        assert "not drawn" in "\n".join(screen(view))
        assert "a: 3" in "\n".join(screen(view))


async def test_what_stands_beside_a_message_is_a_row_that_unfolds() -> None:
    call = Aside("tool_call", "read", '{"path": "x"}', "running")
    photo = Aside("image", "cat.png", size=34_500, media_type="image/png")
    async with stage() as (pilot, view):
        view.show([Entry("1", "user", "Look", asides=(photo,)), Entry("2", "assistant", "Yes.", asides=(call,))])
        shown = "\n".join(screen(view))
        assert "image cat.png · image/png · 34 KB" in shown
        assert 'calls read {"path": "x"} · running…' in shown
        done = (Aside("tool_call", "read", '{"path": "x"}'), Aside("tool_result", "read", "first\nsecond"))
        view.put_asides("2", done)
        shown = "\n".join(screen(view))
        assert "running" not in shown
        assert "result read · 2 lines" in shown
        assert "second" not in shown
        at: Offset = find(view, "result read")
        await pilot.click(Transcript, offset=at)
        await settled(pilot)
        assert "▎ second" in "\n".join(screen(view))
        view.unfold()
        view.unfold()
        assert "▎" not in "\n".join(screen(view))


async def test_the_state_of_a_call_changes_while_the_answer_streams() -> None:
    async with stage() as (_, view):
        view.begin(Entry("1", "assistant", "", status="streaming"))
        view.feed("1", "Let me see.\n\n")
        view.flush()
        view.put_asides("1", (Aside("tool_call", "ls", "", "running"),))
        view.feed("1", "There it is.")
        view.flush()
        view.put_asides("1", (Aside("tool_call", "ls", "", "complete"),))
        view.finish("1")
        rows = [row.strip() for row in screen(view) if row.strip()]
        assert rows == ["SOPHIA", "· calls ls", "Let me see.", "There it is."]


async def test_a_mark_parts_what_is_sent_from_what_is_not() -> None:
    async with stage() as (_, view):
        view.show([Entry("1", "user", "old"), Entry("2", "user", "new", above="not sent")])
        rows = [row.strip() for row in screen(view) if row.strip()]
        assert "── not sent ──" in rows[2]
        assert view.entries[1].above == "not sent"
