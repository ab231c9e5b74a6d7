"""From samples to batches: labels, shapes, staleness, limits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import (
    STALE,
    Exemplar,
    Extra,
    Family,
    Histogram,
    MetricBatch,
    NativeHistogram,
    Sample,
    Summary,
    counter,
    gauge,
    histogram,
)
from agent.stamper import Stamper, join_labels

UP = gauge("up", "Whether it is up.")
DISK = gauge("disk", "Bytes.", "device")
REQUESTS = counter("requests_total", "Requests.", "code")
CONTEXT = [{"team": "a"}, {"env": "prod"}, {"instance": "host", "job": "node"}]


def shape(batch: MetricBatch) -> list[tuple[str, dict[str, str], Any]]:
    return [(one.name, dict(one.labels), value) for one, value in zip(batch.series.series, batch.values, strict=True)]


# -- labels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "layers", "joined"),
    [
        ({"b": "1"}, [{"a": "2"}], {"a": "2", "b": "1"}),
        ({"instance": "mine"}, [{"instance": "host"}], {"instance": "mine", "exported_instance": "host"}),
        ({"instance": "host"}, [{"instance": "host"}], {"instance": "host"}),
        ({"a": "1"}, [{"a": "2"}, {"a": "3"}], {"a": "1", "exported_a": "2", "exported_exported_a": "3"}),
        ({"a": "1", "exported_a": "2"}, [{"a": "2"}], {"a": "1", "exported_a": "2"}),
        ({"a": "1", "exported_a": "x"}, [{"a": "2"}], {"a": "1", "exported_a": "x", "exported_exported_a": "2"}),
        ({"a": ""}, [{"a": "2", "b": ""}], {"a": "2"}),
        ({}, [], {}),
    ],
)
def test_labels_join_and_a_clash_loses_nothing(
    own: dict[str, str], layers: list[dict[str, str]], joined: dict[str, str]
) -> None:
    assert dict(join_labels(own, *layers)) == joined


LABELS = st.dictionaries(st.sampled_from(["a", "b", "é", "Z", "instance", "exported_a"]), st.sampled_from("xyz"))


@given(LABELS, LABELS, LABELS)
def test_joined_labels_are_unique_sorted_by_bytes_and_hold_every_value(
    own: dict[str, str], middle: dict[str, str], low: dict[str, str]
) -> None:
    joined = join_labels(own, middle, low)
    names = [name.encode() for name, _ in joined]
    assert names == sorted(set(names))
    assert set(own.items()) <= set(joined)
    assert set(dict(joined).values()) == {*own.values(), *middle.values(), *low.values()}


def test_every_layer_reaches_the_series() -> None:
    (batch,) = Stamper("c", CONTEXT).stamp(1000, [DISK(1.0, "sda")])
    (series,) = batch.series.series
    assert series.labels == (("device", "sda"), ("env", "prod"), ("instance", "host"), ("job", "node"), ("team", "a"))


def test_a_label_value_that_is_no_unicode_becomes_question_marks() -> None:
    """Linux lets file names be any bytes, and JSON does not."""
    (batch,) = Stamper("c", []).stamp(1000, [DISK(1.0, "sd\udcff")])
    assert shape(batch) == [("disk", {"device": "sd?"}, 1.0)]


# -- shapes and staleness -----------------------------------------------------------------------------------------


def test_a_round_of_the_same_shape_shares_the_series_set() -> None:
    stamper = Stamper("c", [])
    (first,) = stamper.stamp(1000, [UP(1.0), DISK(5.0, "sda")])
    (second,) = stamper.stamp(2000, [UP(0.0), DISK(6.0, "sda")])
    assert second.series is first.series
    assert (second.time_ms, second.values) == (2000, [0.0, 6.0])


def test_a_new_order_is_a_new_shape_and_no_end_of_any_series() -> None:
    stamper = Stamper("c", [])
    (first,) = stamper.stamp(1000, [UP(1.0), DISK(5.0, "sda")])
    (second,) = stamper.stamp(2000, [DISK(5.0, "sda"), UP(1.0)])
    assert second.series is not first.series
    assert second.series.series == first.series.series[::-1]
    assert shape(second) == [("disk", {"device": "sda"}, 5.0), ("up", {}, 1.0)]


def test_a_series_that_vanishes_gets_one_staleness_marker() -> None:
    stamper = Stamper("c", [])
    stamper.stamp(1000, [DISK(1.0, "sda"), DISK(2.0, "sdb")])
    now, gone = stamper.stamp(2000, [DISK(1.0, "sda")])
    assert shape(now) == [("disk", {"device": "sda"}, 1.0)]
    assert shape(gone) == [("disk", {"device": "sdb"}, STALE)]
    assert gone.time_ms == 2000
    assert len(stamper.stamp(3000, [DISK(1.0, "sda")])) == 1


def test_an_empty_round_ends_everything() -> None:
    stamper = Stamper("c", [])
    stamper.stamp(1000, [DISK(1.0, "sda")])
    (gone,) = stamper.stamp(2000, [])
    assert shape(gone) == [("disk", {"device": "sda"}, STALE)]
    assert stamper.stamp(3000, []) == []
    assert stamper.series == 0


def test_a_series_that_comes_back_is_counted_on() -> None:
    stamper = Stamper("c", [])
    stamper.stamp(1000, [DISK(1.0, "sda")])
    stamper.vanish(2000)
    (back,) = stamper.stamp(3000, [DISK(2.0, "sda")])
    assert shape(back) == [("disk", {"device": "sda"}, 2.0)]


ROUND = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(0, 9)), max_size=10)


@given(st.lists(ROUND, max_size=8), st.integers(1, 6))
def test_markers_and_samples_always_tell_what_was_there(rounds: list[list[tuple[str, float]]], cap: int) -> None:
    """At every time the series without a marker are exactly those of the last round, whatever the cap folds."""
    stamper = Stamper("c", [], cap=cap)
    alive: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    for number, round in enumerate(rounds):
        batches = stamper.stamp(number, [DISK(value, device) for device, value in round])
        now: list[tuple[str, tuple[tuple[str, str], ...]]] = []
        for batch in batches:
            for one, value in zip(batch.series.series, batch.values, strict=True):
                key = (one.name, one.labels)
                if value is STALE:
                    assert key in alive
                    alive.remove(key)
                else:
                    now.append(key)
        assert len(now) == len(set(now))
        assert alive <= set(now)
        assert len(now) <= cap + 1
        alive = set(now)
        values = dict(reversed(round))
        if round:
            told = sum(value for value in batches[0].values if isinstance(value, float))
            assert told == pytest.approx(sum(values.values())) or stamper.overflowed


# -- duplicates and the cap ---------------------------------------------------------------------------------------


def test_of_a_series_that_comes_twice_the_first_counts() -> None:
    stamper = Stamper("c", [])
    (batch,) = stamper.stamp(1000, [DISK(1.0, "sda"), UP(1.0), DISK(2.0, "sda")])
    assert shape(batch) == [("disk", {"device": "sda"}, 1.0), ("up", {}, 1.0)]
    (again,) = stamper.stamp(2000, [DISK(3.0, "sda"), UP(1.0), DISK(2.0, "sda")])
    assert again.series is batch.series
    assert again.values == [3.0, 1.0]
    assert stamper.duplicates == 2


def test_series_above_the_cap_fold_into_one_a_name() -> None:
    stamper = Stamper("c", CONTEXT, cap=2)
    (batch,) = stamper.stamp(1000, [DISK(float(number), str(number)) for number in range(5)])
    overflow = {"overflow": "true", "env": "prod", "instance": "host", "job": "node", "team": "a"}
    assert [value for _, _, value in shape(batch)] == [0.0, 1.0, 2.0 + 3.0 + 4.0]
    assert shape(batch)[-1][:2] == ("disk", overflow)
    assert stamper.overflowed == 3


def test_those_that_were_there_first_keep_their_place() -> None:
    stamper = Stamper("c", [], cap=2)
    stamper.stamp(1000, [DISK(1.0, "a"), DISK(1.0, "b")])
    (batch,) = stamper.stamp(2000, [DISK(9.0, "new"), DISK(1.0, "a"), DISK(1.0, "b")])
    assert [dict(one.labels) for one in batch.series.series] == [{"device": "a"}, {"device": "b"}, {"overflow": "true"}]
    (again,) = stamper.stamp(3000, [DISK(9.0, "other"), DISK(1.0, "a"), DISK(1.0, "b")])
    assert again.series is batch.series


def test_a_place_that_becomes_free_is_taken() -> None:
    stamper = Stamper("c", [], cap=2)
    stamper.stamp(1000, [DISK(1.0, "a"), DISK(1.0, "b"), DISK(1.0, "c")])
    batch, gone = stamper.stamp(2000, [DISK(1.0, "a"), DISK(1.0, "c"), DISK(1.0, "d")])
    assert [dict(one.labels) for one in batch.series.series] == [{"device": "a"}, {"device": "c"}, {"overflow": "true"}]
    assert shape(gone) == [("disk", {"device": "b"}, STALE)]


def test_families_of_one_name_share_the_overflow_series() -> None:
    """Two series with the same labels in a request would be refused."""
    wide = gauge("disk", "Bytes.", "device", "model")
    stamper = Stamper("c", [], cap=1)
    (batch,) = stamper.stamp(1000, [UP(1.0), DISK(1.0, "a"), wide(2.0, "a", "x"), DISK(4.0, "b")])
    assert shape(batch) == [("up", {}, 1.0), ("disk", {"overflow": "true"}, 7.0)]


def test_an_explosion_of_labels_stays_bounded_over_rounds() -> None:
    stamper = Stamper("c", [], cap=50)
    for number in range(20):
        (batch, *_) = stamper.stamp(number, [DISK(1.0, f"{number}-{one}") for one in range(500)])
        assert len(batch) <= 51
        assert len(stamper._known()) <= 51


def test_an_end_of_the_explosion_is_seen() -> None:
    stamper = Stamper("c", [], cap=1)
    stamper.stamp(1000, [DISK(1.0, "a"), DISK(1.0, "b")])
    _, gone = stamper.stamp(2000, [DISK(1.0, "a")])
    assert shape(gone) == [("disk", {"overflow": "true"}, STALE)]
    assert stamper.overflowed == 0


# -- values -------------------------------------------------------------------------------------------------------


def test_whole_numbers_and_truths_become_floats() -> None:
    (batch,) = Stamper("c", []).stamp(1000, [UP(True), DISK(2**60, "a"), DISK(-0.0, "b")])
    assert [type(value) for value in batch.values] == [float, float, float]
    assert batch.values[:2] == [1.0, float(2**60)]


def test_a_float_of_another_kind_becomes_a_plain_one() -> None:
    class Celsius(float):
        pass

    (batch,) = Stamper("c", []).stamp(1000, [UP(Celsius(21.5))])
    assert [type(value) for value in batch.values] == [float]


@pytest.mark.parametrize("value", [None, "1", b"1", [1.0], STALE])
def test_what_is_no_value_is_refused_and_leaves_the_stamper_as_it_was(value: Any) -> None:
    stamper = Stamper("c", [])
    (good,) = stamper.stamp(1000, [UP(1.0)])
    with pytest.raises(TypeError, match="no value of a sample"):
        stamper.stamp(2000, [UP(1.0), DISK(value, "a")])
    (after,) = stamper.stamp(3000, [UP(1.0)])
    assert after.series is good.series


def test_histograms_and_summaries_pass_unchanged() -> None:
    odd = [Histogram((1.0,), (1.0, 2.0), 3.0), NativeHistogram(0, 1.0, 2.0), Summary(1.0, 2.0, ((0.5, 1.0),))]
    families = [histogram(f"h{number}", "Observations.") for number in range(3)]
    samples = [family(value) for family, value in zip(families, odd, strict=True)]
    (batch,) = Stamper("c", []).stamp(1000, [UP(1.0), *samples])
    assert batch.values == [1.0, *odd]


def test_extras_stay_with_their_sample() -> None:
    extra = Extra(time_ms=5)
    (batch,) = Stamper("c", []).stamp(1000, [UP(1.0), UP(1.0), Sample(DISK, ("a",), 1.0, extra)])
    assert batch.extras == {1: extra}


# -- starts of counters -------------------------------------------------------------------------------------------


def test_counters_carry_the_time_their_collector_began_and_gauges_do_not() -> None:
    summary = Family("s", "summary", "Observations.")
    (batch,) = Stamper("c", []).stamp(9000, [UP(1.0), REQUESTS(1.0, "200"), summary(Summary(1.0, 1.0))], 4000)
    assert [one.start_ms for one in batch.series.series] == [0, 4000, 4000]


def test_a_counter_that_fell_began_anew_after_the_last_round() -> None:
    stamper = Stamper("c", [])
    stamper.stamp(1000, [REQUESTS(7.0, "200"), REQUESTS(1.0, "500")], 500)
    (batch,) = stamper.stamp(2000, [REQUESTS(3.0, "200"), REQUESTS(1.0, "500")], 500)
    assert [one.start_ms for one in batch.series.series] == [1000, 500]
    (after,) = stamper.stamp(3000, [REQUESTS(4.0, "200"), REQUESTS(2.0, "500")], 500)
    assert after.series is batch.series


def test_a_restart_is_seen_across_a_change_of_shape() -> None:
    stamper = Stamper("c", [])
    stamper.stamp(1000, [REQUESTS(7.0, "200")], 500)
    (batch,) = stamper.stamp(2000, [UP(1.0), REQUESTS(3.0, "200")], 500)
    assert [one.start_ms for one in batch.series.series] == [0, 1000]


def test_the_start_that_a_sample_tells_becomes_its_series_and_costs_nothing_while_it_lasts() -> None:
    stamper = Stamper("c", [])

    def stamp(time_ms: int, value: float, start_ms: int) -> MetricBatch:
        (batch,) = stamper.stamp(time_ms, [UP(1.0), Sample(REQUESTS, ("200",), value, Extra(start_ms=start_ms))])
        return batch

    first, second, third = stamp(1000, 7.0, 900), stamp(2000, 8.0, 900), stamp(3000, 1.0, 2900)
    assert [batch.series.series[1].start_ms for batch in (first, second, third)] == [900, 900, 2900]
    assert first.series is second.series
    assert not first.extras


def test_an_exemplar_stays_with_its_sample_whose_start_goes_to_the_series() -> None:
    extra = Extra(start_ms=900, exemplars=(Exemplar((("trace_id", "a"),), 1.0),))
    (batch,) = Stamper("c", []).stamp(1000, [Sample(REQUESTS, ("200",), 1.0, extra)])
    assert batch.series.series[0].start_ms == 900
    assert batch.extras == {0: Extra(exemplars=extra.exemplars)}


def test_a_gauge_may_fall() -> None:
    stamper = Stamper("c", [])
    (first,) = stamper.stamp(1000, [UP(7.0)])
    (second,) = stamper.stamp(2000, [UP(3.0)])
    assert second.series is first.series


def test_a_counter_that_turns_into_a_histogram_is_let_be() -> None:
    stamper = Stamper("c", [])
    stamper.stamp(1000, [REQUESTS(1.0, "200")])
    (batch,) = stamper.stamp(2000, [REQUESTS(Histogram((), (1.0,), 1.0), "200")])
    assert isinstance(batch.values[0], Histogram)
