"""The second copy of the account."""

from __future__ import annotations

import os

import pytest

from agent.ledger import State
from agent.spool.witness import SLOT, Seen, Witness, at_rest


def state(commit: int) -> Seen:
    one = State(commit=commit)
    one.attach("one", "metrics")
    return at_rest(one)


def written(path, *commits: int) -> None:
    witness = Witness(path)
    for commit in commits:
        witness.write(state(commit))
    witness.close()


def test_the_newest_state_is_read(tmp_path):
    written(tmp_path / "w", 1, 2, 3)
    assert Witness(tmp_path / "w").read() == state(3)


def test_there_is_none_before_the_first(tmp_path):
    assert Witness(tmp_path / "w").read() is None
    assert Witness(tmp_path / "w").size() == 0


@pytest.mark.parametrize("at", [0, 3, 4, 9, 40])
@pytest.mark.parametrize("commits", [(5, 6), (5, 6, 7), (5, 7, 9)])
def test_a_torn_slot_leaves_the_state_before_it(tmp_path, at, commits):
    path = tmp_path / "w"
    written(path, *commits)
    slot = (len(commits) - 1) % 2 * SLOT
    data = bytearray(path.read_bytes())
    data[slot + at] ^= 0xFF
    path.write_bytes(data)
    assert Witness(path).read() == state(commits[-2])


def test_the_slot_before_is_overwritten_after_a_restart_too(tmp_path):
    path = tmp_path / "w"
    written(path, 1, 2, 3)
    again = Witness(path)
    assert again.read() == state(3)
    again.write(state(4))
    again.close()
    data = bytearray(path.read_bytes())
    data[SLOT + 9] ^= 0xFF
    path.write_bytes(data)
    assert Witness(path).read() == state(3)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, SLOT - 1, SLOT, SLOT + 5])
def test_a_file_cut_short_is_read_as_far_as_it_goes(tmp_path, size):
    path = tmp_path / "w"
    written(path, 1, 2)
    os.truncate(path, size)
    assert Witness(path).read() in (None, state(1))


def test_garbage_says_nothing(tmp_path):
    path = tmp_path / "w"
    path.write_bytes(os.urandom(3 * SLOT))
    assert Witness(path).read() is None


def test_a_place_that_cannot_be_written_costs_the_witness_alone(tmp_path):
    witness = Witness(tmp_path / "no/such/directory")
    witness.write(state(1))
    witness.close()
    assert witness.read() is None


def test_a_state_too_large_for_a_slot_is_left_out(tmp_path):
    large = State(commit=9)
    for number in range(2000):
        large.attach(f"exporter {number}", "metrics")
    witness = Witness(tmp_path / "w")
    witness.write(state(8))
    witness.write(at_rest(large))
    witness.close()
    assert witness.read() == state(8)
