"""Aggregations that take a number."""

from __future__ import annotations

import pytest

from agent.promql import QueryError
from tests.agent.promql.made import Rounds


@pytest.mark.parametrize(
    "text", ["bottomk(-Inf, x)", "topk(-1e300, x)", "topk(0.9, x)", "topk(NaN, y)", "bottomk(Inf, y)"]
)
def test_of_fewer_than_one_element_or_of_nothing_there_is_nothing(text: str) -> None:
    assert Rounds("x").add(1.0).ask(text) == []


@pytest.mark.parametrize("text", ["topk(NaN, x)", "bottomk(Inf, x)", "topk(2^63, x)"])
def test_more_elements_than_an_integer_counts_are_an_error(text: str) -> None:
    with pytest.raises(QueryError):
        Rounds("x").add(1.0).ask(text)
