"""What is particular to our engine; that it answers as Prometheus does is shown beside a real one (tests/servers)."""

from __future__ import annotations

import math

import pytest

from agent.promql import Moment, QueryError, Unsupported, parse_query, window_of
from agent.promql.parse import DEEPEST
from tests.agent.promql.made import START_MS, Rounds, shown

TWO = ('x{a="1"}', 'x{a="2"}')


def test_in_a_brief_look_a_rate_is_that_between_the_two_rounds() -> None:
    query = parse_query("rate(x[5m])")
    rounds = Rounds("x", kinds=["counter"]).add(100.0)
    rounds.time_ms = START_MS + 1000
    rounds.add(130.0)
    window = window_of([query])
    window.take(rounds.batches)
    moment = Moment(START_MS / 1000 + 1.2, [rounds.batches[-1]], window, brief=True)
    assert shown(query.evaluate(moment)) == {"{}": 30.0}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("increase(x[5m]) > 3", True),
        ("predict_linear(x[1h], 3600) < 0", True),
        ("x offset 5m > 1", True),
        ("rate(x[5m]) > 3", False),
        ("max_over_time(x[5m]) > 3", True),
        ("avg_over_time(x[5m]) > 3", False),
        ("x > 3", False),
    ],
)
def test_what_needs_more_than_two_rounds_says_so(text: str, told: bool) -> None:
    assert parse_query(text).needs_history is told


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("x < 0.1", ("<", 0.1)),
        ("0.1 > x", ("<", 0.1)),
        ("(x / 2 >= 2 * 3)", (">=", 6.0)),
        ("x == -1 and on () y > 3", ("==", -1.0)),
        ("x > bool 1", None),
        ("x > y", None),
        ("x > scalar(y)", None),
        ("x", None),
        ("x > 1 or y > 2", None),
    ],
)
def test_the_limit_of_an_alert_is_the_number_its_values_are_held_against(
    text: str, limit: tuple[str, float] | None
) -> None:
    found = parse_query(text).limit
    assert (found and (found.op, found.bound)) == limit


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x > 1", True),
        ("x > y", True),
        ("(x > 1) and y", True),
        ("x > 1 or absent(x)", True),
        ("x", False),
        ("x > bool 1", False),
        ("x > 1 or y", False),
        ("-(x > 1)", False),
        ("1 > bool 2", False),
    ],
)
def test_a_condition_answers_only_where_something_is_the_case(text: str, told: bool) -> None:
    assert parse_query(text).is_condition is told


def test_names_and_how_far_back_they_are_looked_at() -> None:
    query = parse_query("rate(x[5m] offset 1m) > 1 and y offset 2m > 0 or z")
    assert query.names == {"x", "y", "z"}
    assert sorted(query.past.values()) == [360_000, 420_000]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rate(x[5m])[1h:1m]", "expression"),
        ("max_over_time(rate(x[5m])[1h:1m])", "subqueries"),
        ("x @ 100", "@"),
        ("x offset -5m", "negative offset"),
        ("histogram_avg(x)", "histogram_avg"),
        ("limitk(3, x)", "limitk"),
        ("x + fill(0) y", "fill"),
        ("x[5m]", "range"),
        ('x{a="1" or b="2"}', "or"),
        ("rate(x)", "matrix"),
        ("nonsense(x)", "nonsense"),
        ("x{", "unexpected end"),
        ("", "no expression"),
    ],
)
def test_what_is_not_evaluated_is_refused_when_it_is_read(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        parse_query(text)


def test_what_another_engine_would_evaluate_is_told_apart_from_what_is_wrong() -> None:
    with pytest.raises(Unsupported):
        parse_query("x @ 100")


@pytest.mark.parametrize(
    "text",
    ["(" * 100_000 + "1" + ")" * 100_000, "1" + "+1" * 5000, "-" * 5000 + "x", "x or " * 5000 + "x", "x" * 99_999],
)
def test_no_expression_is_too_deep_for_the_process(text: str) -> None:
    with pytest.raises(ValueError, match=r"more than|longer than"):
        parse_query(text)


def test_the_deepest_one_is_evaluated() -> None:
    text = "(" * (DEEPEST - 1) + "x" + ")" * (DEEPEST - 1)
    assert shown(Rounds("x").add(1.0).ask(text)) == {"x{}": 1.0}
    text = "x" + " + 1" * DEEPEST
    assert shown(Rounds("x").add(1.0).ask(text)) == {"{}": DEEPEST + 1.0}


def test_strings_do_not_count_as_depth() -> None:
    assert parse_query('x{a=~"' + "(a|b)+" * 500 + '"}').kind == "vector"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("absent(x)", True),
        ("x or absent (y)", True),
        ("absent_over_time(x[5m]) > 0", True),
        ('x{a="absent("} > 1', False),
        ("x > 1 # absent(y)", False),
    ],
)
def test_what_asks_for_absence_says_so(text: str, told: bool) -> None:
    assert parse_query(text).asks_for_absence is told


@pytest.mark.parametrize(
    ("text", "time"), [("time()", math.inf), ('label_replace(x, "b", "$1", "a", "(.*)")', START_MS / 1000)]
)
def test_what_cannot_be_calculated_is_an_error_of_the_query(text: str, time: float) -> None:
    """A time without end, and a label that is no UTF-8."""
    batches = Rounds('x{a="\udc80"}').add(1.0).batches
    with pytest.raises(QueryError, match="cannot be calculated"):
        parse_query(text).evaluate(Moment(time, batches))


# -- numbers as Go has them -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 / 0", math.inf),
        ("-1 / 0", -math.inf),
        ("0 / 0", math.nan),
        ("5 % 0", math.nan),
        ("-5 % 3", -2.0),
        ("(-8) ^ 0.5", math.nan),
        ("10 ^ 400", math.inf),
        ("(-10) ^ 401", -math.inf),
        ("0 ^ -1", math.inf),
        ("2 ^ 3 ^ 2", 512.0),
        ("1 atan2 0", math.pi / 2),
        ("3 > bool 2", 1.0),
        ("-(2)", -2.0),
        ("scalar(vector(3))", 3.0),
        ("scalar(x)", math.nan),
    ],
)
def test_numbers(text: str, value: float) -> None:
    answer = Rounds(*TWO).add(1.0, 2.0).ask(text)
    assert answer == value or (math.isnan(answer) and math.isnan(value))


@pytest.mark.parametrize(
    "text",
    ["x + on () y", "y + on () x", 'label_replace(x, "a", "same", "a", ".*")', '{__name__=~"x|y"} * 2', "topk(NaN, x)"],
)
def test_what_has_no_answer_with_these_data_is_an_error(text: str) -> None:
    with pytest.raises(QueryError):
        Rounds(*TWO, 'y{a="1"}', 'y{a="2"}').add(1.0, 2.0, 3.0, 4.0).ask(text)
