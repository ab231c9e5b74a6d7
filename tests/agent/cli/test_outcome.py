"""How what came of a look is told."""

from __future__ import annotations

from agent.cli.nagios import Status
from agent.cli.outcome import Outcome, told
from agent.model import MetricBatch, Series, SeriesSet


class Name(str):
    """A name that counts how often it is held against another."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        Name.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_single_values_are_found_without_comparing_every_name_with_every_other() -> None:
    count = 1000
    series = SeriesSet([Series(Name(f"family_{at}"), "gauge", "", "", ()) for at in range(count)])
    batch = MetricBatch("scrape", 0, series, [1.0] * count)
    Name.compared = 0
    lines = told(Outcome(Status.OK, "fine", batch=batch), "scrape", verbose=1).splitlines()
    assert len(lines) == count + 1
    assert Name.compared < 10 * count


def test_of_a_family_with_several_series_none_is_a_single_value() -> None:
    series = SeriesSet([Series(name, "gauge", "", "", (("at", str(at)),)) for at, name in enumerate(("a", "b", "a"))])
    outcome = Outcome(Status.OK, "fine", batch=MetricBatch("scrape", 0, series, [1.0, 2.0, 3.0]))
    assert told(outcome, "scrape", verbose=1).splitlines() == ["SCRAPE OK: fine", "b 2"]
