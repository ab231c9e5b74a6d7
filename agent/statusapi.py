"""What a running agent holds, as one JSON document: `/api/status`, and with it `nightjar status`."""

from __future__ import annotations

import time
from typing import Any

from agent import __version__, spoolapi
from agent.core import Core
from agent.delivery import Delivery
from agent.rules.findings import document, explained, findings, shared_labels, sort, worst
from agent.runner import Runner


async def status(core: Core) -> dict[str, Any]:
    """Everything; times are Unix seconds, 0 for never."""
    spool = spoolapi.stat(await core.spool.stat(), core.spool.entries())
    ledger = [entry | {"configured": entry["exporter"] in core.deliveries} for entry in spool.pop("ledger")]
    return {
        **_agent(core),
        "collectors": [_collector(runner) for runner in core.runners.values()],
        "rules": _rules(core),
        "exporters": [_exporter(delivery) for delivery in core.deliveries.values()],
        "ledger": ledger,
        "spool": spool | {"max_bytes": int(core.config.spool.max_size)},
    }


def _agent(core: Core) -> dict[str, Any]:
    reasons = core.troubles()
    return {
        "version": __version__,
        "started": core.started,
        "uptime_seconds": round(time.time() - core.started, 1),
        "instance": core.config.agent.instance,
        "files": list(core.config.files),
        "listen": core.config.agent.listen,
        "ready": not reasons,
        "reasons": reasons,
    }


def _collector(runner: Runner) -> dict[str, Any]:
    return {
        "name": runner.name,
        "kind": runner.kind,
        "outcome": runner.outcome,
        "error": runner.error,
        "series": runner.stamper.series,
        "targets": runner.targets.told(),
        "interval_seconds": runner.interval,
        "duration_seconds": round(runner.duration, 6),
        "last_success": runner.last_ok_ms / 1000,
        "missed_ticks": runner.missed,
        "rounds": dict(runner.rounds),
    }


def _rules(core: Core) -> dict[str, Any]:
    """The rules' verdicts: what fires or waits to, and the rules that cannot be judged."""
    known = shared_labels(core.config.agent)
    found = explained(findings(core.judge, known), core.runners.values())
    return {
        "in_force": len(core.judge.alerting),
        "judged": core.judge.looked,
        "status": worst(found),
        "alerts": [document(one) for one in sort(found) if one.status != "ok" or one.pending],
    }


def _exporter(delivery: Delivery) -> dict[str, Any]:
    return {
        "name": delivery.name,
        "error": delivery.error,
        "failures_in_a_row": delivery.failures,
        "last_success": delivery.last_ok,
        "requests": dict(delivery.requests),
    }
