"""What a window keeps, and what it says of what it could not keep."""

from __future__ import annotations

import pytest

from agent.model import Extra, Histogram, MetricBatch
from agent.promql import Moment, Query, QueryError, Window, parse_query
from tests.agent.promql.made import START_MS, STEP_MS, Rounds, shown

TWO = ('x{a="1"}', 'x{a="2"}')


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


def burst() -> tuple[Query, Query, Window]:
    """Two queries, and their window when the series of the first have taken the place of the second's."""
    many, one = parse_query("count_over_time(y[1m])"), parse_query("count_over_time(x[5m])")
    window = Window({**many.past, **one.past}, most=4)
    window.take(Rounds("x", *(f'y{{a="{number}"}}' for number in range(9))).add(*[1.0] * 10).batches)
    window.tidy(START_MS + 61_000)
    later = Rounds("x")
    later.time_ms = START_MS + 75_000
    window.take(later.add(2.0).batches)
    return many, one, window


def test_what_was_short_is_refused_as_long_as_it_looks_back_at_that() -> None:
    _, query, window = burst()
    with pytest.raises(QueryError, match="more history than is kept"):
        query.evaluate(Moment(START_MS / 1000 + 299, (), window))


def test_what_was_short_is_judged_again_when_that_lies_behind_its_own_reach() -> None:
    many, one, window = burst()
    assert many.evaluate(Moment(START_MS / 1000 + 75, (), window)) == []
    assert shown(one.evaluate(Moment(START_MS / 1000 + 301, (), window))) == {"{}": 1.0}


def test_what_was_short_stays_so_for_a_window_that_takes_over() -> None:
    _, query, window = burst()
    heir = Window(query.past)
    heir.adopt(window)
    with pytest.raises(QueryError, match="more history than is kept"):
        query.evaluate(Moment(START_MS / 1000 + 299, (), heir))


def test_a_window_that_takes_over_knows_which_buckets_a_histogram_had() -> None:
    query, window = window_for("h_bucket offset 1s")
    rounds = Rounds("h", kinds=["histogram"]).add(Histogram((1.0,), (1.0, 2.0), 1.0))
    rounds.add(Histogram((3.0,), (1.0, 2.0), 1.0))
    window.take(rounds.batches[:1])
    _, heir = window_for("h_bucket offset 1s")
    heir.adopt(window)
    heir.take(rounds.batches[1:])
    answer = query.evaluate(Moment(rounds.batches[1].time_ms / 1000 + 1, (), heir))
    assert set(shown(answer)) == {'h_bucket{le="3.0"}', 'h_bucket{le="+Inf"}'}


def test_of_the_ends_of_a_series_the_first_after_a_sample_is_kept() -> None:
    query, window = window_for("x offset 15s")
    rounds = Rounds("x").add(1.0)
    for _ in range(5):
        rounds.end()
    window.take(rounds.add(2.0).end().batches)
    ((_, tracks),) = window._kept.values()
    assert [len(track.ends) for track in tracks.values()] == [2]
    assert query.evaluate(Moment(START_MS / 1000 + 30, (), window)) == []


def test_a_clock_that_is_set_back_begins_anew() -> None:
    query, window = window_for("rate(x[5m])")
    rounds = Rounds("x", kinds=["counter"])
    for number in range(20):
        rounds.add(float(number * 15))
    window.take(rounds.batches)
    back = Rounds("x", kinds=["counter"])
    back.time_ms = START_MS - 7_200_000
    for number in range(20):
        back.add(1000.0 + number * 30)
    window.take(back.batches)
    assert shown(query.evaluate(Moment((back.time_ms - STEP_MS) / 1000, (), window))) == {"{}": pytest.approx(2.0)}


def test_a_churn_of_series_is_bounded_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.promql.window.SERIES", 3)
    query, window = window_for("count_over_time(x[1h])")
    rounds = Rounds(*[f'x{{a="{number}"}}' for number in range(5)]).add(1.0, 2.0, 3.0, 4.0, 5.0)
    window.take(rounds.batches)
    assert len(window) == 3
    with pytest.raises(QueryError, match="more history than is kept"):
        query.evaluate(Moment(rounds.time_ms / 1000, (), window))
