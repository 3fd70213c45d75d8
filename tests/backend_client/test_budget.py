"""How many retries there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend_client.budget import RetryBudget


def test_a_full_budget_pays_for_ten_retries() -> None:
    budget = RetryBudget()
    assert [budget.take() for _ in range(11)] == [True] * 10 + [False]
    assert budget.level == 0


def test_ten_successes_pay_for_one_retry() -> None:
    budget = RetryBudget()
    while budget.take():
        pass
    for _ in range(50):
        for _ in range(9):
            budget.success()
        assert not budget.take()
        budget.success()
        assert budget.take()


def test_successes_do_not_pile_up() -> None:
    budget = RetryBudget(capacity=4.0)
    for _ in range(1000):
        budget.success()
    assert budget.level == 4.0
    assert [budget.take() for _ in range(3)] == [True, True, False]


@given(st.lists(st.booleans(), max_size=500))
def test_no_more_is_spent_than_was_given(retries: list[bool]) -> None:
    budget, taken, succeeded = RetryBudget(), 0, 0
    for retry in retries:
        if retry:
            taken += budget.take()
        else:
            budget.success()
            succeeded += 1
        assert 0 <= budget.level <= 20
        assert taken <= 10 + succeeded / 10 + 1e-6


@pytest.mark.parametrize(("capacity", "cost", "refund"), [(1.0, 2.0, 0.1), (20.0, 0.0, 0.1), (20.0, 2.0, -1.0)])
def test_a_senseless_budget_is_refused(capacity: float, cost: float, refund: float) -> None:
    with pytest.raises(ValueError, match="retry"):
        RetryBudget(capacity, cost, refund)
