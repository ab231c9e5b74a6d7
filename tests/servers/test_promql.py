"""PromQL: what a real Prometheus answers for the same data, ours answers too."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from agent.model import MetricBatch, Series, SeriesSet
from exporters.remote_write import RemoteWrite
from tests.conftest import need_peer
from tests.servers.conftest import Server
from tests.servers.promql_compared import Answer, Ours, Tally, Theirs, verdict
from tests.servers.promql_data import END, ROUNDS, STEP, batches, latest, sources
from tests.servers.promql_expressions import DOCUMENTED
from tests.servers.promql_made import Made, expressions
from tests.servers.promql_rules import default_rules, filler, mixin_rules, with_parts

pytestmark = pytest.mark.servers

COUNT = int(os.environ.get("NIGHTJAR_EXPRESSIONS", "1000"))
AFTER = (0.0, 3.25)  # seconds after the latest round: the ends of ranges on samples, and between them


class Engines(NamedTuple):
    """A Prometheus with all rounds, and the rounds for ours."""

    theirs: Theirs
    rows: list[list[MetricBatch]]

    def compare(self, some: Iterable[str], tally: Tally, rounds: int = ROUNDS) -> None:
        """Ask both, after so many rounds."""
        rows, last = self.rows[:rounds], END - (ROUNDS - rounds) * STEP
        for (text, time), ours in Ours(rows, latest(rows))(some, [last + after for after in AFTER]).items():
            tally.add(text, time, verdict(text, self.theirs(text, time), ours))


async def send(server: Server, rows: list[list[MetricBatch]]) -> None:
    exporter = RemoteWrite(RemoteWrite.Options(url=server.write, protocol="2.0"))
    try:
        for at in range(0, len(rows), 20):
            delivered = await exporter.send(exporter.encode([batch for row in rows[at : at + 20] for batch in row]))
            assert not delivered.rejected, delivered
    finally:
        await exporter.close()


@pytest.fixture
def engines(prometheus: Server) -> Iterator[Engines]:
    some = sources()
    rows = batches([*some, filler(mixin_rules() + default_rules(), some)])
    asyncio.run(send(prometheus, rows))
    theirs = Theirs(prometheus.base)
    yield Engines(theirs, rows)
    theirs.close()


@pytest.mark.parametrize(
    "ours",
    [
        Answer("vector", [((("a", "b"),), 1.0)]),
        Answer("vector", [((("a", "b"),), 1.0 + 1e-8), ((("a", "c"),), float("nan"))]),
        Answer("vector", [((("a", "b"),), float("nan")), ((("a", "c"),), float("nan"))]),
        Answer("vector", [((("a", "c"),), float("nan")), ((("a", "b"),), 1.0)]),
        Answer("vector", [((("a", "b"),), 1.0), ((("a", "c"),), float("nan")), ((), 1.0)]),
        Answer("vector", [((("a", "b"),), 1.0), ((("a", "c"),), float("nan")), ((("a", "b"),), 1.0)]),
        Answer("scalar", 1.0),
        Answer("error", words="several match"),
        Answer("refused", words="the function abs is not supported"),
        Answer("crash", words="ZeroDivisionError"),
    ],
)
def test_another_answer_is_told_from_the_same(ours: Answer) -> None:
    theirs = Answer("vector", [((("a", "b"),), 1.0), ((("a", "c"),), float("nan"))])
    assert verdict("sort(a)", theirs, theirs) == "values"
    assert not Tally().add("sort(a)", 0.0, verdict("sort(a)", theirs, ours))


def told(tally: Tally, what: str) -> None:
    """Print the counts; fail with everything that is different."""
    print(f"\n{what}: {tally}")
    if tally.different:
        pytest.fail("\n".join(tally.different.values()), pytrace=False)


def made() -> list[Made]:
    """As many expressions as are wanted, none twice; in the short form always the same ones."""
    found: dict[str, Made] = {}

    @settings(
        max_examples=COUNT * 6 // 5,  # some come twice
        derandomize=COUNT <= 1000,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(expressions)
    def collect(one: Made) -> None:
        found.setdefault(one.text, one)

    collect()
    return list(found.values())


def smallest(engines: Engines, wrong: Iterable[Made]) -> Tally:
    """The smallest parts of expressions that are different by themselves."""
    parts = {part.text: part for one in wrong for part in one.within()}
    tally = Tally()
    engines.compare(parts, tally)
    for text in list(tally.different):
        if any(part.text in tally.different for part in parts[text].within() if part.text != text):
            del tally.different[text]
    return tally


def test_what_the_documentation_tells_of_has_the_same_answers(engines: Engines) -> None:
    tally = Tally()
    engines.compare(DOCUMENTED, tally)
    told(tally, "documented")


@pytest.mark.parametrize("rounds", [1, 2, 72, 98, 107])
def test_earlier_moments_have_the_same_answers(engines: Engines, rounds: int) -> None:
    """The first rounds, after a series came back, amid a pause of a collector, after another series came back."""
    tally = Tally()
    engines.compare(DOCUMENTED, tally, rounds)
    told(tally, f"documented, after {rounds} rounds")


def test_our_default_rules_have_the_same_answers(engines: Engines) -> None:
    tally = Tally()
    engines.compare(with_parts(default_rules()), tally)
    told(tally, "default rules and their parts")
    assert tally["values"] > tally.total() * 0.5


def test_the_published_mixins_have_the_same_answers(engines: Engines) -> None:
    need_peer("mixins/")
    tally = Tally()
    engines.compare(with_parts(mixin_rules()), tally)
    told(tally, "mixins and their parts")
    assert tally["values"] > tally.total() * 0.5


@pytest.mark.timeout(60 + COUNT // 10)
def test_what_nobody_thought_of_has_the_same_answers(engines: Engines) -> None:
    found, tally = {one.text: one for one in made()}, Tally()
    engines.compare(found, tally)
    different = smallest(engines, [found[text] for text in tally.different]).different
    tally.different = different or tally.different
    told(tally, "made by hypothesis")
    assert tally["values"] > tally.total() * 0.5


def test_ours_sees_the_latest_rounds_and_prometheus_the_last_five_minutes(prometheus: Server) -> None:
    """The one difference that is meant: without an end, a series is there for Prometheus as long as it looks back.

    Our pipeline writes an end for each series that is not there any more, and for all of a collector that failed.
    """
    quiet, seen = Series("quiet", "gauge", "", "", ()), Series("seen", "gauge", "", "", ())
    rows = [
        [MetricBatch("lone", (END - 240) * 1000, SeriesSet([quiet, seen]), [1.0, 2.0])],
        [MetricBatch("lone", (END - 60) * 1000, SeriesSet([seen]), [3.0])],
    ]
    asyncio.run(send(prometheus, rows))
    theirs, ours = Theirs(prometheus.base), Ours(rows, latest(rows))
    expressions, times = ("count(quiet)", "count(seen)"), (END, END + 300)
    found = ours(expressions, times)
    said = {key: (bool(theirs(*key).value), bool(found[key].value)) for key in found}
    theirs.close()
    assert said == {
        ("count(quiet)", END): (True, False),
        ("count(quiet)", END + 300): (False, False),
        ("count(seen)", END): (True, True),
        ("count(seen)", END + 300): (False, True),
    }
