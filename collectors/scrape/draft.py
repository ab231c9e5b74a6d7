"""A page while it is read for the first time."""

from __future__ import annotations

from typing import Final

from agent.model import Kind
from collectors.scrape.families import Families, normal_bound
from collectors.scrape.grammar import Fact, Grammar, Malformed, Rest
from collectors.scrape.labelling import Labeller, Stored
from collectors.scrape.numbers import parse_number
from collectors.scrape.rows import Flat

Known = dict[
    str, dict[bytes, Stored | None]
]  # by the type that the page last declared, then by what precedes the value

_NORMAL: Final = {"histogram": "le", "summary": "quantile"}
_UNSEEN: Final = Stored("", (), ())


class Draft:
    """What the lines so far say. `known` is what is known of series from earlier pages, `seen` of those on this one."""

    def __init__(self, grammar: Grammar, labeller: Labeller, known: Known) -> None:
        self.grammar, self._labeller = grammar, labeller
        self._known = known
        self.seen: Known = {}
        self.families = Families()
        self.prefixes: list[bytes] = []  # of all lines: what they begin with each round
        self.fixed: list[int] = []  # lines that say nothing but their prefix
        self.remarks: list[int] = []  # comments that nobody reads
        self.places: list[int] = []  # the line of each value
        self.stored: list[Stored | None] = []
        self.values: list[float] = []
        self.odd: dict[int, Rest] = {}
        self.scraped = self.kept = self.added = 0
        self._last: dict[bytes, Stored | None] = {}
        self._old: dict[bytes, Stored | None] = {}
        self._kind = ""
        self._declare("unknown")

    def _declare(self, kind: Kind) -> None:
        """Prometheus writes the bounds of whatever follows a TYPE by that type, so this is part of a series' key."""
        self._kind = kind if kind in _NORMAL else ""
        self._last = self.seen.setdefault(self._kind, {})
        self._old = self._known.get(self._kind, {})

    def read(self, line: bytes) -> None:
        """Take one more line; raises `Malformed` and `Exceeded`."""
        prefix = line[: line.rfind(b" ") + 1]
        stored = self._old.get(prefix, _UNSEEN)
        if stored is not _UNSEEN:
            try:
                value = parse_number(line[len(prefix) :])
            except ValueError:
                pass  # it may have a time besides
            else:
                self.scraped += 1
                self._take(prefix, stored, value)
                return
        if (facts := self.grammar.comment(line)) is not None:
            self._remark(line, facts)
        else:
            self._sample(line)

    def _remark(self, line: bytes, facts: tuple[Fact, ...]) -> None:
        for fact in facts:
            about = self.families.of(fact.family)
            if fact.about == "type":
                about.kind = self.grammar.kinds[fact.text]
                self._declare(about.kind)
            else:
                setattr(about, fact.about, fact.text)
        (self.fixed if facts else self.remarks).append(len(self.prefixes))
        self.prefixes.append(line if facts else b"")

    def _sample(self, line: bytes) -> None:
        series, end = self.grammar.series(line)
        rest = self.grammar.rest(line[end:], apart=False)
        try:
            value = parse_number(rest.value)
        except ValueError as error:
            raise Malformed(str(error)) from None
        self.scraped += 1
        prefix = line[: end + 1] if line[end : end + 1] == b" " else line[:end]
        stored = self._old.get(prefix, _UNSEEN)
        if stored is _UNSEEN:
            if (bound := _NORMAL.get(self._kind, "")) in series.labels:
                series.labels[bound] = normal_bound(series.labels[bound])
            stored = self._labeller(series)
            self.added += stored is not None and prefix not in self._last
        if rest.time_ms is not None or rest.exemplars:
            self.odd[len(self.values)] = rest
        self._take(prefix, stored, value)

    def _take(self, prefix: bytes, stored: Stored | None, value: float) -> None:
        self._last[prefix] = stored
        self.kept += stored is not None
        self.places.append(len(self.prefixes))
        self.prefixes.append(prefix)
        self.stored.append(stored)
        self.values.append(value)

    def flat(self) -> Flat:
        """The series of the page."""
        return Flat(self.stored, self.values, self.families, {}, created=self.grammar.created)
