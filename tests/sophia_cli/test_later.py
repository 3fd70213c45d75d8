"""Modules that are read when something in them is asked for: nobody can tell, but for the memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from sophia_cli.later import read_later
read_later(), read_later()
import asyncio, shutil, importlib.metadata
asyncio.run(asyncio.sleep(0))
print([name for name in ("_ssl", "_bz2", "email.message") if name in sys.modules])
"""
USED = """
import ssl, zipfile, io, threading
from asyncio.sslproto import SSLProtocol
from email.message import EmailMessage
seen = []
def use():
    checked = ssl.create_default_context().check_hostname
    seen.append((checked, ssl.PROTOCOL_TLS_CLIENT.name, ssl.__name__, "CERT_NONE" in dir(ssl)))
threads = [threading.Thread(target=use) for _ in range(8)]
[each.start() for each in threads], [each.join() for each in threads]
print(set(seen), isinstance(SSLProtocol, type))
print(zipfile.is_zipfile(io.BytesIO(b"")), EmailMessage().as_string() == "\\n")
print(importlib.metadata.metadata("rich")["Name"])
try:
    ssl.no_such_thing
except AttributeError as error:
    print(error)
"""


def _said(program: str) -> list[str]:
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return ended.stdout.splitlines()


def test_what_nobody_asks_for_is_not_read() -> None:
    assert _said(PROGRAM) == ["[]"]


def test_what_is_asked_for_is_all_there_from_every_thread() -> None:
    assert _said(PROGRAM + USED)[1:] == [
        "{(True, 'PROTOCOL_TLS_CLIENT', 'ssl', True)} True",
        "False True",
        "rich",
        "module 'ssl' has no attribute 'no_such_thing'",
    ]
