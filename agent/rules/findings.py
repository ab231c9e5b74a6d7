"""What rules and collectors' outcomes amount to, in one shape for all who tell it: `check`, `status`, `/api/health/*`.

A finding is one thing that was looked at: an alert, a value within its limit, a rule that has nothing to say against
anything, or a collector's round.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from agent.promql import Labels
from agent.rules.alerting import Alert, Alerting, severity_of
from agent.rules.judge import Judge
from agent.runner import Runner
from config import AgentOptions
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
SHOWN: Final = 3  # targets that are down, in the words of their collector
_UNTOLD: Final = ("job", "agent", "module")  # labels that say no more than the rule's name does
_TELLING: Final = ("instance", "mountpoint", "device", "datname", "slot_name", "db", "database", "user", "name")


class Finding(Struct, frozen=True):
    """One thing that was looked at.

    `check` is the rule's or the collector's name; `subject` tells its series from others, for people; `message` is
    empty where all is well. `value` is held against `threshold` (the rule speaks up for `value comparison threshold`);
    `severity` is the rule's, whatever it finds. Findings of one `measure` and subject are about one value. `key` is the
    same for the same thing from one look to the next. An `empty` one is of a rule whose series are not here.
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
    key: str = ""
    empty: bool = False


def worst(findings: Iterable[Finding]) -> Status:
    """The gravest status; ok where there is nothing."""
    return max((one.status for one in findings), key=STATUSES.index, default="ok")


def shared_labels(agent: AgentOptions) -> dict[str, str]:
    """The labels that all series of an agent carry, and that so tell none from another."""
    return {**agent.labels, "instance": agent.instance}


def findings(judge: Judge, known: Mapping[str, str] = {}, rules: Iterable[Alerting] | None = None) -> list[Finding]:
    """What the rules found, or some of them; `known` are labels that all series of this agent carry and that so tell
    nothing.
    """
    failed = [
        Finding(one.name, "unknown", message=f"cannot be recorded: {one.error}", severity="warning", key=one.name)
        for one in judge.recording
        if one.error and rules is None
    ]
    chosen = judge.alerting if rules is None else rules
    return [*failed, *(one for rule in chosen for one in _of_rule(rule, known))]


def explained(found: Iterable[Finding], runners: Iterable[Runner]) -> list[Finding]:
    """The same, with the reason, in their collectors' words, why targets that alerts are about are down."""
    reasons = {
        (one.kind, target.name): target.reason for one in runners for target in one.targets.latest if not target.up
    }
    return [_explained(one, reasons) if one.status != "ok" or one.pending else one for one in found]


def _explained(one: Finding, reasons: Mapping[tuple[str, str], str]) -> Finding:
    told = {reason for (_, target), reason in reasons.items() if target == one.labels.get("instance") and reason}
    reason = reasons.get((one.kind, one.labels.get("instance", ""))) or (told.pop() if len(told) == 1 else "")
    if not reason or reason in one.message.split():
        return one
    return replace(one, message=f"{one.message} ({reason})")


def of_collector(runner: Runner) -> Finding:
    """How a collector's last round went."""
    facts: dict[str, Any] = {"kind": runner.kind, "key": runner.name}
    match runner.outcome:
        case "ok":
            message = f"{runner.stamper.series} series in {runner.duration:.2f} s"
            if (told := runner.targets.told()) is None:
                return Finding(runner.name, "ok", message=message, **facts)
            if not (total := told["up"] + told["down"]):
                return Finding(runner.name, "unknown", message="there are no targets", **facts)
            down = [f"{one['target']} is down: {one['reason']}" for one in told["failing"]][:SHOWN]
            words = ", ".join([f"{told['up']} of {total} up", *down, message])
            return Finding(runner.name, "ok", message=words, **facts)
        case "no_data":
            return Finding(runner.name, "ok", message=f"nothing to collect here: {runner.error}", **facts)
        case None:
            return Finding(runner.name, "ok", message="has not had a round yet", **facts)
    return Finding(runner.name, "unknown", message=f"{runner.outcome}: {runner.error}", **facts)


def _of_rule(rule: Alerting, known: Mapping[str, str]) -> Iterator[Finding]:
    limit, severity = rule.query.limit, severity_of(rule.rule.labels)
    facts: dict[str, Any] = {"kind": rule.kind, "severity": severity}
    if rule.error:
        yield Finding(rule.name, "unknown", message=f"cannot be judged: {rule.error}", key=rule.name, **facts)
    if limit is not None:
        facts |= {"comparison": limit.op, "threshold": limit.bound}
        facts |= {"metric": limit.metric, "measure": repr(limit.values)}
    alerts = rule.alerts
    active = {one.series for one in alerts}
    well = [one for one in rule.measured if not one.beyond and one.labels not in active]
    subjects = subjects_of([*active, *(one.labels for one in well)], known)
    for alert in alerts:
        yield _of_alert(rule, alert, subjects[alert.series], facts)
    for one in well:
        subject, key = subjects[one.labels], _key(rule, one.labels)
        yield Finding(rule.name, "ok", subject, value=one.value, labels=dict(one.labels), key=key, **facts)
    if not alerts and not well and not rule.error:
        message = "" if limit is None else "there is nothing of this kind here"
        yield Finding(rule.name, "ok", message=message, key=rule.name, empty=limit is not None, **facts)


def _of_alert(rule: Alerting, alert: Alert, subject: str, facts: dict[str, Any]) -> Finding:
    return Finding(
        rule.name,
        severity_of(alert.labels) if alert.firing else "ok",
        subject,
        alert.annotations.get("summary") or alert.annotations.get("description") or _unannotated(rule, alert, subject),
        pending=not alert.firing,
        value=alert.value,
        labels=alert.labels,
        annotations=alert.annotations,
        since=alert.active_since,
        key=_key(rule, alert.series),
        **facts,
    )


def _unannotated(rule: Alerting, alert: Alert, subject: str) -> str:
    """Words for an alert that has none of its own."""
    who = f"{subject}: " if subject else ""
    return f"{who}{alert.value:.4g}, by {rule.query.text}"


def _key(rule: Alerting, series: Labels) -> str:
    """A series of a rule, whatever its value; rules of one name differ by their severity."""
    words = [f"{name}={value}" for name, value in series]
    return "\0".join([rule.name, rule.rule.labels.get("severity", ""), *words])


def subjects_of(series: Iterable[Labels], known: Mapping[str, str]) -> dict[Labels, str]:
    """For each series of a rule the labels that tell it from the others, in as few words as do."""
    alike: dict[str, list[Labels]] = {}
    for one in series:
        alike.setdefault(_subject(one, known), []).append(one)
    found: dict[Labels, str] = {}
    for subject, some in alike.items():
        common = set(some[0]).intersection(*some)
        for one in some:
            rest = [
                f"{name}={value}" for name, value in one if (name, value) not in common and value not in subject.split()
            ]
            found[one] = " ".join([subject, *rest]).strip() if len(some) > 1 else subject
    return found


def _subject(labels: Labels, known: Mapping[str, str]) -> str:
    """The labels by which people know a series."""
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
