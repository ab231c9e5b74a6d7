"""Prometheus remote write 2.0: `io.prometheus.write.v2.Request`.

Source: https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/ (2.0-rc.4). All strings of a request stand once
in its symbol table and series refer to them by number, so encoded labels belong to a request, not to a series set.
Requests that mix the same sets are the rule: a plan keeps their symbols and labels ready.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from agent.model import Exemplar, Kind, MetricBatch, SeriesSet
from exporters.wire.columns import Layout, Prefixes, Run, all_slow, encode_run, group, layout, pack_values
from exporters.wire.flat import Flattener
from exporters.wire.lines import Key, Line, encode_samples, gather
from exporters.wire.points import Labels, Shapes
from exporters.wire.protobuf import double, integer, message, text, varint
from exporters.wire.remote_write_1 import TYPES, Encoded, counted, sorted_labels

_TIMESERIES_TAG: Final = 0x2A
_PLANS_KEPT: Final = 4


class Symbols(dict[str, bytes]):
    """A symbol table: strings to their encoded numbers, given out in the order of asking; number 0 is the empty
    string. A second table can go on where another (`below`) ends.
    """

    def __init__(self, below: Mapping[str, bytes] | None = None) -> None:
        super().__init__()
        self._below: Mapping[str, bytes] = {} if below is None else below
        self.metadata = _Metadata(self)
        if below is None:
            self[""] = varint(0)

    def __missing__(self, symbol: str) -> bytes:
        if (known := self._below.get(symbol)) is not None:
            return known
        number = self[symbol] = varint(len(self._below) + len(self))
        return number

    def encode(self) -> bytes:
        """The strings as field 4 of a Request."""
        return b"".join([text(4, symbol) for symbol in self])


class _Metadata(dict[tuple[Kind, str, str], bytes]):
    """Encoded metadata (field 5 of a TimeSeries) by type, help and unit."""

    def __init__(self, symbols: Symbols) -> None:
        super().__init__()
        self._symbols = symbols

    def __missing__(self, facts: tuple[Kind, str, str]) -> bytes:
        kind, help_text, unit = facts
        refs = b"\x18" + self._symbols[help_text] + b"\x20" + self._symbols[unit]
        encoded = self[facts] = message(5, integer(1, TYPES[kind]) + refs)
        return encoded


class Shaped(Struct, frozen=True):
    """A run with its layout and its packed values; without those all of it takes the slow path."""

    run: Run
    layout: Layout
    columns: list[bytes] | None


class Plan(Struct, frozen=True):
    """What stays the same between requests of the same series sets.

    `sets` keeps the sets alive, so that the identities in the plan's key cannot be used again. `symbols` is kept
    only where a slow part of the request has to look strings up.
    """

    sets: list[SeriesSet]
    table: bytes
    prefixes: list[list[Prefixes]]
    symbols: Symbols


class RemoteWrite2:
    """The encoder of version 2.0, with the plans of its last few mixtures of series sets."""

    def __init__(self) -> None:
        self._shapes = Shapes()
        self._flattened = Flattener(self._shapes)
        self._plans: OrderedDict[tuple[tuple[int, bool], ...], Plan] = OrderedDict()

    def encode(self, batches: Sequence[MetricBatch]) -> Encoded:
        """A Request of the batches, oldest first."""
        shaped = [_shape(run) for run in group(map(self._flattened, batches))]
        plan = self._plan(shaped)
        symbols = Symbols(below=plan.symbols)
        pieces: list[bytes] = []
        samples = 0
        lines: list[Line] = []
        for one, prefixes in zip(shaped, plan.prefixes, strict=True):
            if one.columns:
                pieces += encode_run(one.run, one.layout, one.columns, prefixes)
                samples += len(one.layout.plain) * len(one.columns)
            lines += self._encode_slow(one, symbols, pieces)
        return counted(b"".join((plan.table, symbols.encode(), *pieces)), samples, lines)

    def _encode_slow(self, one: Shaped, symbols: Symbols, pieces: list[bytes]) -> list[Line]:
        if not one.layout.slow:
            return []
        lines = gather(one.run, one.layout.slow, self._shapes)
        pieces += [_encode_line(key, line, symbols) for key, line in lines.items()]
        return list(lines.values())

    def _plan(self, shaped: list[Shaped]) -> Plan:
        key = tuple((id(one.run.series), one.columns is None) for one in shaped)
        if (found := self._plans.get(key)) is not None:
            self._plans.move_to_end(key)
            return found
        plan = self._plans[key] = _build_plan(shaped)
        if len(self._plans) > _PLANS_KEPT:
            self._plans.popitem(last=False)
        return plan


def _shape(run: Run) -> Shaped:
    shape = layout(run.series, starts=True)
    columns = pack_values(run, shape)
    return Shaped(run, all_slow(run.series) if columns is None else shape, columns)


def _build_plan(shaped: list[Shaped]) -> Plan:
    symbols = Symbols()
    prefixes = [_build_prefixes(one, symbols) for one in shaped]
    table = symbols.encode()
    slow = any(one.layout.slow for one in shaped)
    return Plan([one.run.series for one in shaped], table, prefixes, symbols if slow else Symbols())


def _build_prefixes(one: Shaped, symbols: Symbols) -> list[Prefixes]:
    found = []
    for part in one.layout.parts:
        positions = one.layout.plain[part.first : part.last]
        chosen = [one.run.series.series[at] for at in positions]
        labels = [_encode_refs(s.name, s.labels, symbols) + symbols.metadata[s.kind, s.help, s.unit] for s in chosen]
        found.append(Prefixes(_TIMESERIES_TAG, labels))
    return found


def _encode_refs(name: str, labels: Labels, symbols: Symbols) -> bytes:
    return message(1, _refs(sorted_labels(name, labels), symbols))


def _refs(labels: Sequence[tuple[str, str]], symbols: Symbols) -> bytes:
    return b"".join([symbols[symbol] for pair in labels for symbol in pair])


def _encode_line(key: Key, line: Line, symbols: Symbols) -> bytes:
    histograms = [message(3, histogram) for histogram in line.histograms]
    exemplars = [message(4, _encode_exemplar(exemplar, time_ms, symbols)) for exemplar, time_ms in line.exemplars]
    refs = _encode_refs(key.name, key.series.labels + key.more, symbols)
    metadata = symbols.metadata[key.series.kind, key.series.help, key.series.unit]
    return message(5, b"".join((refs, encode_samples(line), *histograms, *exemplars, metadata)))


def _encode_exemplar(exemplar: Exemplar, time_ms: int, symbols: Symbols) -> bytes:
    refs = message(1, _refs(sorted(exemplar.labels), symbols))
    return refs + double(2, exemplar.value) + integer(3, time_ms)
