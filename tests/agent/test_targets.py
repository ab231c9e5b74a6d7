"""Which targets are well, as the round says it, and one line in the log for each that changes."""

from __future__ import annotations

from typing import Any

from agent.model import Sample, gauge
from agent.stamper import Stamper
from agent.targets import SHOWN, Targets
from tests.logged import capture_logs

STATE = gauge("probe_state", "State.", "instance")
WHY = gauge("probe_failure_info", "Reason.", "instance", "reason")
PG_UP, PG_ERROR = gauge("pg_up", "Up.", "instance"), gauge("pg_error", "Error.", "instance", "error")


class Rounds:
    """A collector of a kind, whose rounds are looked at."""

    def __init__(self, kind: str) -> None:
        self.targets = Targets("web", kind)
        self._stamper = Stamper("web", [])
        self._now = 0

    def look(self, *samples: Sample) -> list[dict[str, Any]]:
        """Another round; answers the log lines it made."""
        self._now += 1000
        with capture_logs() as logs:
            self.targets.look(self._stamper.stamp(self._now, samples))
        return list(logs)


def test_a_target_that_goes_down_and_comes_back_is_told_once_each_way() -> None:
    rounds = Rounds("http")
    assert rounds.look(STATE(1.0, "a")) == []
    (line,) = rounds.look(STATE(0.0, "a"), WHY(1.0, "a", "refused"))
    assert (line["event"], line["target"], line["reason"]) == ("target is down", "a", "refused")
    assert rounds.look(STATE(0.0, "a"), WHY(1.0, "a", "timeout")) == []
    assert rounds.targets.told() == {"up": 0, "down": 1, "failing": [{"target": "a", "reason": "timeout"}]}
    (line,) = rounds.look(STATE(1.0, "a"))
    assert line["event"] == "target is back"


def test_a_target_that_is_down_from_the_start_is_told() -> None:
    (line,) = Rounds("postgres").look(PG_UP(0.0, "db:5432"), PG_ERROR(1.0, "db:5432", "auth"))
    assert (line["event"], line["target"], line["reason"]) == ("target is down", "db:5432", "auth")


def test_a_target_that_is_looked_at_no_more_is_forgotten() -> None:
    rounds = Rounds("http")
    rounds.look(STATE(0.0, "a"), STATE(1.0, "b"))
    rounds.look(STATE(1.0, "b"))
    assert rounds.targets.told() == {"up": 1, "down": 0, "failing": []}
    assert rounds.look() == []
    assert rounds.targets.told() == {"up": 0, "down": 0, "failing": []}


def test_many_at_once_are_a_few_lines() -> None:
    lines = Rounds("http").look(*[STATE(0.0, str(number)) for number in range(1000)])
    assert len(lines) == SHOWN + 1
    assert (lines[-1]["event"], lines[-1]["down"]) == ("more targets changed", 1000 - SHOWN)


def test_kinds_without_targets_have_none() -> None:
    rounds = Rounds("host")
    assert rounds.look(STATE(0.0, "a")) == []
    assert rounds.targets.told() is None
