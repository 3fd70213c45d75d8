"""Tools that change files: replace a text in one, write one, apply a patch. What is asked for is what is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sophia_core.gate.asking import request
from sophia_core.gate.ports import ApprovalRequest
from sophia_core.gate.rules import matches
from sophia_core.sanitize import sanitize
from sophia_core.swarm.ports import ToolResult
from sophia_core.swarm.tools.confined import Confined, OutOfReach, is_secret
from sophia_core.swarm.tools.diffs import diff_of, parse_patch, patched
from sophia_core.swarm.tools.hand import Arguments, Hand, blocking, for_model, spec_of, text_of

LONGEST_CONTENT: Final = 1 << 20
MOST_REMEMBERED: Final = 500
RUNS_BY_ITSELF: Final = (
    *("Makefile", "*.mk", ".envrc", "conftest.py", "setup.py", "*.pth", "sitecustomize.py", ".pre-commit-config.yaml"),
    *(".github/**", ".gitlab-ci.yml", ".vscode/**", ".idea/**", ".husky/**", ".gitattributes", ".gitmodules"),
    *("package.json", "build.rs", "Dockerfile", "noxfile.py", "tox.ini", ".sophia/**"),
)
"""What later runs outside of any sandbox, when a person tests, builds or only opens the folder."""


@dataclass(frozen=True, slots=True)
class Change:
    """A file as it is and as it would be; None where it is not there."""

    path: str
    before: str | None
    after: str | None


class Changing:
    """The tools that change the files of a folder. `isolated` says that it is a worktree of the step's own."""

    def __init__(self, files: Confined, *, isolated: bool) -> None:
        self._files, self._isolated = files, isolated
        self._asked: dict[str, str] = {}
        """What the files were like when somebody was asked, by the arguments."""

    def tools(self) -> list[Hand]:
        path = ("string", "The file, from the folder on")
        edit = spec_of(
            "edit_file",
            "Replace a text in a file. The old text has to stand in it exactly once, blanks and line breaks included.",
            "write",
            "path old new",
            path=path,
            old=("string", "The text that stands there now"),
            new=("string", "The text that shall stand there"),
        )
        write = spec_of(
            "write_file",
            "Write a whole file: a new one, or instead of what it was.",
            "write",
            "path content",
            path=path,
            content=("string", "All of the file"),
        )
        patch = spec_of(
            "apply_patch",
            "Change several places or files at once by a unified diff.",
            "write",
            "patch",
            patch=("string", "The diff, with --- a/FILE, +++ b/FILE and @@ lines"),
        )
        return [
            self._hand(edit, self._edited),
            self._hand(write, self._written),
            self._hand(patch, self._patched),
        ]

    def _hand(self, spec: Any, changes: Callable[[Arguments], list[Change]]) -> Hand:
        def ask(arguments: Arguments) -> ApprovalRequest:
            found = changes(arguments)
            self._remember(spec.name, arguments, found)
            return self._request(spec.name, arguments, found)

        def do(arguments: Arguments) -> ToolResult:
            found = changes(arguments)
            self._require_same(spec.name, arguments, found)
            return self._done(found)

        return Hand(spec, ask, blocking(do))

    def _remember(self, tool: str, arguments: Arguments, changes: list[Change]) -> None:
        if len(self._asked) >= MOST_REMEMBERED:
            self._asked.pop(next(iter(self._asked)))
        self._asked[_key(tool, arguments)] = _state(changes)

    def _require_same(self, tool: str, arguments: Arguments, changes: list[Change]) -> None:
        """What was allowed was this change to these files as they were. Raises OutOfReach."""
        if self._asked.pop(_key(tool, arguments), _state(changes)) != _state(changes):
            raise OutOfReach("The file was changed since somebody was asked; read it again.")

    def _request(self, tool: str, arguments: Mapping[str, Any], changes: list[Change]) -> ApprovalRequest:
        paths = tuple(each.path for each in changes)
        diff = "".join(diff_of(each.path, each.before, each.after) for each in changes)
        verbs = {True: "Write", False: "Change"}
        verb = verbs[all(each.before is None for each in changes)]
        return request(
            tool,
            "write",
            f"{verb} {', '.join(paths[:5])}{f' and {len(paths) - 5} more' if len(paths) > 5 else ''}.",
            diff=diff,
            why=warning(paths),
            arguments=arguments,
            folder=str(self._files.root),
            paths=paths,
            isolated=self._isolated,
        )

    def _done(self, changes: list[Change]) -> ToolResult:
        diff = "".join(diff_of(each.path, each.before, each.after) for each in changes)
        for each in changes:
            if each.after is None:
                self._files.remove(each.path)
            elif each.after != each.before:
                self._files.write(each.path, each.after.encode())
        return ToolResult(True, for_model(f"Done.\n{diff}", 4_000), sanitize(diff))

    def _before(self, path: object) -> tuple[str, str | None]:
        name = self._files.name(path)
        content = self._files.read_or_none(name)
        return name, None if content is None else text_of(content, name)

    def _edited(self, arguments: Arguments) -> list[Change]:
        name, before = self._before(arguments["path"])
        old, new = arguments["old"], arguments["new"]
        if before is None:
            raise OutOfReach(f"There is no {name!r}; write_file makes one.")
        if not old or old == new:
            raise OutOfReach("The old text must not be empty, nor the same as the new one.")
        if (times := before.count(old)) != 1:
            raise OutOfReach(
                f"The old text stands in {name!r} {times} times; it has to be exactly once. Read it again."
            )
        return [Change(name, before, _sized(before.replace(old, new)))]

    def _written(self, arguments: Arguments) -> list[Change]:
        name, before = self._before(arguments["path"])
        return [Change(name, before, _sized(arguments["content"]))]

    def _patched(self, arguments: Arguments) -> list[Change]:
        changes = []
        for patch in parse_patch(arguments["patch"]):
            name, before = self._before(patch.path)
            if (before is None) != patch.made:
                raise OutOfReach(f"{name!r} is {'not there' if before is None else 'there already'}.")
            after = _sized(patched(before or "", patch))
            if patch.taken and after:
                raise OutOfReach(f"The patch takes {name!r} away but does not name all of its lines.")
            changes.append(Change(name, before, None if patch.taken else after))
        return changes


def warning(paths: tuple[str, ...]) -> str:
    """What a person should know of these files before they say yes; empty where there is nothing."""
    if own := [each for each in paths if is_secret(each)]:
        return f"{own[0]} may hold secrets."
    if own := [each for each in paths if runs_by_itself(each)]:
        return f"{own[0]} is run later, outside of the sandbox."
    return ""


def runs_by_itself(path: str) -> bool:
    """Whether a file of that name is run without anybody naming it."""
    folded = path.casefold()
    return any(matches(each.casefold(), folded) for each in RUNS_BY_ITSELF)


def _key(tool: str, arguments: Arguments) -> str:
    return hashlib.sha256(json.dumps([tool, dict(arguments)], sort_keys=True).encode()).hexdigest()


def _state(changes: list[Change]) -> str:
    return hashlib.sha256(json.dumps([(each.path, each.before) for each in changes]).encode()).hexdigest()


def _sized(text: str) -> str:
    if len(text) > LONGEST_CONTENT:
        raise OutOfReach(f"The file would be larger than {LONGEST_CONTENT // 1024} KiB.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise OutOfReach("The text cannot be written as UTF-8.") from None
    return text
