"""Decoders of what we encode: the official protobuf runtime, with classes generated from our own field tables."""

from __future__ import annotations

import importlib.util
import struct
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from grpc_tools import protoc

PROTO = Path(__file__).parent / "data" / "proto"


class Wire(NamedTuple):
    """A decoded TimeSeries: labels in the order they came, samples as (bits of the value, time, start time)."""

    labels: tuple[tuple[str, str], ...]
    samples: list[tuple[int, int, int]]
    histograms: list[Any]
    exemplars: list[tuple[tuple[tuple[str, str], ...], float, int]]
    metadata: tuple[int, str, str] | None


@cache
def generated(name: str) -> Any:
    """The module of `tests/data/proto/<name>.proto`."""
    with tempfile.TemporaryDirectory() as folder:
        assert protoc.main(["protoc", f"-I{PROTO}", f"--python_out={folder}", f"{name}.proto"]) == 0
        spec = importlib.util.spec_from_file_location(f"{name}_pb2", Path(folder) / f"{name}_pb2.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def bits(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


def decode_1(body: bytes) -> list[Wire]:
    """The series of an uncompressed remote write 1.0 request."""
    request = generated("remote_write_1").WriteRequest.FromString(body)
    return [
        Wire(
            tuple((label.name, label.value) for label in one.labels),
            [(bits(sample.value), sample.timestamp, 0) for sample in one.samples],
            list(one.histograms),
            [(tuple((x.name, x.value) for x in e.labels), e.value, e.timestamp) for e in one.exemplars],
            None,
        )
        for one in request.timeseries
    ]


def decode_2(body: bytes) -> list[Wire]:
    """The series of an uncompressed remote write 2.0 request."""
    request = generated("remote_write_2").Request.FromString(body)
    symbols = request.symbols
    assert symbols[0] == ""
    assert len(set(symbols)) == len(symbols)

    def pairs(refs: list[int]) -> tuple[tuple[str, str], ...]:
        assert len(refs) % 2 == 0
        texts = [symbols[ref] for ref in refs]
        return tuple(zip(texts[::2], texts[1::2], strict=True))

    return [
        Wire(
            pairs(one.labels_refs),
            [(bits(sample.value), sample.timestamp, sample.start_timestamp) for sample in one.samples],
            list(one.histograms),
            [(pairs(e.labels_refs), e.value, e.timestamp) for e in one.exemplars],
            (one.metadata.type, symbols[one.metadata.help_ref], symbols[one.metadata.unit_ref]),
        )
        for one in request.timeseries
    ]
