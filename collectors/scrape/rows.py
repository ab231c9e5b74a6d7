"""The samples of a page: which value goes where, as columns, so that a round costs no work per series in Python."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any, Final, NamedTuple

from agent.model import Exemplar, Extra, Family, Histogram, Sample, Summary, Value
from collectors.scrape.draft import Draft
from collectors.scrape.families import Compound, Group, Member, Registry, compound
from collectors.scrape.grammar import Rest
from collectors.scrape.labelling import Stored

Picker = Callable[[Sequence[Any]], Sequence[Any]]

_COMPOUND: Final = frozenset({"histogram", "gaugehistogram", "summary"})


class Row(NamedTuple):
    """A sample to be: its family, its labels, the place of its value on the page (of a compound: of its count)."""

    family: Family
    labels: tuple[str, ...]
    at: int
    group: Group
    compound: Compound | None = None


class Rows:
    """The rows of a page's samples: plain series first, then histograms and summaries."""

    def __init__(self, draft: Draft, registry: Registry, decided: Mapping[Group, bool]) -> None:
        self.decided: dict[Group, bool] = {}
        rows, starts = _arrange(draft, registry, decided, self.decided)
        rows.sort(key=lambda row: row.compound is not None)
        self.families = tuple([row.family for row in rows])
        self._labels = tuple([row.labels for row in rows])
        self._pick = picker([row.at for row in rows if row.compound is None])
        self._compounds = [(row.compound, picker(row.compound.parts)) for row in rows if row.compound is not None]
        self._row_at = _rows_by_place(rows, len(draft.values))
        self._began = [(number, starts[row.group]) for number, row in enumerate(rows) if row.group in starts]
        self._extras: dict[int, Extra] = {}

    def samples(self, values: Sequence[float], odd: Mapping[int, Rest], latest_ms: int | None) -> list[Sample]:
        """The samples of a round: the page's values, and the times and exemplars there are, by place."""
        found: list[Value] = [*self._pick(values), *[_value(one, pick, values) for one, pick in self._compounds]]
        columns = zip(self.families, self._labels, found, repeat(None))
        samples = list(map(tuple.__new__, repeat(Sample), columns))  # what Sample(...) does, without its Python
        if odd or self._began:
            return self._with_extras(samples, values, odd, latest_ms)
        return samples

    def _with_extras(
        self, samples: list[Sample], values: Sequence[float], odd: Mapping[int, Rest], latest_ms: int | None
    ) -> list[Sample]:
        starts = {row: int(values[at] * 1000) for row, at in self._began if 0 < values[at] < 1e12}
        times, exemplars = self._by_row(odd, latest_ms)
        extras = {
            row: Extra(times.get(row, 0), starts.get(row, 0), tuple(exemplars.get(row, ())))
            for row in starts.keys() | times.keys() | exemplars.keys()
        }
        for row, extra in extras.items():
            family, labels, value, _ = samples[row]
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
            if rest.exemplar is not None:
                exemplars.setdefault(row, []).append(rest.exemplar)
        return times, exemplars


def picker(places: Sequence[int]) -> Picker:
    """What picks the items at some places, in C."""
    if len(places) < 2:  # itemgetter of one place answers the bare item
        return lambda items: [items[at] for at in places]
    return itemgetter(*places)


def _value(one: Compound, pick: Picker, values: Sequence[float]) -> Value:
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
    draft: Draft, registry: Registry, decided: Mapping[Group, bool], deciding: dict[Group, bool]
) -> tuple[list[Row], dict[Group, int]]:
    """The rows of a page, and where on it their start times are."""
    rows: list[Row] = []
    starts: dict[Group, int] = {}
    groups: dict[Group, list[tuple[Member, Stored, int]]] = {}
    for at, stored in draft.series():
        member = draft.families.member(stored)
        if member.role == "_created" and draft.grammar.created:
            starts[member.group] = at
        elif member.facts.kind in _COMPOUND and member.role not in ("", "_created"):
            groups.setdefault(member.group, []).append((member, stored, at))
        else:
            rows.append(_plain(member, stored, at, registry))
    for group, members in groups.items():
        whole = _whole(group, members, draft.values) if decided.get(group, True) else None
        deciding[group] = whole is not None
        if whole is None:
            rows += [_plain(member, stored, at, registry) for member, stored, at in members]
        else:
            family = registry.family(group[0], whole.kind, members[0][0].facts, group[1])
            rows.append(Row(family, group[2], whole.counted, group, whole))
    return rows, starts


def _whole(group: Group, members: Sequence[tuple[Member, Stored, int]], values: Sequence[float]) -> Compound | None:
    return compound(group, members[0][0].facts.kind, [(member, at) for member, _, at in members], values)


def _plain(member: Member, stored: Stored, at: int, registry: Registry) -> Row:
    """A series by itself; what is left of a histogram or summary has no type of its own."""
    kind = "unknown" if member.facts.kind in _COMPOUND else member.facts.kind
    family = registry.family(stored.name, kind, member.facts, stored.names)
    return Row(family, stored.values, at, member.group)
