"""A server made with the official SDK, over pipes or, with a port, over HTTP: for what only the real thing shows."""

from __future__ import annotations

import sys
from typing import Annotated

from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import BaseModel

server = MCPServer("sdk", instructions="A server for tests.")


class Name(BaseModel):
    """What it asks a person."""

    name: str


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
async def slowly(context: Context, steps: int) -> str:
    """Tells how far it is."""
    for step in range(steps):
        await context.report_progress(step + 1, steps, f"step {step + 1}")
    return "done"


def asked() -> Elicit[Name]:
    """The question, over any revision: its own request in the older ones, a result that asks for more in the newest."""
    return Elicit("Who are you?", Name)


@server.tool()
async def greet(said: Annotated[ElicitationResult[Name], Resolve(asked)]) -> str:
    """Asks for a name."""
    return f"Hello {said.data.name}" if said.action == "accept" else "Hello nobody"


@server.resource("notes://today")
def today() -> str:
    """What today is for."""
    return "Write tests."


@server.prompt()
def review(file: str) -> str:
    """Asks for a review."""
    return f"Please review {file}."


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run("stdio")
