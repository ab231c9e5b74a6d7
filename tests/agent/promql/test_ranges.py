"""Functions of ranges where numbers come to their end."""

from __future__ import annotations

import math

from agent.promql import Moment, parse_query, window_of
from tests.agent.promql.made import START_MS, Rounds


def test_a_line_through_two_samples_that_are_one_to_a_float_is_upright() -> None:
    """A millisecond apart, and two weeks old."""
    query, rounds = parse_query("predict_linear(x[15d], 3600)"), Rounds("x").add(1.0)
    rounds.time_ms = START_MS + 1
    window = window_of([query])
    window.take(rounds.add(2.0).batches)
    (point,) = query.evaluate(Moment(START_MS / 1000 + 14 * 86_400, (), window))
    assert point.value == math.inf
