"""What may be done without asking, what never, and what a person has to be asked. Pure.

Deny wins over ask, ask over allow, and what no rule names is asked for. A command is allowed only where each of its
parts is, and denied where any of them is.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Final, Literal, TypeAlias

from sophia_core.gate.ports import ApprovalRequest, Effect
from sophia_core.gate.splitting import Line, Part, name_of, split
from sophia_core.sanitize import one_line

Mode: TypeAlias = Literal["plan", "ask", "edits", "auto"]
"""plan: nothing is changed or started; ask: as the rules say; edits: files are changed without asking; auto: so is what
runs in the sandbox without a network."""
ALWAYS_ASKED: Final = frozenset({"land", "step", "result"})
"""What a plan wants a person for, and what changes their own tree: no rule and no mode answers in their place."""
READS: Final = ("read_file", "list_files", "search")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, as a person wrote it or as it was made of an answer."""

    effect: Effect
    tool: str
    """A name, or one that ends in `*`."""
    command: str = ""
    """The words that a command begins with; empty: any."""
    path: str = ""
    """Files within the folder: `src/**`, `*.md`; empty: any."""
    folder: str = ""
    """Only there; empty: everywhere."""
    network: bool = False
    """Also where what is started can reach out."""
    why: str = ""
    id: str = ""
    """Of one that is kept in the store; those of the file have none."""

    def __str__(self) -> str:
        about = " ".join(filter(None, (self.tool, repr(self.command) if self.command else "", self.path)))
        return f"{self.effect} {about}{f' in {self.folder}' if self.folder else ''}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say to a request."""

    effect: Effect
    why: str
    by_rule: bool = False
    """Whether a rule wants it asked for: what was allowed for always elsewhere does not count then."""


def judge(
    asked: ApprovalRequest, rules: Sequence[Rule], mode: Mode = "ask", *, granted: Sequence[Rule] = ()
) -> Verdict:
    """What the rules say. `granted` is what a person allowed for this session or run alone."""
    line = split(asked.command) if asked.command else Line(())
    near = [rule for rule in (*rules, *granted) if _concerns(rule, asked)]
    if rule := _first(near, "deny", asked, line):
        return Verdict("deny", rule.why or f"Your rule says: {rule}.")
    if mode == "plan" and asked.danger != "read":
        return Verdict("deny", "In plan mode nothing is changed or started.")
    if rule := _first(near, "ask", asked, line):
        return Verdict("ask", rule.why or f"Your rule says: {rule}.", by_rule=True)
    if asked.tool in ALWAYS_ASKED:
        return Verdict("ask", asked.why or "This is for a person to decide.")
    if mode == "auto" and _held(asked, near, line):
        return Verdict("allow", "In the mode auto, what the sandbox holds runs.")
    if why := _never_by_rule(asked, line):
        return Verdict("ask", why)
    if _all_allowed([rule for rule in near if rule.effect == "allow"], asked, line):
        return Verdict("allow", "Your rules allow it.")
    return _by_mode(asked, mode)


def _by_mode(asked: ApprovalRequest, mode: Mode) -> Verdict:
    if asked.danger == "write" and asked.isolated:
        return Verdict("allow", "It changes a worktree of its own only.")
    if asked.danger == "write" and mode in ("edits", "auto"):
        return Verdict("allow", f"Files may be changed in the mode {mode}.")
    return Verdict("ask", "No rule allows it.")


def _held(asked: ApprovalRequest, near: Sequence[Rule], line: Line) -> bool:
    """Whether the sandbox holds it. With a line that cannot be told for certain no rule must be about commands: it
    could be just what that rule is about."""
    doubtful = line.unclear and any(rule.command and rule.effect != "allow" for rule in near)
    return asked.danger == "run" and asked.boxed and not asked.network and not doubtful


def _never_by_rule(asked: ApprovalRequest, line: Line) -> str:
    """Why only a person can allow this, whatever the rules say."""
    if asked.danger == "run" and not asked.boxed:
        return asked.why or "It would not run in the sandbox."
    if line.unclear:
        return f"No rule can allow it: {line.unclear}."
    return ""


def _concerns(rule: Rule, asked: ApprovalRequest) -> bool:
    named = asked.tool.startswith(rule.tool[:-1]) if rule.tool.endswith("*") else asked.tool == rule.tool
    return named and (not rule.folder or rule.folder == asked.folder)


def _first(rules: Sequence[Rule], effect: Effect, asked: ApprovalRequest, line: Line) -> Rule | None:
    """The first rule of this effect that any part of the request falls under."""
    return next((rule for rule in rules if rule.effect == effect and _touches(rule, asked, line)), None)


def _touches(rule: Rule, asked: ApprovalRequest, line: Line) -> bool:
    """Whether a rule that refuses or asks is about any part of it; in doubt it is."""
    if rule.command:
        wanted = _words(rule.command)
        return any(_begins(part, wanted, by_name=True) for part in line.parts)
    if rule.path:
        return any(matches(rule.path.casefold(), path.casefold()) for path in asked.paths)
    return True


def _all_allowed(rules: Sequence[Rule], asked: ApprovalRequest, line: Line) -> bool:
    """Whether every part of it is allowed by some rule."""
    if asked.network:
        rules = [rule for rule in rules if rule.network]
    if asked.command:
        return bool(line.parts) and all(any(_allows_part(rule, part) for rule in rules) for part in line.parts)
    if asked.paths:
        paths = [path for path in asked.paths if not _strange(path)]
        all_known = len(paths) == len(asked.paths)
        return all_known and all(any(_allows_path(rule, path) for rule in rules) for path in paths)
    return any(not rule.command and not rule.path for rule in rules)


def _allows_part(rule: Rule, part: Part) -> bool:
    return not rule.path and (not rule.command or _begins(part, _words(rule.command)))


def _allows_path(rule: Rule, path: str) -> bool:
    return not rule.command and (not rule.path or matches(rule.path, path))


def _strange(path: str) -> bool:
    pure = PurePosixPath(path)
    return pure.is_absolute() or ".." in pure.parts


def _begins(part: Part, wanted: Sequence[str], *, by_name: bool = False) -> bool:
    """Whether the part begins with these words. To refuse, `/bin/rm` is `rm`, and options between do not matter."""
    if not wanted:
        return False
    if not by_name:
        return list(part.words[: len(wanted)]) == list(wanted)
    if not part.words or name_of(part.words[0]).casefold() != name_of(wanted[0]).casefold():
        return False
    rest = iter(part.words[1:])
    return all(word in rest for word in wanted[1:])


@lru_cache(maxsize=512)
def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError:
        return tuple(command.split())


@lru_cache(maxsize=512)
def _pattern(glob: str) -> re.Pattern[str]:
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    known = {"**/": r"(?:.*/)?", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}
    return re.compile("".join(known.get(piece, re.escape(piece)) for piece in pieces), re.DOTALL)


def matches(glob: str, path: str) -> bool:
    """Whether a path falls under a pattern; one without a slash is about the name, in whichever folder."""
    pure = str(PurePosixPath(path))
    rooted = glob.removeprefix("./") if "/" in glob else f"**/{glob}"
    return bool(_pattern(rooted).fullmatch(pure))


def hidden_paths(rules: Iterable[Rule]) -> tuple[str, ...]:
    """The files that rules keep from being read; tools that only look are told them, as nobody is asked for those."""
    names = {"*", *READS}
    return tuple(rule.path for rule in rules if rule.effect == "deny" and rule.path and rule.tool in names)


def rule_of(asked: ApprovalRequest) -> Rule | None:
    """The rule that "always" makes of a request: just this command or these files, in just this folder; None where
    only a person can allow it each time. What reaches out or leaves the sandbox is one of those."""
    line = split(asked.command) if asked.command else Line(())
    if _never_by_rule(asked, line) or asked.network or asked.tool in ALWAYS_ASKED or len(line.parts) > 1:
        return None
    command = shlex.join(line.parts[0].words) if line.parts else ""
    if not command and asked.paths:
        if len(asked.paths) > 1 or _strange(asked.paths[0]) or set(asked.paths[0]) & set("*?"):
            return None
        return Rule("allow", asked.tool, path=_rooted(asked.paths[0]), folder=asked.folder)
    return Rule("allow", asked.tool, command, folder=asked.folder, why=one_line(asked.what, 120))


def _rooted(path: str) -> str:
    """The pattern of this one file; a name alone would stand for it in every folder."""
    return path if "/" in path else f"./{path}"
