"""The files of servers, the names of tools, and what is made of the words of strangers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sophia_core.mcp.names import chosen, servers_of, wire_names
from sophia_core.mcp.server_file import parse_server
from sophia_core.mcp.servers import file_text
from sophia_core.mcp.words import cut, description_of, parameters_of, text_of

ODD = st.text(max_size=80)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "command"),
        ('command = "a"\nurl = "http://x/"', "command"),
        ('url = "ftp://x/"', "http"),
        ('url = "http://me:pw@x/"', "password"),  # pragma: allowlist secret
        ('command = "a"\noauth = true', "oauth"),
        ('command = "a"\nenv = ["A=1"]', "env"),
        ('command = "a"\nprogram = "b"', "program"),
        ('command = "a\x1b"', "TOML"),
        ('command = "a\u202e"', "do not show"),
        ('url = "http://x/"\nheaders = {"A B" = "C"}', "headers"),
        ('command = "a"\ncall_s = -1', "call_s"),
        ('url = "http://x/"\noauth = true\nclient_secret = "S"', "client_id"),
        ('url = "http://x/"\noauth = true\nalone = true', "alone"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(text: str, wrong: str) -> None:
    server, problems = parse_server("x", text.encode())
    assert server is None and wrong in str(problems[0])


def test_a_command_and_an_address_become_files() -> None:
    for what in ("npx -y 'a server' --flag=\"x y\"", "https://example.org/mcp"):
        server, problems = parse_server("x", file_text(what).encode())
        assert server is not None and not problems
    with pytest.raises(ValueError):
        file_text("'")


@settings(max_examples=40, deadline=None)
@given(st.lists(ODD, max_size=30))
def test_names_on_the_wire_are_sound_and_no_two_the_same(names: list[str]) -> None:
    found = wire_names(names)
    assert set(found) == set(names) and len(set(found.values())) == len(found)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", each) for each in found.values())
    assert wire_names(reversed(names)) == found


def test_only_servers_that_may_be_meant_are_begun() -> None:
    known = ["time", "timer"]
    assert servers_of(["mcp.time.*"], known) == ["time"]
    assert servers_of(["mcp.time*"], known) == ["time", "timer"]
    assert servers_of(["*"], known) == known and servers_of(["mcp.*"], known) == known
    assert servers_of(["read_file", "git_*"], known) == []
    assert chosen("mcp.time.now", ["mcp.time.*"]) and not chosen("mcp.timer.now", ["mcp.time.*"])


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | ODD,
    lambda each: st.lists(each, max_size=4) | st.dictionaries(ODD, each, max_size=4),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(["name", "description", "title", "inputSchema", "content", "contents"]), JSON))
def test_whatever_strangers_say_is_text(said: dict[str, object]) -> None:
    assert "\x1b" not in description_of(said)
    parameters_of(said)
    if isinstance(said.get("content") or said.get("contents") or (), list):
        assert "\x1b" not in text_of(said)


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    text = "a" * 5000 + "b" * 5000
    assert len(cut(text, 1000)) <= 1000 and cut(text, 1000).startswith("aaa") and cut(text, 1000).endswith("bbb")
