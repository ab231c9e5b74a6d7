"""Batches are cut without losing, repeating or reordering anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from agent.model import Batch, MetricBatch, Series, SeriesSet
from agent.suspects import MOST, SUSPECTED, Suspects, halves


def series(name: str) -> Series:
    return Series(name, "gauge", "", "", (("host", "h"),))


def batches(shapes: Iterable[str]) -> list[Batch]:
    return [
        MetricBatch("c", at, SeriesSet([series(name) for name in names]), [float(one) for one in range(len(names))])
        for at, names in enumerate(shapes)
    ]


def items(parts: Iterable[Sequence[Batch]]) -> list[tuple[str, int]]:
    return [(one.name, batch.time_ms) for part in parts for batch in part for one in batch.series.series]


SHAPES = st.lists(st.text("abcdef", min_size=1, max_size=6).map(lambda text: "".join(dict.fromkeys(text))), max_size=6)


@given(SHAPES, st.sets(st.sampled_from("abcdef")))
def test_apart_are_exactly_the_suspects_and_each_series_keeps_its_order(shapes: list[str], bad: set[str]) -> None:
    suspects = Suspects(lambda: 0.0)
    for name in bad:
        suspects.add(series(name))
    parts = suspects.apart(batches(shapes))
    assert all(part and all(len(batch) for batch in part) for part in parts)
    assert sorted(items(parts)) == sorted(items([batches(shapes)]))
    for part in parts:
        assert len({name in bad for name, _ in items([part])}) == 1
        for name in "abcdef":
            times = [when for found, when in items([part]) if found == name]
            assert times == sorted(times)


@given(SHAPES.filter(lambda shapes: sum(map(len, shapes)) > 1))
def test_halves_are_two_and_lose_nothing(shapes: list[str]) -> None:
    whole = batches(shapes)
    first, second = halves(whole)
    assert first
    assert second
    assert items([first, second]) == items([whole])


def test_a_suspect_is_trusted_again_in_time() -> None:
    now = 0.0
    suspects = Suspects(lambda: now)
    suspects.add(series("a"))
    now = SUSPECTED - 1
    assert len(suspects.apart(batches(["ab"]))) == 2
    now = SUSPECTED
    assert len(suspects.apart(batches(["ab"]))) == 1


def test_memory_of_suspects_is_bounded() -> None:
    suspects = Suspects(lambda: 0.0)
    for number in range(MOST + 10):
        suspects.add(series(str(number)))
    whole = [MetricBatch("c", 0, SeriesSet([series(str(MOST + 5)), series("5")]), [1.0, 2.0])]
    assert items(suspects.apart(whole)) == [(str(MOST + 5), 0), ("5", 0)]
    assert len(suspects.apart(whole)) == 2
