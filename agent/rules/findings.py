"""What rules and collectors' outcomes amount to, in one shape for all who tell it: `check`, `status`, `/api/health/*`.

A finding is one thing that was looked at: an alert, a value within its limit, a rule that has nothing to say against
anything, or a collector's round.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import Struct

from agent.promql import Labels
from agent.rules.alerting import Alert, Alerting, severity_of
from config.rules import Severity

Status = Literal["ok", "info", "warning", "unknown", "critical", "emergency"]
STATUSES: Final[tuple[Status, ...]] = ("ok", "info", "warning", "unknown", "critical", "emergency")  # best first
EXIT_CODES: Final[Mapping[Status, int]] = {
    "ok": 0,
    "info": 0,
    "warning": 1,
    "critical": 2,
    "emergency": 2,
    "unknown": 3,
}
_UNTOLD: Final = ("job", "agent", "module")  # labels that say no more than the rule's name does
_TELLING: Final = ("instance", "mountpoint", "device", "datname", "slot_name", "db", "database", "user", "name")


class Finding(Struct, frozen=True):
    """One thing that was looked at.

    `check` is the rule's or the collector's name; `subject` tells its series from others, for people; `message` is
    empty where all is well. `value` is held against `threshold` (the rule speaks up for `value comparison threshold`);
    `severity` is the rule's, whatever it finds. Findings of one `measure` and labels are about one value. An `empty`
    one is of a rule whose series are not here.
    """

    check: str
    status: Status
    subject: str = ""
    message: str = ""
    kind: str = ""
    severity: Severity | None = None
    pending: bool = False
    value: float | None = None
    comparison: str = ""
    threshold: float | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    since: float = 0.0
    metric: str = ""
    measure: str = ""
    empty: bool = False


def worst(findings: Iterable[Finding]) -> Status:
    """The gravest status; ok where there is nothing."""
    return max((one.status for one in findings), key=STATUSES.index, default="ok")


def findings(rules: Iterable[Alerting], known: Mapping[str, str] = {}) -> list[Finding]:
    """What rules found; `known` are labels that all series of this agent carry and that so tell nothing."""
    return [one for rule in rules for one in _of_rule(rule, known)]


def _of_rule(rule: Alerting, known: Mapping[str, str]) -> Iterator[Finding]:
    if rule.error:
        yield Finding(rule.name, "unknown", message=f"cannot be judged: {rule.error}", kind=rule.kind)
        return
    limit = rule.query.limit
    facts: dict[str, Any] = {"kind": rule.kind, "severity": severity_of(rule.rule.labels)}
    if limit is not None:
        facts |= {"comparison": limit.op, "threshold": limit.bound}
        facts |= {"metric": limit.metric, "measure": repr(limit.values)}
    alerts = rule.alerts
    for alert in alerts:
        yield _of_alert(rule, alert, facts, known)
    active = {one.series for one in alerts}
    well = [one for one in rule.measured if not one.beyond and one.labels not in active]
    for one in well:
        subject = subject_of(one.labels, known)
        yield Finding(rule.name, "ok", subject, value=one.value, labels=dict(one.labels), **facts)
    if not alerts and not well:
        message = "" if limit is None else "there is nothing of this kind here"
        yield Finding(rule.name, "ok", message=message, empty=limit is not None, **facts)


def _of_alert(rule: Alerting, alert: Alert, facts: dict[str, Any], known: Mapping[str, str]) -> Finding:
    own = {name: value for name, value in alert.labels.items() if name not in ("alertname", "severity")}
    own = {name: value for name, value in own.items() if rule.rule.labels.get(name) != value}
    subject = subject_of(tuple(own.items()), known)
    return Finding(
        rule.name,
        severity_of(alert.labels) if alert.firing else "ok",
        subject,
        alert.annotations.get("summary") or alert.annotations.get("description") or subject,
        pending=not alert.firing,
        value=alert.value,
        labels=alert.labels,
        annotations=alert.annotations,
        since=alert.active_since,
        **facts,
    )


def subject_of(labels: Labels, known: Mapping[str, str]) -> str:
    """The labels that tell a series from others of its rule, in a word or two."""
    telling = {name: value for name, value in labels if name not in _UNTOLD and known.get(name) != value}
    words = [telling[name] for name in _TELLING if name in telling]
    if "mountpoint" in telling:  # which says more than its device does
        words = [telling[name] for name in ("instance", "mountpoint") if name in telling]
    return " ".join(words or [f"{name}={value}" for name, value in telling.items()])


def document(one: Finding) -> dict[str, Any]:
    """A finding as JSON has it; its shape is described in docs/check.md. A value that is no number is null."""
    state = "pending" if one.pending else "firing" if one.since else "ok"
    return {
        "check": one.check,
        "status": one.status,
        "state": state if one.severity is not None else None,
        "severity": one.severity,
        "kind": one.kind,
        "subject": one.subject,
        "message": one.message,
        "value": one.value,
        "comparison": one.comparison or None,
        "threshold": one.threshold,
        "labels": one.labels,
        "annotations": one.annotations,
        "since": one.since or None,
    }


def sort(found: Sequence[Finding]) -> list[Finding]:
    """Worst first; otherwise as they came."""
    return sorted(found, key=lambda one: -STATUSES.index(one.status))
