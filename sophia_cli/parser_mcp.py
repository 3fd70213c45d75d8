"""The arguments of `sophia mcp`."""

from __future__ import annotations

import argparse
from typing import Final

ACTIONS: Final = (
    *("list", "show", "add", "remove", "trust", "test", "tools", "accept", "call"),
    *("resources", "read", "prompts", "prompt", "login", "logout"),
)


def mcp(parser: argparse.ArgumentParser) -> None:
    """Adds what `sophia mcp` takes."""
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="list", help="what to do (list)")
    parser.add_argument("words", nargs="*", metavar="WORD", help="the server; of `call`: server.tool and JSON")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="as JSON")
