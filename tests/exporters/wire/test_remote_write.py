"""Both versions of remote write: what goes in comes out of the official decoder, bit by bit."""

from __future__ import annotations

import contextlib
import struct
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.model import (
    STALE,
    STALE_BYTES,
    Exemplar,
    Extra,
    Histogram,
    MetricBatch,
    Series,
    SeriesSet,
    Summary,
)
from exporters.wire.remote_write_1 import RemoteWrite1, families
from exporters.wire.remote_write_2 import RemoteWrite2

T0 = 1_760_000_000_000
STALE_BITS = 0x7FF0000000000002
STALE_FLOAT = struct.unpack("<d", STALE_BYTES)[0]
NORMAL_NAN = 0x7FF8000000000001

Decode = Callable[[bytes], list[Any]]
Samples = dict[tuple[tuple[str, str], ...], list[tuple[int, int, int]]]


def bits(value: object) -> int:
    if value is STALE:
        return STALE_BITS
    found = struct.unpack("<Q", struct.pack("<d", value))[0]
    return NORMAL_NAN if found == STALE_BITS else found


def gauge(name: str, *labels: tuple[str, str]) -> Series:
    return Series(name, "gauge", f"About {name}.", "", labels)


def batch(values: list[Any], *series: Series, time_ms: int = T0, extras: dict[int, Extra] | None = None) -> MetricBatch:
    return MetricBatch("c", time_ms, SeriesSet(series), values, extras)


def labels_of(series: Series) -> tuple[tuple[str, str], ...]:
    return tuple(sorted([("__name__", series.name), *series.labels], key=lambda pair: pair[0].encode()))


def expected(batches: list[MetricBatch], *, starts: bool) -> Samples:
    found: Samples = {}
    for one in batches:
        for at, (series, value) in enumerate(zip(one.series.series, one.values, strict=True)):
            extra = one.extras.get(at, Extra())
            start = (extra.start_ms or series.start_ms) if starts and series.kind == "counter" else 0
            found.setdefault(labels_of(series), []).append((bits(value), extra.time_ms or one.time_ms, start))
    return found


def decoded(wires: list[Any]) -> Samples:
    found: Samples = {}
    for wire in wires:
        found.setdefault(wire.labels, []).extend(wire.samples)
    return found


names = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", fullmatch=True)
label_names = st.from_regex(r"[A-Za-z][a-zA-Z0-9_]{0,8}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
label_sets = st.dictionaries(label_names, texts, max_size=4).map(lambda found: tuple(sorted(found.items())))
values = st.one_of(
    st.floats(),
    st.floats(allow_nan=True, width=16),
    st.integers(-(2**53), 2**53),
    st.sampled_from([STALE, STALE_FLOAT, -0.0, float("nan")]),
)
kinds = st.sampled_from(["counter", "gauge", "unknown", "info"])
starts = st.sampled_from([0, T0 - 5, T0 - 86_400_000, 77])


@st.composite
def series_sets(draw: st.DrawFn) -> SeriesSet:
    keys = draw(st.lists(st.tuples(names, label_sets), min_size=0, max_size=6, unique=True))
    return SeriesSet([Series(name, draw(kinds), draw(texts), "", labels, draw(starts)) for name, labels in keys])


@st.composite
def streams(draw: st.DrawFn, *, odd: bool = False) -> list[MetricBatch]:
    """Batches of two collectors with disjoint series, whose sets change now and then, in time order.

    `odd` mixes in what only the slow path can take: short timestamps and samples with a time of their own. Values that
    are all numbers are an array at times, as they come from the spool.
    """
    sets = {
        collector: [
            SeriesSet(
                [Series(f"{collector}_{s.name}", s.kind, s.help, s.unit, s.labels, s.start_ms) for s in one.series]
            )
            for one in draw(st.lists(series_sets(), min_size=1, max_size=2))
        ]
        for collector in ("a", "b")
    }
    found = []
    for tick in range(draw(st.integers(1, 6))):
        collector = draw(st.sampled_from(["a", "b"]))
        one = draw(st.sampled_from(sets[collector]))
        row: Sequence[Any] = draw(st.lists(values, min_size=len(one), max_size=len(one)))
        if draw(st.booleans()):
            with contextlib.suppress(TypeError, OverflowError):
                row = array("d", row)
        time_ms = tick if odd and draw(st.booleans()) else T0 + tick * 15_000
        extras = {0: Extra(time_ms=T0 + tick, start_ms=T0 - 1)} if odd and len(one) and draw(st.booleans()) else None
        found.append(MetricBatch(collector, time_ms, one, row, extras))
    return found


relaxed = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=60
)


@relaxed
@given(stream=streams())
def test_version_1_decodes_to_every_sample_bit_by_bit(stream: list[MetricBatch], decode_1: Decode) -> None:
    encoded = RemoteWrite1().encode(stream)
    assert decoded(decode_1(encoded.body)) == expected(stream, starts=False)
    assert encoded.samples == sum(map(len, stream))


@relaxed
@given(stream=streams())
def test_version_2_decodes_to_every_sample_bit_by_bit(stream: list[MetricBatch], decode_2: Decode) -> None:
    encoded = RemoteWrite2().encode(stream)
    assert decoded(decode_2(encoded.body)) == expected(stream, starts=True)
    assert encoded.samples == sum(map(len, stream))


@relaxed
@given(stream=streams(odd=True))
def test_what_only_the_slow_path_takes_arrives_as_well(
    stream: list[MetricBatch], decode_1: Decode, decode_2: Decode
) -> None:
    assert decoded(decode_1(RemoteWrite1().encode(stream).body)) == expected(stream, starts=False)
    assert decoded(decode_2(RemoteWrite2().encode(stream).body)) == expected(stream, starts=True)


@relaxed
@given(stream=streams())
def test_an_encoder_that_worked_before_gives_the_same_bytes(stream: list[MetricBatch], decode_2: Decode) -> None:
    encoder = RemoteWrite2()
    assert encoder.encode(stream) == encoder.encode(stream)
    assert encoder.encode(stream[:1]) == RemoteWrite2().encode(stream[:1])
    assert RemoteWrite1().encode(stream) == RemoteWrite1().encode(stream)


@relaxed
@given(stream=streams())
def test_fast_and_slow_path_agree(stream: list[MetricBatch], decode_1: Decode, decode_2: Decode) -> None:
    forced = [MetricBatch(b.collector, b.time_ms, b.series, b.values, {0: Extra()} if len(b) else None) for b in stream]
    assert decoded(decode_1(RemoteWrite1().encode(forced).body)) == decoded(
        decode_1(RemoteWrite1().encode(stream).body)
    )
    assert decoded(decode_2(RemoteWrite2().encode(forced).body)) == decoded(
        decode_2(RemoteWrite2().encode(stream).body)
    )


def test_upper_case_labels_stand_before_the_name(decode_1: Decode, decode_2: Decode) -> None:
    one = batch([1.0], gauge("m", ("A", "1"), ("_x", "2"), ("a", "3")))
    for wires in (decode_1(RemoteWrite1().encode([one]).body), decode_2(RemoteWrite2().encode([one]).body)):
        assert [name for name, _ in wires[0].labels] == ["A", "__name__", "_x", "a"]


def test_empty_label_values_are_left_out(decode_1: Decode, decode_2: Decode) -> None:
    one = batch([1.0], gauge("m", ("a", ""), ("b", "x")))
    for wires in (decode_1(RemoteWrite1().encode([one]).body), decode_2(RemoteWrite2().encode([one]).body)):
        assert wires[0].labels == (("__name__", "m"), ("b", "x"))


def test_long_names_and_values_need_longer_lengths(decode_1: Decode, decode_2: Decode) -> None:
    one = batch([1.0], gauge("m" * 300, ("long", "x" * 10_000), ("umlaut", "ü" * 70)))
    want = (("__name__", "m" * 300), ("long", "x" * 10_000), ("umlaut", "ü" * 70))
    for wires in (decode_1(RemoteWrite1().encode([one]).body), decode_2(RemoteWrite2().encode([one]).body)):
        assert wires[0].labels == want


def test_lone_surrogates_do_not_stop_a_request(decode_1: Decode, decode_2: Decode) -> None:
    one = batch([1.0], gauge("m", ("path", "caf\udce9")))
    for wires in (decode_1(RemoteWrite1().encode([one]).body), decode_2(RemoteWrite2().encode([one]).body)):
        assert wires[0].labels == (("__name__", "m"), ("path", "caf?"))


def test_a_series_that_lives_on_in_a_changed_set_stays_in_order(decode_1: Decode, decode_2: Decode) -> None:
    kept = gauge("kept")
    first, second = SeriesSet([kept, gauge("gone")]), SeriesSet([kept])
    stream = [
        MetricBatch("c", T0, first, [1.0, 1.0]),
        MetricBatch("c", T0 + 1, second, [2.0]),
        MetricBatch("c", T0 + 2, first, [3.0, 3.0]),
    ]
    for wires in (decode_1(RemoteWrite1().encode(stream).body), decode_2(RemoteWrite2().encode(stream).body)):
        assert [time for _, time, _ in decoded(wires)[(("__name__", "kept"),)]] == [T0, T0 + 1, T0 + 2]


def test_batches_of_one_set_share_their_labels(decode_1: Decode) -> None:
    one = SeriesSet([gauge("a"), gauge("b")])
    stream = [MetricBatch("c", T0 + at, one, [1.0, 2.0]) for at in range(600)]
    assert [len(wire.samples) for wire in decode_1(RemoteWrite1().encode(stream).body)] == [600, 600]


def test_many_series_are_cut_at_the_right_places(decode_2: Decode) -> None:
    one = SeriesSet([gauge("m", ("id", str(at))) for at in range(600)])
    wires = decode_2(RemoteWrite2().encode([MetricBatch("c", T0, one, [float(at) for at in range(600)])]).body)
    assert {dict(wire.labels)["id"]: wire.samples[0][0] for wire in wires} == {
        str(at): bits(float(at)) for at in range(600)
    }


def test_metadata_of_version_2_is_in_every_series(decode_2: Decode) -> None:
    wires = decode_2(
        RemoteWrite2().encode([batch([1.0, 2.0], Series("a", "counter", "Help a.", "bytes", ()), gauge("b"))]).body
    )
    assert {dict(wire.labels)["__name__"]: wire.metadata for wire in wires} == {
        "a": (1, "Help a.", "bytes"),
        "b": (2, "About b.", ""),
    }


def test_metadata_of_version_1_stands_beside_the_series(proto_1: Any) -> None:
    one = batch([1.0, 2.0], Series("a", "counter", "Help a.", "bytes", ()), gauge("b"))
    told = families(one.series)
    request = proto_1.WriteRequest.FromString(RemoteWrite1().encode([one], told.values()).body)
    found = {m.metric_family_name: (m.type, m.help, m.unit) for m in request.metadata}
    assert found == {"a": (1, "Help a.", "bytes"), "b": (2, "About b.", "")}


def test_a_classic_histogram_travels_as_buckets_sum_and_count(decode_1: Decode, decode_2: Decode) -> None:
    series = Series("h", "histogram", "H.", "", (("job", "x"),), start_ms=T0 - 9)
    value = Histogram((0.5, 1.0, 2_000_000.0), (1.0, 2.0, 3.0, 4.0), 7.5)
    one = batch([value, 5.0], series, gauge("g"))
    want = {
        (("__name__", "h_bucket"), ("job", "x"), ("le", "0.5")): 1.0,
        (("__name__", "h_bucket"), ("job", "x"), ("le", "1.0")): 2.0,
        (("__name__", "h_bucket"), ("job", "x"), ("le", "2e+06")): 3.0,
        (("__name__", "h_bucket"), ("job", "x"), ("le", "+Inf")): 4.0,
        (("__name__", "h_count"), ("job", "x")): 4.0,
        (("__name__", "h_sum"), ("job", "x")): 7.5,
        (("__name__", "g"),): 5.0,
    }
    for encoder, decode, start in ((RemoteWrite1(), decode_1, 0), (RemoteWrite2(), decode_2, T0 - 9)):
        encoded = encoder.encode([one])
        found = decoded(decode(encoded.body))
        assert encoded.samples == 7
        assert found == {key: [(bits(number), T0, 0 if key[0][1] == "g" else start)] for key, number in want.items()}


def test_a_summary_travels_as_quantiles_sum_and_count(decode_2: Decode) -> None:
    one = batch([Summary(10.0, 3.5, ((0.5, 0.1), (0.99, 0.4)))], Series("s", "summary", "S.", "", ()))
    assert decoded(decode_2(RemoteWrite2().encode([one]).body)) == {
        (("__name__", "s"), ("quantile", "0.5")): [(bits(0.1), T0, 0)],
        (("__name__", "s"), ("quantile", "0.99")): [(bits(0.4), T0, 0)],
        (("__name__", "s_count"),): [(bits(10.0), T0, 0)],
        (("__name__", "s_sum"),): [(bits(3.5), T0, 0)],
    }


def test_the_end_of_a_histogram_ends_all_its_series(decode_1: Decode, decode_2: Decode) -> None:
    series = Series("h", "histogram", "H.", "", ())
    value = Histogram((0.5,), (1.0, 2.0), 7.5)
    for encoder, decode in ((RemoteWrite1(), decode_1), (RemoteWrite2(), decode_2)):
        before = decoded(decode(encoder.encode([batch([value], series)]).body))
        after = decoded(decode(encoder.encode([batch([STALE], series, time_ms=T0 + 1)]).body))
        assert after.keys() == before.keys()
        assert {sample for samples in after.values() for sample in samples} == {(STALE_BITS, T0 + 1, 0)}


def test_the_end_of_a_summary_ends_all_its_series(decode_1: Decode) -> None:
    series = Series("s", "summary", "S.", "", ())
    encoder = RemoteWrite1()
    before = decode_1(encoder.encode([batch([Summary(1.0, 1.0, ((0.5, 1.0),))], series)]).body)
    after = decode_1(encoder.encode([batch([STALE], series)]).body)
    assert decoded(after).keys() == decoded(before).keys()


def test_the_end_of_a_histogram_never_seen_ends_what_every_histogram_has(decode_1: Decode) -> None:
    wires = decode_1(RemoteWrite1().encode([batch([STALE], Series("h", "histogram", "", "", ()))]).body)
    assert [dict(wire.labels) for wire in wires] == [
        {"__name__": "h_bucket", "le": "+Inf"},
        {"__name__": "h_count"},
        {"__name__": "h_sum"},
    ]


def test_exemplars_go_to_the_bucket_they_fell_into(decode_1: Decode, decode_2: Decode) -> None:
    series = Series("h", "histogram", "H.", "", ())
    exemplar = Exemplar((("trace_id", "abc"),), 0.7, T0 - 3)
    value = Histogram((0.5, 1.0), (1.0, 2.0, 2.0), 1.2)
    one = batch([value], series, extras={0: Extra(exemplars=(exemplar,))})
    for encoder, decode in ((RemoteWrite1(), decode_1), (RemoteWrite2(), decode_2)):
        encoded = encoder.encode([one])
        found = {dict(wire.labels).get("le"): wire.exemplars for wire in decode(encoded.body)}
        assert encoded.exemplars == 1
        assert found["1.0"] == [((("trace_id", "abc"),), 0.7, T0 - 3)]
        assert found["0.5"] == found["+Inf"] == []


def test_an_exemplar_without_a_time_takes_its_samples(decode_2: Decode) -> None:
    extra = Extra(exemplars=(Exemplar((("trace_id", "abc"),), 1.0),))
    (wire,) = decode_2(RemoteWrite2().encode([batch([1.0], gauge("c"), extras={0: extra})]).body)
    assert wire.exemplars == [((("trace_id", "abc"),), 1.0, T0)]


def test_histograms_do_not_push_plain_series_off_the_fast_path(decode_2: Decode) -> None:
    series = SeriesSet([gauge("a"), Series("h", "histogram", "", "", ()), gauge("b")])
    stream = [
        MetricBatch("c", T0 + at, series, [1.0, Histogram((), (1.0,), 1.0), 2.0], {1: Extra(start_ms=T0 - 1)})
        for at in range(3)
    ]
    found = decoded(decode_2(RemoteWrite2().encode(stream).body))
    assert found[(("__name__", "b"),)] == [(bits(2.0), T0 + at, 0) for at in range(3)]
    assert found[(("__name__", "h_count"),)] == [(bits(1.0), T0 + at, T0 - 1) for at in range(3)]


@pytest.mark.parametrize("encoder", [RemoteWrite1(), RemoteWrite2()])
def test_nothing_to_send_is_an_empty_message(encoder: RemoteWrite1 | RemoteWrite2) -> None:
    assert encoder.encode([]).samples == 0


def test_plans_and_headers_do_not_pile_up() -> None:
    encoder = RemoteWrite2()
    for at in range(20):
        one = SeriesSet([gauge("m", ("id", str(at)))])
        for count in range(1, 6):
            encoder.encode([MetricBatch("c", T0 + tick, one, [1.0]) for tick in range(count)])
    assert len(encoder._plans) <= 4
    assert all(len(p._heads) <= 2 for plan in encoder._plans.values() for part in plan.prefixes for p in part)
