"""Pages in protobuf, made by the official classes."""

from __future__ import annotations

import math
from typing import Any, Final

from tests.decoding import generated

PB: Final = generated("client_metrics")
KINDS: Final = {
    "counter": 0,
    "gauge": 1,
    "summary": 2,
    "unknown": 3,
    "histogram": 4,
    "gaugehistogram": 5,
}
PROTOBUF_TYPE: Final = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=underscores"
)
CREATED_MS: Final = 1_700_000_000_123


def length(size: int) -> bytes:
    """A length as a varint."""
    return bytes((size,)) if size < 0x80 else bytes((size & 0x7F | 0x80,)) + length(size >> 7)


def page(*families: Any) -> bytes:
    """The families, each after its length."""
    return b"".join([delimited(one.SerializeToString()) for one in families])


def delimited(data: bytes) -> bytes:
    return length(len(data)) + data


def family(name: str, kind: str, *metrics: Any, help: str = "", unit: str | None = None) -> Any:
    found = PB.MetricFamily(name=name, help=help or f"About {name}.", type=KINDS[kind], metric=metrics)
    if unit is not None:
        found.unit = unit
    return found


def metric(labels: dict[str, str] | None = None, time_ms: int | None = None, **value: Any) -> Any:
    """`metric({"a": "b"}, counter={"value": 1.0})`."""
    pairs = [PB.LabelPair(name=name, value=text) for name, text in (labels or {}).items()]
    return PB.Metric(label=pairs, timestamp_ms=time_ms, **value)


def stamp(time_ms: int) -> dict[str, int]:
    """A Timestamp."""
    return {"seconds": time_ms // 1000, "nanos": time_ms % 1000 * 1_000_000}


def exemplar(value: float, time_ms: int | None = None, **labels: str) -> dict[str, Any]:
    pairs = [{"name": name, "value": text} for name, text in labels.items()]
    return {"label": pairs, "value": value, "timestamp": None if time_ms is None else stamp(time_ms)}


def buckets(counts: dict[float, float]) -> list[dict[str, float]]:
    """Classic buckets, cumulative, by their bound; those that are no integers as floats."""
    return [
        {"upper_bound": bound, "cumulative_count": count}
        if isinstance(count, int)
        else {"upper_bound": bound, "cumulative_count_float": count}
        for bound, count in counts.items()
    ]


def side(sign: str, found: dict[int, float]) -> dict[str, Any]:
    """Spans and deltas, or counts if they are no integers, of buckets by their index."""
    spans: list[dict[str, int]] = []
    end = 0
    for index in sorted(found):
        if spans and index == end:
            spans[-1]["length"] += 1
        else:
            spans.append({"offset": index - end, "length": 1})
        end = index + 1
    counts = [found[index] for index in sorted(found)]
    if all(isinstance(count, int) for count in counts):
        deltas = [count - last for count, last in zip(counts, [0, *counts][:-1], strict=True)]
        return {f"{sign}_span": spans, f"{sign}_delta": deltas}
    return {f"{sign}_span": spans, f"{sign}_count": counts}


def native(
    positive: dict[int, float],
    negative: dict[int, float] | None = None,
    *,
    schema: int = 3,
    zero: float = 0,
    threshold: float = 0.001,
    sum: float = 1.5,
    **more: Any,
) -> dict[str, Any]:
    """The Histogram of buckets by their index."""
    negative = negative or {}
    count = math.fsum([*positive.values(), *negative.values(), zero])
    whole = all(isinstance(one, int) for one in (*positive.values(), *negative.values(), zero))
    counts = (
        {"sample_count": int(count), "zero_count": zero}
        if whole
        else {"sample_count_float": count, "zero_count_float": float(zero)}
    )
    sides = {**side("positive", positive), **side("negative", negative)}
    return {"schema": schema, "zero_threshold": threshold, "sample_sum": sum, **counts, **sides, **more}


BOTH: Final = native({-3: 2, -2: 1, 4: 5}, {1: 1}, zero=3, bucket=buckets({0.5: 4, 1.0: 6, 4.0: 12}))
EVERYTHING: Final = [
    family("level_of_all", "gauge", metric(gauge={"value": -1.5}), metric({"a": "é", "empty": ""}, gauge={})),
    family(
        "requests_total",
        "counter",
        metric({"code": "200"}, counter={"value": 5.0, "created_timestamp": stamp(CREATED_MS)}),
        metric({"code": "500"}, counter={"value": 2.0, "exemplar": exemplar(1.0, trace_id="x")}),
    ),
    family("odd", "unknown", metric(untyped={"value": math.inf}), metric({"x": "y"}, untyped={"value": math.nan})),
    family("took_seconds", "gauge", metric(gauge={"value": 3.0}), unit="seconds"),
    family("work_seconds_total", "counter", metric(counter={"value": 3.0}), unit="seconds"),
    family(
        "rpc_seconds",
        "summary",
        metric(
            summary={
                "sample_count": 10,
                "sample_sum": 2.5,
                "quantile": [{"quantile": 0.5, "value": 0.1}, {"quantile": 1.0, "value": math.nan}],
                "created_timestamp": stamp(CREATED_MS),
            }
        ),
        metric({"empty": "1"}, summary={"sample_count": 1}),
    ),
    family(
        "latency_seconds",
        "histogram",
        metric(
            {"path": "/"},
            histogram={
                "sample_count": 17,
                "sample_sum": 3.5,
                "bucket": [
                    {"upper_bound": 0.1, "cumulative_count": 8, "exemplar": exemplar(0.05, trace_id="one")},
                    {"upper_bound": 1.0, "cumulative_count": 11},
                    {"upper_bound": 1e6, "cumulative_count": 300, "exemplar": exemplar(9.5, CREATED_MS, a="b", c="")},
                ],
                "created_timestamp": stamp(CREATED_MS),
            },
        ),
        metric({"path": "/x"}, histogram={"sample_count": 3, "bucket": buckets({0.5: 1, math.inf: 3})}),
        metric({"path": "/none"}, histogram={"sample_count": 0}),
    ),
    family(
        "broken_counts",
        "histogram",
        metric(histogram={"sample_count_float": 2.5, "sample_sum": 1.0, "bucket": buckets({0.1: 0.5, 1.0: 1.5})}),
    ),
    family(
        "queue",
        "gaugehistogram",
        metric(histogram={"sample_count": 4, "sample_sum": 9.0, "bucket": buckets({1.0: 3, 2.0: 4})}),
    ),
    family("empty", "gauge"),
]
NATIVES: Final = [
    family(
        "n_seconds",
        "histogram",
        metric({"path": "/a"}, histogram={**native({-3: 2, -2: 1, 4: 5}, {1: 1, 9: 2}, zero=3)}),
        metric({"path": "/both"}, histogram={**BOTH, "created_timestamp": stamp(CREATED_MS)}),
        metric({"path": "/negative"}, histogram=native({}, {0: 7}, schema=-4, sum=-9.0)),
        metric({"path": "/fine"}, histogram=native(dict.fromkeys(range(-40, 40), 1), schema=8)),
        metric({"path": "/none"}, histogram={"positive_span": [{"offset": 0, "length": 0}]}),
        metric({"path": "/zero"}, histogram=native({}, zero=4, threshold=0.5)),
        metric({"path": "/holes"}, histogram=native({0: 1, 1: 0, 2: 0, 3: 2, 4: 0}, schema=0)),
        metric({"path": "/nan"}, histogram={**native({0: 1, 5: 2}), "sample_sum": math.nan, "sample_count": 9}),
    ),
    family(
        "n_float",
        "histogram",
        metric(histogram=native({0: 0.5, 1: 2.25}, {3: 1.5}, zero=0.25)),
        metric({"a": "gap"}, histogram=native({0: 0.5, 7: 0.0, 8: 2.25, 30: 1.0}, schema=2)),
    ),
    family(
        "n_gauge",
        "gaugehistogram",
        metric(histogram=native({0: 4, 1: 2})),
        metric({"a": "f"}, histogram=native({0: 0.5})),
    ),
    family(
        "n_exemplars",
        "histogram",
        metric(
            {"own": "yes"},
            histogram=native(
                {0: 4, 1: 2},
                exemplars=[
                    exemplar(1.5, CREATED_MS + 2000, trace_id="late"),
                    exemplar(0.7, CREATED_MS, trace_id="early"),
                    exemplar(0.7, trace_id="without a time"),
                ],
            ),
        ),
        metric(
            {"own": "no"},
            histogram=native(
                {0: 4, 1: 2},
                bucket=[
                    {"upper_bound": 1.0, "cumulative_count": 4, "exemplar": exemplar(0.6, CREATED_MS, trace_id="b")},
                    {"upper_bound": 2.0, "cumulative_count": 6, "exemplar": exemplar(1.6, trace_id="c")},
                ],
            ),
        ),
    ),
]


def one_bad(**histogram: Any) -> bytes:
    return page(family("h", "histogram", metric(histogram={"zero_threshold": 0.5, **histogram})))


WELL: Final = metric({"a": "b"}, counter={"value": 1.0})
REFUSED: Final = {
    "no length": b"\x80",
    "a length of six bytes": b"\x80\x80\x80\x80\x80\x00",
    "longer than the page": b"\x05\x0a\x01a",
    "a length bomb": b"\xff\xff\xff\xff\x0f",
    "a name that ends early": delimited(b"\x0a\x05ab"),
    "a string of 2**63 bytes": delimited(b"\x0a" + b"\xff" * 9 + b"\x01"),
    "a tag of zero": delimited(b"\x00\x01"),
    "the wire type six": delimited(b"\x0e\x01"),
    "an end without a group": delimited(b"\x7c"),
    "a group without an end": delimited(b"\x7b\x08\x01"),
    "nothing but groups": delimited(b"\x7b" * 100_000),
    "a number of eleven bytes": delimited(b"\x78" + b"\xff" * 10 + b"\x01"),
    "a name that is a number": delimited(b"\x08\x05"),
    "no name": page(family("", "counter", WELL)),
    "a name that is not UTF-8": delimited(b"\x0a\x01\xff" + b"\x22" + delimited(WELL.SerializeToString())),
    "help that is not UTF-8": delimited(b"\x0a\x01a\x12\x01\xff" + b"\x22" + delimited(WELL.SerializeToString())),
    "a type that there is not": delimited(b"\x0a\x01a\x18\x06" + b"\x22" + delimited(WELL.SerializeToString())),
    "a label that is not UTF-8": delimited(b"\x0a\x01a\x22\x08\x0a\x06\x0a\x01b\x12\x01\xff"),
    "a label without a name": page(family("a", "gauge", metric({"": "x"}, gauge={}))),
    "a label that is the name": page(family("a", "gauge", metric({"__name__": "x"}, gauge={}))),
    "a bound besides the bucket's": page(family("a", "histogram", metric({"le": "1"}, histogram={}))),
    "a value cut off": delimited(b"\x0a\x01a\x18\x01\x22\x06\x12\x04\x09\x00\x00\x00"),
    "another value cut off": delimited(b"\x0a\x01a\x18\x01\x22\x06\x1a\x04\x09\x00\x00\x00"),
    "a unit that is no suffix": page(family("a_total", "counter", WELL, unit="seconds")),
    "fewer buckets than spans": one_bad(positive_span=[{"offset": 0, "length": 2}], positive_delta=[1]),
    "billions of buckets": one_bad(positive_span=[{"offset": 0, "length": (1 << 32) - 1}] * 1000),
    "buckets without spans": one_bad(positive_delta=[1], sample_count=1),
    "a bucket below zero": one_bad(**side("positive", {0: 2, 1: -1}), sample_count=1),
    "a count that is another": one_bad(**side("positive", {0: 2, 1: 1}), sample_count=4),
    "a count that is less": one_bad(**side("positive", {0: 2}), sample_count=1, sample_sum=math.nan),
    "a span that goes back": one_bad(
        positive_span=[{"offset": 5, "length": 1}, {"offset": -3, "length": 1}], positive_delta=[1, 0], sample_count=2
    ),
    "a schema too fine": one_bad(**native({0: 1}, schema=9, threshold=0.5)),
    "a schema too coarse": one_bad(**native({0: 1}, schema=-5, threshold=0.5)),
    "custom bounds": one_bad(schema=-53),
}
FATAL: Final = ("a schema too fine", "a schema too coarse", "custom bounds")  # to who asks Prometheus 3.5 for them
