"""What happens in the spool's thread, as lines of the log."""

from __future__ import annotations

import time
from collections import Counter
from typing import cast

from agent import logs
from agent.spool import Event

PAUSE = 60.0  # seconds between two lines about data given up at the limits: a full spool gives up at every commit

LINES = {
    "spool.salvaged": "a damaged spool was set aside; what could be read was carried over",
    "spool.disk_trouble": "the disk cannot be written; data is kept in memory and the disk tried again",
    "spool.disk_back": "the disk is written again",
    "spool.file_vanished": "the spool's file was removed; its content moves into a new one",
    "spool.damaged": "items were damaged on disk and are counted as dropped",
    "spool.retired": "an exporter is no longer configured; what waits for it stays until the limits, or "
    "`nightjar spool purge --exporter`",
    "spool.strangers": "something else stood in the place of the spool's files and was set aside",
    "spool.too_large": "a batch is larger than the spool may be and was given up",
    "spool.memory_lost": "the disk was not written to the end; what was only in memory is lost and counted",
    "spool.evicted": "the spool is at its limit; the oldest data is given up",
}

log = logs.get_logger("agent")


class Told:
    """Logs events. Those of the limits are summed up: the first at once, then one line a minute."""

    def __init__(self) -> None:
        self._evicted: Counter[str] = Counter()
        self._next = 0.0

    def __call__(self, event: Event) -> None:
        """Log an event, at once or later."""
        if event.name != "spool.evicted":
            (log.info if event.name == "spool.disk_back" else log.warning)(LINES[event.name], **event.facts)
            return
        self._evicted.update(cast("dict[str, int]", event.facts["items"]))
        if time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Log what was summed up."""
        if self._evicted:
            log.warning(LINES["spool.evicted"], items=dict(self._evicted))
            self._evicted.clear()
            self._next = time.monotonic() + PAUSE
