"""Timestamps rise, whatever the wall clock does; only a far jump back is followed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.clock import PACE, SLEWED, Clock

NOW = 1_700_000_000.0


class Watch:
    """A wall clock and a steady one, moved by hand."""

    def __init__(self) -> None:
        self.wall, self.steady = NOW, 50.0
        self.clock = Clock(lambda: self.wall, lambda: self.steady)

    def after(self, seconds: float, *, wall: float | None = None) -> int:
        """Let time pass (on the wall clock another amount) and read the clock."""
        self.steady += seconds
        self.wall += seconds if wall is None else wall
        return self.clock.now()


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_it_tells_the_wall_clock_in_milliseconds(watch: Watch) -> None:
    assert watch.after(0) == NOW * 1000
    assert watch.after(15) == (NOW + 15) * 1000


def test_two_ticks_in_one_millisecond_differ(watch: Watch) -> None:
    first = watch.after(0)
    assert [watch.after(0) for _ in range(3)] == [first + 1, first + 2, first + 3]


def test_a_small_step_back_is_worked_off_without_a_repeated_timestamp(watch: Watch) -> None:
    times = [watch.after(0), watch.after(15, wall=15 - 30)]
    times += [watch.after(15) for _ in range(40)]
    assert times == sorted(set(times))
    assert times[1] - times[0] == 15_000 * PACE
    assert times[-1] == watch.wall * 1000
    assert watch.clock.steps == 0


def test_a_far_step_back_is_followed_and_counted(watch: Watch) -> None:
    before = watch.after(0)
    after = watch.after(15, wall=-3600)
    assert after == before - 3_600_000
    assert watch.clock.steps == 1
    assert watch.after(15) == after + 15_000


def test_a_step_back_of_just_less_than_the_limit_is_still_worked_off(watch: Watch) -> None:
    before = watch.after(0)
    assert watch.after(1, wall=-(SLEWED - 1) / 1000) > before
    assert watch.clock.steps == 0


def test_a_jump_ahead_is_followed_at_once(watch: Watch) -> None:
    """After a suspend the monotonic clock of Linux stands where it stood."""
    before = watch.after(0)
    assert watch.after(0.1, wall=7200) == before + 7_200_000


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-200, 200)), max_size=50))
def test_time_never_runs_backwards_but_for_counted_steps(moves: list[tuple[float, float]]) -> None:
    watch = Watch()
    last, steps = watch.after(0), 0
    for passed, jump in moves:
        now = watch.after(passed, wall=passed + jump)
        assert now > last or watch.clock.steps == steps + 1
        last, steps = now, watch.clock.steps
