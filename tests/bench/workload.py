"""Made-up series that look like a host's: most stand still, some count unevenly, some are noise."""

from __future__ import annotations

import random
from collections.abc import Iterator

from agent.model import MetricBatch, Sample, SeriesSet, counter, gauge
from agent.stamper import Stamper

CONTEXT = (
    {"cluster": "production-1", "env": "prod", "region": "eu-1"},
    {"instance": "host-0001.example.com", "job": "node"},
)
HOST = {"host": 600, "redis": 300, "postgresql": 400, "http": 80}  # series by collector: 1,380 together

_COUNTERS = [
    counter(f"bench_metric_{at}_total", f"What metric {at} counts.", "cpu", "device", "mode") for at in range(50)
]
_GAUGES = [gauge(f"bench_metric_{at}", f"What metric {at} shows.", "cpu", "device", "mode") for at in range(50)]


def samples(count: int, tick: int, collector: str = "host") -> list[Sample]:
    """One round of `count` series with three labels of their own, five more from the context; tuples are fresh."""
    families = (_COUNTERS, _GAUGES)
    return [
        families[at % 2][at // 2 % 50](at * 1.5 + tick, f"{at % 64}", f"{collector}-{at}", "user")
        for at in range(count)
    ]


class Series:
    """The values of some series over time, in the mixture that node_exporter shows on a quiet host between two scrapes:
    of 50, 34 stand still, 4 count whole numbers and 4 hundredths of seconds, 3 are sizes in pages, and 5 measure time
    with every bit of a float.
    """

    def __init__(self, collector: str, count: int, seed: int) -> None:
        stamper = Stamper(collector, CONTEXT)
        self._set: SeriesSet = stamper.stamp(0, samples(count, 0, collector))[0].series
        self._collector = collector
        self._random = random.Random(seed)
        self._values = [float(self._random.randrange(1, 10**9)) for _ in range(count)]
        self._pace = [self._random.choice((1, 40, 3_000, 200_000)) for _ in range(count)]

    def batch(self, time_ms: int) -> MetricBatch:
        """The next round."""
        draw, values = self._random.random, self._values
        for first in range(0, len(values), 50):
            for at in range(first, min(first + 4, len(values))):
                values[at] += int(self._pace[at] * draw())
            for at in range(first + 4, min(first + 8, len(values))):
                values[at] = round(values[at] + 15 * draw(), 2)
            for at in range(first + 8, min(first + 11, len(values))):
                values[at] = 4096.0 * int(2_000_000 + 100_000 * draw())
            for at in range(first + 11, min(first + 16, len(values))):
                values[at] = draw() / 1000
        return MetricBatch(self._collector, time_ms, self._set, list(values))


def rounds(count: int, last_ms: int, step_ms: int = 15_000) -> Iterator[list[MetricBatch]]:
    """`count` ticks of a host with 1,380 series, the same whenever they are made, ending at `last_ms`."""
    collectors = [Series(name, size, seed) for seed, (name, size) in enumerate(HOST.items())]
    for tick in range(count):
        yield [one.batch(last_ms - (count - 1 - tick) * step_ms) for one in collectors]
