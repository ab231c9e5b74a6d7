"""One process a directory."""

from __future__ import annotations

import os

import pytest

from agent.spool.lock import AlreadyRunning, Lock


def open_files() -> int:
    return len(os.listdir("/dev/fd"))


def test_a_second_holder_is_refused_and_told_the_first(tmp_path):
    first = Lock(tmp_path)
    before = open_files()
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()};"):
        Lock(tmp_path)
    assert open_files() == before, "a refused lock leaves no file open"
    first.release()
    Lock(tmp_path).release()


def test_a_directory_that_is_not_there_is_an_ordinary_error(tmp_path):
    before = open_files()
    with pytest.raises(FileNotFoundError):
        Lock(tmp_path / "no")
    assert open_files() == before


def test_a_holder_that_left_no_number_is_unknown(tmp_path):
    first = Lock(tmp_path)
    os.truncate(first.path, 0)
    with pytest.raises(AlreadyRunning, match="process unknown"):
        Lock(tmp_path)
    first.release()


def test_a_lock_whose_file_is_gone_or_another_has_moved(tmp_path):
    lock = Lock(tmp_path)
    assert not lock.moved()
    lock.path.rename(tmp_path / "elsewhere")
    assert lock.moved()
    lock.path.touch()
    assert lock.moved()
    lock.release()
