"""What the terminal can and cannot do, found out from the environment before the first paint."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import cast

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS


class _MoreKeys(enum.StrEnum):
    """Keys that Textual's table of sequences does not tell apart."""

    ALT_ENTER = "alt+enter"
    ALT_MINUS = "alt+minus"


def tell_alt_enter() -> None:
    """Lets Alt+Enter and Alt+- arrive as such from terminals that send ESC and the key for them (tmux, xterm, VTE).

    Textual 8.2.8 reads the one as plain Enter, the other as the dash that WezTerm's Option key is to type, and has no
    public way to change it; Textual is pinned exactly, and a test sends the bytes through its parser. See
    docs/adr/0009.
    """
    table = cast(dict[str, tuple[enum.Enum, ...]], ANSI_SEQUENCES_KEYS)  # the parser only takes the members' values
    table["\x1b\r"] = (_MoreKeys.ALT_ENTER,)
    table["\x1b-"] = (_MoreKeys.ALT_MINUS,)


def speaks_utf8(env: Mapping[str, str]) -> bool:
    """Whether the locale says UTF-8. One that says nothing is taken for UTF-8: containers and SSH often set none."""
    chosen = env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or ""
    if not chosen:
        return True
    return "utf" in chosen.lower() and "8" in chosen


def frames_per_second(env: Mapping[str, str], *, still: bool = False) -> int:
    """How often a streaming answer is drawn: less often over SSH, where every frame crosses a link, and in steps that
    the eye can rest on where nothing is to move."""
    if still:
        return 2
    return 5 if over_ssh(env) else 12


def over_ssh(env: Mapping[str, str]) -> bool:
    """Whether the person sits at another machine."""
    return bool(env.get("SSH_CONNECTION") or env.get("SSH_TTY"))


def takes_links(env: Mapping[str, str]) -> bool:
    """Whether text can carry a link (OSC 8). Terminals that do not know it ignore it, but for these."""
    term = env.get("TERM", "")
    return not (term in ("linux", "dumb", "cons25") or term.startswith(("vt1", "vt2")) or env.get("STY"))


def takes_mouse(wanted: bool | None, env: Mapping[str, str]) -> bool:
    """Whether the mouse is asked for. While it is, GNU screen keeps an Esc to itself until the next key."""
    return not env.get("STY") if wanted is None else wanted
