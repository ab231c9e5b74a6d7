"""Random damage to the spool's files: it always opens, goes on, and accounts for every item.

`NIGHTJAR_CORRUPTIONS` is how many rounds are played; `make chaos` plays 1,000. A failing round names its seed.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from agent.model import MetricBatch
from tests.chaos.damage import damage
from tests.spools import METRICS, Opened, balanced, batch, drain, in_order, same, series_set, settle

ROUNDS = int(os.environ.get("NIGHTJAR_CORRUPTIONS", "150"))
BEFORE, AFTER = 60, 10  # batches before and after the damage
SMALL = [series_set(40, "a"), series_set(7, "b"), series_set(400, "c")]
LARGE = [series_set(40, "a"), series_set(2500, "b"), series_set(2500, "c")]  # more than SQLite keeps in memory


class Made:
    """The batches of a round, by number."""

    def __init__(self, large: bool) -> None:
        self.shapes = LARGE if large else SMALL

    def __call__(self, number: int) -> MetricBatch:
        return batch(self.shapes[number % 3], number)


async def fill(opened: Opened, draw: random.Random, made: Made) -> int:
    """Append batches, and let one exporter read a part; answers the items acknowledged."""
    spool = opened.spool
    await spool.attach([("near", METRICS), ("far", METRICS)])
    acknowledged = 0
    for number in range(BEFORE):
        await spool.append([made(number)], [("tail", "position", str(number).encode())])
        acknowledged += len(made(number))
        if draw.random() < 0.4 and (chunk := await spool.fetch("near", METRICS, 300)):
            await settle(spool, "near", chunk)
        if draw.random() < 0.1 and (chunk := await spool.fetch("far", METRICS, 300)):
            await settle(spool, "far", chunk)
    return acknowledged


async def prove(opened: Opened, acknowledged: int, made: Made, *, unnoticed: bool) -> tuple[int, int]:
    """Everything that is promised after damage; answers (items lost, items that were waiting)."""
    spool = opened.spool
    await spool.attach([("near", METRICS), ("far", METRICS)])
    assert balanced(spool.entries())
    for exporter in ("near", "far"):
        assert opened.entry(exporter).accepted >= acknowledged, "what was accepted is forgotten"
    waiting = sum(entry.pending for entry in spool.entries())
    if unnoticed:  # what is written over damage that nobody has met yet may be lost; it is counted
        await go_on(opened, made, range(BEFORE, BEFORE + AFTER), all_of_it=False)
    await spool.verify()
    await go_on(opened, made, range(BEFORE + AFTER, BEFORE + 2 * AFTER), all_of_it=True)
    dropped = {reason for entry in spool.entries() for reason in entry.dropped}
    assert dropped <= {"corrupt"}
    lost = sum(entry.dropped.get("corrupt", 0) for entry in spool.entries())
    opened.clocks.advance(700)
    await go_on(opened, made, range(1000, 1001), all_of_it=True)  # tidies up
    faults = await spool.verify()
    assert faults == []
    return lost, waiting


async def go_on(opened: Opened, made: Made, numbers: range, *, all_of_it: bool) -> None:
    spool = opened.spool
    for number in numbers:
        await spool.append([made(number)])
    for exporter in ("near", "far"):
        found = await drain(spool, exporter, 500)
        assert in_order(found), "out of order, or twice"
        assert all(same(one, made(one.time_ms)) for one in found), "not what was written"
        if all_of_it:
            assert [one.time_ms for one in found[-len(numbers) :]] == list(numbers), "new data was lost"
        assert opened.entry(exporter).pending == 0
    assert balanced(spool.entries())
    assert not spool.trouble


async def play(seed: int, place: Path) -> tuple[str, bool, int, int]:
    """One round; answers what was done, whether it took a salvage, items lost, items waiting."""
    draw = random.Random(seed)
    situation = draw.choice(("stopped", "killed", "killed", "running"))
    made = Made(large=situation == "running")
    first = Opened(place / "first")
    async with first:
        acknowledged = await fill(first, draw, made)
        if situation == "killed":
            shutil.copytree(place / "first", place / "second")
        if situation == "running":
            done = damage(draw, place / "first")
            lost, waiting = await prove(first, acknowledged, made, unnoticed=True)
            return f"running, {done}", bool(first.told("spool.salvaged")), lost, waiting
    if situation == "stopped":
        shutil.copytree(place / "first", place / "second")
    done = damage(draw, place / "second")
    async with Opened(place / "second") as second:
        lost, waiting = await prove(second, acknowledged, made, unnoticed=False)
    async with Opened(place / "second") as third:
        assert not third.told("spool.salvaged"), "the new file is not sound"
        assert all(entry.pending == 0 for entry in third.spool.entries())
    return f"{situation}, {done}", bool(second.told("spool.salvaged")), lost, waiting


@pytest.mark.chaos
@pytest.mark.timeout(3600)
async def test_damaged_files_never_stop_the_spool_and_every_item_is_accounted_for(tmp_path, capsys):
    base = int(os.environ.get("NIGHTJAR_SEED", "0"))
    outcomes: dict[str, list[int]] = {}
    for seed in range(base, base + ROUNDS):
        place = tmp_path / str(seed)
        place.mkdir()
        try:
            done, salvaged, lost, waiting = await play(seed, place)
        except BaseException as error:
            error.add_note(f"round with NIGHTJAR_SEED={seed} NIGHTJAR_CORRUPTIONS=1")
            raise
        shutil.rmtree(place)
        kind = ": ".join(done.split(": ")[:1])
        sums = outcomes.setdefault(kind, [0, 0, 0, 0, 0])
        for at, more in enumerate((1, salvaged, lost > 0, lost, waiting)):
            sums[at] += more
    with capsys.disabled():
        print(_table(outcomes))


def _table(outcomes: dict[str, list[int]]) -> str:
    rows = [f"\n{'damage':<24}{'rounds':>8}{'salvages':>10}{'with loss':>11}{'lost':>10}{'waiting':>10}"]
    total = [sum(column) for column in zip(*outcomes.values(), strict=True)]
    for kind, (rounds, salvages, lossy, lost, waiting) in [*sorted(outcomes.items()), ("all", total)]:
        rows.append(f"{kind:<24}{rounds:>8}{salvages:>10}{lossy:>11}{lost:>10}{waiting:>10}")
    return "\n".join(rows)
