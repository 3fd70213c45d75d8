"""A model that says what a terminal would obey."""

from __future__ import annotations

from tests.backend_client.answers import Answer
from tests.backend_client.scenarios import scenario

EVIL = (
    "\x1b]0;PWNED\x07 \x1b[2J\x1b[5n \x1b[123C\x1b[123X\x1b[99;99H"
    " \x1b]52;c;UFdORUQ=\x07 \x9b31mred \x90q\x9c \x1bP$q\x1b\\ \x1b_apc\x1b\\"
    " \u202eevil\u202c [bold red]markup[/] [@click=app.quit]quit[/] \x07\x08\x00 over\rwritten"
)
END = "HOSTILE-END"


@scenario
async def hostile(answer: Answer, arguments: list[str]) -> None:
    """As prose cut everywhere, as reasoning, in code, in a table and in a heading."""
    await answer.begin()
    await answer.delta(reasoning_content=EVIL)
    for char in EVIL:
        await answer.delta(content=char)
    cell = EVIL.replace("\r", "")
    await answer.delta(content=f"\n\n# {cell}\n\n```py\n{EVIL}\n```\n\n| a | b |\n|--|--|\n| {cell} | x |\n\n{END}\n")
    await answer.delta("stop")
    await answer.usage()
    await answer.done()
