"""What feeds the watchdog and what turns readiness red, on fakes and an injected clock."""

from __future__ import annotations

from typing import Any

import pytest

from agent.health import BEHIND, STUCK, UNPROVEN, Progress, unready


class FakeSpool:
    def __init__(self) -> None:
        self.progress = self.waiting = 0
        self.trouble = ""
        self.items = 0

    def pending(self, exporter: str, signal: str) -> int:
        return self.items


class FakeDelivery:
    name, timeout = "mine", 30.0
    signals = ("metrics",)

    def __init__(self) -> None:
        self.progress = self.failures = 0
        self.sending_since = self.last_ok = self.failing_since = 0.0
        self.error = self.refused = ""
        self.auth_failed = self.misconfigured = False


class FakeRunner:
    name, interval = "host", 15.0

    def __init__(self) -> None:
        self.rounds = {"ok": 1, "error": 0}
        self.missed = 0
        self.outcome: str | None = "ok"
        self.error = ""


class World:
    """A spool, a delivery and a runner, looked at as time goes by."""

    def __init__(self, patience: float = STUCK) -> None:
        self.spool, self.delivery, self.runner = FakeSpool(), FakeDelivery(), FakeRunner()
        self.now, self.patience = 100.0, patience
        self._progress = Progress(lambda: self.now)

    def stuck(self) -> list[str]:
        spool: Any = self.spool
        deliveries: Any = [self.delivery]
        runners: Any = [self.runner]
        return self._progress.stuck(spool, deliveries, runners, self.patience)

    def after(self, seconds: float, *, rounds: bool = True) -> list[str]:
        """Look every five seconds for so long, while the collectors have their rounds or not."""
        found = self.stuck()
        for _ in range(int(seconds // 5)):
            self.now += 5
            self.runner.rounds["ok"] += rounds
            found = self.stuck()
        return found

    def unready(self, now: float = 1_000.0) -> list[str]:
        spool: Any = self.spool
        deliveries: Any = [self.delivery]
        runners: Any = [self.runner]
        return unready(spool, deliveries, runners, wall=lambda: now)


@pytest.fixture
def world() -> World:
    return World()


def test_an_idle_agent_is_alive(world: World) -> None:
    assert world.after(3600) == []


def test_a_spool_whose_thread_does_not_finish_is_stuck(world: World) -> None:
    world.spool.waiting = 1
    assert world.after(STUCK) == []
    assert world.after(5) == ["the spool's thread does not finish its work"]
    world.spool.progress += 1
    assert world.after(5) == []


def test_a_spool_without_work_is_never_stuck(world: World) -> None:
    world.spool.waiting = 1
    world.after(STUCK)
    world.spool.waiting = 0
    assert world.after(3600) == []


def test_a_request_may_take_what_its_exporter_allows_and_a_minute_more(world: World) -> None:
    world.delivery.timeout = 120.0
    world.delivery.sending_since = 1.0
    assert world.after(120 + STUCK) == []
    assert world.after(5) == ["exporter mine is stuck in a request"]


def test_answers_are_progress_whatever_they_say(world: World) -> None:
    world.delivery.sending_since = 1.0
    for _ in range(100):
        world.delivery.progress += 1
        assert world.after(30) == []


def test_waiting_for_the_next_attempt_is_not_stuck(world: World) -> None:
    world.delivery.failures = 1
    assert world.after(3600) == []


def test_no_round_of_any_collector_is_stuck(world: World) -> None:
    assert world.after(STUCK + 2 * 15, rounds=False) == []
    assert world.after(5, rounds=False) == ["no collector has had a round"]


def test_missed_ticks_are_the_schedulers_progress(world: World) -> None:
    for _ in range(100):
        world.runner.missed += 1
        assert world.after(30, rounds=False) == []


def test_a_short_watchdog_shortens_the_patience() -> None:
    world = World(patience=10.0)
    world.spool.waiting = 1
    assert world.after(10) == []
    assert world.after(5) != []


def test_a_working_agent_is_ready(world: World) -> None:
    world.delivery.last_ok = 999.0
    assert world.unready() == []


@pytest.mark.parametrize(("outcome", "ready"), [("ok", True), ("no_data", True), ("error", False), ("timeout", False)])
def test_a_failing_collector_is_told(world: World, outcome: str, ready: bool) -> None:
    world.runner.outcome, world.runner.error = outcome, "why"
    assert world.unready() == ([] if ready else [f"collector host: {outcome}: why"])


def test_a_collector_without_a_round_is_not_ready(world: World) -> None:
    world.runner.outcome = None
    assert world.unready() == ["collector host: has not had a round yet"]


def test_an_agent_whose_collectors_are_not_at_work_yet_is_not_ready() -> None:
    spool: Any = FakeSpool()
    assert unready(spool, [], []) == ["starting: no collector is at work yet"]


def test_a_disk_that_cannot_be_written_is_told(world: World) -> None:
    world.spool.trouble = "no space left"
    assert world.unready() == ["spool: the disk cannot be written (no space left); data is kept in memory"]


def test_refused_credentials_are_told_even_if_nothing_waits(world: World) -> None:
    world.delivery.auth_failed, world.delivery.error = True, "401"
    assert world.unready() == ["exporter mine: refuses the credentials: 401"]


def test_a_destination_that_refuses_everything_is_told(world: World) -> None:
    """Nothing waits, nothing fails, and nothing arrives."""
    world.delivery.refused = "400 no"
    assert world.unready() == ["exporter mine: refuses all that it is sent: 400 no"]


def test_an_outage_turns_readiness_red_after_a_while_only(world: World) -> None:
    world.spool.items, world.delivery.failures, world.delivery.error = 1, 3, "refused"
    world.delivery.last_ok, world.delivery.failing_since = 500.0, 1_000.0 - BEHIND
    assert world.unready() == []
    assert world.unready(1_001.0) == ["exporter mine: nothing delivered for 301 s: refused"]


def test_an_exporter_that_never_delivered_is_not_ready(world: World) -> None:
    world.spool.items, world.delivery.failures, world.delivery.error = 1, 1, "refused"
    world.delivery.failing_since = 1_000.0
    assert world.unready(1_000.0 + UNPROVEN) == []
    assert world.unready(1_061.0) == ["exporter mine: nothing delivered for 61 s: refused"]


def test_what_only_the_configuration_can_mend_is_red_at_once(world: World) -> None:
    world.spool.items, world.delivery.failures, world.delivery.error = 1, 1, "404"
    world.delivery.failing_since, world.delivery.misconfigured = 1_000.0, True
    assert world.unready(1_000.0) == ["exporter mine: cannot deliver as it is configured: 404"]
