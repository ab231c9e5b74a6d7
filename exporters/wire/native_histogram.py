"""Native histograms as remote write carries them: the same message in both versions.

Source: prometheus/prometheus prompb/types.proto and prompb/io/prometheus/write/v2/types.proto, message Histogram.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from agent.model import STALE_BYTES, NativeHistogram
from exporters.wire.protobuf import double, doubles, eight_bytes, integer, message, signed, varint, zigzags

_EXACT: Final = float(1 << 53)  # beyond it a float does not hold every integer, and counts are no longer exact
_RESET_HINT_GAUGE: Final = 3


def encode_native_histogram(value: NativeHistogram, time_ms: int, start_ms: int, *, gauge: bool) -> bytes:
    """A Histogram message; whole counts as integers with deltas between buckets, others as floats."""
    whole = _is_whole(value)
    return b"".join(
        (
            integer(1, int(value.count)) if whole else double(2, value.count),
            double(3, value.sum),
            signed(4, value.schema),
            double(5, value.zero_threshold),
            integer(6, int(value.zero_count)) if whole else double(7, value.zero_count),
            _encode_buckets(8, *value.negative, whole=whole),
            _encode_buckets(11, *value.positive, whole=whole),
            integer(14, _RESET_HINT_GAUGE) if gauge else b"",
            integer(15, time_ms),
            doubles(16, value.custom_values),
            integer(17, start_ms) if start_ms else b"",
        )
    )


def encode_native_end(time_ms: int) -> bytes:
    """The staleness marker of a native histogram: an empty one whose sum has the marker's bits."""
    return integer(1, 0) + eight_bytes(3, STALE_BYTES) + integer(15, time_ms)


def _is_whole(value: NativeHistogram) -> bool:
    counts = chain((value.count, value.zero_count), value.positive[1], value.negative[1])
    return all(0 <= count < _EXACT and float(count).is_integer() for count in counts)


def _encode_buckets(
    first_field: int, spans: Sequence[tuple[int, int]], counts: Sequence[float], *, whole: bool
) -> bytes:
    """Spans, then deltas (integers) or counts (floats); both signs have the same three fields in a row."""
    encoded = [message(first_field, signed(1, offset) + b"\x10" + varint(length)) for offset, length in spans]
    if whole:
        encoded.append(zigzags(first_field + 1, _deltas(counts)))
    else:
        encoded.append(doubles(first_field + 2, counts))
    return b"".join(encoded)


def _deltas(counts: Sequence[float]) -> Iterator[int]:
    before = 0
    for count in counts:
        yield int(count) - before
        before = int(count)
