"""Whether the agent makes progress: what feeds the watchdog, and what `/readyz` answers.

Alive is about this process: the loop turns, the spool's thread finishes its work, deliveries come back with an
answer, whatever the answer is. Ready is about its purpose: collectors succeed, destinations take what they are sent,
and the disk is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from agent.delivery import Delivery
from agent.runner import Runner
from agent.spool import Spool

STUCK = 60.0  # seconds without progress while there is work, beyond what the work's own limits allow
BEHIND = 300.0  # seconds that a destination may fail before readiness says so
UNPROVEN = 60.0  # the same for one that took nothing since the agent started: its options may be wrong


class Progress:
    """Remembers when each counter last moved while there was work."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._seen: dict[str, tuple[int, float]] = {}

    def idle_for(self, name: str, counter: int, working: bool) -> float:
        """Seconds since `counter` last moved; 0 while there is no work."""
        now = self._monotonic()
        before = self._seen.get(name)
        if before is None or before[0] != counter or not working:
            self._seen[name] = (counter, now)
            return 0.0
        return now - before[1]

    def stuck(
        self, spool: Spool, deliveries: Iterable[Delivery], runners: Iterable[Runner], patience: float = STUCK
    ) -> list[str]:
        """What should have moved for `patience` seconds and did not; empty when the process is alive.

        A delivery moves when a request is answered or its time limit ends it, and while it waits to try again.
        """
        found = []
        if self.idle_for("spool", spool.progress, spool.waiting > 0) > patience:
            found.append("the spool's thread does not finish its work")
        for delivery in deliveries:
            limit = patience + delivery.timeout
            if self.idle_for(f"exporter {delivery.name}", delivery.progress, delivery.sending_since > 0) > limit:
                found.append(f"exporter {delivery.name} is stuck in a request")
        if scheduled := list(runners):
            rounds = sum(sum(runner.rounds.values()) + runner.missed for runner in scheduled)
            limit = patience + 2 * min(runner.interval for runner in scheduled)
            if self.idle_for("scheduler", rounds, True) > limit:
                found.append("no collector has had a round")
        return found


def unready(
    spool: Spool, deliveries: Iterable[Delivery], runners: Iterable[Runner], *, wall: Callable[[], float] = time.time
) -> list[str]:
    """Why the agent does not do its duty; empty when it does."""
    reasons = []
    runners = list(runners)
    if not runners:
        reasons.append("starting: no collector is at work yet")
    if spool.trouble:
        reasons.append(f"spool: the disk cannot be written ({spool.trouble}); data is kept in memory")
    for runner in runners:
        if runner.outcome in ("error", "timeout"):
            reasons.append(f"collector {runner.name}: {runner.outcome}: {runner.error}")
        elif runner.outcome is None:
            reasons.append(f"collector {runner.name}: has not had a round yet")
    now = wall()
    reasons += [f"exporter {one.name}: {reason}" for one in deliveries if (reason := undelivered(spool, one, now))]
    return reasons


def undelivered(spool: Spool, delivery: Delivery, now: float) -> str:
    """Why an exporter does not deliver; empty while it does, has nothing to do, or has not failed for long."""
    if delivery.auth_failed:
        return f"refuses the credentials: {delivery.error}"
    if delivery.refused:
        return f"refuses all that it is sent: {delivery.refused}"
    if not delivery.failures or not any(spool.pending(delivery.name, signal) for signal in delivery.signals):
        return ""
    if delivery.misconfigured:
        return f"cannot deliver as it is configured: {delivery.error}"
    failing = now - delivery.failing_since
    patience = BEHIND if delivery.last_ok else UNPROVEN
    return f"nothing delivered for {failing:.0f} s: {delivery.error}" if failing > patience else ""
