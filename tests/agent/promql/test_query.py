"""What is particular to our engine; that it answers as Prometheus does is shown beside a real one (tests/servers)."""

from __future__ import annotations

import math

import pytest

from agent.model import Histogram, MetricBatch, NativeHistogram, Summary
from agent.promql import Moment, Query, QueryError, Unsupported, Window, parse_query, window_of
from agent.promql.parse import DEEPEST
from tests.agent.promql.made import START_MS, Rounds, shown

TWO = ('x{a="1"}', 'x{a="2"}')


def test_the_latest_round_is_what_an_instant_selector_sees() -> None:
    assert shown(Rounds(*TWO).add(1.0, 2.0).add(3.0, 4.0).ask("x")) == {'x{a="1"}': 3.0, 'x{a="2"}': 4.0}


def test_a_collector_without_a_latest_round_has_no_series() -> None:
    rounds = Rounds(*TWO).add(1.0, 2.0).end()
    assert rounds.ask("x") == []
    assert shown(rounds.ask('absent(x{a="1"})')) == {'{a="1"}': 1.0}


def test_a_range_goes_on_where_the_series_ended() -> None:
    rounds = Rounds("x").add(1.0).add(2.0).end()
    assert shown(rounds.ask("count_over_time(x[1m])")) == {"{}": 2.0}


def test_what_ended_is_not_there_for_an_offset_either() -> None:
    rounds = Rounds("x").add(1.0).end().end()
    assert rounds.ask("x offset 15s") == []
    assert shown(rounds.ask("x offset 30s")) == {"x{}": 1.0}


def test_histograms_and_summaries_are_seen_as_their_series() -> None:
    rounds = Rounds("h", "s", kinds=["histogram", "summary"]).add(
        Histogram((0.5, 1.0), (1.0, 3.0, 4.0), 2.5), Summary(7.0, 3.5, ((0.5, 0.25),))
    )
    assert shown(rounds.ask("h_bucket")) == {
        'h_bucket{le="0.5"}': 1.0,
        'h_bucket{le="1.0"}': 3.0,
        'h_bucket{le="+Inf"}': 4.0,
    }
    assert shown(rounds.ask('{__name__=~"h_(sum|count)"}')) == {"h_count{}": 4.0, "h_sum{}": 2.5}
    assert shown(rounds.ask("s")) == {'s{quantile="0.5"}': 0.25}
    assert shown(rounds.ask("s_sum / s_count")) == {"{}": 0.5}
    assert rounds.ask("h") == []


def test_a_native_histogram_is_not_seen() -> None:
    assert Rounds("h", kinds=["histogram"]).add(NativeHistogram(0, 1.0, 1.0)).ask('{__name__=~"h.*"}') == []


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


def test_raw_strings_are_raw() -> None:
    rounds = Rounds('x{a="1:2"}', 'x{a="\\\\d"}').add(1.0, 2.0)
    assert [point.value for point in rounds.ask(r"x{a=~`\d:\d`}")] == [1.0]
    assert rounds.ask('x{a="`"} or x{a=`"`}') == []


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


def test_selectors_find_their_series_once_for_a_shape() -> None:
    query, rounds = parse_query('x{a=~"1|3"}'), Rounds(*TWO).add(1.0, 2.0).add(3.0, 4.0)
    places = [query._selectors[0].selector.places(batch.series) for batch in rounds.batches]
    assert places[0] is places[1]
    assert shown(rounds.ask(query)) == {'x{a="1"}': 3.0}


# -- the window ---------------------------------------------------------------------------------------------------


def window_for(text: str, most: int = 1000) -> tuple[Query, Window]:
    query = parse_query(text)
    return query, Window(query.past, most)


def test_a_window_keeps_what_is_asked_for_and_no_more() -> None:
    _, window = window_for('max_over_time(x{a="1"}[1m])')
    rounds = Rounds(*TWO)
    for number in range(100):
        rounds.add(float(number), 0.0)
    window.take(rounds.batches)
    assert len(window) == 4
    window.tidy(rounds.time_ms + 3_600_000)
    assert len(window) == 0


def test_a_full_window_says_so_instead_of_judging_from_a_part() -> None:
    query, window = window_for("max_over_time(x[1h])", most=10)
    rounds = Rounds("x")
    for number in range(20):
        rounds.add(float(number))
    window.take(rounds.batches)
    assert len(window) == 10
    with pytest.raises(QueryError, match="more history than is kept"):
        query.evaluate(Moment(rounds.time_ms / 1000, [rounds.batches[-1]], window))


def test_a_sample_that_is_not_newer_is_not_taken_twice() -> None:
    query, window = window_for("count_over_time(x[1h])")
    rounds = Rounds("x").add(1.0).add(2.0)
    window.take([*rounds.batches, *rounds.batches])
    assert shown(query.evaluate(Moment(rounds.time_ms / 1000, (), window))) == {"{}": 2.0}


def test_samples_with_a_time_of_their_own_are_kept_at_it() -> None:
    from agent.model import Extra

    query, window = window_for("count_over_time(x[30s])")
    batch = Rounds("x").add(1.0).batches[0]
    early = MetricBatch("made", batch.time_ms, batch.series, [1.0], {0: Extra(time_ms=batch.time_ms - 60_000)})
    window.take([early])
    assert query.evaluate(Moment(batch.time_ms / 1000, (), window)) == []
    assert shown(parse_query("timestamp(x)").evaluate(Moment(0.0, [early]))) == {"{}": batch.time_ms / 1000 - 60}


def test_a_window_takes_over_what_another_knows() -> None:
    query, window = window_for("count_over_time(x[1h])")
    rounds = Rounds("x").add(1.0).add(2.0)
    window.take(rounds.batches)
    _, heir = window_for("count_over_time(x[1h])")
    heir.adopt(window)
    assert shown(query.evaluate(Moment(rounds.time_ms / 1000, (), heir))) == {"{}": 2.0}
    assert len(heir) == 2


def test_nothing_is_kept_for_expressions_that_do_not_look_back() -> None:
    _, window = window_for("x > 1")
    window.take(Rounds("x").add(1.0).batches)
    assert len(window) == 0


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
