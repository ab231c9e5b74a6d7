"""What the spool may hold: bytes on disk with everything, age, and the free space of others."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from agent.model import MetricBatch, Series, SeriesSet
from agent.spool import Limits
from agent.spool.records import PAGE
from tests.spools import METRICS, Opened, balanced, batch, drain, in_order, series_set, settle

SET = series_set(1500)
MIB = 1 << 20


async def start(opened: Opened, *exporters: str) -> None:
    await opened.spool.attach([(name, METRICS) for name in exporters or ("one",)])


def on_disk(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.iterdir())


@pytest.mark.parametrize("size", [4, 5, 8])
async def test_the_files_never_take_more_than_the_limit(tmp_path, size):
    draw = random.Random(size)
    shapes = [series_set(items, str(items)) for items in (5, 50, 500, 5000)]
    async with Opened(tmp_path, max_size=size * MIB) as opened:
        await start(opened, "near", "far")
        written = number = 0
        while written < 2.5 * size * MIB:
            batches = [batch(draw.choice(shapes), number + at, noise=draw) for at in range(draw.choice((1, 1, 5, 10)))]
            number += len(batches)
            await opened.spool.append(batches)
            written += sum(map(len, batches)) * 8
            assert on_disk(tmp_path) <= size * MIB
            if draw.random() < 0.5 and (chunk := await opened.spool.fetch("near", METRICS, 10_000)):
                await settle(opened.spool, "near", chunk)
        assert balanced(opened.spool.entries())
        assert opened.entry("far").dropped["size"] > 0
        assert set(opened.entry("far").dropped) == {"size"}
        assert opened.told("spool.evicted")
        assert in_order(await drain(opened.spool, "far"))
        assert on_disk(tmp_path) > size * MIB // 2, "the limit is made use of"


async def test_many_series_sets_do_not_push_the_data_out_for_good(tmp_path):
    async with Opened(tmp_path, max_size=4 * MIB) as opened:
        await start(opened)
        for number in range(200):
            opened.clocks.advance(15)
            await opened.spool.append([batch(series_set(2000, str(number)), number)])
            await drain(opened.spool, "one")
            assert on_disk(tmp_path) <= 4 * MIB
        assert opened.entry("one").dropped == {}


async def test_a_batch_that_would_fill_the_spool_is_not_taken_and_counted(tmp_path):
    async with Opened(tmp_path, max_size=4 * MIB) as opened:
        await start(opened)
        await opened.spool.append([batch(SET, 1)])
        await opened.spool.append([batch(series_set(300_000), 2)])
        await opened.spool.append([batch(SET, 3)])
        assert [one.time_ms for one in await drain(opened.spool, "one")] == [1, 3]
        assert opened.entry("one").dropped == {"size": 300_000}
        assert on_disk(tmp_path) <= 4 * MIB


async def test_smaller_limits_take_effect_with_the_next_append(tmp_path):
    async with Opened(tmp_path, max_size=32 * MIB) as opened:
        await start(opened)
        for number in range(900):
            await opened.spool.append([batch(SET, number)])
        assert on_disk(tmp_path) > 8 * MIB
        opened.spool.limit(Limits(max_size=4 * MIB))
        await opened.spool.append([batch(SET, 900)])
        assert on_disk(tmp_path) <= 4 * MIB
        assert opened.entry("one").dropped["size"] > 0


async def test_smaller_limits_cost_live_data_once_though_series_sets_take_most_of_it(tmp_path):
    """Sets go only when nothing speaks of them any more, so the file shrinks after the batches are gone."""
    async with Opened(tmp_path, max_size=512 * MIB) as opened:
        await start(opened)
        draw, small, number = random.Random(1), series_set(30), 0
        while on_disk(tmp_path) < 16 * MIB:
            number += 1
            labels = [(("at", draw.randbytes(200).hex()),) for _ in range(100)]
            names = SeriesSet([Series("x_total", "counter", "", "", label, 5) for label in labels])
            await opened.spool.append([MetricBatch("test", number, names, [1.0] * 100)])
        opened.spool.limit(Limits(max_size=5 * MIB))
        await opened.spool.append([batch(small, number + 1)])
        lost = opened.entry("one").dropped["size"]
        assert 0 < lost < 0.8 * number * 100
        for more in range(9):
            opened.clocks.advance(1)
            await opened.spool.append([batch(small, number + 2 + more)])
            assert on_disk(tmp_path) <= 5 * MIB
        assert opened.entry("one").dropped["size"] == lost


async def test_what_is_too_old_goes_and_only_for_those_who_had_not_read_it(tmp_path):
    async with Opened(tmp_path, max_age=3600.0) as opened:
        await start(opened, "near", "far")
        await opened.spool.append([batch(SET, 1)])
        await drain(opened.spool, "near")
        opened.clocks.advance(1800)
        await opened.spool.append([batch(SET, 2)])
        opened.clocks.advance(1801)
        await opened.spool.append([batch(SET, 3)])
        assert opened.entry("near").dropped == {}
        assert opened.entry("far").dropped == {"age": 1500}
        assert [one.time_ms for one in await drain(opened.spool, "far")] == [2, 3]


async def test_a_leap_of_the_wall_clock_makes_nothing_old(tmp_path):
    async with Opened(tmp_path, max_age=3600.0) as opened:
        await start(opened)
        await opened.spool.append([batch(SET, 1)])
        opened.clocks.wall_ms += 30 * 365 * 86_400_000
        await opened.spool.append([batch(SET, 2)])
        opened.clocks.advance(1800)
        await opened.spool.append([batch(SET, 3)])
        assert opened.entry("one").dropped == {}
        opened.clocks.advance(1801)
        await opened.spool.append([batch(SET, 4)])
        assert opened.entry("one").dropped == {"age": 3000}, "age is counted as before, for old data and new"


async def test_a_leap_of_the_wall_clock_is_remembered_over_a_restart(tmp_path):
    async with Opened(tmp_path, max_age=3600.0) as opened:
        await start(opened)
        await opened.spool.append([batch(SET, 1)])
        opened.clocks.wall_ms += 30 * 365 * 86_400_000
        await opened.spool.append([batch(SET, 2)])
        clocks = opened.clocks
    async with Opened(tmp_path, clocks, max_age=3600.0) as opened:
        opened.clocks.advance(10)
        await opened.spool.append([batch(SET, 3)])
        assert opened.entry("one").dropped == {}


async def test_a_clock_set_back_evicts_nothing(tmp_path):
    async with Opened(tmp_path, max_age=3600.0) as opened:
        await start(opened)
        await opened.spool.append([batch(SET, 1)])
        opened.clocks.wall_ms -= 86_400_000
        await opened.spool.append([batch(SET, 2)])
        assert opened.entry("one").dropped == {}


async def test_free_space_that_others_need_is_given_back_down_to_a_floor(tmp_path):
    async with Opened(tmp_path, max_size=64 * MIB, min_free=lambda total: 100 * MIB) as opened:
        await start(opened, "near", "far")
        for number in range(900):
            await opened.spool.append([batch(SET, number)])
        await drain(opened.spool, "near")
        before = on_disk(tmp_path)
        assert before > 10 * MIB
        opened.free = lambda place: (1000 * MIB, 97 * MIB + before - on_disk(tmp_path))
        await opened.spool.append([batch(SET, 900)])
        assert before - 6 * MIB < on_disk(tmp_path) <= before - 2 * MIB
        assert set(opened.entry("far").dropped) == {"space"}
        opened.free = lambda place: (1000 * MIB, 0)
        for number in range(901, 910):
            await opened.spool.append([batch(SET, number)])
        assert MIB < on_disk(tmp_path) < 5 * MIB
        assert opened.spool.pending("far", METRICS) > 0


async def test_damaged_files_kept_for_people_go_before_data_does(tmp_path):
    kept = tmp_path / "spool.db.corrupt-20260101T000000.000Z"
    kept.write_bytes(bytes(MIB))
    async with Opened(tmp_path, max_size=64 * MIB, min_free=lambda total: 100 * MIB) as opened:
        await start(opened)
        opened.free = lambda place: (1000 * MIB, 99 * MIB if kept.exists() else 101 * MIB)
        for number in range(400):
            await opened.spool.append([batch(SET, number)])
        assert not kept.exists()
        assert opened.entry("one").dropped == {}


async def test_what_was_delivered_is_given_back_to_the_disk_in_time(tmp_path):
    async with Opened(tmp_path) as opened:
        await start(opened)
        for number in range(900):
            await opened.spool.append([batch(SET, number)])
        await drain(opened.spool, "one")
        full = on_disk(tmp_path)
        for number in range(10):
            opened.clocks.advance(601)
            await opened.spool.append([batch(SET, 1000 + number)])
            await drain(opened.spool, "one")
        assert on_disk(tmp_path) < full / 4


@pytest.mark.parametrize("size", [4 * MIB, 512 * MIB, 1 << 40])
def test_the_shares_of_the_limit_fit_into_it(size):
    limits = Limits(max_size=size)
    assert 2 * limits.log_pages * PAGE + limits.rejected_bytes + limits.ring_bytes + limits.largest < size
