"""Sessions as one HTML file that needs nothing else: no scripts, no addresses that are fetched; images stand in it.

All that was said is escaped, and a policy in the file forbids the browser what escaping might have missed.
"""

from __future__ import annotations

import html
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Final

from sophia_core.exchange.contents import LeftOut, described, image_address, small
from sophia_core.exchange.walk import Step, ending, fenced_blocks, order, speaker, steps, still_there
from sophia_core.present import when
from sophia_core.sanitize import one_line, sanitize

if TYPE_CHECKING:
    from local_store import Part
    from local_store.blobs import Blobs
    from local_store.bulk import Bulk, Outline

STYLE: Final = """
:root { color-scheme: light dark; --line: #8885; --dim: #777; --user: #3b82f614; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 3rem 0 .2rem; } .facts, .foot { color: var(--dim); font-size: .85rem; }
section { border-top: 1px solid var(--line); padding: .6rem .8rem; }
section.user { background: var(--user); } section.system, section.tool { font-size: .9rem; color: var(--dim); }
h2 { font-size: .9rem; margin: 0 0 .4rem; } h2 a { color: inherit; text-decoration: none; }
.said { white-space: pre-wrap; overflow-wrap: anywhere; }
pre { border: 1px solid var(--line); border-radius: .3rem; padding: .6rem; overflow-x: auto; font-size: .85rem; }
figure { margin: .6rem 0; } figure img { max-width: 100%; } figcaption { color: var(--dim); font-size: .85rem; }
details { margin: .4rem 0; } summary { cursor: pointer; color: var(--dim); font-size: .85rem; }
@media print {
  body { max-width: none; margin: 0; font-size: 11pt; } article + article { break-before: page; }
  h2 { break-after: avoid; } pre { white-space: pre-wrap; overflow-wrap: anywhere; } section.user { background: none; }
}
"""
POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
HEAD: Final = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>%s</title>
<style>{STYLE}</style>
</head>
<body>
"""


async def write(
    bulk: Bulk, blobs: Blobs, session_ids: Iterable[str], left_out: LeftOut, title: str = "Sessions"
) -> AsyncIterator[str]:
    """The file as pieces of text."""
    yield HEAD.replace("%s", _plain(title))
    for number, session_id in enumerate(session_ids, 1):
        if (outline := await still_there(bulk, session_id)) is None:
            continue
        yield _top(outline)
        arranged, numbers = order(outline), dict[str, int]()
        async for step in steps(bulk, arranged.branch, numbers):
            yield _message(step, number, await _parts(blobs, step, left_out))
        if arranged.beside:
            yield f"<details><summary>Other versions ({len(arranged.beside)})</summary>\n"
            async for step in steps(bulk, arranged.beside, numbers):
                yield _message(step, number, await _parts(blobs, step, left_out))
            yield "</details>\n"
        yield "</article>\n"
    yield "</body>\n</html>\n"


def _plain(text: str) -> str:
    return html.escape(one_line(text, 300))


def _top(outline: Outline) -> str:
    session = outline.session
    facts = [f"Session {session.id}", when(session.created_at), f"{session.message_count} messages"]
    facts += [f"folder {outline.folder}"] * bool(outline.folder) + [f"#{tag}" for tag in outline.tags]
    said = " · ".join(map(_plain, facts))
    return f'<article>\n<h1>{_plain(session.title) or "Untitled"}</h1>\n<p class="facts">{said}</p>\n'


async def _parts(blobs: Blobs, step: Step, left_out: LeftOut) -> str:
    parts = step.entry.message.parts
    contents = await small(blobs, parts, left_out) if parts else []
    return "".join(_part(part, content) for part, content in zip(parts, contents, strict=True))


def _part(part: Part, content: bytes | None) -> str:
    name = _plain(described(part))
    if part.kind in ("image", "file"):
        address = image_address(content) if content is not None else None
        shown = f'<img src="{address}" alt="{name}">' if address else ""
        said = f'<div class="said">{html.escape(sanitize(part.text))}</div>' if part.text else ""
        return f"<figure>{shown}<figcaption>{name}</figcaption>{said}</figure>\n"
    said = f"<pre><code>{html.escape(sanitize(part.text))}</code></pre>" if part.text else ""
    return f"<details><summary>{name}</summary>{said}</details>\n"


def _message(step: Step, session: int, parts: str) -> str:
    message = step.entry.message
    anchor = f"m{session}-{step.number}"
    answers = f' to <a href="#m{session}-{step.answers}">{step.answers}</a>' if step.answers is not None else ""
    head = f'<a href="#{anchor}">{step.number}</a>{answers} · {_plain(speaker(message))} · {when(message.created_at)}'
    thought = ""
    if message.reasoning:
        thought = f"<details><summary>Reasoning</summary>{_said(message.reasoning)}</details>\n"
    foot = f'<p class="foot">{_plain(below)}</p>\n' if (below := ending(message)) else ""
    return (
        f'<section id="{anchor}" class="{message.role}">\n<h2>{head}</h2>\n'
        f"{thought}{_said(message.text)}\n{parts}{foot}</section>\n"
    )


def _said(text: str) -> str:
    """A text with its blocks of code set apart."""
    return "".join(
        f"<pre><code>{html.escape(said)}</code></pre>" if code else f'<div class="said">{html.escape(said)}</div>'
        for code, said in fenced_blocks(sanitize(text))
    )
