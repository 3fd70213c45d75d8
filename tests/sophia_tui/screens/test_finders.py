"""Lists that are searched: the palette, picking, help; and the search itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.widgets import Static

from sophia_core.commands import Command, Declaration, Param
from sophia_core.keymap import Keymap
from sophia_tui.palette import PaletteChoice, command_entries, find, session_entries
from sophia_tui.screens.finder import SHOWN, Rows
from sophia_tui.screens.fuzzy import best, match
from sophia_tui.screens.help import HelpScreen, help_groups
from sophia_tui.screens.palette_screen import PaletteScreen
from sophia_tui.screens.pick import WIDEST_LABEL, Pick, PickItem


async def nothing() -> None:
    """What a command does here."""


def command(name: str, help: str = "Help.", **more: Any) -> Command:
    return Command(Declaration(name, help, more.pop("params", ()), **more), nothing, None)


COMMANDS = [
    command("chat.send", "Ask something.", slash="ask", params=(Param("text", "str", True),)),
    command("session.new", "Start a new conversation.", slash="new"),
    command("session.rename", "Give it another title.", enabled=lambda _: "no session is open"),
    command("session.delete", "Delete a session.", dangerous=True, params=(Param("session", "str", False),)),
    command("debug.hidden", "Not for people.", palette=False),
]
KEYMAP = Keymap({"session.new": ("ctrl+n", "f7"), "chat.send": ("up",)})
ENTRIES = command_entries(COMMANDS, KEYMAP)


async def sessions(typed: str) -> Sequence[tuple[str, str]]:
    return [("s1", "Deleting files [bold] safely"), ("s2", ""), ("s3", "\x1b[31mred")]


def rows(shown: Any) -> list[str]:
    return [each.prompt.plain for each in shown.screen.query_one(Rows).options]


def test_every_command_of_the_palette_is_listed_by_name() -> None:
    assert [each.title for each in ENTRIES] == ["chat.send", "session.delete", "session.new", "session.rename"]
    new = ENTRIES[2]
    assert (new.keys, new.help, new.disabled) == ("^N F7", "Start a new conversation.", "")
    assert "/new" in new.detail and ENTRIES[3].disabled == "no session is open"
    assert "[SESSION]" in ENTRIES[1].detail and "asks first" in ENTRIES[1].detail
    assert command_entries(COMMANDS, KEYMAP, ascii_only=True)[0].keys == "Up"


def test_what_can_run_now_comes_before_what_cannot() -> None:
    off = command("a.off", enabled=lambda _: "not now")
    entries = command_entries([off, *COMMANDS], KEYMAP)
    assert [each.title for each in entries][-2:] == ["a.off", "session.rename"]
    assert command_entries([off, *COMMANDS], KEYMAP, ["a.off"])[0].title == "a.off"


def test_recent_commands_come_first() -> None:
    entries = command_entries(COMMANDS, KEYMAP, ["session.new", "gone", "chat.send"])
    assert [each.title for each in entries][:2] == ["session.new", "chat.send"]


def test_commands_before_sessions_that_fit_as_well() -> None:
    found = find("delet", ENTRIES, session_entries([("s1", "delete me"), ("s2", "nothing")]), 10)
    assert [each.entry.choice.value for each in found] == ["session.delete", "s1"] or (
        [each.entry.choice.value for each in found] == ["s1", "session.delete"]
    )
    assert find("sn", ENTRIES, [], 10)[0].entry.title == "session.new"
    assert find("conversation", ENTRIES, [], 10)[0].entry.title == "session.new", "help is searched too"


async def test_the_palette_chooses_a_command(show: Any) -> None:
    async with show(PaletteScreen(ENTRIES, sessions)) as shown:
        await shown.type("new")
        assert "session.new" in rows(shown)[0] and "^N" in rows(shown)[0]
        assert "Start a new conversation." in shown.says() and "/new" in shown.says()
        await shown.press("enter")
        [choice] = shown.results
        assert choice == PaletteChoice("command", "session.new", ENTRIES[2].choice.spec)


async def test_the_palette_finds_sessions(show: Any) -> None:
    async with show(PaletteScreen(ENTRIES, sessions)) as shown:
        await shown.settle()
        assert any("Untitled" in row for row in rows(shown))
        await shown.type("safely")
        assert rows(shown)[0].startswith("Deleting files [bold] safely")
        await shown.press("enter")
        assert shown.results == [PaletteChoice("session", "s1")]


async def test_what_cannot_run_is_listed_with_the_reason_and_not_chosen(show: Any) -> None:
    async with show(PaletteScreen(ENTRIES)) as shown:
        await shown.type("rename")
        assert "no session is open" in rows(shown)[0]
        await shown.press("enter")
        assert shown.results == [] and "Cannot run now: no session is open" in shown.says()


async def test_the_palette_works_without_its_sessions(show: Any) -> None:
    async def broken(typed: str) -> Sequence[tuple[str, str]]:
        raise OSError("no")

    async with show(PaletteScreen(ENTRIES, broken)) as shown:
        await shown.pilot.pause()
        await shown.press("down", "down", "down", "up", "enter")
        assert shown.results[0].value == "session.new"


async def test_nothing_fits(show: Any) -> None:
    async with show(PaletteScreen(ENTRIES)) as shown:
        await shown.type("zzzz")
        assert rows(shown) == [] and "Nothing fits." in shown.says()
        await shown.press("enter", "escape")
        assert shown.results == [None]


async def test_rows_are_one_line_at_every_width(show: Any) -> None:
    entries = [*ENTRIES, *command_entries([command("wide.name", "漢字" * 60)], Keymap({"wide.name": ("f1",)}))]
    async with show(PaletteScreen(entries)) as shown:
        for width in (20, 47, 80, 160):
            await shown.pilot.resize_terminal(width, 24)
            await shown.settle()
            options = shown.screen.query_one(Rows)
            assert options.virtual_size.height == len(entries)


async def test_a_click_chooses(show: Any) -> None:
    async with show(PaletteScreen(ENTRIES)) as shown:
        await shown.pilot.click(Rows, offset=(3, 2))
        assert shown.results[0].value == "session.new"


async def test_picking_previews_and_filters(show: Any) -> None:
    seen: list[str] = []
    items = [PickItem(f"v{n}", name, "theme") for n, name in enumerate(["amber", "paper", "midnight"])]
    async with show(Pick("Theme", items, seen.append, current="paper")) as shown:
        await shown.settle()
        assert seen[-1] == "v1"
        await shown.press("down")
        assert seen[-1] == "v2"
        await shown.type("amb")
        assert seen[-1] == "v0" and len(rows(shown)) == 1
        await shown.press("enter")
        assert shown.results == ["v0"]


async def test_esc_leaves_a_pick_without_a_value(show: Any) -> None:
    async with show(Pick("Theme", [PickItem(1, "one")])) as shown:
        await shown.press("escape")
        assert shown.results == [None]


def test_a_label_of_any_width_stands_apart_from_its_detail() -> None:
    labels = ["short", "日本語のモデル", "l" * 60]
    pick = Pick("Model", [PickItem(label, label, "detail") for label in labels])
    pick._found = [0, 1, 2]
    rows = [pick.row(index, 90).plain.rstrip() for index in range(3)]
    assert all(row.endswith("  detail") for row in rows)
    assert rows[0].index("detail") == WIDEST_LABEL + 2 == cell_len(rows[1].removesuffix("detail"))


async def test_a_long_list_says_that_there_is_more(show: Any) -> None:
    async with show(Pick("Model", [PickItem(n, f"model-{n}") for n in range(400)])) as shown:
        assert len(rows(shown)) == SHOWN and "300 more" in shown.says()
        await shown.type("399")
        assert rows(shown)[0].startswith("model-399") and "more" not in shown.says()
        await shown.press("enter")
        assert shown.results == [399]


async def test_an_empty_pick_says_so(show: Any) -> None:
    async with show(Pick("Model", [])) as shown:
        assert "nothing to choose from" in shown.says()
        await shown.press("enter", "escape")
        assert shown.results == [None]


SPECS = [each.spec for each in COMMANDS]


def test_help_is_generated_from_the_declarations() -> None:
    groups = help_groups(SPECS, KEYMAP, {"Files": [("Log", "/x/sophia.log")]})
    assert list(groups) == ["Chat", "Session", "Debug", "Files"]
    assert {spec.name for spec in SPECS} == {
        spec.name
        for spec in SPECS
        for rows in groups.values()
        for row in rows
        if spec.name in f"{row.middle}{row.text}"
    }
    [send] = groups["Chat"]
    assert (send.left, send.middle) == ("↑", "/ask TEXT") and "Ask something." in send.text


async def test_help_is_filtered_and_scrolled(show: Any) -> None:
    specs = [Declaration(f"group{n % 9}.command{n}", f"Does thing {n}.", ()) for n in range(300)]
    async with show(HelpScreen(specs, Keymap({}), {"Files": [("Log", "/x/sophia.log")]}), (80, 24)) as shown:
        page = shown.screen.query_one("#page")
        await shown.press("pagedown")
        assert page.scroll_y > 0
        await shown.type("command299")
        assert page.scroll_y == 0
        assert shown.screen.query_one("#text", Static).size.height <= 3
        await shown.press("enter")
        assert shown.results == [None]


def test_words_are_found_in_any_order() -> None:
    texts = ["Rename a session", "Delete a session", "Show help"]
    assert [each.index for each in best("session del", texts)] == [1]
    assert [each.index for each in best("", texts)] == [0, 1, 2]
    assert [each.index for each in best("ss", texts)] == [0, 1]
    assert best("xyz", texts) == []


def test_a_beginning_of_a_word_counts_more_than_a_middle() -> None:
    assert [each.index for each in best("pen", ["happens", "a pen", "pen"])] == [2, 1, 0]


@settings(deadline=None)
@given(query=st.text(max_size=20), text=st.text(max_size=300))
def test_what_matches_is_really_there(query: str, text: str) -> None:
    found = match(query.lower(), text)
    if found:
        score, offsets = found
        assert score > 0 and list(offsets) == sorted(set(offsets))
        letters = {text[at].lower() for at in offsets}
        assert letters <= set(query.lower())
    for word in text[:200].split():
        assert len(word.lower()) != len(word) or match(word.lower(), text) is not None


def test_a_query_that_can_fall_in_countless_ways_is_answered() -> None:
    assert match("ab" * 30 + "c", "ab" * 100) is None
    found = match("a b a b" * 10, "xa xb " * 60)
    assert found is not None and found[0] > 0
