"""A language model on this machine, in a process of its own, for whoever has no server to point at."""

from sophia_core.embedded.server import EmbeddedServer
from sophia_core.embedded.types import EmbeddedOptions, Fetch, Progress

__all__ = ["EmbeddedOptions", "EmbeddedServer", "Fetch", "Progress"]
