"""The picture in the clipboard, through whichever tool the desktop has. Over SSH there is none to ask."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from sophia_core.attach.errors import Refused
from sophia_core.attach.reading import LARGEST
from sophia_core.macros.shell import clean_environment

SECONDS: Final = 5.0
_WAYLAND: Final = ("wl-paste", "--no-newline", "--type", "image/png")
_X11: Final = ("xclip", "-selection", "clipboard", "-target", "image/png", "-out")
_MAC: Final = ("pngpaste", "-")
_WSL: Final = (
    "powershell.exe", "-NoProfile", "-Command",
    "Add-Type -A System.Windows.Forms,System.Drawing;$i=[Windows.Forms.Clipboard]::GetImage();if($i){$s=New-Object "
    "IO.MemoryStream;$i.Save($s,[Drawing.Imaging.ImageFormat]::Png);$o=[Console]::OpenStandardOutput();"
    "$s.WriteTo($o);$o.Flush()}",
)  # fmt: skip


def tools(env: Mapping[str, str], platform: str = sys.platform) -> Sequence[Sequence[str]]:
    """Return the programs that may know the clipboard here, in the order to be tried."""
    if platform == "darwin":
        return (_MAC,)
    found: list[Sequence[str]] = []
    if env.get("WAYLAND_DISPLAY"):
        found.append(_WAYLAND)
    if env.get("DISPLAY"):
        found.append(_X11)
    if env.get("WSL_DISTRO_NAME"):
        found.append(_WSL)
    return found


async def picture(env: Mapping[str, str], secret: Sequence[str] = ()) -> bytes:
    """Return the picture in the clipboard, as PNG. Raises Refused."""
    wanted = tools(env)
    there = [each for each in wanted if shutil.which(each[0], path=env.get("PATH"))]
    if not there:
        names = " or ".join(each[0] for each in wanted)
        hint = f"Install {names}." if names else "Save the picture to a file, and attach that: /attach PATH."
        raise Refused("The clipboard's pictures cannot be reached from here.", hint)
    for command in there:
        if content := await _output(command, clean_environment(env, secret)):
            return content
    raise Refused("There is no picture in the clipboard.", "Copy one, or attach a file: /attach PATH.")


async def _output(command: Sequence[str], env: Mapping[str, str]) -> bytes:
    try:
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            env=dict(env),
        )
    except OSError:
        return b""
    assert child.stdout is not None  # noqa: S101 - it was asked for
    content = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            while len(content) <= LARGEST and (block := await child.stdout.read(1 << 16)):
                content += block
            return bytes(content) if await child.wait() == 0 else b""
    except TimeoutError:
        return b""
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await asyncio.shield(child.wait())
