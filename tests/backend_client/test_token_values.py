"""Tokens as values: kept as text, read from what a server grants, timed by its clock."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_client.auth import Secret
from backend_client.tokens import Tokens, granted, skew_from

EPOCH = 1_800_000_000.0


def test_tokens_come_back_from_the_store_as_they_were() -> None:
    tokens = Tokens(
        Secret("a"), None, 1.0, None, 2.5, "https://i.test", "me", ("openid",), "Ada", ("admin", "user"), "device"
    )
    assert Tokens.from_text(tokens.to_text()) == tokens
    for text in ("", "{}", "[]", "null", '{"access": 1}', "[" * 100_000):
        with pytest.raises(ValueError, match="cannot be read"):
            Tokens.from_text(text)


@given(
    st.dictionaries(
        st.sampled_from(["access_token", "refresh_token", "token_type", "expires_in"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("Bearer") | st.lists(st.text()),
    ),
    st.text(),
)
def test_whatever_a_server_grants_can_be_sent_or_is_nothing(payload: dict[str, Any], date: str) -> None:
    got = granted(payload, date, EPOCH)
    if got is not None:
        assert got.access.reveal().isascii()
        assert got.life is None or 1 <= got.life <= 1e9
        got.due(EPOCH)


@given(st.text())
def test_any_date_is_a_time_or_nothing(date: str) -> None:
    skew = skew_from(date, EPOCH)
    assert skew is None or abs(skew) <= 7 * 86400


def test_the_difference_between_two_clocks() -> None:
    assert skew_from(formatdate(EPOCH + 2, usegmt=True), EPOCH) == 0.0
    assert skew_from(formatdate(EPOCH + 3600, usegmt=True), EPOCH) == 3600.5
    assert skew_from(formatdate(EPOCH + 1e8, usegmt=True), EPOCH) is None
