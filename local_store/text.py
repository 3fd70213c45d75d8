"""Making any Python string storable."""

from __future__ import annotations

import unicodedata
from typing import Final

from local_store.errors import BadValue

LONGEST_TITLE: Final = 1_000


def storable(text: str) -> str:
    """Return `text` with lone surrogates replaced by U+FFFD and surrogate pairs joined; all else, NUL too, is kept."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def checked_title(text: str) -> str:
    """Return `text` as the title of a session. Raises BadValue when it is too long: every list shows titles whole."""
    if len(text) > LONGEST_TITLE:
        message = f"a title has at most {LONGEST_TITLE:,} characters, not {len(text):,}"
        raise BadValue(message, hint="Give a shorter one.")
    return storable(text)


def storable_or_none(text: str | None) -> str | None:
    """As `storable`, passing None through."""
    return None if text is None else storable(text)


def title_key(title: str) -> str:
    """Return `title` as it is compared in searches: without case and accents."""
    decomposed = unicodedata.normalize("NFKD", title.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))
