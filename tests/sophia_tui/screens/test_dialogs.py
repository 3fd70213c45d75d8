"""Questions and secrets: keys in, one result out, nothing echoed, any terminal size."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.screen import Screen
from textual.widgets import Button

from sophia_core.keymap import Keymap
from sophia_tui.screens.ask_secret import AskSecret, capitals_hint, length_hint
from sophia_tui.screens.ask_text import AskText
from sophia_tui.screens.confirm import Confirm
from sophia_tui.screens.dialog import Choice, SecretInput
from sophia_tui.screens.help import HelpScreen
from sophia_tui.screens.palette_screen import PaletteScreen
from sophia_tui.screens.pick import Pick, PickItem
from sophia_tui.screens.recovery_key import RecoveryKey
from sophia_tui.screens.store_trouble import StoreTrouble
from sophia_tui.screens.unlock import Unlock

KEY = "ABCDEFG-1234567-HJKMNPQ-RSTVWXY-0A1B2C3-Z9Y8X7W-QWERTYP-7654321"
HOSTILE = "[red]not markup[/red] \x1b[31m\u202e\x07"


async def refuse(_: str) -> str | None:
    return "That does not open it."


async def accept(_: str) -> str | None:
    return None


ALL: dict[str, tuple[Callable[[], Screen[Any]], object]] = {
    "secret": (lambda: AskSecret(HOSTILE, True, HOSTILE), None),
    "text": (lambda: AskText(HOSTILE, HOSTILE, HOSTILE, [HOSTILE], HOSTILE), None),
    "confirm": (lambda: Confirm(HOSTILE, HOSTILE, HOSTILE, True), False),
    "unlock": (lambda: Unlock(HOSTILE, refuse, refuse), "quit"),
    "trouble": (lambda: StoreTrouble(HOSTILE, HOSTILE, HOSTILE), "quit"),
    "recovery": (lambda: RecoveryKey(KEY), None),
    "pick": (lambda: Pick(HOSTILE, [PickItem(n, HOSTILE, HOSTILE) for n in range(30)]), None),
    "help": (lambda: HelpScreen([], Keymap({}), {HOSTILE: [(HOSTILE, HOSTILE)]}), None),
    "palette": (lambda: PaletteScreen([], None), None),
}


@pytest.mark.parametrize("name", ALL)
async def test_every_screen_stands_at_any_size_and_esc_leaves(show: Any, name: str) -> None:
    make, left = ALL[name]
    async with show(make(), (20, 5)) as shown:
        assert "\x1b" not in shown.says() and "\u202e" not in shown.says()
        for size in ((1, 1), (160, 48), (20, 5)):
            await shown.pilot.resize_terminal(*size)
        await shown.press("escape")
        assert shown.results == [left]


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("palette", "pick", "help")])
async def test_everything_fits_on_80_by_24(show: Any, name: str) -> None:
    make, _ = ALL[name]
    async with show(make()) as shown:
        assert shown.screen.query_one("#box").max_scroll_y == 0
        right = shown.screen.query_one("#box").content_region.right
        assert all(each.region.right <= right for each in shown.screen.query(Choice))


async def test_markup_is_shown_as_it_was_written(show: Any) -> None:
    async with show(Confirm("[b]Sure?[/b]", "[link=x]", "[red]Yes")) as shown:
        assert "[b]Sure?[/b]" in shown.says() and "[link=x]" in shown.says()
        assert str(shown.screen.query_one("#yes", Button).label) == "[red]Yes"


async def test_a_dangerous_question_starts_on_no(show: Any) -> None:
    async with show(Confirm("Delete?", dangerous=True)) as shown:
        await shown.press("enter")
        assert shown.results == [False]


@pytest.mark.parametrize("keys", [["enter"], ["right", "left", "enter"], ["tab", "shift+tab", "enter"]])
async def test_an_ordinary_question_starts_on_yes(show: Any, keys: list[str]) -> None:
    async with show(Confirm("Quit?")) as shown:
        await shown.press(*keys)
        assert shown.results == [True]


async def test_text_is_edited_and_accepted(show: Any) -> None:
    async with show(AskText("Title", "Old")) as shown:
        await shown.type("er x")
        await shown.press("enter")
        assert shown.results == ["Older x"]


async def test_a_suggestion_is_taken_with_the_arrow(show: Any) -> None:
    async with show(AskText("Model", suggestions=["qwen", "mistral"])) as shown:
        await shown.type("mi")
        await shown.press("right", "enter")
        assert shown.results == ["mistral"]


async def test_a_secret_is_masked_and_gone_afterwards(show: Any) -> None:
    async with show(AskSecret("Passphrase")) as shown:
        await shown.type("open sesame")
        field = shown.field()
        assert "sesame" not in shown.says() and "sesame" not in shown.host.export_screenshot()
        await shown.press("shift+home", "ctrl+c", "ctrl+x")
        assert shown.host.copied == []
        await shown.press("enter")
        assert shown.results == ["open sesame"] and field.value == ""


async def test_leaving_clears_the_secret(show: Any) -> None:
    async with show(AskSecret("Passphrase", confirm=True)) as shown:
        fields = list(shown.screen.query(SecretInput))
        await shown.type("abc")
        await shown.press("enter")
        await shown.type("abc")
        await shown.press("escape")
        assert shown.results == [None] and [each.value for each in fields] == ["", ""]


async def test_an_empty_secret_is_refused_in_place(show: Any) -> None:
    async with show(AskSecret("Passphrase")) as shown:
        await shown.press("enter")
        assert shown.results == [] and "Nothing was typed." in shown.says()
        await shown.type("x")
        assert "Nothing was typed." not in shown.says()


async def test_a_new_secret_is_typed_twice(show: Any) -> None:
    async with show(AskSecret("New", confirm=True)) as shown:
        await shown.type("four unrelated words")
        assert "20 characters: a good length" in shown.says()
        await shown.press("enter")
        await shown.type("other")
        await shown.press("enter")
        assert shown.results == [] and "not the same" in shown.says()
        assert shown.field("#again").value == "" and shown.field("#again").has_focus
        await shown.type("four unrelated words")
        await shown.press("enter")
        assert shown.results == ["four unrelated words"]


async def test_the_second_field_may_not_stay_empty(show: Any) -> None:
    async with show(AskSecret("New", confirm=True)) as shown:
        await shown.type("abc")
        await shown.press("enter", "enter")
        assert shown.results == [] and "Type it a second time." in shown.says()


async def test_caps_lock_is_suspected(show: Any) -> None:
    async with show(AskSecret("Passphrase")) as shown:
        await shown.type("HELLO")
        assert "Caps Lock" in shown.says()
        await shown.type("o")
        assert "Caps Lock" not in shown.says()


@settings(deadline=None)
@given(st.text(max_size=40))
def test_hints_never_repeat_the_secret(secret: str) -> None:
    hint = length_hint(secret)
    assert bool(hint) == bool(secret)
    assert hint == length_hint(secret[::-1]), "only length and variety are judged"
    assert capitals_hint(secret.lower()) == "" or not any(map(str.islower, secret.lower()))


def test_length_is_judged_honestly() -> None:
    assert "easily guessed" in length_hint("aaaaaaaaaaaaaaaaaaaaaa")
    assert "easily guessed by a machine" in length_hint("x7Rq2")
    assert "short" in length_hint("correcth1") and "fair" in length_hint("correct horse")
    assert "good length" in length_hint("correct horse battery")


async def test_the_right_passphrase_unlocks(show: Any) -> None:
    async with show(Unlock("It asks.", accept, refuse)) as shown:
        await shown.type("abc")
        await shown.press("enter")
        assert shown.results == ["unlocked"]


async def test_a_wrong_passphrase_says_what_to_do_next(show: Any) -> None:
    async with show(Unlock("It asks.", refuse, accept)) as shown:
        await shown.type("abc")
        await shown.press("enter")
        assert shown.results == []
        assert "That does not open it." in shown.says() and "recovery key" in shown.says()
        assert shown.field().value == "" and shown.field().has_focus
        await shown.pilot.click("#other")
        await shown.type("ABC-DEF")
        await shown.press("enter")
        assert shown.results == ["unlocked"]


async def test_the_screen_lives_while_the_key_is_worked_out(show: Any) -> None:
    go = asyncio.Event()

    async def slow(_: str) -> str | None:
        await go.wait()
        return None

    async with show(Unlock("It asks.", slow, slow)) as shown:
        await shown.type("abc")
        await shown.pilot.press("enter")
        await shown.pilot.pause()
        assert "Checking" in shown.says() and shown.field().disabled
        await shown.pilot.press("escape", "enter")
        assert shown.results == [], "an attempt under way is waited for"
        go.set()
        await shown.settle()
        assert shown.results == ["unlocked"]


async def test_an_attempt_that_breaks_leaves_the_dialog_usable(show: Any) -> None:
    async def broken(_: str) -> str | None:
        raise OSError("no space left")

    async with show(Unlock("It asks.", broken, accept)) as shown:
        await shown.type("abc")
        await shown.pilot.press("enter")
        await shown.pilot.pause()
        await shown.pilot.pause()
        assert "no space left" in shown.says() and not shown.field().disabled


@pytest.mark.parametrize(("button", "result"), [("#unsaved", "unsaved"), ("#quit", "quit")])
async def test_unlock_can_be_declined(show: Any, button: str, result: str) -> None:
    async with show(Unlock("It asks.", refuse, refuse)) as shown:
        await shown.pilot.click(button)
        assert shown.results == [result]


async def test_nothing_typed_is_not_tried(show: Any) -> None:
    async with show(Unlock("It asks.", accept, accept)) as shown:
        await shown.press("enter")
        assert shown.results == [] and "Nothing was typed." in shown.says()


@pytest.mark.parametrize(
    ("keys", "result"),
    [(["enter"], "retry"), (["right", "enter"], "unsaved"), (["tab", "tab", "enter"], "quit"), (["escape"], "quit")],
)
async def test_store_trouble_by_keyboard(show: Any, keys: list[str], result: str) -> None:
    async with show(StoreTrouble("It is damaged.", "/x/sophia.db", "Restore a backup.")) as shown:
        assert all(each in shown.says() for each in ("It is damaged.", "/x/sophia.db", "Restore a backup."))
        await shown.press(*keys)
        assert shown.results == [result]


@pytest.mark.parametrize("typed", ["QWERTYP-7654321", "qwertyp 7654321", "qwertyp765432l", KEY, KEY.lower()])
async def test_the_end_of_the_recovery_key_confirms_it(show: Any, typed: str) -> None:
    async with show(RecoveryKey(KEY)) as shown:
        assert all(group in shown.says() for group in KEY.split("-"))
        shown.field().value = typed
        await shown.press("enter")
        assert shown.results == [typed]


@pytest.mark.parametrize("typed", ["", "7654321", "QWERTYP-7654322", "ABCDEFG-1234567"])
async def test_a_mistyped_recovery_key_is_refused_in_place(show: Any, typed: str) -> None:
    async with show(RecoveryKey(KEY)) as shown:
        shown.field().value = typed
        await shown.press("enter")
        assert shown.results == []
        assert ("Nothing was typed." if not typed else "not the end of the key") in shown.says()
        await shown.press("escape")
        assert shown.results == [None]
