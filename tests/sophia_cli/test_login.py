"""`sophia login`, `logout` and `auth`: the real program, a real sign-in server, and a provider that wants a token."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import segno

from backend_client import Secret
from backend_client.device import DeviceCode
from sophia_cli.auth import expires
from sophia_cli.console import Look
from sophia_cli.exits import Quit
from sophia_cli.login import TerminalGuide, _key
from sophia_cli.parser import parse
from sophia_core.login import Account
from sophia_core.qr import MARGIN, half_blocks, hashes
from tests.contract_server import TEXT, ContractServer
from tests.oidc_server import NAME, OidcServer
from tests.sophia_cli.harness import PATIENCE_S, Ended, Program, ended, piped

CONFIG = """
[routing]
embedded_fallback = false
probe = false

[[providers]]
name = "box"
base_url = "{base_url}"
model = "contract-model"
issuer = "{issuer}"
client_id = "device"
scopes = ["openid", "profile"]

[[providers]]
name = "keyed"
base_url = "{base_url}"
model = "contract-model"
"""
ADDRESS = "https://login.test/device?user_code=WDJB-MJHT"
CODE = DeviceCode("https://login.test/device", "WDJB-MJHT", ADDRESS, 600.0, 5.0, Secret("the-device-code"))


@pytest.fixture(scope="module")
def oidc() -> Iterator[OidcServer]:
    with OidcServer() as running:
        yield running


@pytest.fixture
def house(tmp_path: Path, server: ContractServer, oidc: OidcServer) -> Program:
    """The program with two providers in its settings."""
    home = tmp_path / "home"
    home.mkdir()
    home.joinpath("config.toml").write_text(CONFIG.format(base_url=server.base_url, issuer=oidc.issuer))
    return Program(home)


async def shown(process: asyncio.subprocess.Process) -> tuple[str, str]:
    """The address and the code that the program shows."""
    assert process.stderr is not None
    words: list[str] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(words) < 2:
            line = (await process.stderr.readline()).decode()
            assert line, "it ended without a code"
            words += [line.strip()] if line.startswith("    ") else []
    return words[0], words[1]


async def sign_in(house: Program, oidc: OidcServer, *words: str, allow: bool = True) -> Ended:
    process = await house.start("login", *words)
    address, code = await shown(process)
    await oidc.type_code(address, code, allow=allow)
    return await ended(process)


async def test_signing_in_asking_and_signing_out(house: Program, oidc: OidcServer, server: ContractServer) -> None:
    before = await house.run("ask", "--provider", "box", "hi")
    assert before.code == 4
    assert "sophia login box" in before.err
    assert server.chats == []

    end = await sign_in(house, oidc)
    assert (end.code, end.out) == (0, f"Signed in to box as {NAME} (operator, user).\n")

    (box, keyed) = (await house.run("auth", "status", "--json")).json
    assert (box["provider"], box["how"], box["who"], box["roles"]) == ("box", "device", NAME, ["operator", "user"])
    assert (keyed["provider"], keyed["how"]) == ("keyed", "nothing")
    table = (await house.run("auth")).out
    assert "operator, user" in table
    assert "then renewed" in table

    end = await house.run("ask", "--provider", "box", "hi")
    assert (end.code, end.out.strip()) == (0, TEXT)
    sent = server.chats[-1].headers["authorization"].removeprefix("Bearer ")
    assert len(sent) > 20
    assert sent not in table + end.err

    end = await house.run("logout", "box")
    assert (end.code, end.out) == (0, "Signed out of box.\n")
    assert (await house.run("ask", "--provider", "box", "hi")).code == 4


async def test_a_refused_token_is_renewed_within_the_question(
    house: Program, oidc: OidcServer, server: ContractServer
) -> None:
    await sign_in(house, oidc, "box", "--device")
    server.plan = ["vllm_401"]
    end = await house.run("ask", "--provider", "box", "hi")
    assert (end.code, end.out.strip()) == (0, TEXT)
    first, second = (each.headers["authorization"] for each in server.chats)
    assert first != second


async def test_a_server_that_refuses_every_token_asks_for_a_person(
    house: Program, oidc: OidcServer, server: ContractServer
) -> None:
    await sign_in(house, oidc, "box", "--device")
    server.plan = ["vllm_401"] * 10
    end = await house.run("ask", "--provider", "box", "hi")
    assert end.code == 4
    assert len(server.chats) == 2, "one renewal, then a person"
    assert "sophia login" in end.err


async def test_a_no_and_a_ctrl_c_end_it(house: Program, oidc: OidcServer) -> None:
    end = await sign_in(house, oidc, "box", allow=False)
    assert (end.code, end.out) == (4, "")
    assert "refused" in end.err
    process = await house.start("login", "box", "--device")
    await shown(process)
    process.send_signal(signal.SIGINT)
    end = await ended(process)
    assert (end.code, end.out) == (130, "")
    assert "Traceback" not in end.err


async def test_a_key_comes_from_stdin_and_is_used(house: Program, server: ContractServer) -> None:
    end = await house.run("login", "keyed", "--with-token", said=b"sk-secret-123\n")
    assert (end.code, end.err) == (0, "")
    assert "sk-secret" not in end.out
    assert (await house.run("auth", "--json")).json[1]["how"] == "key"
    assert (await house.run("ask", "--provider", "keyed", "hi")).code == 0
    assert server.chats[-1].headers["authorization"] == "Bearer sk-secret-123"
    assert (await house.run("logout", "keyed")).code == 0
    assert (await house.run("ask", "--provider", "keyed", "hi")).code == 0
    assert "authorization" not in server.chats[-1].headers


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("login", "nowhere"), b"", 2),
        (("login", "keyed"), b"", 1),
        (("login", "keyed", "--with-token"), b"", 2),
        (("login", "keyed", "--with-token"), b"x" * 100_000, 2),
        (("login", "keyed", "--with-token"), b"two\nlines", 2),
        (("login", "--device", "--with-token"), b"", 2),
        (("login", "box", "--no-browser"), b"", 1),
        (("logout", "nowhere"), b"", 3),
        (("auth", "token"), b"", 2),
    ],
)
async def test_wrong_uses_have_a_code_and_a_word(
    house: Program, words: tuple[str, ...], said: bytes, code: int
) -> None:
    end = await house.run(*words, said=said)
    assert end.code == code, end.err
    assert end.err.startswith("sophia: ") or "--no-browser" in words
    assert "Traceback" not in end.err


async def test_a_reader_of_a_key_sees_no_more_than_a_key() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"sk-1")
    os.close(writer)
    with piped() as pipe:
        assert await _key(pipe.console, reader) == "sk-1"
        with pytest.raises(Quit):
            await _key(pipe.console, reader)
    os.close(reader)


def options(*words: str) -> argparse.Namespace:
    return parse("login", words)[1]


def test_ways_of_signing_in() -> None:
    assert (options().provider, options().how, options().with_token) == ("", "auto", False)
    assert options("box", "--device").how == "device"
    assert options("--no-browser", "box").how == "paste"
    assert options("--with-token").with_token


# What a person sees


async def test_a_terminal_shows_a_link_and_a_picture() -> None:
    with piped(err_terminal=True, look=Look(colours=True, rewrites=True)) as pipe:
        await TerminalGuide(pipe.console).show_code("box", CODE)
        assert "\x1b]8;;https://login.test/device\x1b\\https://login.test/device\x1b]8;;\x1b\\" in pipe.err
        assert "WDJB-MJHT" in pipe.err
        assert "▀" in pipe.err
        assert "the-device-code" not in pipe.err


async def test_a_pipe_gets_words_only() -> None:
    with piped() as pipe:
        await TerminalGuide(pipe.console).show_code("box", CODE)
        assert "    https://login.test/device\n" in pipe.err
        assert pipe.err.isascii()
        assert "\x1b" not in pipe.err
        assert "##" not in pipe.err


async def test_where_there_is_only_ascii() -> None:
    with piped(err_terminal=True) as pipe:
        guide = TerminalGuide(pipe.console, ascii_only=True)
        guide._room = lambda: (200, 60)  # type: ignore[method-assign]
        await guide.show_code("box", CODE)
        assert pipe.err.isascii()
        assert "##" in pipe.err


async def test_a_picture_that_does_not_fit_is_left_out() -> None:
    with piped(err_terminal=True) as pipe:
        guide = TerminalGuide(pipe.console)
        guide._room = lambda: (20, 10)  # type: ignore[method-assign]
        await guide.show_code("box", CODE)
        assert "█" not in pipe.err
        assert "WDJB-MJHT" in pipe.err


def expected(text: str) -> list[list[bool]]:
    return [[bool(each) for each in row] for row in segno.make(text, error="l", micro=False).matrix_iter(border=MARGIN)]


@pytest.mark.parametrize("colours", [True, False])
def test_the_picture_is_the_code(colours: bool) -> None:
    picture = half_blocks(ADDRESS, colours=colours)
    assert picture is not None
    grid: list[list[bool]] = []
    for line in picture.lines:
        drawn = line.removeprefix("\x1b[30;47m").removesuffix("\x1b[0m")
        assert len(drawn) == picture.width
        grid.append([(char in "▀█") is colours for char in drawn])
        grid.append([(char in "▄█") is colours for char in drawn])
    assert grid[: len(expected(ADDRESS))] == expected(ADDRESS)
    assert picture.width <= 60


def test_the_picture_in_ascii_is_the_code() -> None:
    picture = hashes(ADDRESS)
    assert picture is not None
    assert [[line[n] == " " for n in range(0, picture.width, 2)] for line in picture.lines] == expected(ADDRESS)


def test_an_endless_address_has_no_picture() -> None:
    assert half_blocks("https://login.test/" + "x" * 1000, colours=True) is None


@pytest.mark.parametrize(
    ("ends", "renewable", "words"),
    [
        (None, True, ""),
        (1_090_000, False, "in 1 min"),
        (1_000_000 + 900_000, True, "in 15 min, then renewed"),
        (1_000_000 + 7_200_000, True, "in 2 h, then renewed"),
        (1_030_000, False, "in 30 s"),
        (999_000, True, "renewed when needed"),
        (999_000, False, "expired"),
    ],
)
def test_when_a_sign_in_ends(ends: int | None, renewable: bool, words: str) -> None:
    assert expires(Account("box", "device", expires_at=ends, renewable=renewable), 1000.0) == words
