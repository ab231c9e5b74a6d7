"""What `/api/health/*` answers, from the last round: every collector's outcome, its targets, what the rules say of it,
and how the destinations take what they are sent.
"""

from __future__ import annotations

from typing import Any, Final

from agent.core import Core
from agent.delivery import Delivery
from agent.health import undelivered
from agent.promql import names_of
from agent.rules.alerting import Alerting
from agent.rules.findings import STATUSES, Finding, document, explained, findings, of_collector, shared_labels
from agent.runner import Runner
from agent.targets import Target

SUBJECTS: Final[dict[str, tuple[str, ...]]] = {
    "system": ("host", "nightjar"),
    "database": ("postgres", "pgbouncer", "mysql", "redis"),
    "external": ("http", "tls", "tcp", "dns", "icmp", "scrape", "mqtt"),
}


def report(subject: str, core: Core, now: float) -> dict[str, Any]:
    """Overall status, and one entry a check with value, threshold and age in seconds."""
    checks: list[dict[str, Any]] = []
    for runner in core.runners.values():
        if _subject(runner.kind) == subject:
            checks.append(_outcome(runner, now))
            checks += [_target(runner, one, now) for one in runner.targets.latest]
    age = _age(now, core.judge.looked)
    checks += [document(one) | {"age_seconds": age} for one in _findings(subject, core)]
    if subject == "external":
        checks.extend(_destination(one, undelivered(core.spool, one, now), now) for one in core.deliveries.values())
    overall = max((check["status"] for check in checks), key=STATUSES.index, default="ok")
    return {"subject": subject, "status": overall, "checks": checks}


def _findings(subject: str, core: Core) -> list[Finding]:
    """What the rules say of a subject: a collector's defaults of its own, others of the series that they name."""
    known = shared_labels(core.config.agent)
    kinds = {rule: rule.kind or _kind(rule, core) for rule in core.judge.alerting}
    rules = [rule for rule, kind in kinds.items() if _subject(kind or "host") == subject]
    found = findings(core.judge, known, rules) if core.judge.looked else []
    return explained([one for one in found if not one.empty], core.runners.values())


def _subject(kind: str) -> str:
    """Where a kind of collector is told of; those of others look at what is outside, as far as we know."""
    return next((subject for subject, kinds in SUBJECTS.items() if kind in kinds), "external")


def _kind(rule: Alerting, core: Core) -> str:
    """The kind of the first collector that has a series which a rule names."""
    for name, batch in core.pipeline.latest.items():
        if name in core.runners and not rule.query.names.isdisjoint(names_of(batch.series)):
            return core.runners[name].kind
    return ""


def _outcome(runner: Runner, now: float) -> dict[str, Any]:
    return {
        "check": runner.name,
        "status": of_collector(runner).status,
        "value": runner.outcome,
        "threshold": "ok",
        "message": runner.error,
        "age_seconds": _age(now, runner.last_round_ms / 1000),
    }


def _destination(delivery: Delivery, reason: str, now: float) -> dict[str, Any]:
    """An exporter's entry; its age is that of the last success."""
    failing = delivery.failures > 0
    return {
        "check": f"exporter {delivery.name}",
        "status": "critical" if reason else "warning" if failing else "ok",
        "value": "error" if reason else "retrying" if failing else "ok",
        "threshold": "ok",
        "message": reason or delivery.error,
        "age_seconds": _age(now, delivery.last_ok),
    }


def _age(now: float, since: float) -> float | None:
    return round(max(0.0, now - since), 3) if since else None


def _target(runner: Runner, one: Target, now: float) -> dict[str, Any]:
    """Whether a target is well, with the reason if not."""
    return {
        "check": one.name,
        "collector": runner.name,
        "status": "ok" if one.up else "critical",
        "value": float(one.up),
        "threshold": 1.0,
        "message": one.reason,
        "age_seconds": _age(now, runner.last_round_ms / 1000),
    }
