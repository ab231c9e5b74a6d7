"""What `/api/health/*` answers: every collector's last outcome, and a few limits on the host, from the last round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from agent.model import MetricBatch
from agent.runner import Runner

SUBJECTS: Final[dict[str, tuple[str, ...]]] = {
    "system": ("host", "nightjar"),
    "database": ("postgres", "pgbouncer", "mysql", "redis"),
    "external": ("http", "tls", "tcp", "dns", "icmp", "scrape", "mqtt"),
}
MEMORY: Final = 0.10  # of memory available
SPACE: Final = 0.05  # of a file system available
LOAD: Final = 4.0  # tasks waiting or running per processor, over five minutes
ORDER: Final = {"ok": 0, "warning": 1, "critical": 2}


def report(
    subject: str, runners: Mapping[str, Runner], latest: Mapping[str, MetricBatch], now: float
) -> dict[str, Any]:
    """Overall status, and one entry a check with value, threshold and age in seconds."""
    checks: list[dict[str, Any]] = []
    for runner in runners.values():
        if runner.kind not in SUBJECTS[subject]:
            continue
        checks.append(_outcome(runner, now))
        if runner.kind == "host" and (batch := latest.get(runner.name)) is not None:
            checks.extend(check | {"age_seconds": round(now - batch.time_ms / 1000, 3)} for check in _host(batch))
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
        "age_seconds": round(now - runner.last_round_ms / 1000, 3) if runner.last_round_ms else None,
    }


def _host(batch: MetricBatch) -> Iterator[dict[str, Any]]:
    values: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for series, value in zip(batch.series.series, batch.values, strict=True):
        if isinstance(value, float):
            values.setdefault(series.name, {})[series.labels] = value
    yield from _memory(values)
    yield from _load(values)
    yield from _space(values)


def _memory(values: dict[str, dict[tuple[tuple[str, str], ...], float]]) -> Iterator[dict[str, Any]]:
    total = sum(values.get("node_memory_MemTotal_bytes", {}).values())
    if total:
        yield _low("memory available", sum(values.get("node_memory_MemAvailable_bytes", {}).values()) / total, MEMORY)


def _load(values: dict[str, dict[tuple[tuple[str, str], ...], float]]) -> Iterator[dict[str, Any]]:
    processors = sum(("mode", "idle") in labels for labels in values.get("node_cpu_seconds_total", {}))
    if processors and "node_load5" in values:
        load = sum(values["node_load5"].values()) / processors
        status = "warning" if load > LOAD else "ok"
        yield {"check": "load per processor", "status": status, "value": round(load, 3), "threshold": LOAD}


def _space(values: dict[str, dict[tuple[tuple[str, str], ...], float]]) -> Iterator[dict[str, Any]]:
    sizes = values.get("node_filesystem_size_bytes", {})
    for labels, available in values.get("node_filesystem_avail_bytes", {}).items():
        if sizes.get(labels) and ("fstype", "tmpfs") not in labels:
            yield _low(f"space available on {dict(labels).get('mountpoint')}", available / sizes[labels], SPACE)


def _low(check: str, value: float, limit: float) -> dict[str, Any]:
    status = "critical" if value < limit / 2 else "warning" if value < limit else "ok"
    return {"check": check, "status": status, "value": round(value, 4), "threshold": limit}
