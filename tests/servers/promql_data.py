"""Half an hour of made-up rounds, for a real Prometheus and for our own engine alike.

Every number follows from the names of the series: the same data each time, on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from agent.model import STALE, Histogram, Kind, MetricBatch, Series, SeriesSet, Summary, Value

END: Final = 1_709_251_185  # 2024-02-29 23:59:45 UTC: the last moments of a leap day
STEP: Final = 15
ROUNDS: Final = 121
NAN, INF = float("nan"), float("inf")

Values = list[Value | None]  # a value a round, None where the series is not there
Walk = Callable[[random.Random], Values]


class Line(NamedTuple):
    """A series and its values."""

    series: Series
    values: Values


class Source(NamedTuple):
    """A collector: its rounds end `phase` seconds before the last moment, and some of them did not happen."""

    name: str
    phase: float
    lines: list[Line]
    missed: range = range(0)

    def rounds(self) -> Iterator[list[MetricBatch]]:
        """The batches of each round: what was seen, and the ends of series."""
        sets: dict[tuple[int, ...], SeriesSet] = {}
        before: tuple[int, ...] = ()
        for number in range(ROUNDS):
            if number in self.missed:
                yield []
                continue
            here = tuple(at for at, line in enumerate(self.lines) if line.values[number] is not None)
            time_ms = round((END - self.phase - (ROUNDS - 1 - number) * STEP) * 1000)
            series = sets.setdefault(here, SeriesSet([self.lines[at].series for at in here]))
            values: list[Any] = [self.lines[at].values[number] for at in here]
            batches = [MetricBatch(self.name, time_ms, series, values)] if here else []
            if gone := [self.lines[at].series for at in before if at not in here]:
                batches.append(MetricBatch(self.name, time_ms, SeriesSet(gone), [STALE] * len(gone)))
            before = here
            yield batches


def line(name: str, kind: Kind, walk: Walk, /, **labels: str) -> Line:
    """A series whose values follow from what it is called."""
    pairs = tuple(sorted(labels.items()))
    return Line(Series(name, kind, "Made up.", "", pairs), walk(random.Random(f"{name}{pairs}")))


def drift(start: float, step: float) -> Walk:
    """A gauge that wanders."""

    def walk(chance: random.Random) -> Values:
        value, found = start * (0.5 + chance.random()), []
        for _ in range(ROUNDS):
            value += chance.uniform(-step, step)
            found.append(round(value, 4))
        return found

    return walk


def rising(most: int, *resets: int) -> Walk:
    """A counter, which begins anew in some rounds."""

    def walk(chance: random.Random) -> Values:
        value, found = chance.randrange(most * 50), []
        for number in range(ROUNDS):
            value = chance.randrange(most) if number in resets else value + chance.randrange(most + 1)
            found.append(float(value))
        return found

    return walk


def steady(*values: float) -> Walk:
    """The same values over and over."""
    return lambda chance: [values[number % len(values)] for number in range(ROUNDS)]


def only(walk: Walk, *spans: tuple[int, int]) -> Walk:
    """There from one round up to before another, and elsewhere not."""

    def cut(chance: random.Random) -> Values:
        found = walk(chance)
        return [found[at] if any(first <= at < last for first, last in spans) else None for at in range(ROUNDS)]

    return cut


def buckets(bounds: tuple[float, ...], most: int, *resets: int, odd: bool = False) -> Walk:
    """A classic histogram; an odd one has counts that fall from a bucket to the next."""

    def walk(chance: random.Random) -> Values:
        counts, found = [0] * (len(bounds) + 1), []
        for number in range(ROUNDS):
            if number in resets:
                counts = [0] * len(counts)
            counts = [count + chance.randrange(most + 1) for count in counts]
            summed = [float(sum(counts[: at + 1])) for at in range(len(counts))]
            if odd:
                summed[1], summed[2] = summed[2] + 3, summed[1]
            found.append(Histogram(bounds, tuple(summed), round(summed[-1] * 0.37, 3)))
        return found

    return walk


def reshaped(first: tuple[float, ...], then: tuple[float, ...], when: int) -> Walk:
    """A histogram that changes its bounds."""
    old, new = buckets(first, 4), buckets(then, 4)
    return lambda chance: [*old(chance)[:when], *new(chance)[when:]]


def quantiles(*shares: float, empty: bool = False) -> Walk:
    """A summary; an empty one has no quantiles to tell."""

    def walk(chance: random.Random) -> Values:
        count, found = 0, []
        for _ in range(ROUNDS):
            count += 0 if empty else chance.randrange(9)
            told = tuple((share, NAN if empty else round(share * chance.uniform(0.9, 1.1), 4)) for share in shares)
            found.append(Summary(float(count), round(count * 0.21, 4), told))
        return found

    return walk


def shop() -> list[Line]:
    """Counters and gauges that have labels in common."""
    found = []
    for number, (job, instance) in enumerate([("api", "a:1"), ("api", "b:1"), ("web", "c:80")]):
        it = {"job": job, "instance": instance}
        found += [
            line("up", "gauge", steady(float(number != 1)), **it),
            line("build_info", "gauge", steady(1.0), version=f"1.{number // 2}.0", **it),
            line("memory_limit_bytes", "gauge", steady(2.0**30 + number * 4096), app="lion", **it),
            line("memory_used_bytes", "gauge", drift(6e8, 1e6), app="lion", **it),
            line("memory_used_bytes", "gauge", drift(3e8, 1e6), app="fox", proc="worker", **it),
            line("cpu_time_ns", "counter", rising(10**9, 77), app="lion", proc="web", env="prod", **it),
            line("cpu_time_ns", "counter", rising(10**8), app="fox", proc="api", env="tést ☃", **it),
        ]
        for method, code in [("get", "200"), ("get", "404"), ("post", "200"), ("post", "500")]:
            resets = (40, 41, 110) if code == "404" else (118,) if number == 2 else ()
            walk = rising(60 if code == "200" else 3, *resets)
            found.append(line("http_requests_total", "counter", walk, method=method, code=code, **it))
        found += [line("queue_length", "gauge", drift(40, 3), lane=lane, **it) for lane in ("slow", "fast", "über")]
    found.append(line("http_requests_total", "counter", rising(9), job="api", instance="b:1", handler="/ping"))
    return found


def rooms() -> list[Line]:
    """Missing labels, odd names, and numbers at the edge."""
    odd = {"nan": NAN, "high": INF, "low": -INF, "zero": 0.0, "minus_zero": -0.0, "tiny": 2.5e-300, "huge": 1.5e300}
    walks = {
        "hole": steady(1.0, NAN, 3.0, 2.5),
        "peak": steady(5.0, 7.25, *[6.0] * 33, INF),
        "cliff": steady(1.5e300, -2.5e300, 1.0),
        "pit": steady(-1.5, *[-2.0] * 50, -INF),
    }
    return [
        line("temperature_celsius", "gauge", drift(21, 0.4), room="kitchen", floor="1"),
        line("temperature_celsius", "gauge", drift(18, 0.4), room="cellar"),
        line("temperature_celsius", "gauge", drift(-4, 0.4), floor="roof"),
        line("temperature_celsius", "gauge", drift(11, 0.4)),
        line("temperature_celsius", "gauge", drift(25, 0.4), room='attic "north"\\\n', floor="3"),
        *(line("odd", "gauge", steady(value), kind=kind) for kind, value in {**odd, "minus": -42.5}.items()),
        *(line("odd_walk", "gauge", walk, kind=kind) for kind, walk in walks.items()),
        line("disk.free", "gauge", drift(500, 5), **{"mount.point": "/srv", "job": "api"}),
        *(
            line("event_time_seconds", "gauge", steady(value), kind=kind)
            for kind, value in {
                "epoch": 0.0,
                "before": -86_401.5,
                "leap": 951_827_696.25,  # 2000-02-29
                "new_year": 1_704_067_199.0,
                "century": 4_107_542_400.0,  # 2100-03-01, no leap year
                "now": float(END),
            }.items()
        ),
    ]


def visits() -> list[Line]:
    """Series that come and go; one is named as if it were a part of another that ends."""
    spans = {
        "all": ((0, ROUNDS),),
        "late": ((112, ROUNDS),),
        "early": ((0, 100),),
        "last_minute": ((0, 118),),
        "flap": ((0, 60), (70, 104), (106, ROUNDS)),
        "until_now": ((0, ROUNDS - 1),),
        "newborn": ((ROUNDS - 1, ROUNDS),),
        "twice": ((30, 31), (ROUNDS - 2, ROUNDS)),
    }
    found = [line("visitors_count", "gauge", drift(3, 1), page="until_now", job="web")]
    for page, some in spans.items():
        found.append(line("visits_total", "counter", only(rising(12, 90), *some), page=page, job="web"))
        found.append(line("visitors", "gauge", only(drift(9, 2), *some), page=page, job="web"))
    return found


def waits() -> list[Line]:
    """Histograms and summaries."""
    usual, fine = (0.1, 0.5, 1.0, 2.5), (0.25, 0.5, 0.75, 1.0, 10.0)
    ended = only(buckets(usual, 3), (0, 90))
    return [
        line("wait_seconds", "histogram", buckets(usual, 5, 60), lane="fast", job="api"),
        line("wait_seconds", "histogram", buckets(usual, 2, 111, 113), lane="slow", job="api"),
        line("wait_seconds", "histogram", buckets(fine, 9), lane="fast", job="web"),
        line("wait_seconds", "histogram", buckets(usual, 0), lane="empty", job="web"),
        line("wait_seconds", "histogram", buckets(usual, 7, odd=True), lane="odd", job="web"),
        line("wait_seconds", "histogram", ended, lane="ended", job="web"),
        line("wait_seconds", "histogram", reshaped((1.0, 2.0), fine, 105), lane="reshaped", job="web"),
        line("balance", "histogram", buckets((-10.0, -1.0, 0.0, 1.5, 10.0), 6), side="both"),
        line("balance", "histogram", buckets((), 6), side="none"),
        line("balance", "histogram", buckets((-5.0, -2.0), 6), side="left"),
        line("duration_seconds", "summary", quantiles(0.5, 0.9, 0.99), lane="fast", job="api"),
        line("duration_seconds", "summary", quantiles(0.5, 0.9), lane="slow", job="api"),
        line("duration_seconds", "summary", quantiles(0.5, empty=True), lane="empty", job="web"),
        line("duration_seconds", "summary", only(quantiles(0.5), (50, 119)), lane="ended", job="web"),
    ]


def hosts() -> list[Line]:
    """What the alerts of node_exporter and of probes look at."""
    found = []
    for instance in ("a:9100", "b:9100"):
        it = {"job": "node", "instance": instance}
        for device, size in (("/dev/sda1", 1e11), ("/dev/sdb1", 4e12)):
            fs = {**it, "device": device, "mountpoint": f"/{device[-2:]}", "fstype": "ext4"}
            found += [
                line("node_filesystem_size_bytes", "gauge", steady(size), **fs),
                line("node_filesystem_avail_bytes", "gauge", drift(size / 20, size / 1e4), **fs),
                line("node_filesystem_files", "gauge", steady(6.5e6), **fs),
                line("node_filesystem_files_free", "gauge", drift(3e5, 5e3), **fs),
                line("node_filesystem_readonly", "gauge", steady(float(device == "/dev/sdb1")), **fs),
            ]
        for cpu in ("0", "1"):
            for mode in ("idle", "user", "system", "iowait"):
                found.append(line("node_cpu_seconds_total", "counter", rising(15), cpu=cpu, mode=mode, **it))
        found += [
            line("node_load1", "gauge", drift(2, 0.2), **it),
            line("node_memory_MemTotal_bytes", "gauge", steady(8e9), **it),
            line("node_memory_MemAvailable_bytes", "gauge", drift(4e8, 1e7), **it),
            line("node_timex_offset_seconds", "gauge", drift(0.06, 0.004), **it),
            line("node_timex_sync_status", "gauge", steady(0.0), **it),
            line("node_network_receive_errs_total", "counter", rising(40), device="eth0", **it),
            line("node_network_receive_packets_total", "counter", rising(900), device="eth0", **it),
            line("node_systemd_unit_state", "gauge", steady(1.0), name="cron.service", state="failed", **it),
        ]
    for target in ("https://one.example", "https://two.example"):
        it = {"job": "probe", "instance": target}
        found += [
            line("probe_success", "gauge", steady(1.0, 1.0, 0.0), **it),
            line("probe_duration_seconds", "gauge", drift(0.8, 0.1), **it),
            line("probe_http_status_code", "gauge", steady(503.0), **it),
            line("probe_ssl_earliest_cert_expiry", "gauge", steady(END + 86_400.0 * len(target)), **it),
        ]
    return found


def stores() -> list[Line]:
    """What the alerts of Redis and PostgreSQL look at."""
    cache = {"job": "redis", "instance": "cache:6379"}
    base = {"job": "postgres", "instance": "base:5432"}
    return [
        line("redis_up", "gauge", steady(1.0, 1.0, 1.0, 0.0), **cache),
        line("redis_memory_used_bytes", "gauge", drift(9e8, 1e6), **cache),
        line("redis_memory_max_bytes", "gauge", steady(1e9), **cache),
        line("redis_connected_clients", "gauge", drift(90, 4), **cache),
        line("redis_rejected_connections_total", "counter", rising(2), **cache),
        line("redis_evicted_keys_total", "counter", rising(50, 100), **cache),
        line("redis_keyspace_hits_total", "counter", rising(500), **cache),
        line("redis_keyspace_misses_total", "counter", rising(300), **cache),
        line("pg_up", "gauge", steady(1.0), **base),
        line("pg_settings_max_connections", "gauge", steady(100.0), server="base:5432", **base),
        *(
            line("pg_stat_activity_count", "gauge", drift(30, 2), datname=name, state=state, **base)
            for name in ("shop", "books")
            for state in ("active", "idle")
        ),
        *(line("pg_stat_database_deadlocks", "counter", rising(3), datname=name, **base) for name in ("shop", "books")),
        line("pg_replication_lag", "gauge", drift(25, 3), **base),
    ]


def sources() -> list[Source]:
    """All collectors."""
    return [
        Source("shop", 0.0, shop()),
        Source("rooms", 4.321, rooms()),
        Source("visits", 0.0, visits()),
        Source("waits", 2.5, waits(), missed=range(95, 101)),
        Source("hosts", 7.0, hosts(), missed=range(10, 14)),
        Source("stores", 11.0, stores()),
    ]


def batches(some: Sequence[Source]) -> list[list[MetricBatch]]:
    """The batches of all collectors, round by round."""
    return [
        [batch for batches in row for batch in batches] for row in zip(*(one.rounds() for one in some), strict=True)
    ]


def latest(rows: Sequence[Sequence[MetricBatch]]) -> list[MetricBatch]:
    """The last batch of samples of each collector."""
    found: dict[str, MetricBatch] = {}
    for row in rows:
        found.update({batch.collector: batch for batch in row if batch.values[0] is not STALE})
    return list(found.values())
