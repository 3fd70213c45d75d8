"""Secrets are shown to nobody but the header."""

from __future__ import annotations

import copy
import dataclasses
import logging
import pickle

import pytest

from backend_client import ApiKey, Endpoint, NoAuth, Secret
from backend_client.auth import headers, redact
from tests.backend_client.support import KEY


def test_a_secret_is_never_shown() -> None:
    secret = Secret(KEY)
    endpoint = Endpoint("http://x", None, ApiKey(secret))
    record = logging.LogRecord("n", logging.INFO, "f", 1, "%s %r", (secret, endpoint), None)
    shown = [str(secret), repr(secret), f"{secret} {secret!r} {secret:>40}", repr(endpoint), record.getMessage()]
    shown += [repr(dataclasses.asdict(endpoint)), repr([secret]), repr({"key": secret})]
    assert not any(KEY in text for text in shown)
    assert secret.reveal() == KEY


def test_a_secret_leaves_no_other_way_out() -> None:
    secret = Secret(KEY)
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        vars(secret)
    assert copy.copy(secret) is secret
    assert copy.deepcopy(secret) is secret


def test_equality() -> None:
    assert Secret("é\ud800") == Secret("é\ud800")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert hash(Secret("a")) == hash(Secret("b"))
    assert not Secret(" \n")


def test_headers() -> None:
    assert headers(NoAuth()) == {}
    assert headers(ApiKey(Secret(f" {KEY}\n"))) == {"authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize("key", ["", "  ", "a\nb", "a\x00", "schlüssel"])
def test_a_key_that_cannot_be_sent(key: str) -> None:
    with pytest.raises(ValueError, match="API key") as caught:
        headers(ApiKey(Secret(key)))
    assert not key.strip() or key not in str(caught.value)


def test_redaction() -> None:
    assert redact(NoAuth(), "anything") == "anything"
    assert redact(ApiKey(Secret(KEY + "\n")), f"<{KEY}> {KEY}") == "<•••> •••"
