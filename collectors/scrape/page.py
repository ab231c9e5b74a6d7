"""One target's page, round after round.

A page says the same series in the same order nearly always; only the values change. So a page is read once, line by
line, into a plan; after that a round costs a split, one comparison of what precedes each value, and one conversion of
all values, all of it in C. When lines come or go the page is read anew, with what is known of each series' text, which
is what costs most.

Measured on 10,400 lines (counters and histograms, 4,500 samples): 0.8 µs a line; 3 µs where every line has a time of
its own; 9 µs when a series was added; 30 µs for a page never seen. A line costs 500 bytes of memory.

Not chosen: a table of series text alone, looked up line by line (several times the time of a plan).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import getitem
from typing import Final, NamedTuple

from agent.model import Family, Sample
from collectors.scrape.draft import Draft, Known
from collectors.scrape.families import Registry
from collectors.scrape.grammar import MOST_LINES, Grammar, Rest
from collectors.scrape.labelling import Exceeded, Labeller
from collectors.scrape.numbers import parse_numbers
from collectors.scrape.rows import Picker, Rows, picker

PAUSE: Final = 500  # lines read between two chances for others


class Reading(NamedTuple):
    """A page's samples, its number of lines with a value, those that rules left, and those not seen before."""

    samples: list[Sample]
    scraped: int
    kept: int
    added: int


class Plan(NamedTuple):
    """What a page looked like: what each line begins with, what of it is the value, and where the values go."""

    prefixes: list[bytes]
    cuts: list[slice]
    fixed: Picker  # of the lines that say the same each round
    values: Picker
    places: list[int]  # the line of each value
    remarks: list[int]  # comments that say nothing, and may change
    rows: Rows
    kept: int


class Page:
    """Reads one target's pages in one format."""

    def __init__(self, grammar: Grammar, labeller: Labeller, registry: Registry, sample_limit: int) -> None:
        self._grammar, self._labeller, self._registry, self._sample_limit = grammar, labeller, registry, sample_limit
        self._plan: Plan | None = None
        self._known: Known = {}
        self.reading = Reading([], 0, 0, 0)

    @property
    def families(self) -> Sequence[Family]:
        """The families in use."""
        return self._plan.rows.families if self._plan is not None else ()

    def read(self, body: bytes, latest_ms: int | None = None) -> Reading:
        """The samples of a page; `latest_ms` is the latest time that one may bear, None ignores times."""
        for _ in self.steps(body, latest_ms):
            pass
        return self.reading

    def steps(self, body: bytes, latest_ms: int | None = None) -> Iterator[None]:
        """The same in steps; `reading` is complete after the last, or says how far it came when this raises."""
        self.reading = Reading([], 0, 0, 0)
        lines = self._grammar.split(body)
        if len(lines) > MOST_LINES:
            raise Exceeded("sample_limit")
        if self._plan is not None and (reading := self._recall(self._plan, lines, latest_ms)) is not None:
            self.reading = reading
        else:
            yield from self._learn(self._grammar.joined(body, lines), latest_ms)

    def _recall(self, plan: Plan, lines: list[bytes], latest_ms: int | None) -> Reading | None:
        """The reading of a page that looks like the last one; None for any other, also for one that is wrong."""
        if len(lines) != len(plan.prefixes) or not all(map(bytes.startswith, lines, plan.prefixes)):
            return None
        tails = list(map(getitem, lines, plan.cuts))
        odd: dict[int, Rest] = {}
        try:
            if any(plan.fixed(tails)) or any(self._grammar.comment(lines[at]) != () for at in plan.remarks):
                return None
            values = self._numbers(plan, lines, plan.values(tails), odd)
        except ValueError:
            return None
        return Reading(plan.rows.samples(values, odd, latest_ms), len(plan.places), plan.kept, 0)

    def _numbers(self, plan: Plan, lines: list[bytes], tails: Sequence[bytes], odd: dict[int, Rest]) -> list[float]:
        """The value of each line; times and exemplars go to `odd`. Raises ValueError."""
        try:
            return parse_numbers(tails)
        except ValueError:
            pass  # some lines have more than a value
        texts = list(tails)
        for place, tail in enumerate(tails):
            if b" " in tail or b"\t" in tail:
                at = plan.places[place]
                series = plan.prefixes[at].removesuffix(b" ")
                odd[place] = rest = self._grammar.rest(lines[at][len(series) :], apart=not series.endswith(b"}"))
                texts[place] = rest.value
        return parse_numbers(texts)

    def _learn(self, lines: list[bytes], latest_ms: int | None) -> Iterator[None]:
        """Read a page line by line, and make the plan for the next one like it."""
        draft = Draft(self._grammar, self._labeller, self._known)
        try:
            for at, line in enumerate(lines, 1):
                draft.read(line)
                if at % PAUSE == 0:
                    yield
            if draft.kept > self._sample_limit:
                raise Exceeded("sample_limit")
        finally:
            self.reading = Reading([], draft.scraped, draft.kept, draft.added)
        rows = Rows(draft.flat(), self._registry, self._plan.rows.decided if self._plan is not None else {})
        self._known, self._plan = draft.seen, _plan(draft, rows)
        samples = rows.samples(draft.values, draft.odd, latest_ms)
        self.reading = Reading(samples, draft.scraped, draft.kept, draft.added)


def _plan(draft: Draft, rows: Rows) -> Plan:
    lengths = {length: slice(length, None) for length in set(map(len, draft.prefixes))}
    cuts = [lengths[len(prefix)] for prefix in draft.prefixes]
    fixed, values = picker(draft.fixed), picker(draft.places)
    return Plan(draft.prefixes, cuts, fixed, values, draft.places, draft.remarks, rows, draft.kept)
