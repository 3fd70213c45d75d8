"""Error bodies of every shape become one error, and no body makes the reading of it fail."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_client import BackendError, ContextTooLong, InvalidRequest, Overloaded, PermissionDenied, ServerFailed
from backend_client.faults import RETRYABLE_STATUSES, error_from_body, error_from_event, retry_after

statuses = st.integers(400, 599)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "code", "type", "metadata", "error_type", "detail", "param", "raw"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(statuses, st.binary(max_size=300) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_body_gives_one_short_printable_error(status: int, body: bytes) -> None:
    error = error_from_body(status, body, {})
    assert error.status == status
    assert str(error)
    assert str(error).isprintable()
    assert len(str(error)) <= 300
    assert not error.retryable or status in RETRYABLE_STATUSES


@given(json_values)
def test_any_event_gives_an_error(value: object) -> None:
    assert isinstance(error_from_event({"error": value}), BackendError)


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        ({"code": 503, "message": "m"}, Overloaded, True),
        ({"code": "503", "message": "m"}, Overloaded, True),
        ({"code": "server_error", "message": "m"}, ServerFailed, True),
        ({"code": 403, "message": "m"}, PermissionDenied, False),
        ({"message": "m"}, ServerFailed, False),
        ("a string", ServerFailed, False),
        ({"message": "This model's maximum context length is 5"}, ContextTooLong, False),
    ],
)
def test_codes_of_events_are_numbers_or_words(error: object, kind: type[BackendError], retryable: bool) -> None:
    found = error_from_event({"error": error})
    assert type(found) is kind
    assert found.retryable is retryable


def test_the_status_says_more_than_a_general_type() -> None:
    body = b'{"error": {"message": "no", "type": "invalid_request_error", "code": null}}'
    assert type(error_from_body(403, body, {})) is PermissionDenied
    assert type(error_from_body(400, body, {})) is InvalidRequest


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT", "date": "Wed, 21 Oct 2015 07:27:30 GMT"}, 30),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT", "date": "Wed, 21 Oct 2015 08:00:00 GMT"}, 0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1" * 400}, None),
        ({"retry-after": "nan"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_header_makes_it_fail(value: str, date: str) -> None:
    found = retry_after({"retry-after": value, "date": date})
    assert found is None or found >= 0
