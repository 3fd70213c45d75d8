"""What a macro does outside of SOPHIA, put to the one gate: a rule that refuses counts, whatever was allowed before.

A person who allows a program of a macro is shown its words, and says so for its step or once; that stays with whoever
guards the macro. Rules are about everything, macros too.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from sophia_core.gate.asking import on_behalf, request
from sophia_core.gate.ports import ApprovalRequest
from sophia_core.gate.rules import Verdict
from sophia_core.macros.outcome import MacroError

Judge: TypeAlias = Callable[[ApprovalRequest], Awaitable[Verdict]]
"""What the rules say to it."""
UNBOXED = "It runs without a sandbox, with your rights."


async def unjudged(asked: ApprovalRequest) -> Verdict:
    """Where there are no rules, whoever guards the macro decides."""
    return Verdict("ask", "No rule allows it.")


async def may_ask_for(judge: Judge, macro: str, argv: Sequence[str], folder: Path) -> bool:
    """Whether what was allowed for always counts for this program: not where a rule asks for it. Raises MacroError
    where one refuses it."""
    asked = request(
        "run", "run", f"Run {argv[0]}.", command=shlex.join(argv), why=UNBOXED, folder=str(folder), boxed=False
    )
    said = await _judged(judge, macro, asked, f"{argv[0]!r} may not run")
    return not said.by_rule


async def may_touch(judge: Judge, macro: str, path: Path, folder: Path, *, write: bool) -> None:
    """Raises MacroError where a rule keeps the file from being read or written."""
    paths = await asyncio.to_thread(_names_of, path, folder)
    tool, verb = ("write_file", "written") if write else ("read_file", "read")
    asked = request(tool, "write" if write else "read", f"{path}", folder=str(folder), paths=paths)
    await _judged(judge, macro, asked, f"{str(path)!r} may not be {verb}")


def _names_of(path: Path, folder: Path) -> tuple[str, ...]:
    """What the file is called in the folder, and behind the links on the way."""
    pairs = ((Path(os.path.normpath(path)), folder), (path.resolve(), folder.resolve()))
    names = (str(each.relative_to(root) if each.is_relative_to(root) else each) for each, root in pairs)
    return tuple(dict.fromkeys(names))


async def _judged(judge: Judge, macro: str, asked: ApprovalRequest, refused: str) -> Verdict:
    said = await judge(on_behalf(asked, "macro", macro))
    if said.effect == "deny":
        raise MacroError(f"{refused}: {said.why}", "`sophia approvals rules` lists the rules.")
    return said
