"""What the board tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BoardChanged:
    """Tasks came, went, moved or were changed: what shows them reads them again."""
