"""What a round says of the targets that a collector looks at: which are well, and why the others are not.

Told by the families that dashboards and alerts know (`probe_state`, `redis_up`, `up` …), so that log, status and health
say what they say. A target that goes down, or comes back, is a line in the log; many at once are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from agent.logs import get_logger
from agent.model import STALE, MetricBatch, SeriesSet

PROBES: Final = ("probe_state", "probe_failure_info")
FAMILIES: Final[dict[str, tuple[str, str]]] = {  # by kind: 1 for a target that is well; 1 with the reason if it is not
    **dict.fromkeys(("http", "tls", "tcp", "dns", "icmp"), PROBES),
    "redis": ("redis_up", "redis_exporter_last_scrape_error"),
    "postgres": ("pg_up", "pg_error"),
    "pgbouncer": ("pgbouncer_up", "pgbouncer_error"),
    "mysql": ("mysql_up", "mysql_error"),
    "scrape": ("up", "scrape_failure_info"),
}
_REASONS: Final = ("reason", "error", "err")  # labels that hold it
SHOWN: Final = 10  # changes of a round that get a line each

log = get_logger("target")


class Target(NamedTuple):
    """A target as the last round saw it."""

    name: str
    up: bool
    reason: str = ""


class _Places(NamedTuple):
    """Where in a set's values the targets are: positions with a name, and with a name and a reason."""

    states: list[tuple[int, str]]
    reasons: list[tuple[int, str, str]]


class Targets:
    """The targets of one collector; of a kind that has none there are none."""

    def __init__(self, collector: str, kind: str) -> None:
        self._collector = collector
        self._families = FAMILIES.get(kind)
        self._up: dict[str, bool] = {}
        self.latest: list[Target] = []

    def look(self, batches: Sequence[MetricBatch]) -> None:
        """Take the batches of another round, and tell what changed; without samples there are no targets."""
        if self._families is None:
            return
        if not batches or batches[0].values[0] is STALE:
            self.latest = []
            return
        self.latest = read_targets(batches[0], *self._families)
        self._tell([one for one in self.latest if one.up != self._up.get(one.name, True)])
        self._up = {one.name: one.up for one in self.latest}

    def _tell(self, changed: list[Target]) -> None:
        for one in changed[:SHOWN]:
            if one.up:
                log.info("target is back", collector=self._collector, target=one.name)
            else:
                log.warning("target is down", collector=self._collector, target=one.name, reason=one.reason)
        if more := changed[SHOWN:]:
            down = sum(not one.up for one in more)
            log.warning("more targets changed", collector=self._collector, down=down, back=len(more) - down)

    def told(self) -> dict[str, Any] | None:
        """For people: how many are up, and those that are down; None for a kind without targets."""
        if self._families is None:
            return None
        down = [one for one in self.latest if not one.up]
        return {
            "up": len(self.latest) - len(down),
            "down": len(down),
            "failing": [{"target": one.name, "reason": one.reason} for one in down[:SHOWN]],
        }


def read_targets(batch: MetricBatch, state: str, failure: str) -> list[Target]:
    """The targets in a round, by the names of two families."""
    places = _places(batch.series, state, failure)
    values = batch.values
    reasons = {name: reason for at, name, reason in places.reasons if values[at] == 1.0}
    return [Target(name, values[at] == 1.0, reasons.get(name, "")) for at, name in places.states]


def _places(series: SeriesSet, state: str, failure: str) -> _Places:
    """Found once for a set, which stays the same from round to round."""
    if (found := series.cache.get("targets")) is None:
        found = series.cache["targets"] = _Places([], [])
        for at, one in enumerate(series.series):
            if one.name == state:
                found.states.append((at, _label(one.labels, "instance")))
            elif one.name == failure:
                found.reasons.append((at, _label(one.labels, "instance"), _label(one.labels, *_REASONS)))
    return found


def _label(labels: Iterable[tuple[str, str]], *names: str) -> str:
    told = dict(labels)
    return next((told[name] for name in names if name in told), "")
