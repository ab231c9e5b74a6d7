"""What a selector sees, in the latest round and before it."""

from __future__ import annotations

from agent.model import Histogram, NativeHistogram, Summary
from agent.promql import parse_query
from tests.agent.promql.made import Rounds, shown

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


def test_raw_strings_are_raw() -> None:
    rounds = Rounds('x{a="1:2"}', 'x{a="\\\\d"}').add(1.0, 2.0)
    assert [point.value for point in rounds.ask(r"x{a=~`\d:\d`}")] == [1.0]
    assert rounds.ask('x{a="`"} or x{a=`"`}') == []


def test_selectors_find_their_series_once_for_a_shape() -> None:
    query, rounds = parse_query('x{a=~"1|3"}'), Rounds(*TWO).add(1.0, 2.0).add(3.0, 4.0)
    places = [query._selectors[0].selector.places(batch.series) for batch in rounds.batches]
    assert places[0] is places[1]
    assert shown(rounds.ask(query)) == {'x{a="1"}': 3.0}


def test_patterns_read_labels_that_are_no_utf8() -> None:
    rounds = Rounds('x{a="b\udc80"}', 'x{a="c"}').add(1.0, 2.0)
    assert [point.value for point in rounds.ask('x{a=~"b.+"}')] == [1.0]
    assert [point.value for point in rounds.ask('count_over_time(x{a!~"b."}[5m])')] == [1.0]
