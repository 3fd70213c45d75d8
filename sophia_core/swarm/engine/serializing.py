"""How DBOS keeps what steps made: as JSON, sealed. Nothing that lies in its database is ever run or unpickled."""

from __future__ import annotations

import base64
import json
from typing import Any, Protocol

CONTEXT = b"dbos"


class Sealer(Protocol):
    """Seals bytes, and opens what it sealed."""

    def seal(self, plain: bytes, context: bytes = b"") -> bytes: ...
    def open(self, sealed: bytes, context: bytes = b"") -> bytes: ...


class KeptError(RuntimeError):
    """What went wrong once, as far as it was written down."""


class Sealed:
    """The serializer that DBOS is given. Its name is kept with each value, so it must not change."""

    def __init__(self, box: Sealer) -> None:
        self._box = box

    def name(self) -> str:
        return "sophia-sealed-1"

    def serialize(self, data: Any) -> str:
        """The value as sealed JSON; an exception as its words. Raises TypeError for what is no JSON."""
        if isinstance(data, BaseException):
            data = {"error": f"{type(data).__name__}: {data}"[:2000]}
        else:
            data = {"value": data}
        plain = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return base64.b64encode(self._box.seal(plain.encode("utf-8", "surrogatepass"), CONTEXT)).decode()

    def deserialize(self, serialized_data: str) -> Any:
        """What was serialized. Raises StoreError or ValueError for what was not sealed by us."""
        plain = self._box.open(base64.b64decode(serialized_data, validate=True), CONTEXT)
        data = json.loads(plain.decode("utf-8", "surrogatepass"))
        return KeptError(data["error"]) if "error" in data else data["value"]
