"""P8: a scrape of /metrics with the host collector, against node_exporter.

The same client asks both in turns, over one kept connection each; latency is the median. The agent answers from its
last round (every 15 s, whose CPU is counted here too), node_exporter collects when asked.
"""

from __future__ import annotations

import http.client
import time

from tests.bench.processes import Bench, Child, median, wait_for
from tests.bench.table import Row, at_most


class Asker:
    """Asks one process for its page, and remembers how long it took."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._connection = http.client.HTTPConnection("127.0.0.1", child.port, timeout=10)
        self._cpu = child.cpu
        self.seconds: list[float] = []
        self.bytes = 0

    def ask(self) -> None:
        """One scrape."""
        began = time.perf_counter()
        self._connection.request("GET", "/metrics")
        page = self._connection.getresponse().read()
        self.seconds.append(time.perf_counter() - began)
        self.bytes = len(page)

    @property
    def cpu_each(self) -> float:
        """CPU seconds of the process for each scrape."""
        return (self._child.cpu - self._cpu) / len(self.seconds)


def run(*, short: bool) -> list[Row]:
    """The rows."""
    with Bench() as bench:
        ours = bench.nightjar(bench.victoria().port, bench.folder / "state")
        theirs = bench.exporter("node")
        wait_for(lambda: "node_load1 " in ours.get("/metrics"), "the first round does not come")
        sides = [Asker(ours), Asker(theirs)]
        for _ in range(300 if short else 2000):
            for side in sides:
                side.ask()
        latency, cpu = (
            [value * 1e3 for value in pair]
            for pair in ([median(s.seconds) for s in sides], [s.cpu_each for s in sides])
        )
        return [
            at_most("P8 a scrape: ms", latency[0], latency[1], 1.0),
            Row("P8 a scrape: CPU ms", cpu[0], cpu[1]),
            Row("P8 a scrape: bytes", sides[0].bytes, sides[1].bytes),
        ]
