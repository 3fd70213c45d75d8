"""What the prompt offers after `/`: the commands, the best match first."""

from __future__ import annotations

from collections.abc import Sequence

from sophia_core.commands import Command, Registry, parameter_words
from sophia_core.keymap import Keymap, show_key
from sophia_tui.screens.fuzzy import best
from sophia_tui.widgets.completion import Completion

MOST = 40


def complete(typed: str, registry: Registry, keymap: Keymap) -> Sequence[Completion]:
    """Commands for a line that begins with `/`; nothing once its arguments are being typed."""
    word, space, _ = typed.removeprefix("/").partition(" ")
    if space:
        return ()
    commands = [each for each in registry if each.spec.palette]
    if not word:
        ranked = sorted(commands, key=lambda each: (each.spec.slash is None, each.spec.slash or each.name))
    else:
        names = [f"{each.spec.slash or each.name} {each.name}" for each in commands]
        ranked = [commands[found.index] for found in best(word, names, MOST)]
    return [_offer(each, keymap) for each in ranked[:MOST]]


def _offer(command: Command, keymap: Keymap) -> Completion:
    spec = command.spec
    keys = keymap.bindings.get(spec.name, ())
    text = "/" + (spec.slash or spec.name)
    key = show_key(keys[0]) if keys else ""
    return Completion(text, " ".join(parameter_words(spec)), spec.help, command.disabled_reason(), key, f"/{spec.name}")
