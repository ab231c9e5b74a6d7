"""From the text of an expression to its parts."""

from __future__ import annotations

import pytest

from agent.promql import parse_query
from tests.agent.promql.made import Rounds, shown


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('label_replace(x, ("b"), ("$1"), (("a")), ("(.*)"))', {'x{a="1",b="1"}': 5.0}),
        ('label_join(x, ("b"), ("-"), "a", ("a"))', {'x{a="1",b="1-1"}': 5.0}),
        ('count_values(("b"), x)', {'{b="5"}': 1.0}),
    ],
)
def test_strings_may_stand_in_parentheses(text: str, answer: dict[str, float]) -> None:
    assert shown(Rounds('x{a="1"}').add(5.0).ask(text)) == answer


@pytest.mark.parametrize(
    ("matchers", "labels"),
    [
        ('a!="1", a="2", b="3"', '{b="3"}'),
        ('a!~"1|4", a="2", b="3"', '{b="3"}'),
        ('a!="", a="2"', '{a="2"}'),
        ('a=~"1|2", a="2"', '{a="2"}'),
        ('a="2", a=~"1|2"', "{}"),
        ('a="1", a="2"', "{}"),
    ],
)
def test_what_is_absent_has_the_labels_that_prometheus_gives_it(matchers: str, labels: str) -> None:
    assert shown(Rounds("x").add(5.0).ask(f"absent(y{{{matchers}}})")) == {labels: 1.0}


@pytest.mark.parametrize("text", ["x > 1e400", "-1e400", "1.8e+308", "x[1e400]", "9" * 400])
def test_numbers_that_no_float_holds_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="number that is too large"):
        parse_query(text)


@pytest.mark.parametrize(
    "text", ["x > 1e308", "x > Inf", 'x{a="1e400"}', "a1e400", "a:1e400", "sum by (b1e400) (x)", "x # 1e400"]
)
def test_what_only_looks_like_such_a_number_is_none(text: str) -> None:
    assert parse_query(text).kind == "vector"


def test_long_numbers_are_read_in_no_time() -> None:
    with pytest.raises(ValueError, match="bad number"):
        parse_query("1" * 30_000 + "x")


@pytest.mark.parametrize(
    "text", ["rate(x[293y])", "rate(x[1e14])", "rate(x[1e19])", "rate(x[1e300])", "x offset 1e11", "x offset Inf"]
)
def test_durations_that_no_clock_holds_are_refused(text: str) -> None:
    """Most of them break the parser, each in its own way."""
    with pytest.raises(ValueError, match=r"292 years|range|beyond the parser"):
        parse_query(text)
