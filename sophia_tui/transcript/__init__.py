"""The conversation as one line-rendered widget: entries in, messages out."""

from .calm import calm_collector
from .entry import Entry, Role
from .widget import Transcript

__all__ = ["Entry", "Role", "Transcript", "calm_collector"]
