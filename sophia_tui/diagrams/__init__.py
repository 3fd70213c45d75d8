"""Diagrams that models write as Mermaid, drawn with characters."""

from __future__ import annotations

from .mermaid import Drawing, draw

__all__ = ["Drawing", "draw"]
