"""The command line's view of a spool in which no agent runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.spool import AlreadyRunning
from agent.spool.offline import DamagedSpool, Offline, decoded_rejected, replay
from agent.spool.salvage import asides
from tests.agent.spool.test_disk_trouble import fill, small_disk
from tests.agent.spool.test_spool import letter
from tests.spools import METRICS, Opened, batch, drain, same, series_set, settle

__all__ = ["small_disk"]

SET = series_set(30)


async def filled(place: Path) -> Path:
    async with Opened(place) as opened:
        await opened.spool.attach([("one", METRICS), ("two", METRICS)])
        await opened.spool.append([batch(SET, number) for number in (1, 2, 3)])
        opened.clocks.advance(60)
        await opened.spool.append([batch(SET, 4)])
        chunk = await opened.spool.fetch("one", METRICS, 1)
        await settle(opened.spool, "one", chunk, delivered=20, rejected=(letter(1, 10),))
    return place


def damage(place: Path) -> None:
    with (place / "spool.db").open("r+b") as file:
        file.write(bytes(100))


@pytest.mark.parametrize("damaged", [False, True])
async def test_what_waits_is_shown_damaged_or_not(tmp_path, damaged):
    place = await filled(tmp_path)
    if damaged:
        damage(place)
    with Offline(place) as spool:
        assert bool(spool.fault) == damaged
        assert spool.stat().batches == 4
        assert [(one.seq, one.waiting) for one in spool.list_batches(2)] == [(1, ("two",)), (2, ("one", "two"))]
        assert same(spool.show(4), batch(SET, 4))
        assert spool.show(5) is None
        assert [entry.exporter for entry in spool.entries()] == ["one", "two"]
        (one,) = spool.rejected()
        assert same(decoded_rejected(one), batch(series_set(10, "1"), 1))
        assert bool(spool.verify()) == damaged


async def test_a_damaged_spool_is_only_looked_at(tmp_path):
    damage(await filled(tmp_path))
    before = (tmp_path / "spool.db").read_bytes()
    with Offline(tmp_path) as spool:
        with pytest.raises(DamagedSpool, match="starting the agent"):
            spool.forget_rejected([1])
        with pytest.raises(DamagedSpool):
            spool.purge()
    assert (tmp_path / "spool.db").read_bytes() == before
    assert asides(tmp_path) == []


async def test_a_spool_on_a_full_disk_is_looked_at_without_writing(small_disk):
    place = await filled(small_disk / "state")
    fill(small_disk)
    with Offline(place) as spool:
        assert "the disk refuses" in spool.fault
        assert spool.stat().batches == 4
        assert spool.stat().trouble == spool.fault
        assert [one.seq for one in spool.list_batches()] == [1, 2, 3, 4]
        assert same(spool.show(4), batch(SET, 4))
        assert [entry.pending for entry in spool.entries()] == [90, 120]
        assert len(spool.rejected()) == 1
        assert spool.verify() == [spool.fault]
        with pytest.raises(DamagedSpool, match="cannot be changed: the disk refuses"):
            spool.purge()


async def test_a_running_agent_is_not_disturbed(tmp_path):
    async with Opened(tmp_path):
        with pytest.raises(AlreadyRunning):
            Offline(tmp_path)


def test_a_directory_without_a_spool_is_told_and_left_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="no spool in"):
        Offline(tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_purging_counts_and_spares_the_others(tmp_path):
    place = await filled(tmp_path)
    with Offline(place) as spool:
        boundary = spool.list_batches()[-1].stored_ms
        assert spool.purge("two", boundary) == 90
        assert spool.purge("one") == 90
        assert {entry.exporter: entry.dropped for entry in spool.entries()} == {
            "one": {"purged": 90},
            "two": {"purged": 90},
        }
    async with Opened(place) as opened:
        assert [one.time_ms for one in await drain(opened.spool, "two")] == [4]


async def test_dead_letters_are_forgotten(tmp_path):
    place = await filled(tmp_path)
    with Offline(place) as spool:
        spool.forget_rejected([one.id for one in spool.rejected()])
        assert spool.rejected() == []


@pytest.mark.parametrize("damaged", [False, True])
async def test_any_spool_file_is_replayed_oldest_first(tmp_path, damaged):
    path = (await filled(tmp_path)) / "spool.db"
    if damaged:
        damage(tmp_path)
        async with Opened(tmp_path):
            (path,) = asides(tmp_path)
    assert [one.time_ms for one in replay(path)] == [1, 2, 3, 4]
    assert all(same(one, batch(SET, one.time_ms)) for one in replay(path))
    assert [one.time_ms for one in replay(path, rejected=True)] == [1]


def test_replaying_a_file_that_is_not_there_is_an_ordinary_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        list(replay(tmp_path / "no"))
