"""The samples of a page: which value goes where, as columns, so that a round costs no work per series in Python."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any, Final, NamedTuple

from agent.model import Exemplar, Extra, Family, Histogram, NativeHistogram, Sample, Summary, Value
from collectors.scrape.families import Compound, Facts, Families, Group, Member, Registry, compound
from collectors.scrape.grammar import Rest
from collectors.scrape.labelling import Stored

Picker = Callable[[Sequence[Any]], Sequence[Any]]

Number = float | NativeHistogram
Starts = tuple[tuple[int, int], ...]  # places beyond the first, and the start time (Unix ms) there

_COMPOUND: Final = frozenset({"histogram", "gaugehistogram", "summary"})


class Flat(NamedTuple):
    """A page as flat series: by place, what is stored of each (None: a rule drops it) and its value.

    `natives` are the facts of native histograms by place; `created` says whether `_created` series are start times.
    """

    stored: Sequence[Stored | None]
    values: Sequence[Number]
    families: Families
    natives: Mapping[int, Facts]
    created: bool

    def series(self) -> Iterator[tuple[int, Stored]]:
        """Every series that is stored, once, with the place of its value."""
        seen: set[Stored] = set()
        for at, stored in enumerate(self.stored):
            if stored is not None and stored not in seen:
                seen.add(stored)
                yield at, stored


class Row(NamedTuple):
    """A sample to be: its family, its labels, the place of its value on the page (of a compound: of its count)."""

    family: Family
    labels: tuple[str, ...]
    at: int
    group: Group
    compound: Compound | None = None


class Rows:
    """The rows of a page's samples: plain series first, then histograms and summaries."""

    def __init__(self, flat: Flat, registry: Registry, decided: Mapping[Group, bool]) -> None:
        self.decided: dict[Group, bool] = {}
        rows, starts = _arrange(flat, registry, decided, self.decided)
        rows.sort(key=lambda row: row.compound is not None)
        self.families = tuple([row.family for row in rows])
        self._labels = tuple([row.labels for row in rows])
        self._pick = picker([row.at for row in rows if row.compound is None])
        self._compounds = [(row.compound, picker(row.compound.parts)) for row in rows if row.compound is not None]
        self._row_at = _rows_by_place(rows, len(flat.values))
        self._began = [(number, starts[row.group]) for number, row in enumerate(rows) if row.group in starts]
        self._starts: object = None  # those that `_column` was made of
        self._column: list[Extra | None] = [None] * len(rows)
        self._extras: dict[int, Extra] = {}

    def samples(
        self,
        values: Sequence[Any],
        odd: Mapping[int, Rest],
        latest_ms: int | None,
        starts: Sequence[tuple[int, Starts]] = (),
    ) -> list[Sample]:
        """The samples of a round: the page's values, the times and exemplars there are, by place, and start times, by
        the place that theirs count from.
        """
        found: list[Value] = [*self._pick(values), *[_value(one, pick, values) for one, pick in self._compounds]]
        if self._began or starts or self._starts:
            self._begin(values, starts)
        columns = zip(self.families, self._labels, found, self._column, strict=True)
        samples = list(map(tuple.__new__, repeat(Sample), columns))  # what Sample(...) does, without its Python
        return self._with_extras(samples, odd, latest_ms) if odd else samples

    def _begin(self, values: Sequence[Any], starts: Sequence[tuple[int, Starts]]) -> None:
        """Make the column of extras anew when a start time has changed."""
        created = {row: int(values[at] * 1000) for row, at in self._began if 0 < values[at] < 1e12}
        if self._starts == (created, starts):
            return
        self._starts = created, starts
        began = dict(created)
        for first, inside in starts:
            began.update({self._row_at[first + place]: time_ms for place, time_ms in inside})
        self._column = [Extra(start_ms=began[row]) if row in began else None for row in range(len(self.families))]

    def _with_extras(self, samples: list[Sample], odd: Mapping[int, Rest], latest_ms: int | None) -> list[Sample]:
        times, exemplars = self._by_row(odd, latest_ms)
        extras: dict[int, Extra] = {}
        for row in times.keys() | exemplars.keys():
            family, labels, value, began = samples[row]
            start_ms = began.start_ms if began is not None else 0
            extra = Extra(times.get(row, 0), start_ms, tuple(exemplars.get(row, ())))
            extras[row] = known = extra if (old := self._extras.get(row)) != extra or old is None else old
            samples[row] = Sample(family, labels, value, known)
        self._extras = extras
        if latest_ms is None or all(0 < time <= latest_ms for time in times.values()):
            return samples
        return [one for row, one in enumerate(samples) if 0 < times.get(row, 1) <= latest_ms]

    def _by_row(
        self, odd: Mapping[int, Rest], latest_ms: int | None
    ) -> tuple[dict[int, int], dict[int, list[Exemplar]]]:
        """Times (0 as -1, for 0 is none) and exemplars of each row."""
        times: dict[int, int] = {}
        exemplars: dict[int, list[Exemplar]] = {}
        for at, rest in odd.items():
            if (row := self._row_at[at]) < 0:
                continue
            if rest.time_ms is not None and latest_ms is not None:
                times[row] = rest.time_ms or -1
            if rest.exemplars:
                exemplars.setdefault(row, []).extend(rest.exemplars)
        return times, exemplars


def picker(places: Sequence[int]) -> Picker:
    """What picks the items at some places, in C."""
    if len(places) < 2:  # itemgetter of one place answers the bare item
        return lambda items: [items[at] for at in places]
    return itemgetter(*places)


def _value(one: Compound, pick: Picker, values: Sequence[Any]) -> Value:
    parts = tuple(pick(values))
    if one.kind == "summary":
        return Summary(values[one.counted], values[one.total], tuple(zip(one.bounds, parts, strict=True)))
    return Histogram(one.bounds, parts, values[one.total])


def _rows_by_place(rows: Sequence[Row], places: int) -> array[int]:
    """The row of each value on the page; -1 for one that goes nowhere."""
    found = array("i", [-1]) * places
    for number, row in enumerate(rows):
        for at in (row.at,) if row.compound is None else (row.at, *row.compound.parts, row.compound.total):
            found[at] = number
    return found


def _arrange(
    flat: Flat, registry: Registry, decided: Mapping[Group, bool], deciding: dict[Group, bool]
) -> tuple[list[Row], dict[Group, int]]:
    """The rows of a page, and where on it their start times are."""
    rows: list[Row] = []
    starts: dict[Group, int] = {}
    groups: dict[Group, list[tuple[Member, Stored, int]]] = {}
    for at, stored in flat.series():
        if at in flat.natives:
            rows.append(_native(flat.natives[at], stored, at, registry))
            continue
        member = flat.families.member(stored)
        if member.role == "_created" and flat.created:
            starts[member.group] = at
        elif member.facts.kind in _COMPOUND and member.role not in ("", "_created"):
            groups.setdefault(member.group, []).append((member, stored, at))
        else:
            rows.append(_plain(member, stored, at, registry))
    for group, members in groups.items():
        whole = _whole(group, members, flat.values) if decided.get(group, True) else None
        deciding[group] = whole is not None
        if whole is None:
            rows += [_plain(member, stored, at, registry) for member, stored, at in members]
        else:
            family = registry.family(group[0], whole.kind, members[0][0].facts, group[1])
            rows.append(Row(family, group[2], whole.counted, group, whole))
    return rows, starts


def _whole(group: Group, members: Sequence[tuple[Member, Stored, int]], values: Sequence[Any]) -> Compound | None:
    return compound(group, members[0][0].facts.kind, [(member, at) for member, _, at in members], values)


def _native(facts: Facts, stored: Stored, at: int, registry: Registry) -> Row:
    family = registry.family(stored.name, facts.kind, facts, stored.names, native=True)
    return Row(family, stored.values, at, stored)


def _plain(member: Member, stored: Stored, at: int, registry: Registry) -> Row:
    """A series by itself; what is left of a histogram or summary has no type of its own."""
    kind = "unknown" if member.facts.kind in _COMPOUND else member.facts.kind
    family = registry.family(stored.name, kind, member.facts, stored.names)
    return Row(family, stored.values, at, member.group)
