"""What goes into the spool comes out of it to the bit, and damaged bytes are told, never believed."""

from __future__ import annotations

import contextlib
import math
import struct
from array import array
from collections.abc import Callable

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import codec
from agent.model import STALE, Exemplar, Extra, Histogram, MetricBatch, NativeHistogram, Series, SeriesSet, Summary

text = st.text(st.characters(codec="utf-8"), max_size=8)
number = st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, math.inf, -math.inf, 5e-324])
nan = st.integers(1, (1 << 51) - 1).map(lambda low: struct.unpack("<d", struct.pack("<Q", 0x7FF8 << 48 | low))[0])
count = st.integers(0, 1 << 60).map(float)
spans = st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 3)), max_size=2).map(tuple)
buckets = st.tuples(spans, st.lists(count, max_size=3).map(tuple))
histogram = st.builds(Histogram, st.lists(number, max_size=3).map(tuple), st.lists(count).map(tuple), number | nan)
native = st.builds(NativeHistogram, st.integers(-53, 8), count, number, number, count, buckets, buckets)
summary = st.builds(Summary, count, number | nan, st.lists(st.tuples(number, number | nan), max_size=3).map(tuple))
value = number | nan | st.just(STALE) | histogram | native | summary
exemplar = st.builds(Exemplar, st.lists(st.tuples(text, text), max_size=2).map(tuple), number | nan, st.integers(0, 9))
extra = st.builds(Extra, st.integers(0, 1 << 50), st.integers(0, 1 << 50), st.lists(exemplar, max_size=2).map(tuple))
kind = st.sampled_from(["counter", "gauge", "histogram", "unknown"])
series = st.builds(
    Series, text, kind, text, text, st.lists(st.tuples(text, text), max_size=3).map(tuple), st.integers(0, 1 << 50)
)


@st.composite
def rounds(draw: st.DrawFn) -> list[MetricBatch]:
    """Some batches of one series set."""
    shape = SeriesSet(draw(st.lists(series, min_size=1, max_size=5)))
    size = len(shape)
    return [
        MetricBatch(
            draw(text),
            draw(st.integers(0, 1 << 45)),
            shape,
            draw(st.lists(value, min_size=size, max_size=size)),
            draw(st.dictionaries(st.integers(0, size - 1), extra, max_size=2)),
        )
        for _ in range(draw(st.integers(1, 3)))
    ]


def bits(thing: object) -> object:
    """A thing with its floats as their bytes, so that -0.0 and every NaN are themselves."""
    if isinstance(thing, float):
        return struct.pack("<d", thing)
    if isinstance(thing, tuple | list | array):
        return [bits(one) for one in thing]
    if hasattr(thing, "__struct_fields__"):
        return [type(thing), *(bits(getattr(thing, name)) for name in thing.__struct_fields__)]
    return thing


def there_and_back(batch: MetricBatch) -> MetricBatch:
    stored = codec.encode(batch)
    return codec.decode_batch(stored.payload, batch.time_ms, codec.decode_series(stored.series))


@given(rounds())
def test_batches_come_back_to_the_bit(batches):
    for batch in batches:
        found = there_and_back(batch)
        assert bits(found.values) == bits(batch.values)
        assert {at: bits(one) for at, one in found.extras.items()} == {
            at: bits(one) for at, one in batch.extras.items()
        }
        assert (found.collector, found.time_ms) == (batch.collector, batch.time_ms)
        assert bits([*found.series.series]) == bits([*batch.series.series])


@given(st.lists(number | nan, min_size=1, max_size=6), st.lists(number | nan, min_size=1, max_size=6))
def test_a_later_round_comes_back_to_the_bit_whatever_the_first_was(first, second):
    size = min(len(first), len(second))
    shape = SeriesSet([Series(f"m{at}", "gauge", "", "", ()) for at in range(size)])
    there_and_back(MetricBatch("c", 1, shape, first[:size]))
    assert bits(there_and_back(MetricBatch("c", 2, shape, second[:size])).values) == bits(second[:size])


@pytest.mark.parametrize("bit", [0x7FF0000000000002, 0xFFF8000000000000, 0x7FF8000000000001])
def test_a_not_a_number_keeps_its_bits(bit):
    odd = struct.unpack("<d", struct.pack("<Q", bit))[0]
    shape = SeriesSet([Series("m", "gauge", "", "", ())])
    found = there_and_back(MetricBatch("c", 1, shape, [odd])).values
    assert struct.pack("<d", found[0]) == struct.pack("<Q", bit)


@pytest.mark.parametrize("whole", [1, True, 2**63, 2**70, -(2**70), 10**400])
def test_an_integer_becomes_the_float_that_it_is_on_the_wire(whole):
    shape = SeriesSet([Series("m", "gauge", "", "", ()), Series("n", "gauge", "", "", ())])
    for values in ([whole, 0.5], [whole, whole], [whole, STALE]):
        found = there_and_back(MetricBatch("c", 1, shape, values)).values[0]
        assert isinstance(found, float)
        assert found == (float(whole) if abs(whole) < 10**300 else math.inf)


def test_text_that_is_no_unicode_is_kept_readable():
    odd = "caf\udce9"
    extra = Extra(exemplars=(Exemplar(((odd, odd),), 1.0),))
    shape = SeriesSet([Series("m", "gauge", odd, "", (("path", odd),))])
    found = there_and_back(MetricBatch(odd, 1, shape, [1.0], {0: extra}))
    assert found.series.series[0].labels == (("path", "caf?"),)
    assert found.extras[0].exemplars[0].labels == (("caf?", "caf?"),)


def test_a_kind_that_is_none_has_no_stored_form():
    with pytest.raises(ValueError, match="untyped"):
        codec.encode(MetricBatch("c", 1, SeriesSet([Series("m", "untyped", "", "", ())]), [1.0]))


def made(values: list[object]) -> MetricBatch:
    return MetricBatch("c", 1, SeriesSet([Series(f"m{at}", "gauge", "", "", ()) for at in range(len(values))]), values)


def test_one_set_has_one_identity_whichever_batch_comes_next():
    first = made([1.0])
    second = MetricBatch("c", 2, first.series, [2.0])
    assert codec.encode(first)[:2] == codec.encode(second)[:2]


def test_a_steady_round_costs_next_to_nothing():
    batch = made([at * 1.37 for at in range(1, 1001)])
    assert len(codec.encode(batch).payload) < 100


def test_what_is_decoded_can_be_encoded_again():
    batch = made([at * 1.37 for at in range(1, 11)])
    again = there_and_back(batch)
    assert isinstance(again.values, array)
    assert codec.encode(again)[:2] == codec.encode(batch)[:2]
    assert bits(there_and_back(again).values) == bits(batch.values)


def test_a_counter_far_from_its_base_gets_a_new_one(monkeypatch):
    monkeypatch.setattr(codec, "REBASE", 3)
    batch = made([1e9 + at for at in range(100)])
    digests = set()
    for step in range(7):
        batch.values = [value + 1000.0 * step for value in batch.values]
        stored = codec.encode(batch)
        digests.add(stored.digest)
        assert codec.decode_batch(stored.payload, 1, codec.decode_series(stored.series)).values.tolist() == batch.values
    assert len(digests) == 3


wide = st.sampled_from([0.0, -0.0, 0.3, 1.0, 2.0**52, 2.0**53, 2.0**53 + 2, -(2.0**52), 1e300, 5e-324, 0.1 + 0.2])


@given(st.lists(st.tuples(wide | number, wide | number), min_size=1, max_size=6))
def test_no_rounding_gets_by_whatever_base_and_value_are(pairs):
    batch = made([base for base, _ in pairs])
    codec.encode(batch)
    batch.values = [value for _, value in pairs]
    assert bits(there_and_back(batch).values) == bits(batch.values)


# -- damage -------------------------------------------------------------------------------------------------------


SHAPE = SeriesSet([Series("m", "gauge", "", "", (("a", "b"),)) for _ in range(3)])
GOOD = MetricBatch("c", 1, SHAPE, [1.0, STALE, Histogram((1.0,), (1.0, 2.0), 3.0)], {0: Extra(time_ms=5)})
_, SET_PAYLOAD, PAYLOAD = codec.encode(GOOD)


def only_corrupt(read: Callable[..., object], *arguments: object) -> None:
    with contextlib.suppress(codec.Corrupt):
        read(*arguments)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_corrupt_and_raise_nothing_else(data):
    only_corrupt(codec.decode_series, data)
    only_corrupt(codec.decode_batch, data, 1, codec.decode_series(SET_PAYLOAD))
    only_corrupt(codec.decode_series, codec.compress(data))
    only_corrupt(codec.decode_batch, codec.compress(data), 1, codec.decode_series(SET_PAYLOAD))


@given(st.integers(0, 10_000), st.integers(1, 255), st.booleans())
def test_flipped_bytes_are_corrupt_or_readable_and_raise_nothing_else(at, flip, within):
    for payload, read in (
        (SET_PAYLOAD, codec.decode_series),
        (PAYLOAD, lambda data: codec.decode_batch(data, 1, codec.decode_series(SET_PAYLOAD))),
    ):
        data = bytearray(codec.decompress(payload) if within else payload)
        data[at % len(data)] ^= flip
        only_corrupt(read, codec.compress(bytes(data)) if within else bytes(data))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


REST = st.fixed_dictionaries(
    {"collector": JSON}, optional=dict.fromkeys(("stale", "histograms", "natives", "summaries", "extras"), JSON)
)


@given(REST | JSON, st.fixed_dictionaries({"families": JSON, "series": JSON}) | JSON, st.binary(max_size=40))
def test_documents_of_the_wrong_form_are_corrupt_and_raise_nothing_else(one, other, doubles):
    batch = bytes(24) + msgspec.msgpack.encode(one)
    only_corrupt(codec.decode_batch, codec.compress(batch), 1, codec.decode_series(SET_PAYLOAD))
    only_corrupt(codec.decode_series, codec.compress(orjson.dumps(other) + b"\n" + doubles))


@pytest.mark.parametrize(
    "plain",
    [
        b'{"families":[["m","gauge","",""]],"series":[[1,0,[]]]}\n' + bytes(8),
        b'{"families":[["m","gauge","",""]],"series":[[-1,0,[]]]}\n' + bytes(8),
        b'{"families":[["m","gauge","",""]],"series":[[0,0,["odd"]]]}\n' + bytes(8),
        b'{"families":[["m","gauge","",""]],"series":[[0,0,[]]]}',
        b'{"families":[["m","gauge","",""]],"series":[[0,0,[]]]}\n' + bytes(7),
        b'{"families":[["m","gauge","",""]],"series":[[0,0,[]]]}\n' + bytes(16),
        b'{"families":[["m","no kind","",""]],"series":[[0,0,[]]]}\n' + bytes(8),
        b"[" * 100_000,
    ],
)
def test_a_series_set_that_makes_no_sense_is_corrupt(plain):
    with pytest.raises(codec.Corrupt):
        codec.decode_series(codec.compress(plain))


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        bytes(16),
        bytes(24),
        bytes(24) + b"not msgpack",
        bytes(16) + b"\x81\xa9collector\xa1c",
        bytes(32) + b"\x81\xa9collector\xa1c",
        bytes(24) + b"\x82\xa9collector\xa1c\xa5stale\x91\x07",
        bytes(24) + b"\x82\xa9collector\xa1c\xa5stale\x91\xff",
    ],
)
def test_a_batch_that_does_not_fit_its_series_set_is_corrupt(plain):
    with pytest.raises(codec.Corrupt):
        codec.decode_batch(codec.compress(plain), 1, codec.decode_series(SET_PAYLOAD))


def test_a_set_that_was_never_encoded_cannot_decode():
    with pytest.raises(codec.Corrupt):
        codec.decode_batch(PAYLOAD, 1, SeriesSet(SHAPE.series))
