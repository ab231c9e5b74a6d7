"""Our host collector beside a real node_exporter: on this machine, and on the machine that we keep as text."""

from __future__ import annotations

import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from collectors.host import Host, Options
from collectors.host.exposition import parse_exposition
from collectors.host.options import DISKS_EXCLUDE, FSTYPES_EXCLUDE, MOUNTS_EXCLUDE
from tests.collectors.host.tree import plant
from tests.conftest import free_port

pytestmark = pytest.mark.servers

NEWEST = (1, 11)  # what we follow; an older one may differ in the ways below
OWN = re.compile(r"go_|process_|promhttp_|node_exporter_")  # the exporter about itself
SUCCESS = "node_scrape_collector_success"
MOVING = re.compile(  # gauges that do not hold still between two looks
    r"node_(memory|filesystem|load|procs|processes|sockstat|time_seconds|filefd|disk_io_now|nf_conntrack|timex|entropy"
    r"|arp|udp_queues|softnet_backlog|hwmon|thermal|cpu_(scaling_)?frequency|scrape_collector|systemd|textfile_mtime"
    r"|netstat_Tcp_CurrEstab|tcp_connection|cooling|power_supply)"
)
COMING_AND_GOING = re.compile(r"node_(processes_.*state|systemd|arp|filesystem|tcp_connection)")  # series of a moment
NO_NETLINK = ("--no-collector.arp.netlink", "--no-collector.netdev.netlink")
LEFT_OUT = {("node_disk_info", "rotational")}  # 1.11 says 0 where it could not read another file of the disk

Labels = tuple[tuple[str, str], ...]
Series = dict[Labels, float]


class Metrics(NamedTuple):
    """Types and series by metric name; a label without a value is no label."""

    kinds: dict[str, str]
    series: dict[str, Series]


def labelled(metric: str, names: tuple[str, ...], values: tuple[str, ...]) -> Labels:
    pairs = zip(names, values, strict=True)
    return tuple(sorted((name, value) for name, value in pairs if value and (metric, name) not in LEFT_OUT))


def read_theirs(text: str) -> Metrics:
    found = Metrics({}, {})
    for group in parse_exposition(text):
        if not OWN.match(group.name):
            found.kinds[group.name] = group.kind
            found.series[group.name] = {
                labelled(group.name, tuple(exposed.labels), tuple(exposed.labels.values())): exposed.value
                for exposed in group.exposed
                if isinstance(exposed.value, float)
            }
    return found


async def read_ours(host: Host) -> Metrics:
    found = Metrics({}, {})
    for family, labels, value, _extra in await host.collect():
        found.kinds[family.name] = family.kind
        series = found.series.setdefault(family.name, {})
        key = labelled(family.name, family.labels, labels)
        assert key not in series, f"twice: {family.name} {key}"
        assert isinstance(value, float)
        series[key] = value
    return found


class Peer(NamedTuple):
    """A running node_exporter."""

    url: str
    version: tuple[int, ...]

    def scrape(self) -> Metrics:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            return read_theirs(answer.read().decode())


@contextmanager
def node_exporter(program: str, *flags: str) -> Iterator[Peer]:
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    version = re.search(r"version (\d+)\.(\d+)", told.stdout + told.stderr)
    assert version
    known = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    flags = tuple(
        flag
        for flag in flags
        if flag.removeprefix("--no-").lstrip("-").partition("=")[0] in known.stderr + known.stdout
    )
    url = f"127.0.0.1:{free_port()}"
    with subprocess.Popen([program, f"--web.listen-address={url}", "--log.level=error", *flags]) as process:
        try:
            wait_for(f"http://{url}/", process)
            yield Peer(f"http://{url}", (int(version[1]), int(version[2])))
        finally:
            process.terminate()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, ConnectionError):
            continue
    pytest.fail(f"{url} does not answer")


class Judge:
    """Compares what they said before and after with what we said in between."""

    def __init__(self, version: tuple[int, ...]) -> None:
        self.older = version < NEWEST
        self.faults: list[str] = []

    def compare(self, before: Metrics, ours: Metrics, after: Metrics) -> None:
        for name in sorted(before.kinds.keys() & after.kinds.keys()):
            if name not in ours.kinds:
                self.faults.append(f"missing: {name} ({before.kinds[name]}, {len(before.series[name])} series)")
                continue
            if before.kinds[name] != ours.kinds[name]:
                self.faults.append(f"type: {name} is {before.kinds[name]}, ours {ours.kinds[name]}")
            self.labels(name, before.series[name], ours.series[name], after.series[name])
            self.values(name, ours.kinds[name], before.series[name], ours.series[name], after.series[name])

    def labels(self, name: str, before: Series, ours: Series, after: Series) -> None:
        if self.older and {label for key in before for label, _ in key} != {label for key in ours for label, _ in key}:
            return  # labels came and went between versions
        self.faults += [f"missing: {name}{{{key}}}" for key in before.keys() & after.keys() - ours.keys()]
        if not (self.older or COMING_AND_GOING.match(name) or name.startswith("node_scrape_collector")):
            self.faults += [f"too much: {name}{{{key}}}" for key in ours.keys() - before.keys() - after.keys()]

    def values(self, name: str, kind: str, before: Series, ours: Series, after: Series) -> None:
        for key in before.keys() & ours.keys() & after.keys():
            low, high = sorted((before[key], after[key]))
            slack = 1e-9 * max(abs(low), abs(high))
            if MOVING.match(name) and not (name == SUCCESS and not self.older):
                continue
            if not low - slack <= ours[key] <= high + slack:
                self.faults.append(f"value: {name}{{{key}}} is {low} to {high}, ours {ours[key]} ({kind})")


def report(judge: Judge, theirs: Metrics, ours: Metrics) -> None:
    extra = sorted(ours.kinds.keys() - theirs.kinds.keys())
    count = sum(map(len, theirs.series.values()))
    print(f"\n{len(theirs.kinds)} families, {count} series of node_exporter; {len(judge.faults)} faults")
    print(*judge.faults, sep="\n")
    print(f"only ours: {', '.join(extra) or 'nothing'}")


async def test_this_machine_is_told_as_node_exporter_tells_it(peer: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "jobs.prom").write_text('# TYPE jobs_total counter\njobs_total{queue="a"} 3\n')
    flags = (
        "--collector.processes",
        "--collector.systemd",
        f"--collector.systemd.unit-exclude={Options().units_exclude}",
        f"--collector.filesystem.mount-points-exclude={MOUNTS_EXCLUDE}",
        f"--collector.filesystem.fs-types-exclude={FSTYPES_EXCLUDE}",
        f"--collector.diskstats.device-exclude={DISKS_EXCLUDE}",
        "--collector.netdev.device-exclude=^$",
        f"--collector.textfile.directory={tmp_path}",
    )
    host = Host(Options(textfile_dir=str(tmp_path)))
    with node_exporter(peer("prometheus-node-exporter"), *flags) as exporter:
        await host.collect()
        before, ours, after = exporter.scrape(), await read_ours(host), exporter.scrape()
    host.close()
    judge = Judge(exporter.version)
    judge.compare(before, ours, after)
    report(judge, before, ours)
    assert judge.faults == []


async def test_a_machine_with_everything_is_told_exactly_as_node_exporter_tells_it(
    peer: Callable[[str], str], tmp_path: Path
) -> None:
    tree = plant("machine", tmp_path)
    flags = (
        f"--path.procfs={tree}/proc",
        f"--path.sysfs={tree}/sys",
        f"--path.rootfs={tree}",
        f"--path.udev.data={tree}/run/udev/data",
        f"--collector.textfile.directory={tree}/textfile",
        f"--collector.filesystem.mount-points-exclude={MOUNTS_EXCLUDE}",
        f"--collector.filesystem.fs-types-exclude={FSTYPES_EXCLUDE}",
        "--collector.processes",
        "--collector.interrupts",
        "--no-collector.systemd",
        "--no-collector.uname",  # a system call: it tells this machine's name
        *NO_NETLINK,
    )
    host = Host(
        Options(
            proc=f"{tree}/proc",
            sys=f"{tree}/sys",
            rootfs=str(tree),
            textfile_dir=f"{tree}/textfile",
            enable=("interrupts",),
            disable=("systemd", "uname"),
        )
    )
    with node_exporter(peer("prometheus-node-exporter"), *flags) as exporter:
        theirs, ours = exporter.scrape(), await read_ours(host)
    host.close()
    judge = Judge(exporter.version)
    judge.compare(theirs, ours, theirs)
    report(judge, theirs, ours)
    assert judge.faults == []
