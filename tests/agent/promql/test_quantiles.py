"""Quantiles of histograms."""

from __future__ import annotations

import pytest

from agent.promql import QueryError
from tests.agent.promql.made import Rounds


def test_histograms_of_two_names_are_two_with_the_same_labels() -> None:
    rounds = Rounds(*(f'{name}_bucket{{le="{bound}"}}' for name in "ab" for bound in ("1", "+Inf")))
    with pytest.raises(QueryError, match="same labels"):
        rounds.add(1.0, 2.0, 1.0, 2.0).ask('histogram_quantile(0.5, {__name__=~"a_bucket|b_bucket"})')


def test_bounds_are_read_as_go_reads_them() -> None:
    rounds = Rounds('x_bucket{le="0x1p2"}', 'x_bucket{le="\u0661"}', 'x_bucket{le="1e400"}', 'x_bucket{le="+Inf"}')
    assert rounds.add(2.0, 7.0, 8.0, 2.0).ask("histogram_quantile(0.5, x_bucket)")[0].value == 2.0
