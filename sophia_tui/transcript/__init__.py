"""The conversation as one line-rendered widget: entries in, messages out."""

from .calm import calm_collector
from .entry import Aside, Entry, Role
from .widget import Transcript

__all__ = ["Aside", "Entry", "Role", "Transcript", "calm_collector"]
