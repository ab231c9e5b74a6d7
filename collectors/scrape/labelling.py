"""From the labels that a target exposes to those that are stored: the target's own, rules, limits.

Source: prometheus/prometheus scrape/scrape.go, mutateSampleLabels and verifyLabelLimits (v3.5).
"""

from __future__ import annotations

import sys
from typing import Literal, NamedTuple

from msgspec import Struct

from collectors.scrape.grammar import Malformed, Series
from collectors.scrape.relabel import Relabeller


class Exceeded(Exception):
    """A page beyond one of the limits; the text is the reason's name."""

    def __init__(self, reason: Literal["sample_limit", "label_limit", "bucket_limit"]) -> None:
        super().__init__(reason)
        self.reason = reason


class Limits(Struct, frozen=True):
    """Of one series' labels, `__name__` included, lengths in bytes; 0 is no limit."""

    labels: int = 0
    name_length: int = 0
    value_length: int = 0


class Stored(NamedTuple):
    """A flat series as it is stored: its name, label names in order, their values."""

    name: str
    names: tuple[str, ...]
    values: tuple[str, ...]


class Labeller:
    """The way of one target's labels. `target` are the labels that describe the target: job, instance and more."""

    def __init__(self, target: dict[str, str], relabel: Relabeller, limits: Limits, *, honor: bool) -> None:
        self._target, self._relabel, self._limits, self._honor = target, relabel, limits, honor

    def __call__(self, series: Series) -> Stored | None:
        """The stored series, or None when a rule drops it; raises `Malformed` and `Exceeded`."""
        labels = {"__name__": series.name, **series.labels}
        labels = self._honored(labels) if self._honor else attach(labels, self._target)
        if self._relabel:
            if (kept := self._relabel(labels)) is None:
                return None
            labels = kept
        self._check(labels, doubled=series.doubled)
        name = labels.pop("__name__")
        names = sorted(labels)
        return Stored(
            sys.intern(name), tuple(map(sys.intern, names)), tuple([sys.intern(labels[one]) for one in names])
        )

    def _honored(self, labels: dict[str, str]) -> dict[str, str]:
        """The target's labels where the series has none of the name; one that is there but empty keeps it away."""
        joined = {**self._target, **labels}
        return {name: value for name, value in joined.items() if value}

    def _check(self, labels: dict[str, str], *, doubled: bool) -> None:
        if doubled:
            raise Malformed("a label is there twice")
        if "__name__" not in labels or "" in labels:
            raise Malformed("a series without a name, or with a label without one")
        limits = self._limits
        if (
            (limits.labels and len(labels) > limits.labels)
            or (limits.name_length and any(len(name.encode()) > limits.name_length for name in labels))
            or (limits.value_length and any(len(value.encode()) > limits.value_length for value in labels.values()))
        ):
            raise Exceeded("label_limit")


def attach(labels: dict[str, str], target: dict[str, str]) -> dict[str, str]:
    """A series' labels and its target's, which win; the loser becomes `exported_<name>`. Empty values are no labels."""
    found = {name: value for name, value in labels.items() if value}
    lost = sorted([(name, found[name]) for name in target if name in found], key=lambda pair: len(pair[0]))
    found.update(target)
    for name, value in lost:
        exported = f"exported_{name}"
        while exported in found:
            exported = f"exported_{exported}"
        found[exported] = value
    return found
