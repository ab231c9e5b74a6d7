"""The pages a scrape gets."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.exposition import CONTENT_TYPES, Exposition, Format, negotiate, openmetrics_bound, text_bound
from agent.model import (
    STALE,
    Exemplar,
    Extra,
    Histogram,
    Kind,
    MetricBatch,
    NativeHistogram,
    Series,
    SeriesSet,
    Summary,
)

T0 = 1_760_000_000_000


def series(name: str, *labels: tuple[str, str], kind: Kind = "gauge", help: str = "Help.", unit: str = "") -> Series:
    return Series(name, kind, help, unit, labels)


def batch(values: list[Any], *members: Series, extras: dict[int, Extra] | None = None) -> MetricBatch:
    return MetricBatch("c", T0, SeriesSet(members), values, extras)


def page(*batches: MetricBatch, style: Format = "text") -> list[str]:
    return Exposition().render(batches, style).decode().splitlines()


def test_a_family_has_its_header_once() -> None:
    assert page(batch([1.0, 2.5], series("up", ("job", "a")), series("up", ("job", "b")))) == [
        "# HELP up Help.",
        "# TYPE up gauge",
        'up{job="a"} 1',
        'up{job="b"} 2.5',
    ]


def test_families_stand_together_across_collectors() -> None:
    first = batch([1.0, 2.0], series("up", ("job", "a")), series("x"))
    second = batch([3.0, 4.0], series("y"), series("up", ("job", "b")))
    assert [line for line in page(first, second) if line[0] != "#"] == ['up{job="a"} 1', 'up{job="b"} 4', "x 2", "y 3"]


def test_values_are_written_so_that_every_parser_takes_them() -> None:
    values = [0.0, -0.0, 1e300, 5e-324, 1e15, 1e16, float("inf"), float("-inf"), float("nan"), 7, True]
    found = page(batch(values, *[series("m", ("at", str(at))) for at in range(len(values))]))
    assert [line.rsplit(" ", 1)[1] for line in found[2:]] == [
        "0", "-0", "1e+300", "5e-324", "1000000000000000", "1e+16", "+Inf", "-Inf", "NaN", "7", "1",
    ]  # fmt: skip


def test_ended_series_are_not_on_the_page() -> None:
    found = page(batch([STALE, 1.0, STALE], series("a", ("x", "1")), series("a", ("x", "2")), series("b")))
    assert [line for line in found if line[0] != "#"] == ['a{x="2"} 1']


def test_help_and_labels_are_escaped() -> None:
    one = batch([1.0], series("m", ("path", 'C:\\"new"\nline'), help='A \\ and "one"\nmore 2.0'))
    assert page(one) == [
        '# HELP m A \\\\ and "one"\\nmore 2.0',
        "# TYPE m gauge",
        'm{path="C:\\\\\\"new\\"\\nline"} 1',
    ]
    assert '# HELP m A \\\\ and \\"one\\"\\nmore 2.0' in page(one, style="openmetrics")


def test_names_that_the_formats_do_not_allow_get_underscores() -> None:
    one = batch([1.0], series("http.server.duration", ("1st label", "x")))
    assert page(one)[2] == 'http_server_duration{_1st_label="x"} 1'


@pytest.mark.parametrize(
    ("kind", "written"),
    [("unknown", "untyped"), ("info", "gauge"), ("stateset", "gauge"), ("counter", "counter"), ("summary", "summary")],
)
def test_text_knows_five_types(kind: Kind, written: str) -> None:
    assert f"# TYPE m {written}" in page(batch([1.0], series("m", kind=kind)))


def test_openmetrics_cuts_the_suffix_of_counters_and_ends() -> None:
    assert page(batch([1.0], series("requests_total", kind="counter")), style="openmetrics") == [
        "# TYPE requests counter",
        "# HELP requests Help.",
        "requests_total 1",
        "# EOF",
    ]


def test_openmetrics_does_not_know_counters_without_the_suffix() -> None:
    found = page(batch([1.0], series("node_forks", kind="counter")), style="openmetrics")
    assert found == ["# TYPE node_forks unknown", "# HELP node_forks Help.", "node_forks 1", "# EOF"]


def test_openmetrics_families_never_share_a_name() -> None:
    found = page(batch([1.0, 2.0], series("a_total", kind="counter"), series("a")), style="openmetrics")
    assert [line for line in found if "TYPE" in line] == ["# TYPE a_total unknown", "# TYPE a gauge"]


def test_openmetrics_names_the_unit_where_the_name_ends_with_it() -> None:
    found = page(batch([1.0, 2.0], series("a_bytes", unit="bytes"), series("b", unit="bytes")), style="openmetrics")
    assert [line for line in found if "UNIT" in line] == ["# UNIT a_bytes bytes"]


@pytest.mark.parametrize(("style", "one"), [("text", "1"), ("openmetrics", "1.0")])
def test_classic_histograms(style: Format, one: str) -> None:
    value = Histogram((0.5, 1.0), (1.0, 2.0, 3.0), 7.5)
    found = page(batch([value], series("h", ("job", "x"), kind="histogram")), style=style)
    assert [line for line in found if line[0] != "#"] == [
        'h_bucket{job="x",le="0.5"} 1',
        f'h_bucket{{job="x",le="{one}"}} 2',
        'h_bucket{job="x",le="+Inf"} 3',
        'h_count{job="x"} 3',
        'h_sum{job="x"} 7.5',
    ]
    assert "# TYPE h histogram" in found


def test_gauge_histograms_have_names_of_their_own() -> None:
    found = page(batch([Histogram((), (3.0,), 7.5)], series("h", kind="gaugehistogram")), style="openmetrics")
    assert found[2:] == ['h_bucket{le="+Inf"} 3', "h_gcount 3", "h_gsum 7.5", "# EOF"]


def test_native_histograms_show_what_text_can_carry() -> None:
    found = page(batch([NativeHistogram(3, 12.0, 18.4)], series("n", kind="histogram")))
    assert found[2:] == ['n_bucket{le="+Inf"} 12', "n_count 12", "n_sum 18.4"]


def test_a_histogram_that_is_native_and_classic_is_shown_once_with_its_buckets() -> None:
    both = [series("n", ("job", "a"), kind="histogram")] * 2 + [series("n", ("job", "b"), kind="histogram")]
    values = [NativeHistogram(3, 3.0, 18.4), Histogram((1.0,), (1.0, 3.0), 18.4), NativeHistogram(3, 5.0, 1.0)]
    assert page(batch(values, *both)) == [
        "# HELP n Help.",
        "# TYPE n histogram",
        'n_bucket{job="a",le="1"} 1',
        'n_bucket{job="a",le="+Inf"} 3',
        'n_count{job="a"} 3',
        'n_sum{job="a"} 18.4',
        'n_bucket{job="b",le="+Inf"} 5',
        'n_count{job="b"} 5',
        'n_sum{job="b"} 1',
    ]


def test_summaries() -> None:
    found = page(batch([Summary(3.0, 2.0, ((0.5, 0.1), (0.99, float("nan"))))], series("s", kind="summary")))
    assert found[2:] == ['s{quantile="0.5"} 0.1', 's{quantile="0.99"} NaN', "s_count 3", "s_sum 2"]


def test_times_of_their_own_are_ms_in_text_and_seconds_in_openmetrics() -> None:
    one = batch([1.0], series("m"), extras={0: Extra(time_ms=T0 + 7)})
    assert page(one)[2] == f"m 1 {T0 + 7}"
    assert page(one, style="openmetrics")[2] == "m 1 1760000000.007"


EXEMPLAR = Exemplar((("trace_id", "abc"),), 0.7, T0)


def test_openmetrics_shows_exemplars_where_they_may_stand() -> None:
    extra = {0: Extra(exemplars=(EXEMPLAR,)), 1: Extra(exemplars=(EXEMPLAR,)), 2: Extra(exemplars=(EXEMPLAR,))}
    members = series("c_total", kind="counter"), series("g"), series("h", kind="histogram")
    one = batch([1.0, 2.0, Histogram((0.5, 1.0), (1.0, 2.0, 2.0), 1.0)], *members, extras=extra)
    shown = ' # {trace_id="abc"} 0.7 1760000000.000'
    found = page(one, style="openmetrics")
    assert [line for line in found if "trace" in line] == [f"c_total 1{shown}", f'h_bucket{{le="1.0"}} 2{shown}']
    assert not [line for line in page(one) if "trace" in line]


def test_exemplars_that_are_too_long_are_left_out() -> None:
    extra = {0: Extra(exemplars=(Exemplar((("trace_id", "x" * 121),), 1.0),))}
    assert page(batch([1.0], series("c_total", kind="counter"), extras=extra), style="openmetrics")[2] == "c_total 1"


@pytest.mark.parametrize(("style", "want"), [("text", []), ("openmetrics", ["# EOF"])])
def test_a_page_without_series(style: Format, want: list[str]) -> None:
    assert page(style=style) == want


def test_a_page_changes_with_its_values_and_its_sets() -> None:
    exposition = Exposition()
    first = batch([1.0], series("a"))
    second = MetricBatch("c", T0 + 1, first.series, [2.0])
    assert exposition.render([first]).endswith(b"a 1\n")
    assert exposition.render([second]).endswith(b"a 2\n")
    for at in range(10):
        assert exposition.render([batch([1.0], series(f"m{at}"))]).endswith(f"m{at} 1\n".encode())
    assert len(exposition._plans) <= 4


PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "style"),
    [
        ("", "text"),
        ("*/*", "text"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text"),
        (PROMETHEUS, "openmetrics"),
        ("application/openmetrics-text", "openmetrics"),
        ("Application/OpenMetrics-Text; Version=1.0.0; Q=0.5, text/plain; q=0.4", "openmetrics"),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.9", "text"),
        ("application/openmetrics-text;q=0", "text"),
        ("application/openmetrics-text;version=9.9.9", "text"),
        ("application/openmetrics-text;q=much", "text"),
        ("application/json", "text"),
        (";;;,=,", "text"),
    ],
)
def test_the_format_follows_the_accept_header(accept: str, style: Format) -> None:
    assert negotiate(accept) == style
    assert "version=" in CONTENT_TYPES[style]


@pytest.mark.parametrize(
    ("value", "go", "openmetrics"),
    [
        (0.0, "0", "0.0"),
        (1.0, "1", "1.0"),
        (-1.0, "-1", "-1.0"),
        (0.005, "0.005", "0.005"),
        (0.0001, "0.0001", "0.0001"),
        (0.00001, "1e-05", "1e-05"),
        (100000.0, "100000", "100000.0"),
        (1000000.0, "1e+06", "1e+06"),
        (-1234567.5, "-1.2345675e+06", "-1.2345675e+06"),
        (10.0**21, "1e+21", "1e+21"),
        (float("inf"), "+Inf", "+Inf"),
        (float("-inf"), "-Inf", "-Inf"),
        (float("nan"), "NaN", "NaN"),
    ],
)
def test_bounds_are_written_as_go_does(value: float, go: str, openmetrics: str) -> None:
    assert (text_bound(value), openmetrics_bound(value)) == (go, openmetrics)


@given(st.floats(allow_nan=False))
def test_bounds_keep_their_value(value: float) -> None:
    assert float(text_bound(value)) == float(openmetrics_bound(value)) == value


LINE = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-zA-Z_][a-zA-Z0-9_]*="([^"\\\n]|\\.)*",?)*\})? \S+')


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.text(min_size=1), st.dictionaries(st.text(min_size=1), st.text()), st.text(), st.floats())),
    st.sampled_from(["text", "openmetrics"]),
)
def test_whatever_the_strings_every_line_is_well_formed(
    found: list[tuple[str, dict[str, str], str, float]], style: Format
) -> None:
    members = [Series(name, "gauge", help, "", tuple(sorted(labels.items()))) for name, labels, help, _ in found]
    text = Exposition().render([batch([value for *_, value in found], *members)], style).decode()
    lines = text.split("\n")
    assert lines.pop() == ""
    assert all(line.startswith("# ") or LINE.fullmatch(line) for line in lines)
    samples = [line for line in lines if not line.startswith("# ")]
    assert len(samples) == len(found)
