"""`sophia voice bridge | join | ssh` as they are run: real processes and pipes, and a real SSH server."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from sophia_core.voice.bridge import ssh
from sophia_core.voice.bridge.devices import BridgeDevices
from sophia_core.voice.bridge.joining import join, parse_marked
from sophia_core.voice.bridge.places import find
from sophia_core.voice.bridge.server import Bridge
from sophia_core.voice.bridge.wire import new_token
from sophia_core.voice.ports import AudioTrouble
from tests.voice import real_ssh
from tests.voice.bridge_parts import ToyDevices, until

SOPHIA = (sys.executable, "-m", "sophia_cli")
LIMIT = 60


def _env(home: Path) -> dict[str, str]:
    return {**os.environ, "SOPHIA_HOME": str(home), "SOPHIA_NO_KEYRING": "1", "TERM": "dumb"}


@contextmanager
def _bridge(home: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*SOPHIA, "voice", "bridge", "--quiet", *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_env(home)
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def test_the_one_line_without_ssh_brings_a_bridge_that_is_gone_with_it(tmp_path: Path) -> None:
    port = real_ssh._free_port()
    folder = tmp_path / "run" / "voice"
    with _bridge(tmp_path, "--port", str(port)) as bridge:
        joined = subprocess.Popen(  # noqa: ASYNC220 - it takes milliseconds
            [*SOPHIA, "voice", "join", str(port)], stdin=bridge.stdout, stdout=subprocess.PIPE, env=_env(tmp_path)
        )
        assert bridge.stdout is not None
        bridge.stdout.close()
        await until(lambda: find(folder, {}))
        devices = BridgeDevices(lambda: find(folder, {}))
        assert await devices.present()
        await devices.close()
        token = find(folder, {})[0].token
        arguments = b"".join(Path(f"/proc/{each.pid}/cmdline").read_bytes() for each in (bridge, joined))
        assert token.encode() not in arguments
        os.kill(bridge.pid, signal.SIGKILL)
        assert joined.wait(LIMIT) == 0
        assert list(folder.iterdir()) == []
        said = joined.stdout.read() if joined.stdout else b""
        assert parse_marked(said.splitlines()[-1]) == {"joined": str(port)}
        assert token.encode() not in said


def test_a_bridge_ends_when_nobody_reads_its_token(tmp_path: Path) -> None:
    with _bridge(tmp_path, "--port", str(real_ssh._free_port())) as bridge:
        assert bridge.stdout is not None
        assert len(bridge.stdout.readline().split()[0]) == 64
        bridge.stdout.close()
        assert bridge.wait(LIMIT) == 0


def test_a_token_is_never_written_into_a_file(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        done = subprocess.run(
            [*SOPHIA, "voice", "bridge", "--port", str(real_ssh._free_port())],
            stdout=file, stderr=subprocess.PIPE, env=_env(tmp_path), timeout=LIMIT, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert b"not written into a file" in done.stderr
    assert (tmp_path / "out").read_bytes() == b""


def test_a_port_that_is_taken_is_told_in_a_sentence(tmp_path: Path) -> None:
    with _bridge(tmp_path, "--port", str(port := real_ssh._free_port())) as bridge:
        assert bridge.stdout is not None
        bridge.stdout.readline()
        done = subprocess.run(
            [*SOPHIA, "voice", "bridge", "--port", str(port)],
            capture_output=True, env=_env(tmp_path), timeout=LIMIT, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert f"Port {port} cannot be used".encode() in done.stderr


@pytest.mark.parametrize("said", [b"", b"\n", b"not a token\n", b"x" * 100_000, b"\xff\xfe\n"])
async def test_join_takes_nothing_but_a_token(tmp_path: Path, said: bytes) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(said)
    reader.feed_eof()
    with pytest.raises(AudioTrouble, match="no token") as error:
        await join(tmp_path / "v", reader, print, "8767")
    assert "sophia voice bridge" in error.value.hint


@pytest.mark.parametrize("second", [b"", b"example.org:1\n", b"0\n"])
async def test_join_takes_nothing_but_an_address_here(tmp_path: Path, second: bytes) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(f"{new_token()} laptop\n".encode() + second)
    reader.feed_eof()
    told: list[str] = []
    with pytest.raises(AudioTrouble, match="neither a port nor a path"):
        await join(tmp_path / "v", reader, told.append, None)
    assert parse_marked(told[0].encode())
    assert list((tmp_path / "v").iterdir()) == []


@pytest.mark.parametrize("host", ["", "-oProxyCommand=true", "a b", "a\nb", "\x1b[2J"])
def test_a_host_is_never_an_option_or_a_line(host: str) -> None:
    with pytest.raises(AudioTrouble, match="is no host"):
        ssh.Far(host)


def test_words_for_the_other_machine_are_quoted_for_two_shells() -> None:
    line = ssh.shell_line(ssh.Far("box", program="/opt/my sophia"), ["ask", "it's; rm -rf $HOME"])
    assert shlex.split(line)[:3] == ["exec", "sh", "-lc"]
    inner = shlex.split(shlex.split(line)[3].partition("exec ")[2])
    assert inner == ["/opt/my sophia", "ask", "it's; rm -rf $HOME"]


def test_no_command_for_ssh_holds_the_token_and_ours_win_over_a_persons_options(tmp_path: Path) -> None:
    far = ssh.Far("me@box", 2222, ("ControlMaster=no",))
    for command in (
        ssh.joining(far, tmp_path / "100%"),
        ssh.forwarding(far, tmp_path / "100%", "/run/x.voice", 99),
        ssh.visiting(far, tmp_path / "100%", "exec sophia"),
    ):
        assert command[:3] == ["ssh", "-p", "2222"]
        assert command[command.index("--") + 1] == "me@box"
        assert f"ControlPath={tmp_path / '100%%'}" in command
    options = ssh.joining(far, tmp_path)
    assert options.index("ControlMaster=yes") < options.index("ControlMaster=no")


NEEDS_SSH = pytest.mark.skipif(bool(real_ssh.missing()), reason=real_ssh.missing() or "-")


@NEEDS_SSH
@pytest.mark.parametrize("more", [(), ("AllowStreamLocalForwarding no",)], ids=["socket", "port"])
async def test_over_a_real_ssh_connection_sound_is_played_and_nothing_is_left(more: tuple[str, ...]) -> None:
    with TemporaryDirectory(prefix="sophia-far-") as name, real_ssh.host({"SOPHIA_HOME": name}, *more) as host:
        folder = Path(name) / "run" / "voice"
        toys, token = ToyDevices(pace=0.1), new_token()
        bridge = Bridge(toys, token, name="laptop")
        far = ssh.Far(host.name, host.port, host.options, str(real_ssh.SOPHIA))
        async with ssh.carried(far, await bridge.open(), token, "laptop") as control:
            (place,) = find(folder, {})
            assert place.name == "laptop"
            if not more:
                assert stat.S_IMODE(Path(place.address).stat().st_mode) == 0o600
            devices = BridgeDevices(lambda: find(folder, {}))
            playback = await devices.play(16_000)
            await playback.write(bytes(range(200)) * 50)
            await playback.finish()
            assert bytes(toys.played[0].heard) == bytes(range(200)) * 50
            assert await ssh.visit(far, control, ssh.shell_line(far, ["--version"])) == 0
            await devices.close()
        await bridge.close()
        assert list(folder.iterdir()) == []


@NEEDS_SSH
async def test_what_is_missing_over_there_is_told_in_a_sentence() -> None:
    refusing = ("AllowTcpForwarding no", "AllowStreamLocalForwarding no")
    with TemporaryDirectory(prefix="sophia-far-") as name:
        with real_ssh.host({"SOPHIA_HOME": name}, *refusing) as host:
            far = ssh.Far(host.name, host.port, host.options, str(real_ssh.SOPHIA))
            with pytest.raises(AudioTrouble, match="refuses to forward"):
                async with ssh.carried(far, 9, new_token(), "laptop"):
                    pass
            far = ssh.Far(host.name, host.port, host.options, "/nowhere/sophia")
            with pytest.raises(AudioTrouble, match="There is no '/nowhere/sophia'"):
                async with ssh.carried(far, 9, new_token(), "laptop"):
                    pass
        with pytest.raises(AudioTrouble, match="cannot be reached by SSH"):
            async with ssh.carried(far, 9, new_token(), "laptop"):
                pass
