"""What `/api/health/*` answers, from the last round: every collector's outcome, a few limits on the host, and how the
destinations take what they are sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from agent.core import Core
from agent.delivery import Delivery
from agent.health import undelivered
from agent.model import MetricBatch
from agent.runner import Runner

Values = dict[str, dict[tuple[tuple[str, str], ...], float]]  # by name and labels

SUBJECTS: Final[dict[str, tuple[str, ...]]] = {
    "system": ("host", "nightjar"),
    "database": ("postgres", "pgbouncer", "mysql", "redis"),
    "external": ("http", "tls", "tcp", "dns", "icmp", "scrape", "mqtt"),
}
MEMORY: Final = 0.10  # of memory available
SPACE: Final = 0.05  # of a file system available
LOAD: Final = 4.0  # tasks waiting or running per processor, over five minutes
EXPIRY: Final = 14.0  # days that the earliest certificate of a chain should have left; critical at 3
ORDER: Final = {"ok": 0, "warning": 1, "critical": 2}


def report(subject: str, core: Core, now: float) -> dict[str, Any]:
    """Overall status, and one entry a check with value, threshold and age in seconds."""
    checks: list[dict[str, Any]] = []
    for runner in core.runners.values():
        if runner.kind not in SUBJECTS[subject]:
            continue
        checks.append(_outcome(runner, now))
        if (batch := core.pipeline.latest.get(runner.name)) is not None:
            found = _host(_values(batch)) if runner.kind == "host" else _targets(runner, _values(batch), now)
            checks.extend(check | {"age_seconds": _age(now, batch.time_ms / 1000)} for check in found)
    if subject == "external":
        checks.extend(_destination(one, undelivered(core.spool, one, now), now) for one in core.deliveries.values())
    worst = max((check["status"] for check in checks), key=ORDER.__getitem__, default="ok")
    return {"subject": subject, "status": worst, "checks": checks}


def _outcome(runner: Runner, now: float) -> dict[str, Any]:
    failed = runner.outcome in ("error", "timeout")
    return {
        "check": runner.name,
        "status": "critical" if failed else "ok",
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
    return round(now - since, 3) if since else None


def _values(batch: MetricBatch) -> Values:
    values: Values = {}
    for series, value in zip(batch.series.series, batch.values, strict=True):
        if isinstance(value, float):
            values.setdefault(series.name, {})[series.labels] = value
    return values


def _targets(runner: Runner, values: Values, now: float) -> Iterator[dict[str, Any]]:
    """Whether each target is well, with the reason if not, and how long its certificates last."""
    for one in runner.targets.latest:
        status = "ok" if one.up else "critical"
        facts = {
            "check": one.name,
            "collector": runner.name,
            "status": status,
            "value": float(one.up),
            "threshold": 1.0,
        }
        yield {**facts, "message": one.reason}
    for labels, value in values.get("probe_ssl_earliest_cert_expiry", {}).items():
        days = (value - now) / 86_400
        status = "critical" if days < 3 else "warning" if days < EXPIRY else "ok"
        check = f"days until a certificate of {dict(labels).get('instance', '')} expires"
        yield {"check": check, "status": status, "value": round(days, 2), "threshold": EXPIRY}


def _host(values: Values) -> Iterator[dict[str, Any]]:
    yield from _memory(values)
    yield from _load(values)
    yield from _space(values)


def _memory(values: Values) -> Iterator[dict[str, Any]]:
    total = sum(values.get("node_memory_MemTotal_bytes", {}).values())
    if total:
        yield _low("memory available", sum(values.get("node_memory_MemAvailable_bytes", {}).values()) / total, MEMORY)


def _load(values: Values) -> Iterator[dict[str, Any]]:
    processors = sum(("mode", "idle") in labels for labels in values.get("node_cpu_seconds_total", {}))
    if processors and "node_load5" in values:
        load = sum(values["node_load5"].values()) / processors
        status = "warning" if load > LOAD else "ok"
        yield {"check": "load per processor", "status": status, "value": round(load, 3), "threshold": LOAD}


def _space(values: Values) -> Iterator[dict[str, Any]]:
    sizes = values.get("node_filesystem_size_bytes", {})
    for labels, available in values.get("node_filesystem_avail_bytes", {}).items():
        if sizes.get(labels) and ("fstype", "tmpfs") not in labels:
            yield _low(f"space available on {dict(labels).get('mountpoint')}", available / sizes[labels], SPACE)


def _low(check: str, value: float, limit: float) -> dict[str, Any]:
    status = "critical" if value < limit / 2 else "warning" if value < limit else "ok"
    return {"check": check, "status": status, "value": round(value, 4), "threshold": limit}
