"""The SQLite file: one transaction for everything, or nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import zlib

import msgspec
import pytest

from agent import spool as spools
from agent.ledger import State
from agent.spool import NewBatch
from agent.spool.sets import COPY_AFTER
from agent.spool.store import FILE, Damaged, Store
from tests.spools import batch, series_set

SET = series_set(20)


def new(number: int, size: int = 20) -> NewBatch:
    return spools.encode(batch(SET if size == 20 else series_set(size), number))


@pytest.fixture
def store(tmp_path):
    one = Store(tmp_path, clock=lambda: 1000)
    yield one
    one.close()


def put(store: Store, *numbers: int, signal: str = "metrics") -> State:
    state = store.state.copy()
    state.attach("one", signal)
    rows = []
    for number in numbers:
        head = state.accept(signal, 20)
        rows.append((head.seq, head.items, msgspec.structs.replace(new(number), signal=signal)))
    store.commit(state, rows)
    return store.state


def edit(path, sql: str, *values: object) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(sql, values)
    db.close()


def test_rows_come_back_as_they_went_in(store):
    put(store, 1, 2)
    rows, complete = store.read("metrics", 0, 1000)
    assert [(row.seq, row.time_ms, row.stored_ms, row.items, row.total) for row in rows] == [
        (1, 1, 1000, 20, 20),
        (2, 2, 1000, 20, 40),
    ]
    assert complete
    assert store.series(rows[0].digest) == new(1).series


def test_reading_stops_at_items_or_bytes_but_gives_one_at_least(store):
    put(store, 1, 2, 3)
    assert [len(store.read("metrics", 0, most)[0]) for most in (1, 20, 21, 60, 61)] == [1, 1, 2, 3, 3]
    assert len(store.read("metrics", 0, 1000, max_bytes=1)[0]) == 1
    assert store.read("metrics", 0, 1)[1] is False
    assert store.read("metrics", 3, 1) == ([], True)


def test_signals_are_read_apart(store):
    for signal in ("metrics", "logs", "metrics", "logs"):
        put(store, 1, signal=signal)
    assert [row.seq for row in store.read("metrics", 0, 1000)[0]] == [1, 3]
    assert [row.seq for row in store.read("logs", 2, 1000)[0]] == [4]


def test_what_is_done_is_deleted_with_the_cursor(store):
    state = put(store, 1, 2, 3).copy()
    state.settle("one", "metrics", 2, 40, delivered=40)
    store.commit(state)
    assert [row.seq for row in store.read("metrics", 0, 1000)[0]] == [3]
    assert store.batches == 1


def test_a_commit_that_fails_changes_nothing(store):
    before = put(store, 1)
    state = before.copy()
    head = state.accept("metrics", 20)
    with pytest.raises(OverflowError):
        store.commit(state, [(head.seq, head.items, new(2)), (1 << 70, 9, new(3))])
    assert store.state is before
    assert len(store.read("metrics", 0, 1000)[0]) == 1
    put(store, 4)
    assert [row.time_ms for row in store.read("metrics", 0, 1000)[0]] == [1, 4]


def test_a_commit_that_came_about_although_it_failed_may_be_repeated(store):
    put(store, 1)
    state = store.state.copy()
    store.commit(state, [(1, 20, new(1))])
    assert len(store.read("metrics", 0, 1000)[0]) == 1


def test_a_series_set_is_written_again_so_that_one_copy_makes_good_for_another(store, tmp_path):
    put(store, *range(COPY_AFTER + 1))
    store.close()
    edit(tmp_path / FILE, "UPDATE sets SET payload = x'00' WHERE id = 1")
    again = Store(tmp_path)
    rows, _ = again.read("metrics", 0, 1000)
    assert len(rows) == COPY_AFTER + 1
    assert again.series(rows[0].digest) == new(1).series
    again.close()


def test_a_damaged_series_set_is_written_anew_by_the_next_batch(store, tmp_path):
    put(store, 1)
    store.close()
    edit(tmp_path / FILE, "UPDATE sets SET payload = x'00'")
    again = Store(tmp_path)
    assert again.series(new(1).digest) is None
    put(again, 2)
    assert again.series(again.read("metrics", 0, 1)[0][0].digest) == new(1).series
    again.close()


def test_a_batch_cannot_be_read_with_the_names_of_another_set(store, tmp_path):
    put(store, 1)
    state = store.state.copy()
    head = state.accept("metrics", 30)
    store.commit(state, [(head.seq, head.items, new(2, 30))])
    store.close()
    edit(tmp_path / FILE, "UPDATE batches SET set_id = 1")
    again = Store(tmp_path)
    assert [row.seq for row in again.read("metrics", 0, 1000)[0]] == [1]
    assert again.verify() == ["batch 2: damaged, or its series set is"]
    again.close()


@pytest.mark.parametrize("column", ["signal", "time_ms", "stored_ms", "items", "total", "payload", "crc"])
def test_every_column_of_a_batch_is_under_its_checksum(store, tmp_path, column):
    put(store, 1)
    store.close()
    edit(tmp_path / FILE, f"UPDATE batches SET {column} = 7")  # noqa: S608  # the names above
    again = Store(tmp_path)
    assert again.read("metrics", 0, 1000) == ([], True)
    assert len(again.verify()) == 1
    again.close()


def test_garbage_is_collected_and_pages_are_given_back(store):
    for number in range(200):
        state = store.state.copy()
        state.attach("one", "metrics")
        head = state.accept("metrics", 500)
        store.commit(state, [(head.seq, head.items, spools.encode(batch(series_set(500, str(number)), number)))])
    state = store.state.copy()
    state.settle("one", "metrics", head.seq, head.items, delivered=head.items)
    store.commit(state)
    store.collect_garbage()
    every, free = store.pages()
    assert free > every / 2
    store.give_back(free)
    assert store.pages()[0] <= every - free + 1
    assert store.on_disk() < 200_000


def test_a_file_older_than_the_witness_is_damaged(store, tmp_path):
    put(store, 1)
    store.fold_log()
    shutil.copy(tmp_path / FILE, tmp_path / "old")
    put(store, 2)
    store.close()
    os.replace(tmp_path / "old", tmp_path / FILE)
    with pytest.raises(Damaged, match="commit 1 found where 2 was written"):
        Store(tmp_path)


def test_a_witness_older_than_the_file_is_ignored(store, tmp_path):
    put(store, 1)
    shutil.copy(tmp_path / "spool.witness", tmp_path / "old")
    put(store, 2)
    store.close()
    os.replace(tmp_path / "old", tmp_path / "spool.witness")
    again = Store(tmp_path)
    assert again.state.commit == 2
    again.close()


@pytest.mark.parametrize("pragma", ["auto_vacuum=NONE", "page_size=4096"])
def test_a_file_of_another_make_is_damaged(tmp_path, pragma):
    db = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    db.execute(f"PRAGMA {pragma}")
    db.execute("CREATE TABLE t (x)")
    db.execute("VACUUM")
    db.close()
    with pytest.raises(Damaged, match="header"):
        Store(tmp_path)


@pytest.mark.parametrize("body", [b"", b"\x81\xa6commit\xa1x", b"\xc1"])
def test_a_state_that_makes_no_sense_is_damaged(store, tmp_path, body):
    put(store, 1)
    store.close()
    edit(tmp_path / FILE, "UPDATE state SET body = ?, crc = ?", body, zlib.crc32(body))
    with pytest.raises(Damaged):
        Store(tmp_path)


def test_a_store_that_cannot_be_opened_leaves_nothing_open(tmp_path):
    (tmp_path / FILE).write_bytes(os.urandom(10_000))
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(sqlite3.DatabaseError):
        Store(tmp_path)
    assert len(os.listdir("/dev/fd")) == before


def test_nothing_is_indexed_so_that_no_index_can_disagree_with_its_table(store, tmp_path):
    put(store, 1)
    db = sqlite3.connect(tmp_path / FILE)
    assert db.execute("SELECT name FROM sqlite_master WHERE type = 'index'").fetchall() == []
    db.close()
