"""Pages, and what is made of them; tests/servers/test_scrape.py holds the same against Prometheus."""

from __future__ import annotations

import gc
import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from agent.model import Exemplar, Histogram, Sample, Summary
from collectors.scrape.families import Registry
from collectors.scrape.grammar import OPENMETRICS, TEXT, Grammar, Malformed
from collectors.scrape.labelling import Exceeded, Labeller, Limits
from collectors.scrape.page import Page
from collectors.scrape.relabel import Relabeller
from tests.collectors.scrape import pages
from tests.collectors.scrape.pages import ZOO, Case
from tests.collectors.scrape.specification import SPECIFICATION

LATEST = 1 << 50


def new(grammar: Grammar = TEXT, *, limit: int = 1000, limits: Limits | None = None, **target: str) -> Page:
    labeller = Labeller(target, Relabeller(()), limits or Limits(), honor=False)
    return Page(grammar, labeller, Registry(), limit)


def found(samples: list[Sample]) -> dict[tuple[str, ...], object]:
    return {(one.family.name, *one.labels): one.value for one in samples}


@pytest.mark.parametrize("case", [*ZOO, *SPECIFICATION], ids=lambda case: f"{case.format}-{case.body[:40]!r}")
def test_a_page_is_taken_or_refused(case: Case) -> None:
    page = new(TEXT if case.format == "text" else OPENMETRICS)
    if case.good:
        page.read(case.body)
    else:
        with pytest.raises((Malformed, ValueError)):
            page.read(case.body)


@pytest.mark.parametrize(
    "case", [case for case in [*ZOO, *SPECIFICATION] if case.good], ids=lambda case: repr(case.body[:40])
)
def test_the_second_round_says_the_same_as_the_first(case: Case) -> None:
    page = new(TEXT if case.format == "text" else OPENMETRICS)
    first, second = page.read(case.body, LATEST), page.read(case.body, LATEST)
    assert repr(first.samples) == repr(second.samples)
    assert [one.family for one in first.samples] == [one.family for one in second.samples]
    assert (second.scraped, second.kept, second.added) == (first.scraped, first.kept, 0)


def test_the_families_of_the_text_format() -> None:
    samples = {one.family.name: one for one in new().read(pages.PLAIN).samples}
    request = samples["http_request_duration_seconds"]
    assert request.family.kind == "histogram"
    assert request.family.help == "A histogram of the request duration."
    bounds = (0.05, 0.1, 1.0, 1e6)
    assert request.value == Histogram(bounds, (24054.0, 33444.0, 133988.0, 133988.0, 144320.0), 53423.0)
    rpc = samples["rpc_duration_seconds"]
    assert isinstance(rpc.value, Summary)
    assert (rpc.value.count, rpc.value.sum) == (2693.0, 17560473.0)
    assert rpc.value.quantiles[0] == (0.01, 3102.0)
    assert math.isnan(rpc.value.quantiles[1][1])
    escaped = samples["msdos_file_access_time_seconds"]
    assert escaped.labels == ('Cannot find file:\n"FILE.TXT"', "C:\\DIR\\FILE.TXT")
    assert samples["metric_without_timestamp_and_labels"].family.kind == "unknown"


def test_the_families_of_openmetrics() -> None:
    samples = {one.family.name: one for one in new(OPENMETRICS).read(pages.OPENMETRICS, LATEST).samples}
    assert {name: one.family.kind for name, one in samples.items()} == {
        "acme_http_router_request_seconds": "summary",
        "go_goroutines": "gauge",
        "process_cpu_seconds_total": "counter",
        "foo_total": "counter",
        "bar": "histogram",
        "colors_info": "info",
        "feature": "stateset",
        "queue": "gaugehistogram",
        "spaced": "unknown",
    }
    assert samples["process_cpu_seconds_total"].family.unit == "seconds"
    assert samples["foo_total"].extra is not None
    assert samples["foo_total"].extra.start_ms == 1520430000123
    bar = samples["bar"].extra
    assert bar is not None
    assert bar.start_ms == 1520430000123
    assert bar.exemplars == (
        Exemplar((), 0.054),
        Exemplar((("trace_id", "KOO5S4vxi0o"),), 0.67),
        Exemplar((("trace_id", "oHg5SJYRHA0"),), 9.8, 1520879607789),
    )


def test_values_times_and_exemplars_change_without_a_new_plan() -> None:
    page = new(OPENMETRICS)
    page.read(b'a_total{b="c"} 1\nd 5\n# EOF\n', LATEST)
    plan = page._plan
    (a, d) = page.read(b'a_total{b="c"} 2 1.5 # {t="x"} 0.5\nd NaN\n# EOF\n', LATEST).samples
    assert page._plan is plan
    assert a.value == 2.0
    assert a.extra is not None
    assert (a.extra.time_ms, a.extra.exemplars) == (1500, (Exemplar((("t", "x"),), 0.5),))
    assert isinstance(d.value, float)
    assert math.isnan(d.value)


@pytest.mark.parametrize("rest", [b"1e999", b"1_0", b"", b"1 2 3", b"x", b"1\r"])
def test_a_page_that_goes_wrong_later_is_refused_later(rest: bytes) -> None:
    page = new()
    page.read(b"a 1\nb 2\n")
    with pytest.raises(Malformed):
        page.read(b"a 1\nb " + rest + b"\n")
    assert page.read(b"a 1\nb 3\n").added == 0


def test_a_longer_name_is_another_series() -> None:
    page = new()
    page.read(b"foo 1 5\n", LATEST)
    assert found(page.read(b"foobar 2 5\n", LATEST).samples) == {("foobar",): 2.0}


def test_series_come_and_go() -> None:
    page = new()
    assert page.read(b"a 1\nb 2\n").added == 2
    reading = page.read(b"a 1\nc 2\nb 2\n")
    assert (reading.scraped, reading.added) == (3, 1)
    assert found(page.read(b"b 4\n").samples) == {("b",): 4.0}


def test_comments_may_change_but_types_make_a_new_plan() -> None:
    page = new()
    page.read(b"# at 12:00\na 1\n")
    plan = page._plan
    page.read(b"# at 12:01\na 1\n")
    assert page._plan is plan
    (sample,) = page.read(b"# TYPE a gauge\na 1\n").samples
    assert sample.family.kind == "gauge"


def test_what_is_left_of_a_histogram_is_plain() -> None:
    body = b'# TYPE h histogram\nh_bucket{le="1"} 1\nh_count 1\nh_sum 1\n'
    assert found(new().read(body).samples) == {("h_bucket", "1.0"): 1.0, ("h_count",): 1.0, ("h_sum",): 1.0}


def test_a_histogram_stays_one_when_its_count_is_ahead_of_its_buckets_for_once() -> None:
    page = new()
    body = b'# TYPE h histogram\nh_bucket{le="+Inf"} 5\nh_count 5\nh_sum 1\n'
    page.read(body)
    (sample,) = page.read(body.replace(b"count 5", b"count 6")).samples
    assert sample.value == Histogram((), (5.0,), 1.0)


def test_a_time_too_far_ahead_or_none_at_all_leaves_the_sample_out() -> None:
    page = new()
    assert found(page.read(b"a 1 2000\nb 1 3000\nc 1 0\n", 2500).samples) == {("a",): 1.0}
    assert len(page.read(b"a 1 2000\nb 1 3000\nc 1 0\n", None).samples) == 3


def test_the_labels_of_the_target_win_and_the_losers_are_kept() -> None:
    page = new(job="mine", instance="h:1")
    (sample,) = page.read(b'a{job="theirs",exported_job="e",instance=""} 1\n').samples
    assert dict(zip(sample.family.labels, sample.labels, strict=True)) == {
        "job": "mine",
        "instance": "h:1",
        "exported_job": "e",
        "exported_exported_job": "theirs",
    }


def test_honored_labels_win_and_an_empty_one_keeps_the_target_s_away() -> None:
    labeller = Labeller({"job": "mine", "instance": "h:1"}, Relabeller(()), Limits(), honor=True)
    page = Page(TEXT, labeller, Registry(), 10)
    (sample,) = page.read(b'a{job="theirs",instance=""} 1\n').samples
    assert dict(zip(sample.family.labels, sample.labels, strict=True)) == {"job": "theirs"}


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(labels=2), "label_limit"),
        (Limits(name_length=7), "label_limit"),
        (Limits(value_length=2), "label_limit"),
    ],
)
def test_labels_beyond_a_limit_refuse_the_page(limits: Limits, reason: str) -> None:
    page = new(limits=limits)
    with pytest.raises(Exceeded, match=reason):
        page.read(b'a{long="val",er="x"} 1\n')


def test_more_samples_than_the_limit_refuse_the_page_and_are_counted() -> None:
    page = new(limit=2)
    with pytest.raises(Exceeded, match="sample_limit"):
        page.read(b"a 1\nb 1\nc 1\n")
    assert (page.reading.scraped, page.reading.samples) == (3, [])


def test_a_page_of_line_feeds_alone_is_refused_before_it_is_read() -> None:
    with pytest.raises(Exceeded):
        new().read(b"\n" * (1 << 24))


@pytest.mark.parametrize(
    "body",
    [
        b'a{b="' * 200_000,
        b'a{b="\\' * 200_000,
        b'"' * 1_000_001,
        b'a{b="\n' * 200_000,
        b"a{" + b'b="c",' * 200_000 + b"} x",
        b"a " * 500_000,
        b"# HELP a " + b"\\" * 1_000_001,
        b"{" * 1_000_000,
    ],
    ids=lambda body: repr(body[:8]),
)
@pytest.mark.timeout(10)
def test_a_hostile_page_takes_linear_time(body: bytes) -> None:
    for grammar in (TEXT, OPENMETRICS):
        with pytest.raises((Malformed, Exceeded)):
            new(grammar).read(body + b"\nx\n# EOF\n")


def test_series_that_change_each_round_leave_nothing_behind() -> None:
    registry = Registry()
    page = Page(TEXT, Labeller({}, Relabeller(()), Limits(), honor=False), registry, 10_000)

    def rounds(start: int) -> None:
        for at in range(start, start + 20):
            page.read("".join(f'm{at}_{i}{{l="{at}-{i}"}} 1\n' for i in range(500)).encode())
            registry.prune(page.families)

    rounds(0)
    tracemalloc.start()
    rounds(100)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for start in (200, 300, 400, 500):
        rounds(start)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after < before + 5_000_000, "80 rounds of 500 series, kept, would be 20 MB"


names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
values = st.floats(allow_nan=False) | st.integers(-(10**6), 10**6)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@given(
    st.dictionaries(
        st.tuples(names, st.dictionaries(names, texts, max_size=3).map(lambda one: tuple(one.items()))), values
    )
)
def test_prometheus_client_reads_the_same(series: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> None:
    lines = []
    for (name, labels), value in series.items():
        pairs = [(label, text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')) for label, text in labels]
        inside = ",".join([f'{label}="{text}"' for label, text in pairs])
        lines.append(f"x{name}{{{inside}}} {value!r}\n")
    body = "".join(lines)
    expected = {}
    for family in parse_text(body):
        for sample in family.samples:
            key = (sample.name, *sorted((label, text) for label, text in sample.labels.items() if text))
            expected.setdefault(key, sample.value)
    mine = {
        (one.family.name, *zip(one.family.labels, one.labels, strict=True)): one.value
        for one in new().read(body.encode()).samples
    }
    assert mine == expected


def test_prometheus_client_reads_the_example_of_openmetrics_the_same() -> None:
    plain = {
        sample.name: sample.value
        for family in parse_openmetrics(pages.OPENMETRICS.decode())
        for sample in family.samples
        if family.type in ("counter", "gauge", "info", "unknown") and not sample.name.endswith("_created")
    }
    mine = {one.family.name: one.value for one in new(OPENMETRICS).read(pages.OPENMETRICS).samples}
    assert plain.items() <= mine.items()


@given(st.binary(max_size=80), st.sampled_from([TEXT, OPENMETRICS]))
def test_any_bytes_are_read_or_refused(body: bytes, grammar: Grammar) -> None:
    page = new(grammar)
    try:
        page.read(body)
    except (Malformed, Exceeded):
        return
    page.read(body)
