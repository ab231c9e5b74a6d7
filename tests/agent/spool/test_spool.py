"""The spool as the rest of the agent uses it."""

from __future__ import annotations

import asyncio

import pytest

from agent import spool as spools
from agent.model import MetricBatch
from agent.spool import RejectedBatch, Settlement, Spool
from agent.spool.look import decoded_rejected
from tests.spools import METRICS, Opened, batch, drain, same, series_set, settle

SET = series_set(10)


def some(*numbers: int) -> list[MetricBatch]:
    return [batch(SET, number) for number in numbers]


async def test_what_is_appended_is_fetched_in_order_and_exactly(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        await opened.spool.append(some(1, 2, 3))
        chunk = await opened.spool.fetch("one", METRICS, 1000)
        assert [one.time_ms for one in chunk.batches] == [1, 2, 3]
        assert all(same(one, batch(SET, one.time_ms)) for one in chunk.batches)
        assert (chunk.start, chunk.total, chunk.seq) == (0, 30, 3)


async def test_what_is_read_back_from_disk_is_what_was_appended(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        await opened.spool.append(some(1, 2, 3))
    async with Opened(tmp_path) as opened:
        found = await drain(opened.spool, "one")
        assert [one.time_ms for one in found] == [1, 2, 3]
        assert all(same(one, batch(SET, one.time_ms)) for one in found)


async def test_a_chunk_ends_when_it_has_items_enough(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        await opened.spool.append(some(*range(1, 10)))
        chunk = await opened.spool.fetch("one", METRICS, 25)
        assert len(chunk.batches) == 3
        ahead = await opened.spool.fetch("one", METRICS, 25, after=chunk)
        assert [one.time_ms for one in ahead.batches] == [4, 5, 6]
        assert ahead.start == chunk.total


async def test_a_batch_larger_than_asked_for_comes_alone(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        await opened.spool.append(some(1, 2))
        assert len((await opened.spool.fetch("one", METRICS, 1)).batches) == 1


async def test_what_is_not_settled_comes_again(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        await opened.spool.append(some(1))
        for _ in range(2):
            assert len((await opened.spool.fetch("one", METRICS, 10)).batches) == 1


async def test_settling_twice_counts_once(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        await opened.spool.append(some(1, 2))
        chunk = await opened.spool.fetch("one", METRICS, 10)
        await settle(opened.spool, "one", chunk)
        await settle(opened.spool, "one", chunk)
        assert opened.entry("one").delivered == 10


async def test_exporters_move_at_their_own_pace(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("fast", METRICS), ("slow", METRICS)])
        await opened.spool.append(some(1, 2, 3))
        await drain(opened.spool, "fast")
        assert opened.spool.pending("fast", METRICS) == 0
        assert opened.spool.pending("slow", METRICS) == 30
        assert (await opened.spool.stat()).batches == 3
        await drain(opened.spool, "slow")
        assert (await opened.spool.stat()).batches == 0


async def test_a_new_exporter_starts_at_the_newest_data(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        await opened.spool.append(some(1, 2))
        await opened.spool.attach([("late", METRICS)])
        await opened.spool.append(some(3))
        assert [one.time_ms for one in await drain(opened.spool, "late")] == [3]
        assert [one.time_ms for one in await drain(opened.spool, "one")] == [1, 2, 3]


async def test_a_detached_exporter_holds_nothing_back(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS), ("gone", METRICS)])
        await opened.spool.append(some(1, 2))
        await drain(opened.spool, "one")
        await opened.spool.detach("gone")
        assert (await opened.spool.stat()).batches == 0
        assert [entry.exporter for entry in opened.spool.entries()] == ["one"]
        assert await opened.spool.fetch("gone", METRICS, 10) is None
        await opened.spool.settle(Settlement("gone", METRICS, 2, 20, delivered=20))


async def test_the_last_exporter_takes_its_data_along(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        await opened.spool.append(some(1, 2))
        await opened.spool.detach("one")
        assert (await opened.spool.stat()).batches == 0
        await opened.spool.attach([("one", METRICS)])
        assert opened.spool.pending("one", METRICS) == 0


async def test_data_that_nobody_wants_is_not_kept(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.append(some(1, 2), [("tail", "position", b"7")])
        assert (await opened.spool.stat()).batches == 0
        assert await opened.spool.checkpoints("tail") == {"position": b"7"}


async def test_an_emptied_spool_starts_empty_and_goes_on_counting(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        await opened.spool.append(some(1, 2))
        await drain(opened.spool, "one")
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        assert await opened.spool.fetch("one", METRICS, 10) is None
        await opened.spool.append(some(3))
        assert [one.time_ms for one in await drain(opened.spool, "one")] == [3]
        assert opened.entry("one").accepted == opened.entry("one").delivered == 30


async def test_waiting_ends_when_something_is_appended(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        waiting = asyncio.create_task(opened.spool.wait("one", ["logs", METRICS]))
        await asyncio.sleep(0)
        assert not waiting.done()
        await opened.spool.append(some(1))
        assert await waiting == METRICS


async def test_an_append_whose_caller_is_cancelled_is_finished_and_told(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        appending = asyncio.create_task(opened.spool.append(some(1)))
        await asyncio.sleep(0)
        appending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await appending
        assert await opened.spool.wait("one", [METRICS]) == METRICS
        assert [one.time_ms for one in await drain(opened.spool, "one")] == [1]


async def test_a_chunk_that_was_evicted_meanwhile_has_passed(tmp_path):
    async with Opened(tmp_path, max_age=100.0) as opened:
        await opened.spool.attach([("one", METRICS)])
        await opened.spool.append(some(1, 2))
        chunk = await opened.spool.fetch("one", METRICS, 10)
        assert not opened.spool.passed("one", METRICS, chunk)
        opened.clocks.advance(101)
        await opened.spool.append(some(3))
        assert opened.spool.passed("one", METRICS, chunk)
        await settle(opened.spool, "one", chunk)
        assert opened.entry("one").dropped == {"age": 20}
        assert [one.time_ms for one in await drain(opened.spool, "one")] == [3]


async def test_checkpoints_are_there_exactly_when_their_batches_are(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        await opened.spool.append(some(1), [("tail", "a", b"1"), ("tail", "b", b"2"), ("other", "a", b"3")])
        await opened.spool.append(some(2), [("tail", "a", b"4"), ("tail", "b", b"")])
    async with Opened(tmp_path) as opened:
        assert await opened.spool.checkpoints("tail") == {"a": b"4"}
        assert await opened.spool.checkpoints("other") == {"a": b"3"}


async def test_a_checkpoint_may_be_of_a_file_whose_name_is_no_text(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.append([], [("tail", "/log/caf\udce9", b"1")])
        assert await opened.spool.checkpoints("tail") == {"/log/caf\udce9": b"1"}


async def test_a_hundred_thousand_items_in_one_batch(tmp_path):
    large = batch(series_set(100_000), 1)
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        await opened.spool.append([large])
    async with Opened(tmp_path) as opened:
        (found,) = await drain(opened.spool, "one", 10_000)
        assert same(found, large)


async def test_a_time_beyond_all_bounds_does_not_stop_the_append(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        await opened.spool.append([MetricBatch("c", 1 << 80, SET, [1.0] * 10), MetricBatch("c", 5, SET, [1.0] * 10)])
        assert opened.spool.trouble == ""
        assert len(await drain(opened.spool, "one")) == 2


async def test_opening_and_closing_again_and_again_leaks_nothing(tmp_path):
    for _ in range(3):
        spool = Spool(tmp_path)
        await spool.open()
        await spool.close()
        await spool.close()


# -- rejected data ------------------------------------------------------------------------------------------------


def letter(number: int, size: int = 10, reason: str = "bad") -> RejectedBatch:
    stored = spools.encode(batch(series_set(size, str(number)), number))
    return RejectedBatch(
        "one", METRICS, number, size, reason, "the server's words \udce9", stored.series, stored.payload
    )


async def reject(opened: Opened, number: int, size: int = 10) -> None:
    await opened.spool.append([batch(series_set(size), number)])
    chunk = await opened.spool.fetch("one", METRICS, 1)
    await settle(opened.spool, "one", chunk, delivered=0, rejected=(letter(number, size),))


async def test_rejected_data_is_counted_and_kept_with_the_reason(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        await reject(opened, 7)
        assert opened.entry("one").rejected == {"bad": 10}
    async with Opened(tmp_path) as opened:
        (one,) = await opened.spool.rejected()
        assert (one.reason, one.message, one.items) == ("bad", "the server's words ?", 10)
        assert one.stored_ms == opened.clocks.wall_ms
        assert same(decoded_rejected(one), batch(series_set(10, "7"), 7))
        await opened.spool.forget_rejected([one.id])
        assert await opened.spool.rejected() == []
        assert opened.entry("one").rejected == {"bad": 10}


async def test_the_number_of_dead_letters_is_bounded(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        await opened.spool.append(some(1))
        chunk = await opened.spool.fetch("one", METRICS, 1)
        letters = tuple(letter(number, 1) for number in range(1100))
        await settle(opened.spool, "one", chunk, delivered=0, rejected=letters)
        kept = await opened.spool.rejected()
        assert len(kept) == 1000
        assert kept[-1].time_ms == 1099


async def test_the_bytes_of_dead_letters_are_bounded(tmp_path):
    async with Opened(tmp_path, max_size=4 << 20) as opened:
        await opened.spool.attach([("one", METRICS)])
        for number in range(60):
            await reject(opened, number, 2000)
        kept = await opened.spool.rejected()
        assert kept[-1].time_ms == 59
        assert sum(len(one.series) + len(one.payload) for one in kept) <= 512 << 10
        assert opened.entry("one").rejected == {"bad": 60 * 2000}


# -- looking ------------------------------------------------------------------------------------------------------


async def test_the_list_says_what_waits_for_whom(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS), ("two", METRICS)])
        await opened.spool.append(some(1, 2))
        await settle(opened.spool, "one", await opened.spool.fetch("one", METRICS, 1))
        assert [(item.seq, item.waiting) for item in await opened.spool.list_batches()] == [
            (1, ("two",)),
            (2, ("one", "two")),
        ]
        assert len(await opened.spool.list_batches(1)) == 1


async def test_one_batch_is_shown_decoded(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        await opened.spool.append(some(1, 2))
        assert same(await opened.spool.show(2), batch(SET, 2))
        assert await opened.spool.show(3) is None


async def test_purging_counts_what_was_waiting(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS), ("two", METRICS)])
        await opened.spool.append(some(1, 2))
        await drain(opened.spool, "two")
        assert await opened.spool.purge("one") == 20
        assert opened.entry("one").dropped == {"purged": 20}
        assert opened.entry("two").dropped == {}
        assert (await opened.spool.stat()).batches == 0


async def test_purging_what_is_older_leaves_the_rest(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        await opened.spool.append(some(1, 2))
        opened.clocks.advance(60)
        await opened.spool.append(some(3))
        assert await opened.spool.purge(before_ms=opened.clocks.wall_ms) == 20
        assert await opened.spool.purge(before_ms=opened.clocks.wall_ms) == 0
        assert [one.time_ms for one in await drain(opened.spool, "one")] == [3]


async def test_a_sound_spool_has_no_faults(tmp_path):
    async with Opened(tmp_path) as opened:
        await opened.spool.attach([("one", METRICS)])
        await opened.spool.append(some(1, 2))
        assert await opened.spool.verify() == []
