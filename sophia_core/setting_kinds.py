"""What a table of the settings is, and the kinds of values that more than one table has."""

from __future__ import annotations

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")


class Section(BaseModel):
    """A table of the file: unknown keys are mistakes worth naming."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _http_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an address starts with http:// or https:// and names a host")
    if parts.username or parts.password:
        raise ValueError("an address holds no password; name its variable with api_key_env")
    return url


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError("a name is a letter or a digit and at most 63 more of them or of _ . : -")
    return text


Address = Annotated[str, AfterValidator(_http_address)]
Name = Annotated[str, AfterValidator(_name)]
