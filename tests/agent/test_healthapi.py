"""What `/api/health/*` says of destinations, targets and rules, on fakes and a given time."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from agent.health import BEHIND, UNPROVEN
from agent.healthapi import report
from agent.model import MetricBatch, Series, SeriesSet
from agent.rules.inforce import InForce
from agent.rules.judge import Judge
from agent.targets import Targets
from config import AgentOptions, Config
from config.rules import Rule, rule

NOW = 10_000.0
CONFIG = Config(agent=AgentOptions(instance="here"))
OTHERWISE = {"judge": Judge(()), "config": CONFIG, "pipeline": SimpleNamespace(latest={})}


def external(pending: int = 1, **delivery: object) -> Any:
    """The report of an agent with one exporter, for which something waits."""
    working = {"name": "mine", "signals": ("metrics",), "failures": 0, "last_ok": NOW - 2.5}
    spoken = {"error": "", "refused": "", "auth_failed": False, "misconfigured": False}
    core: Any = SimpleNamespace(
        runners={},
        deliveries={"mine": SimpleNamespace(**(working | spoken | delivery))},
        spool=SimpleNamespace(pending=lambda exporter, signal: pending),
        **OTHERWISE,
    )
    return report("external", core, NOW)


def test_a_destination_that_takes_what_it_is_sent_is_ok() -> None:
    check = {
        "check": "exporter mine",
        "status": "ok",
        "value": "ok",
        "threshold": "ok",
        "message": "",
        "age_seconds": 2.5,
    }
    assert external() == {"subject": "external", "status": "ok", "checks": [check]}


@pytest.mark.parametrize(
    ("delivery", "status", "value", "message"),
    [
        ({"failures": 2, "error": "refused", "failing_since": NOW - 5}, "warning", "retrying", "refused"),
        (
            {"failures": 2, "error": "no", "last_ok": 1.0, "failing_since": NOW - BEHIND - 1},
            "critical",
            "error",
            "nothing delivered for 301",
        ),
        (
            {"failures": 2, "error": "no", "last_ok": 0.0, "failing_since": NOW - UNPROVEN - 1},
            "critical",
            "error",
            "nothing delivered for 61",
        ),
        ({"failures": 1, "error": "401", "auth_failed": True}, "critical", "error", "refuses the credentials: 401"),
        ({"refused": "400 no"}, "critical", "error", "refuses all that it is sent: 400 no"),
    ],
)
def test_a_destination_that_fails_is_told_with_its_words(
    delivery: dict[str, object], status: str, value: str, message: str
) -> None:
    found = external(**delivery)
    (check,) = found["checks"]
    assert (found["status"], check["status"], check["value"]) == (status, status, value)
    assert check["message"].startswith(message)


def test_a_destination_that_has_had_nothing_yet_has_no_age() -> None:
    assert external(last_ok=0.0, pending=0)["checks"][0]["age_seconds"] is None


def test_destinations_are_external_only() -> None:
    core: Any = SimpleNamespace(runners={}, deliveries={"mine": None}, spool=None, **OTHERWISE)
    assert report("system", core, NOW)["checks"] == []


def database(*series: tuple[str, dict[str, str], float], rules: Sequence[tuple[Rule, str]] = ()) -> Any:
    """The report of an agent with a Redis collector, what it saw, and rules, each with the kind it is a default of."""
    rows = [Series(name, "gauge", "", "", tuple(sorted(labels.items()))) for name, labels, _ in series]
    batch = MetricBatch("redis", int(NOW * 1000) - 500, SeriesSet(rows), [value for *_, value in series])
    targets = Targets("redis", "redis")
    targets.look([batch])
    facts = {"kind": "redis", "name": "redis", "outcome": "ok", "error": "", "last_round_ms": NOW * 1000}
    facts |= {"stamper": SimpleNamespace(series=len(series)), "duration": 0.1}
    runner = SimpleNamespace(**facts, targets=targets)
    judge = Judge([InForce(rule=one, origin="agent.toml:3", kind=kind) for one, kind in rules])
    judge.look(NOW - 5, [batch])
    pipeline = SimpleNamespace(latest={"redis": batch})
    core: Any = SimpleNamespace(runners={"redis": runner}, pipeline=pipeline, judge=judge, config=CONFIG)
    return report("database", core, NOW)


def test_a_target_that_is_down_is_critical_with_its_reason() -> None:
    found = database(
        ("redis_up", {"instance": "cache:6379"}, 0.0),
        ("redis_exporter_last_scrape_error", {"instance": "cache:6379", "err": "refused"}, 1.0),
        ("redis_up", {"instance": "other:6379"}, 1.0),
        ("redis_exporter_last_scrape_error", {"instance": "other:6379", "err": ""}, 0.0),
    )
    assert found["status"] == "critical"
    assert [(one["collector"], one["check"], one["status"], one["message"]) for one in found["checks"][1:]] == [
        ("redis", "cache:6379", "critical", "refused"),
        ("redis", "other:6379", "ok", ""),
    ]


FULL = rule("RedisFull", "redis_used > 5", severity="warning", summary="{{ $labels.instance }} is full")
SERIES = (
    ("redis_up", {"instance": "cache:6379"}, 1.0),
    ("redis_used", {"instance": "cache:6379"}, 9.0),
    ("redis_used", {"instance": "other:6379"}, 1.0),
)


@pytest.mark.parametrize("kind", ["redis", ""])
def test_what_rules_find_is_told_with_value_threshold_and_age(kind: str) -> None:
    """A rule of nobody's belongs to the collector whose series it names."""
    found = database(*SERIES, rules=[(FULL, kind)])
    assert found["status"] == "warning"
    *_, full, fine = found["checks"]
    assert (full["check"], full["status"], full["message"]) == ("RedisFull", "warning", "cache:6379 is full")
    assert (full["value"], full["comparison"], full["threshold"], full["age_seconds"]) == (9.0, ">", 5.0, 5.0)
    assert (fine["subject"], fine["status"], fine["value"]) == ("other:6379", "ok", 1.0)


def test_a_rule_of_another_subject_is_not_told() -> None:
    assert len(database(*SERIES, rules=[(FULL, "host")])["checks"]) == 2


def test_a_rule_without_series_is_not_told() -> None:
    nothing = rule("Nothing", "redis_nothing > 5", severity="warning", summary="")
    assert len(database(*SERIES, rules=[(nothing, "redis")])["checks"]) == 2
