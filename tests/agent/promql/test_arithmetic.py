"""Numbers as Go has them."""

from __future__ import annotations

import math

import pytest

from agent.promql.arithmetic import go_float


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5.", 5.0),
        ("-.5E+1", -5.0),
        ("1_0e1_0", 1e11),
        ("0x1p-2", 0.25),
        ("+0X_1.8P1", 3.0),
        ("0x.8p0_1", 1.0),
        ("Infinity", math.inf),
        ("-inf", -math.inf),
        ("1e-400", 0.0),
    ],
)
def test_a_text_that_is_a_number_to_go(text: str, value: float) -> None:
    assert go_float(text) == value


def test_a_text_that_is_not_a_number_is_one() -> None:
    found = go_float("nAn")
    assert found is not None
    assert math.isnan(found)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", " 1", "1\n", "1__0", "_1", "1_", "1_.5", "1._5", "+nan", "infi", "1e400"),
        *("0x1", "0xp1", "0x1_p1", "0x1p1024", "0x1p99999999999999999999", "\u0661", "\u0131nf"),
    ],
)
def test_a_text_that_is_none(text: str) -> None:
    assert go_float(text) is None
