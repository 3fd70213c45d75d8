"""Serving over this process's own pipes, until the program at the other end has gone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, cast

from sophia_core.acp.wire import LONGEST_LINE, Wire, quiet

if TYPE_CHECKING:
    from acp import Agent

    from sophia_core.runtime import Runtime


@asynccontextmanager
async def pipes(into: int, out: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Two descriptors, pipes or sockets, as streams."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    heard, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(into), "rb", 0)
    )
    flow = asyncio.streams.FlowControlMixin(loop)
    said, protocol = await loop.connect_write_pipe(lambda: flow, os.fdopen(out, "wb", 0))
    try:
        yield reader, asyncio.StreamWriter(said, protocol, reader, loop)
    finally:
        heard.close()
        said.close()


async def serve(runtime: Runtime, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: str) -> None:
    """Answers what is asked until nothing more comes; what is being answered then is stopped and kept."""
    from acp.core import AgentSideConnection

    from sophia_core.acp.serving import Serving

    quiet()
    serving = Serving(runtime, version)
    conn = AgentSideConnection(cast("Agent", serving), Wire(reader, writer, most=None), listening=False)
    try:
        await conn.listen()
    finally:
        await serving.close()
        if runtime.chat.busy:
            await runtime.chat.stop()
        with suppress(Exception):
            await conn.close()
