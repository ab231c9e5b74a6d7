"""What `/api/health/external` says of the destinations, on fakes and a given time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agent.health import BEHIND, UNPROVEN
from agent.healthapi import report
from agent.model import MetricBatch, Series, SeriesSet
from agent.targets import Targets

NOW = 10_000.0


def external(pending: int = 1, **delivery: object) -> Any:
    """The report of an agent with one exporter, for which something waits."""
    working = {"name": "mine", "signals": ("metrics",), "failures": 0, "last_ok": NOW - 2.5}
    spoken = {"error": "", "refused": "", "auth_failed": False, "misconfigured": False}
    core: Any = SimpleNamespace(
        runners={},
        deliveries={"mine": SimpleNamespace(**(working | spoken | delivery))},
        spool=SimpleNamespace(pending=lambda exporter, signal: pending),
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
    core: Any = SimpleNamespace(runners={}, deliveries={"mine": None}, spool=None)
    assert report("system", core, NOW)["checks"] == []


def database(*series: tuple[str, dict[str, str], float]) -> Any:
    """The report of an agent with one Redis collector and what it saw."""
    rows = [Series(name, "gauge", "", "", tuple(sorted(labels.items()))) for name, labels, _ in series]
    batch = MetricBatch("redis", int(NOW * 1000) - 500, SeriesSet(rows), [value for *_, value in series])
    targets = Targets("redis", "redis")
    targets.look([batch])
    facts = {"kind": "redis", "name": "redis", "outcome": "ok", "error": "", "last_round_ms": NOW * 1000}
    runner = SimpleNamespace(**facts, targets=targets)
    core: Any = SimpleNamespace(runners={"r": runner}, pipeline=SimpleNamespace(latest={"redis": batch}))
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


@pytest.mark.parametrize(("days", "status"), [(20, "ok"), (10, "warning"), (2, "critical"), (-1, "critical")])
def test_a_certificate_that_expires_soon_is_told(days: int, status: str) -> None:
    labels = {"instance": "https://shop"}
    found = database(("probe_state", labels, 1.0), ("probe_ssl_earliest_cert_expiry", labels, NOW + days * 86_400))
    assert found["checks"][-1]["status"] == found["status"] == status
    assert found["checks"][-1]["value"] == days
