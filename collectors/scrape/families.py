"""From flat series back to families: which lines are one histogram, one summary, one counter and its start.

A page is flat, and rules may drop or rename any part of it. What is left of a histogram or summary becomes one when
all of it is there (every one of its series would be stored under the same names again); otherwise its lines stay the
plain series that they are. That is decided when a group is first seen, so that it does not change from round to round.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from agent.exposition import openmetrics_bound
from agent.model import Family, Kind
from collectors.scrape.labelling import Stored

SUFFIXES: Final[dict[Kind, tuple[str, ...]]] = {
    "counter": ("_total", "_created"),
    "histogram": ("_bucket", "_count", "_sum", "_created"),
    "gaugehistogram": ("_bucket", "_gcount", "_gsum"),
    "summary": ("_count", "_sum", "_created"),
    "info": ("_info",),
}
_BY_SUFFIX: Final = {
    suffix: tuple(kind for kind, suffixes in SUFFIXES.items() if suffix in suffixes)
    for suffix in sorted({suffix for suffixes in SUFFIXES.values() for suffix in suffixes})
}
_ROLES: Final = {"_gcount": "_count", "_gsum": "_sum", "_total": "", "_info": ""}
_BOUND: Final = {"_bucket": "le", "_quantile": "quantile"}

Group = tuple[str, tuple[str, ...], tuple[str, ...]]  # the name of the family, its labels without the bound


class Facts:
    """What a page's comments say of one family."""

    __slots__ = ("help", "kind", "unit")

    def __init__(self) -> None:
        self.kind: Kind = "unknown"
        self.help = self.unit = ""


class Registry:
    """Families, the same object for the same facts: what pages share, and what tells equal series from different."""

    def __init__(self) -> None:
        self._families: dict[tuple[str, Kind, str, str, tuple[str, ...], bool], Family] = {}

    def family(self, name: str, kind: Kind, facts: Facts, names: tuple[str, ...], *, native: bool = False) -> Family:
        """The family with these facts; native histograms have one of their own, beside that of their classic form."""
        key = (name, kind, facts.help, facts.unit, names, native)
        if (found := self._families.get(key)) is None:
            found = self._families[key] = Family(name, kind, facts.help, names, facts.unit)
        return found

    def prune(self, used: Iterable[Family]) -> None:
        """Forget what nobody uses."""
        live = set(used)  # families compare by identity
        if len(self._families) > 2 * len(live) + 100:
            self._families = {key: one for key, one in self._families.items() if one in live}


class Compound(NamedTuple):
    """A histogram or summary: where on the page the values of its bounds, its count and its sum are."""

    group: Group
    kind: Kind
    bounds: tuple[float, ...]
    parts: tuple[int, ...]
    counted: int
    total: int


class Member(NamedTuple):
    """A line's part in a family: its group, its role (`_bucket`, `_count`, `_sum`, `_quantile`, `_created` or none)."""

    group: Group
    role: str
    facts: Facts
    bound: str = ""


_NO_FACTS: Final = Facts()


class Families:
    """A page's facts by family, and what they make of a series."""

    def __init__(self) -> None:
        self.facts: dict[str, Facts] = {}
        self._roles: dict[str, tuple[str, str, Facts]] = {}

    def of(self, name: str) -> Facts:
        """The facts of a family, to be filled in."""
        return self.facts.setdefault(name, Facts())

    def member(self, stored: Stored) -> Member:
        """What a series is in its family."""
        name, names, values = stored
        if (found := self._roles.get(name)) is None:
            found = self._roles[name] = self._role(name)
        base, role, facts = found
        if facts.kind == "summary" and not role and "quantile" in names:
            role = "_quantile"
        label = _BOUND.get(role)
        if label is None:
            return Member((base, names, values), role, facts)
        if label not in names:
            return Member((name, names, values), "", _NO_FACTS)
        at = names.index(label)
        return Member((base, names[:at] + names[at + 1 :], values[:at] + values[at + 1 :]), role, facts, values[at])

    def _role(self, name: str) -> tuple[str, str, Facts]:
        """The family that a series' name belongs to, its role there, and the family's facts."""
        if (exact := self.facts.get(name)) is not None and exact.kind != "unknown":
            odd = exact.kind in ("histogram", "gaugehistogram")  # its series have suffixes
            return name, "", _NO_FACTS if odd else exact
        for suffix, kinds in _BY_SUFFIX.items():
            base = name.removesuffix(suffix)
            if base != name and (facts := self.facts.get(base)) is not None and facts.kind in kinds:
                return base, _ROLES.get(suffix, suffix), facts
        return name, "", exact or _NO_FACTS


def compound(
    group: Group, kind: Kind, members: Sequence[tuple[Member, int]], values: Sequence[float]
) -> Compound | None:
    """The histogram or summary that the lines of a group are, by their places on the page; None for what is none."""
    totals: dict[str, int] = {}
    bounds: dict[float, int] = {}
    for member, at in members:
        if not member.bound:
            totals.setdefault(member.role, at)
        elif (bound := _bound(member.bound)) is None:
            return None
        else:
            bounds.setdefault(bound, at)
    if not {"_count", "_sum"} <= totals.keys() or len(bounds) + len(totals) != len(members):
        return None
    ordered = sorted(bounds.items())
    if kind == "summary":
        parts = tuple([at for _, at in ordered])
        return Compound(group, kind, tuple([bound for bound, _ in ordered]), parts, totals["_count"], totals["_sum"])
    if not ordered or ordered[-1][0] != math.inf or values[ordered[-1][1]] != values[totals["_count"]]:
        return None
    parts = tuple([at for _, at in ordered])
    return Compound(group, kind, tuple([bound for bound, _ in ordered[:-1]]), parts, totals["_count"], totals["_sum"])


@lru_cache(maxsize=1024)
def normal_bound(text: str) -> str:
    """A bucket bound or quantile as Prometheus 3 stores it: `1` becomes `1.0`."""
    try:
        return openmetrics_bound(float(text))
    except ValueError:
        return text


@lru_cache(maxsize=1024)
def _bound(text: str) -> float | None:
    """The bound of a label that would be written the same way again."""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) or openmetrics_bound(value) != text else value
