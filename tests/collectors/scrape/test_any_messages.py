"""Pages in protobuf that hypothesis makes, with the official classes as the encoder and as the judge."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.model import Exemplar, Histogram, NativeHistogram, Sample, Summary
from collectors.scrape.grammar import Malformed
from collectors.scrape.labelling import Exceeded
from collectors.scrape.messages import Head, flat_series
from collectors.scrape.metric import Metric, Reader
from collectors.scrape.native import Limits, coarser
from tests.collectors.scrape.messages import EVERYTHING, KINDS, NATIVES, PB, family, native, page
from tests.collectors.scrape.test_messages import LATEST, by_series, new

relaxed = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=80)

texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=6)
names = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)
numbers = st.floats(allow_nan=False)
moments = st.integers(1, 4_000_000_000_000)
wholes = st.integers(0, 1 << 40)
label_sets = st.dictionaries(names, texts, max_size=3)


def stamps() -> Any:
    return moments.map(lambda ms: PB.Timestamp(seconds=ms // 1000, nanos=ms % 1000 * 1_000_000))


def pairs(labels: dict[str, str]) -> list[Any]:
    return [PB.LabelPair(name=name, value=text) for name, text in labels.items()]


exemplars = st.builds(
    lambda labels, value, timestamp: PB.Exemplar(label=pairs(labels), value=value, timestamp=timestamp),
    label_sets,
    numbers,
    st.none() | stamps(),
)
counters = st.builds(PB.Counter, value=numbers, exemplar=st.none() | exemplars, created_timestamp=st.none() | stamps())
bounds = st.lists(numbers.filter(math.isfinite), max_size=5, unique=True).map(sorted)


@st.composite
def summaries(draw: st.DrawFn) -> Any:
    quantiles = [PB.Quantile(quantile=one, value=draw(numbers)) for one in draw(bounds)]
    return PB.Summary(sample_count=draw(wholes), sample_sum=draw(numbers), quantile=quantiles)


@st.composite
def classics(draw: st.DrawFn) -> Any:
    found = [
        PB.Bucket(upper_bound=bound, cumulative_count=draw(wholes), exemplar=draw(st.none() | exemplars))
        for bound in [*draw(bounds), *draw(st.sampled_from([(), (math.inf,)]))]
    ]
    last = found[-1] if found and found[-1].upper_bound == math.inf else None
    count = last.cumulative_count if last is not None else draw(wholes)
    return PB.Histogram(
        sample_count=count, sample_sum=draw(numbers), bucket=found, created_timestamp=draw(st.none() | stamps())
    )


@st.composite
def natives(draw: st.DrawFn) -> Any:
    counts: Any = st.integers(0, 50) if draw(st.booleans()) else st.floats(0.5, 50.0)
    side = st.dictionaries(st.integers(-300, 300), counts, max_size=12)
    positive, negative, schema = draw(side), draw(side), draw(st.integers(-4, 8))
    return PB.Histogram(**native(positive, negative, schema=schema, zero=draw(counts), sum=draw(numbers)))


@st.composite
def metrics(draw: st.DrawFn, kind: str) -> Any:
    value = {
        "counter": lambda: {"counter": draw(counters)},
        "gauge": lambda: {"gauge": PB.Gauge(value=draw(numbers))},
        "unknown": lambda: {"untyped": PB.Untyped(value=draw(numbers))},
        "summary": lambda: {"summary": draw(summaries())},
        "histogram": lambda: {"histogram": draw(classics() | natives())},
    }[kind]()
    return value


@st.composite
def families(draw: st.DrawFn, name: str) -> Any:
    kind = draw(st.sampled_from(["counter", "gauge", "unknown", "summary", "histogram"]))
    sets = draw(
        st.lists(label_sets, max_size=4, unique_by=lambda one: frozenset(pair for pair in one.items() if pair[1]))
    )
    sets = [{f"l_{name}": text for name, text in one.items()} for one in sets]
    found = [PB.Metric(label=pairs(one), **draw(metrics(kind))) for one in sets]
    return family(name, kind, *found, help=draw(texts))


pages = st.lists(names.map("m_{}".format), max_size=4, unique=True).flatmap(
    lambda found: st.tuples(*[families(name) for name in found])
)


def expected(families: Any) -> dict[tuple[str, Any], Any]:
    """What is to be made of families, by series, worked out the long way round."""
    found = {}
    for one in families:
        for metric in one.metric:
            labels = tuple(sorted((pair.name, pair.value) for pair in metric.label if pair.value))
            value = _value(one.type, metric)
            star = "*" if type(value) is tuple else ""
            found[one.name + star, labels] = value
    return found


def _value(kind: int, metric: Any) -> Any:
    if kind == KINDS["counter"]:
        return metric.counter.value
    if kind == KINDS["gauge"]:
        return metric.gauge.value
    if kind == KINDS["unknown"]:
        return metric.untyped.value
    if kind == KINDS["summary"]:
        one = metric.summary
        return Summary(one.sample_count, one.sample_sum, tuple((q.quantile, q.value) for q in one.quantile))
    one = metric.histogram
    if one.positive_span or one.negative_span or one.zero_threshold or one.zero_count:
        return _native(one)
    finite = [bucket for bucket in one.bucket if bucket.upper_bound != math.inf]
    counts = (*[float(bucket.cumulative_count) for bucket in finite], float(one.sample_count))
    return Histogram(tuple(bucket.upper_bound for bucket in finite), counts, one.sample_sum)


def absolute(one: Any, sign: str) -> dict[int, float]:
    """The buckets of one sign by their index, without the empty."""
    counts = getattr(one, f"{sign}_count") or accumulate(getattr(one, f"{sign}_delta"))
    indexes = []
    at = 0
    for span in getattr(one, f"{sign}_span"):
        at += span.offset
        indexes += range(at, at + span.length)
        at += span.length
    return {index: float(count) for index, count in zip(indexes, counts, strict=True) if count}


def unfolded(side: tuple[tuple[tuple[int, int], ...], tuple[float, ...]]) -> dict[int, float]:
    """The same of a side of the model's."""
    indexes = []
    at = 0
    for number, (offset, length) in enumerate(side[0]):
        assert length > 0
        assert number == 0 or offset > 0
        indexes += range(at + offset, at + offset + length)
        at += offset + length
    return dict(zip(indexes, side[1], strict=True))


def _native(one: Any) -> tuple[Any, ...]:
    count, zero = one.sample_count_float or one.sample_count, one.zero_count_float or one.zero_count
    return one.schema, count, one.sample_sum, zero, absolute(one, "positive"), absolute(one, "negative")


def plain(sample: Sample) -> Any:
    """A sample's value in the form of `expected`."""
    value = sample.value
    if isinstance(value, NativeHistogram):
        sides = unfolded(value.positive), unfolded(value.negative)
        return value.schema, value.count, value.sum, value.zero_count, *sides
    return value


@relaxed
@given(pages, pages)
def test_what_the_official_classes_write_is_read(first: Any, second: Any) -> None:
    mine = new()
    for families in (first, second, first, first):
        found = by_series(mine.read(page(*families), LATEST).samples)
        assert {key: plain(sample) for key, sample in found.items()} == expected(families)


@relaxed
@given(st.lists(counters, min_size=1, max_size=5))
def test_start_times_and_exemplars(given_counters: Any) -> None:
    body = page(
        family(
            "c",
            "counter",
            *[PB.Metric(label=pairs({"l": str(at)}), counter=one) for at, one in enumerate(given_counters)],
        )
    )
    mine = new()
    for _ in range(2):
        found = by_series(mine.read(body, LATEST).samples)
        for at, one in enumerate(given_counters):
            extra = found["c", (("l", str(at)),)].extra
            stamp = one.created_timestamp
            assert (extra.start_ms if extra else 0) == stamp.seconds * 1000 + stamp.nanos // 1_000_000
            assert (extra.exemplars if extra else ()) == ((kept(one.exemplar),) if one.HasField("exemplar") else ())


def kept(one: Any) -> Exemplar:
    labels = tuple(sorted((pair.name, pair.value) for pair in one.label if pair.value))
    return Exemplar(labels, one.value, one.timestamp.seconds * 1000 + one.timestamp.nanos // 1_000_000)


def bound(index: int, schema: int) -> float:
    """The upper bound of a bucket, as a power of two."""
    return index * 2.0**-schema


@given(natives(), st.integers(0, 12))
def test_a_coarser_histogram_has_each_bucket_within_a_wider_one(one: Any, by: int) -> None:
    value = Reader(Limits(), classic_too=False).read(PB.Metric(histogram=one).SerializeToString(), 4).values[0]
    assert isinstance(value, NativeHistogram)
    wider = coarser(value, max(-4, value.schema - by))
    for fine, wide in ((value.positive, wider.positive), (value.negative, wider.negative)):
        wanted: dict[int, float] = {}
        for index, count in unfolded(fine).items():
            at = math.ceil(bound(index, value.schema) / 2.0**-wider.schema)
            wanted[at] = wanted.get(at, 0.0) + count
        assert unfolded(wide) == wanted


ANY = st.sampled_from([page(*EVERYTHING), page(*NATIVES), *[page(one) for one in (*EVERYTHING, *NATIVES)]])


@relaxed
@given(ANY, st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255), st.sampled_from("sid")), max_size=4))
def test_any_bytes_are_read_or_refused(body: bytes, changes: list[tuple[int, int, str]]) -> None:
    changed = bytearray(body)
    for place, byte, what in changes:
        at = place % (len(changed) or 1)
        if what == "d":
            del changed[at : at + 1]
        else:
            changed[at : at + (what == "s")] = bytes((byte,))
    mine = new(classic_too=True)
    mine.read(body)
    try:
        first = mine.read(bytes(changed), LATEST)
    except (Malformed, Exceeded):
        return
    assert repr(mine.read(bytes(changed), LATEST).samples) == repr(first.samples)


@settings(max_examples=500)
@given(st.binary(max_size=30), st.integers(0, 5))
def test_any_metric_is_read_or_refused(data: bytes, kind: int) -> None:
    try:
        found = Reader(Limits(), classic_too=True).read(data, kind)
        list(flat_series(Head("m", kind, "", ""), found.key))
    except (Malformed, Exceeded):
        return
    assert isinstance(found, Metric)
    if not any(byte & 7 in (3, 4) for byte in data):  # of groups Prometheus does not hold end against start
        PB.Metric.FromString(data)  # what we take, the official classes take as well
