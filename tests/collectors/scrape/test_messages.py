"""Pages in protobuf, and what is made of them; tests/servers/test_scrape.py holds the same against Prometheus."""

from __future__ import annotations

import gc
import math
import tracemalloc
from collections.abc import Sequence
from struct import pack
from typing import Any

import pytest

from agent.model import Exemplar, Histogram, NativeHistogram, Sample, Summary
from collectors.scrape.families import Registry
from collectors.scrape.grammar import MOST_LINES, Malformed
from collectors.scrape.labelling import Exceeded, Labeller, Limits
from collectors.scrape.messages import MessagePage
from collectors.scrape.metric import Reader
from collectors.scrape.native import Limits as NativeLimits
from collectors.scrape.native import finest_schema
from collectors.scrape.relabel import Relabeller, Rule
from tests.collectors.scrape.messages import (
    BOTH,
    CREATED_MS,
    EVERYTHING,
    NATIVES,
    PB,
    REFUSED,
    buckets,
    delimited,
    family,
    metric,
    native,
    page,
    stamp,
)

LATEST = 1 << 50
Labels = tuple[tuple[str, str], ...]


def new(
    *,
    natives: NativeLimits | None = NativeLimits(),  # noqa: B008  # a tuple
    classic_too: bool = False,
    limit: int = 10_000,
    rules: Sequence[Rule] = (),
    **target: str,
) -> MessagePage:
    labeller = Labeller(target, Relabeller(rules), Limits(), honor=False)
    return MessagePage(Reader(natives, classic_too=classic_too), labeller, Registry(), limit)


def by_series(samples: Sequence[Sample]) -> dict[tuple[str, Labels], Sample]:
    """Samples by name and labels, those of native histograms with a star."""
    found = {}
    for one in samples:
        star = "*" if isinstance(one.value, NativeHistogram) else ""
        found[one.family.name + star, tuple(zip(one.family.labels, one.labels, strict=True))] = one
    assert len(found) == len(samples)
    return found


def test_plain_metrics() -> None:
    found = by_series(new(job="j").read(page(*EVERYTHING), LATEST).samples)
    job = (("job", "j"),)
    assert found["level_of_all", job].value == -1.5
    assert found["level_of_all", (("a", "é"), *job)].value == 0.0
    assert found["odd", job].value == math.inf
    ok, failed = (found["requests_total", (("code", code), *job)] for code in ("200", "500"))
    assert (ok.family.kind, ok.family.help, ok.value) == ("counter", "About requests_total.", 5.0)
    assert ok.extra is not None
    assert (ok.extra.start_ms, ok.extra.exemplars) == (CREATED_MS, ())
    assert failed.extra is not None
    assert failed.extra.exemplars == (Exemplar((("trace_id", "x"),), 1.0),)
    assert found["took_seconds", job].family.unit == "seconds"
    assert ("empty", job) not in found


def test_summaries_and_classic_histograms() -> None:
    found = by_series(new().read(page(*EVERYTHING), LATEST).samples)
    rpc = found["rpc_seconds", ()]
    assert isinstance(rpc.value, Summary)
    assert (rpc.value.count, rpc.value.sum, rpc.value.quantiles[0]) == (10.0, 2.5, (0.5, 0.1))
    assert rpc.extra is not None
    assert rpc.extra.start_ms == CREATED_MS
    assert found["rpc_seconds", (("empty", "1"),)].value == Summary(1.0, 0.0)
    latency = found["latency_seconds", (("path", "/"),)]
    assert latency.value == Histogram((0.1, 1.0, 1e6), (8.0, 11.0, 300.0, 17.0), 3.5)
    assert latency.extra is not None
    assert latency.extra.start_ms == CREATED_MS
    assert latency.extra.exemplars == (
        Exemplar((("trace_id", "one"),), 0.05),
        Exemplar((("a", "b"),), 9.5, CREATED_MS),
    )
    assert found["latency_seconds", (("path", "/x"),)].value == Histogram((0.5,), (1.0, 3.0), 0.0)
    assert found["latency_seconds", (("path", "/none"),)].value == Histogram((), (0.0,), 0.0)
    assert found["broken_counts", ()].value == Histogram((0.1, 1.0), (0.5, 1.5, 2.5), 1.0)


def test_the_series_of_a_classic_gauge_histogram_keep_the_names_that_prometheus_gives_them() -> None:
    found = by_series(new().read(page(*EVERYTHING)).samples)
    assert (found["queue_count", ()].value, found["queue_sum", ()].value) == (4.0, 9.0)
    assert found["queue_bucket", (("le", "+Inf"),)].value == 4.0


def test_native_histograms() -> None:
    found = by_series(new().read(page(*NATIVES), LATEST).samples)

    def of(path: str) -> Any:
        return found["n_seconds*", (("path", path),)].value

    assert of("/a") == NativeHistogram(
        3, 14.0, 1.5, 0.001, 3.0, (((-3, 2), (5, 1)), (2.0, 1.0, 5.0)), (((1, 1), (7, 1)), (1.0, 2.0))
    )
    assert of("/none") == NativeHistogram(0, 0.0, 0.0)
    assert of("/holes") == NativeHistogram(0, 3.0, 1.5, 0.001, 0.0, (((0, 1), (2, 1)), (1.0, 2.0)))
    assert of("/nan").count == 9.0
    assert found["n_float*", ()].value == NativeHistogram(
        3, 4.5, 1.5, 0.001, 0.25, (((0, 2),), (0.5, 2.25)), (((3, 1),), (1.5,))
    )
    assert {one.family.kind for key, one in found.items() if key[0] == "n_gauge*"} == {"gaugehistogram"}
    both = found["n_seconds*", (("path", "/both"),)]
    assert both.extra is not None
    assert both.extra.start_ms == CREATED_MS


def test_exemplars_of_native_histograms_are_those_with_a_time_oldest_first() -> None:
    found = by_series(new().read(page(*NATIVES), LATEST).samples)
    own, buckets_ = (found["n_exemplars*", (("own", one),)].extra for one in ("yes", "no"))
    assert own is not None
    assert buckets_ is not None
    assert own.exemplars == (
        Exemplar((("trace_id", "early"),), 0.7, CREATED_MS),
        Exemplar((("trace_id", "late"),), 1.5, CREATED_MS + 2000),
    )
    assert buckets_.exemplars == (Exemplar((("trace_id", "b"),), 0.6, CREATED_MS),)


def test_a_histogram_of_both_forms_is_native_or_both_or_classic() -> None:
    body = page(family("h", "histogram", metric({"a": "b"}, histogram=BOTH)))
    labels = (("a", "b"),)
    assert by_series(new().read(body).samples).keys() == {("h*", labels)}
    reading = new(classic_too=True).read(body)
    both = by_series(reading.samples)
    assert both.keys() == {("h*", labels), ("h", labels)}
    assert both["h", labels].value == Histogram((0.5, 1.0, 4.0), (4.0, 6.0, 12.0, 12.0), 1.5)
    assert both["h", labels].family is not both["h*", labels].family
    assert (reading.scraped, reading.kept) == (7, 7)
    assert by_series(new(natives=None).read(body).samples).keys() == {("h", labels)}


def test_what_rules_leave_of_both_forms() -> None:
    body = page(family("h", "histogram", metric(histogram=BOTH)))
    rule = Rule(source_labels=("__name__",), regex="h|h_sum", action="drop")
    reading = new(classic_too=True, rules=[rule]).read(body)
    assert {one.family.name for one in reading.samples} == {"h_bucket", "h_count"}
    assert (reading.scraped, reading.kept) == (7, 5)
    renamed = new(rules=[Rule(target_label="__name__", replacement="other")]).read(body)
    assert [(one.family.name, one.family.kind) for one in renamed.samples] == [("other", "histogram")]


def test_times_are_honored_or_not() -> None:
    body = page(
        family("a", "gauge", metric(time_ms=2000, gauge={"value": 1.0}), metric({"b": "c"}, 9000, gauge={})),
        family("h", "histogram", metric(time_ms=2000, histogram=BOTH)),
    )
    honored = by_series(new(classic_too=True).read(body, 5000).samples)
    assert {key: one.extra.time_ms for key, one in honored.items() if one.extra} == {
        ("a", ()): 2000,
        ("h*", ()): 2000,
        ("h", ()): 2000,
    }
    assert len(new().read(body, None).samples) == 3


@pytest.mark.parametrize("body", [page(*EVERYTHING), page(*NATIVES), b""], ids=["everything", "natives", "empty"])
def test_the_second_round_says_the_same_as_the_first(body: bytes) -> None:
    mine = new(classic_too=True)
    first, second, third = (mine.read(body, LATEST) for _ in range(3))
    assert repr(first.samples) == repr(second.samples) == repr(third.samples)
    assert [one.family for one in first.samples] == [one.family for one in second.samples]
    assert (second.scraped, second.kept, second.added) == (first.scraped, first.kept, 0)


def test_values_change_and_series_come_and_go() -> None:
    def body(number: float, *labels: str) -> bytes:
        counters = [metric({"l": one}, counter={"value": number, "created_timestamp": stamp(5)}) for one in labels]
        histogram = {"sample_count": int(number), "bucket": buckets({1.0: int(number)})}
        return page(family("c", "counter", *counters), family("h", "histogram", metric(histogram=histogram)))

    mine = new()
    assert mine.read(body(1.0, "a", "b")).added == 6
    plan = mine._plan
    second = by_series(mine.read(body(300.0, "a", "b")).samples)
    assert mine._plan is plan
    assert (second["c", (("l", "b"),)].value, second["h", ()].value) == (300.0, Histogram((1.0,), (300.0, 300.0), 0.0))
    assert mine.read(body(4.0, "a", "c", "b")).added == 1
    assert {key[1] for key in by_series(mine.read(body(5.0, "b")).samples)} == {(("l", "b"),), ()}
    assert mine.read(page(family("c", "gauge", metric({"l": "b"}, gauge={"value": 1.0})))).samples[0].family.kind == (
        "gauge"
    )


def test_a_histogram_that_becomes_native_is_another_series() -> None:
    mine = new()
    classic = {"sample_count": 1, "bucket": buckets({1.0: 1})}
    (before,) = mine.read(page(family("h", "histogram", metric(histogram=classic)))).samples
    (after,) = mine.read(page(family("h", "histogram", metric(histogram=BOTH)))).samples
    assert before.family is not after.family
    assert (before.family.name, before.family.kind) == (after.family.name, after.family.kind)


def test_the_first_of_equal_series_is_kept() -> None:
    body = page(
        family("a", "gauge", metric(gauge={"value": 1.0}), metric({"x": ""}, gauge={"value": 2.0})),
        family("a", "counter", metric(counter={"value": 3.0})),
    )
    reading = new().read(body)
    assert [one.value for one in reading.samples] == [1.0]
    assert (reading.scraped, reading.kept) == (3, 3)


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_a_page_that_is_wrong_is_refused_in_each_round(body: bytes) -> None:
    mine = new()
    good = page(family("good", "gauge", metric(gauge={"value": 1.0})))
    mine.read(good)
    for _ in range(2):
        with pytest.raises(Malformed):
            mine.read(good + body)
        assert (mine.reading.samples, mine.reading.scraped >= 1) == ([], True)
    assert mine.read(good).added == 0


def test_equal_labels_twice_are_refused() -> None:
    twice = PB.Metric(label=[{"name": "a", "value": "1"}, {"name": "a", "value": "2"}], gauge={"value": 1.0})
    with pytest.raises(Malformed):
        new().read(page(family("m", "gauge", twice)))


def test_unknown_fields_are_passed_over() -> None:
    more = b"\xa8\x06\x05" + b"\xaa\x06\x02ab" + b"\xa9\x06" + bytes(8) + b"\xad\x06" + bytes(4)
    more += b"\xab\x06" + b"\x08\x01" + b"\x13\x12\x01x\x14" + b"\xac\x06"
    one = metric({"a": "b"}, gauge={"value": 1.0}).SerializeToString() + more
    (sample,) = new().read(delimited(b"\x0a\x01g\x18\x01" + more + b"\x22" + delimited(one))).samples
    assert (sample.family.name, sample.labels, sample.value) == ("g", ("b",), 1.0)


def test_messages_in_parts_are_merged_and_packed_numbers_are_read() -> None:
    spans = b"\x62\x04\x08\x00\x10\x02"
    deltas = b"\x6a\x02\x04\x03"  # 2, -2: 2 and 0
    histogram = b"\x08\x02" + b"\x31" + pack("<d", 0.5) + deltas
    one = b"\x3a" + delimited(spans) + b"\x3a" + delimited(histogram)
    (sample,) = new().read(delimited(b"\x0a\x01h\x18\x04\x22" + delimited(one))).samples
    assert sample.value == NativeHistogram(0, 2.0, 0.0, 0.5, 0.0, (((0, 1),), (2.0,)))
    counts = b"\x72\x10" + pack("<2d", 0.5, 1.5) + b"\x21" + pack("<d", 2.0)
    (sample,) = new().read(delimited(b"\x0a\x01h\x18\x04\x22" + delimited(b"\x3a" + delimited(spans + counts)))).samples
    assert sample.value == NativeHistogram(0, 2.0, 0.0, 0.0, 0.0, (((0, 2),), (0.5, 1.5)))


def test_limits_of_samples_lines_and_labels() -> None:
    body = page(family("h", "histogram", metric(histogram=BOTH)), family("g", "gauge", metric(gauge={})))
    with pytest.raises(Exceeded, match="sample_limit"):
        new(classic_too=True, limit=7).read(body)
    assert len(new(classic_too=True, limit=8).read(body).samples) == 3
    for hostile in (bytes(MOST_LINES + 1), delimited(b"\x0a\x01a" + b"\x22\x00" * (MOST_LINES + 1))):
        with pytest.raises(Exceeded, match="sample_limit"):
            new(limit=1 << 30).read(hostile)


def test_too_many_buckets_make_the_resolution_coarser_until_there_is_none_left() -> None:
    body = page(family("n", "histogram", metric(histogram=native(dict.fromkeys(range(1, 65), 1), schema=8))))
    (sample,) = new(natives=NativeLimits(16)).read(body).samples
    assert sample.value == NativeHistogram(6, 64.0, 1.5, 0.001, 0.0, (((1, 16),), (4.0,) * 16))
    (sample,) = new(natives=NativeLimits(0, finest_schema(2.0))).read(body).samples
    assert sample.value == NativeHistogram(0, 64.0, 1.5, 0.001, 0.0, (((1, 1),), (64.0,)))
    wide = page(family("n", "histogram", metric(histogram=native({-900: 1, 0: 2, 900: 1}, {1: 2}, schema=0))))
    mine = new(natives=NativeLimits(3))
    for _ in range(2):
        with pytest.raises(Exceeded, match="bucket_limit"):
            mine.read(wide)
        assert mine.reading.scraped == 1


@pytest.mark.parametrize(
    ("factor", "schema"), [(0.0, 8), (1.0, 8), (1.0027, 8), (1.01, 6), (1.1, 2), (2.0, 0), (4.0, -1), (1e9, -4)]
)
def test_the_finest_schema_of_a_factor(factor: float, schema: int) -> None:
    assert finest_schema(factor) == schema


@pytest.mark.timeout(20)
def test_hostile_pages_take_linear_time_and_bounded_memory() -> None:
    spans = b"".join([b"\x62\x04\x08\x02\x10\x01"] * 100_000)
    bodies = [
        delimited(b"\x0a\x01a\x22" + delimited(b"\x0a\x00" * 100_000)),
        delimited(b"\x0a\x01a\x18\x04\x22" + delimited(b"\x3a" + delimited(spans))),
        delimited(b"\x0a\x01a\x18\x04\x22" + delimited(b"\x3a" + delimited(b"\x6a" + delimited(b"\x02" * 600_000)))),
        delimited(b"\x7b" * 600_000 + b"\x7c" * 600_000),
        delimited(b"\x78\x01" * 600_000),
    ]
    for body in bodies:
        tracemalloc.start()
        with pytest.raises((Malformed, Exceeded)):
            new().read(body)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 150 << 20


def test_series_that_change_each_round_leave_nothing_behind() -> None:
    registry = Registry()
    mine = MessagePage(
        Reader(NativeLimits(), classic_too=True), Labeller({}, Relabeller(()), Limits(), honor=False), registry, 10_000
    )

    def rounds(start: int) -> None:
        for at in range(start, start + 3):
            metrics = [metric({"l": f"{at}-{i}"}, gauge={"value": 1.0}) for i in range(300)]
            histograms = [metric({"l": f"{at}-{i}"}, histogram=BOTH) for i in range(50)]
            mine.read(page(family(f"m{at}", "gauge", *metrics), family(f"h{at}", "histogram", *histograms)))
            registry.prune(mine.families)

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
    assert after < before + 4_000_000, "12 rounds of 700 series, kept, would be 8 MB"
