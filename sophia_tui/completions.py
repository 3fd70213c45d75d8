"""What the prompt offers after `/`: the commands, the best match first, then what may stand for their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sophia_core.cmdline import quote
from sophia_core.commands import Command, Declaration, Param, Registry, parameter_words
from sophia_core.keymap import Keymap, show_key
from sophia_tui.arguments import Offer, kind_of
from sophia_tui.screens.fuzzy import best
from sophia_tui.widgets.completion import Completion

if TYPE_CHECKING:
    from sophia_tui.app import SophiaApp

MOST = 40


def complete(typed: str, app: SophiaApp) -> Sequence[Completion]:
    """What a line that begins with `/` may go on as."""
    word, space, rest = typed.removeprefix("/").partition(" ")
    if not space:
        if not word:  # a command line is begun: somebody may have written a macro, or named a folder
            app.arguments.forget()
            app.run_worker(app.macro_guide.refresh(), group="macros", exclusive=True)
        return commands_for(word, app.runtime.registry, app.keys)
    if not app.runtime.registry.has(word):
        return ()
    spec = app.runtime.registry.get(word).spec
    before, param, now = place_of(spec, rest)
    if param is None:
        return ()
    offers = app.arguments.at_once(kind_of(spec.name, param), param, now, app.chat.prompt.offer)
    done = [typed[: len(typed) - len(rest)] + before + _written(each.value, spec, param) for each in offers]
    return [_completion(line, each, param) for line, each in zip(done, offers, strict=True) if line != typed.rstrip()]


def commands_for(word: str, registry: Registry, keymap: Keymap) -> Sequence[Completion]:
    """The commands that fit the beginning of a name, the best match first."""
    commands = [each for each in registry if each.spec.palette]
    if not word:
        ranked = sorted(commands, key=lambda each: (each.spec.slash is None, each.spec.slash or each.name))
    else:
        names = [f"{each.spec.slash or each.name} {each.name}" for each in commands]
        ranked = [commands[found.index] for found in best(word, names, MOST)]
        ranked.sort(key=lambda each: word not in (each.spec.slash, each.name))  # what is typed in full comes first
    return [_offer(each, keymap) for each in ranked[:MOST]]


def _offer(command: Command, keymap: Keymap) -> Completion:
    spec = command.spec
    keys = keymap.bindings.get(spec.name, ())
    text = "/" + (spec.slash or spec.name)
    key = show_key(keys[0]) if keys else ""
    return Completion(text, " ".join(parameter_words(spec)), spec.help, command.disabled_reason(), key, f"/{spec.name}")


def place_of(spec: Declaration, rest: str) -> tuple[str, Param | None, str]:
    """Where in the arguments somebody types: what stands before, the parameter that is typed, and what there is of it.

    The last parameter that words can fill takes all that are left, as when the line runs.
    """
    named = {param.name: param for param in spec.params}
    plain = [param for param in spec.params if not param.named_only]
    before, words = "", rest.split(" ")
    key, equals, value = words[-1].partition("=")
    if equals and key in named:
        return rest[: len(rest) - len(value)], named[key], value
    for number, word in enumerate(words):
        key, equals, _ = word.partition("=")
        if equals and key in named:
            plain = [param for param in plain if param.name != key]
        elif len(plain) == 1 and plain[0].type == "str":
            return before, plain[0], " ".join(words[number:]).strip('"')
        elif number == len(words) - 1:
            return before, plain[0] if plain else None, word.strip('"')
        elif word and plain:
            plain = plain[1:]
        before += f"{word} "
    return before, None, ""


def _written(value: str, spec: Declaration, param: Param) -> str:
    """The value as it stands in the line; the last text takes all words, and so needs no quotes for blanks."""
    if set(value) & set("\"'=") or "  " in value:
        return quote(value)
    takes_all = not param.named_only and param is [each for each in spec.params if not each.named_only][-1]
    return value if takes_all or " " not in value else quote(value)


def _completion(line: str, offer: Offer, param: Param) -> Completion:
    """One way on; the row shows the value alone, as the line before it is known."""
    return Completion(line, help=offer.detail, shown=offer.shown, more=line.endswith("/"), argument=param.name)
