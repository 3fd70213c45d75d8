"""Base URLs as people write them."""

from __future__ import annotations

import pytest

from backend_client import ApiKey, Endpoint, InvalidRequest, NoAuth, Secret, insecure_transport, is_loopback
from backend_client.address import health_url, origin, path_under


@pytest.mark.parametrize(
    ("base", "models", "health"),
    [
        ("http://h:8000/v1", "http://h:8000/v1/models", "http://h:8000/health"),
        ("http://h:8000/v1/", "http://h:8000/v1/models", "http://h:8000/health"),
        ("http://h:8000", "http://h:8000/models", "http://h:8000/health"),
        (" https://h/api/v1\n", "https://h/api/v1/models", "https://h/api/health"),
        ("http://[::1]:9", "http://[::1]:9/models", "http://[::1]:9/health"),
    ],
)
def test_paths_are_appended_to_what_was_given(base: str, models: str, health: str) -> None:
    assert path_under(base, "/models") == models
    assert health_url(base) == health


@pytest.mark.parametrize(
    "base",
    ["", "h:8000", "ftp://h", "file:///etc/passwd", "http://", "http:///v1", "http://h:99999", "http://h:x", "http://[::1",
     "http://u:p4ss@h/v1", "http://h/v1?key=p4ss",  # pragma: allowlist secret
     "http://h/#p4ss", "http://h/a b", "http://h/\x1b[0m", "http://h\\x"],
)  # fmt: skip
def test_what_is_no_base_url(base: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        path_under(base, "/models")
    assert caught.value.hint
    assert "p4ss" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost", "http://LOCALHOST.:1/v1", "http://127.9.9.9", "https://[::1]/v1"])
def test_this_machine(url: str) -> None:
    assert is_loopback(url)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1", "http://127.0.0.1.example", "http://localhost.example", "http://[fe80::1]"]
)
def test_other_machines(url: str) -> None:
    assert not is_loopback(url)


def test_a_key_in_the_open() -> None:
    key = ApiKey(Secret("k"))
    assert insecure_transport(Endpoint("http://gh200:8000/v1", None, key))
    assert not insecure_transport(Endpoint("http://gh200:8000/v1", None, NoAuth()))
    assert not insecure_transport(Endpoint("https://gh200/v1", None, key))
    assert not insecure_transport(Endpoint("http://127.0.0.1:8000/v1", None, key))


def test_what_is_shown_of_an_address() -> None:
    assert origin("http://u:p@h:1/v1?x") == "http://h:1"
