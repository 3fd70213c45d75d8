"""Whether an answer may be gone on with: prose only, and put together at most once after it broke off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sophia_core.commands import CommandError

if TYPE_CHECKING:
    from local_store import Message, Store

BROKEN = frozenset({"failed", "interrupted", "partial"})
AGAIN = "Ctrl+R asks again."


async def resumable(store: Store, answer: Message) -> Message:
    """The answer to go on from: this one, or the one it was to continue where that added nothing to it.

    Raises CommandError when there is nothing to go on with or when a second seam would be one too many.
    """
    if answer.status == "streaming":
        raise CommandError("This answer is still being written.", "Stop it first, with Esc.")
    if answer.status == "complete" and answer.finish_reason != "length":
        raise CommandError("This answer is whole.", "Ctrl+R asks for another one.")
    if answer.finish_reason == "tool_calls":
        raise CommandError("This answer asked for a tool, and only prose can be gone on with.", AGAIN)
    while answer.continues and answer.text == (before := await store.messages.get(answer.continues)).text:
        answer = before
    if answer.status in BROKEN and await _was_mended(store, answer):
        raise CommandError("This answer broke off once before; it is not put together a second time.", AGAIN)
    return answer


async def _was_mended(store: Store, answer: Message) -> bool:
    """Whether it goes on, over however many steps, from an answer that had broken off."""
    while answer.continues:
        answer = await store.messages.get(answer.continues)
        if answer.status in BROKEN:
            return True
    return False
