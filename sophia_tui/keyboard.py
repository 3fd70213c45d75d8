"""From keys to commands: the keymap in force, keys that are pressed one after the other, and the keys of macros."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from sophia_core.keymap import Keymap, show_key
from sophia_tui.bindings import all_declarations, keymap_of
from sophia_tui.presets import Preset, preset_of

if TYPE_CHECKING:
    from textual.timer import Timer

    from sophia_tui.app import SophiaApp
    from sophia_tui.widgets.which_key import WhichKey

HINT_DELAY: Final = 0.4
"""Seconds after which somebody who has begun keys may want to know how they go on."""
LEAVES: Final = ("escape",)


class Keyboard:
    """Hears every key before anything else does. Esc is left to whatever is open."""

    def __init__(self, app: SophiaApp, *, hint_delay: float = HINT_DELAY) -> None:
        self._app, self.hint_delay = app, hint_delay
        self.keymap: Keymap = keymap_of({}, all_declarations())
        self.preset: Preset = preset_of({})[0]
        self.pending = ""
        """What was begun: `ctrl+x`."""
        self._names: Mapping[str, str] = {}
        self._beginnings: frozenset[str] = frozenset()
        self._in_dialogs: frozenset[str] = frozenset()
        self._timer: Timer | None = None
        self._panel: WhichKey | None = None
        self._take_in()

    def learn(self, own: Mapping[str, str]) -> None:
        """Works the keys out anew: of all commands, those of the macros there are now among them."""
        macros = [each.spec for each in self._app.runtime.registry if each.spec.name.startswith("macro.")]
        known = {spec.name for spec in self._app.specs}
        specs = [*self._app.specs, *(spec for spec in macros if spec.name not in known)]
        self.preset = preset_of(own)[0]
        self.keymap = keymap_of(own, specs)
        self._take_in()

    def _take_in(self) -> None:
        self._names = {key: name for name, keys in self.keymap.bindings.items() for key in keys}
        parts = [key.split() for key in self._names]
        self._beginnings = frozenset(" ".join(each[:end]) for each in parts for end in range(1, len(each)))
        self._in_dialogs = frozenset(spec.name for spec in self._app.specs if spec.in_dialogs)

    def works(self, name: str) -> bool:
        """Whether a command's key counts now: a dialog keeps all keys but those declared for it."""
        return len(self._app.screen_stack) == 1 or name in self._in_dialogs

    def take(self, key: str) -> bool:
        """Acts on a key that is a command's or begins one's; False leaves it to whoever has the focus."""
        if self.pending:
            return self._go_on(key)
        if key in self._beginnings and len(self._app.screen_stack) == 1:
            self._begin(key)
            return True
        name = self._names.get(key)
        if name is None or key in LEAVES or not self.works(name):
            return False
        self._app.dispatcher.start(name)
        return True

    def _begin(self, keys: str) -> None:
        self.pending = keys
        if self._panel is not None and self._panel.display:
            self._show()
        elif self._timer is None:
            self._timer = self._app.set_timer(self.hint_delay, self._show)

    def _go_on(self, key: str) -> bool:
        keys = f"{self.pending} {key}"
        if keys not in self._names and key.isalpha() and len(key) == 1:
            keys = f"{self.pending} {key.lower()}"
        if keys in self._beginnings:
            self._begin(keys)
            return True
        self.give_up()
        if name := self._names.get(keys):
            self._app.dispatcher.start(name)
        elif key not in (*LEAVES, "ctrl+g"):
            self._app.dispatcher.notice("warning", f"{self._shown(keys)} runs nothing.")
        return True

    def give_up(self) -> None:
        """Nothing is begun any more."""
        self.pending = ""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        if self._panel is not None:
            self._panel.display = False

    def hints(self) -> list[tuple[str, str]]:
        """How the keys that were begun may go on: the rest of the keys, and the command."""
        start = f"{self.pending} "
        found = [(key, name) for key, name in self._names.items() if key.startswith(start)]
        # Shown behind what was begun, so that a plain letter stays as it is typed.
        return sorted((self._shown(key).removeprefix(self._shown(start)).strip(), name) for key, name in found)

    def _shown(self, keys: str) -> str:
        return show_key(keys.strip(), ascii_only=self._app.ascii_only)

    def _show(self) -> None:
        self._timer = None
        if not self.pending or len(self._app.screen_stack) != 1:
            return
        if self._panel is None:
            from sophia_tui.widgets.which_key import WhichKey

            self._panel = WhichKey(self._chosen)
            self._app.screen.mount(self._panel)
        self._panel.show(self._shown(self.pending), self.hints())

    def _chosen(self, name: str) -> None:
        self.give_up()
        self._app.dispatcher.start(name)
