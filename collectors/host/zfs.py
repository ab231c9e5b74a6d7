"""ZFS: its kstats under /proc/spl/kstat/zfs (module/os/linux/spl/spl-kstat.c of OpenZFS)."""

from __future__ import annotations

from collections.abc import Iterator

from agent.model import NoData, Sample, gauge

from .machine import Machine

BASE = "spl/kstat/zfs"
FILES = {  # file -> first part of its metrics' names
    "abdstats": "zfs_abd",
    "arcstats": "zfs_arc",
    "dbufstats": "zfs_dbuf",
    "dmu_tx": "zfs_dmu_tx",
    "dnodestats": "zfs_dnode",
    "fm": "zfs_fm",
    "vdev_cache_stats": "zfs_vdev_cache",
    "vdev_mirror_stats": "zfs_vdev_mirror",
    "xuio_stats": "zfs_xuio",
    "zfetchstats": "zfs_zfetch",
    "zil": "zfs_zil",
}
NUMBERS = ("3", "4")  # KSTAT_DATA_INT64, KSTAT_DATA_UINT64
STATES = ("online", "degraded", "faulted", "offline", "removed", "unavail", "suspended")
STATE = gauge("node_zfs_zpool_state", "kstat.zfs.misc.state", "zpool", "state")


def parse_kstat(text: str) -> Iterator[tuple[str, str]]:
    """Name and value of the numbers of a named kstat, and its `dataset_name`; raises ValueError for other files."""
    lines = iter(text.splitlines())
    if not any(line.split() == ["name", "type", "data"] for line in lines):
        raise ValueError("no named kstat")
    for line in lines:
        words = line.split(None, 2)
        if len(words) == 3 and (words[1] in NUMBERS or words[0] == "dataset_name"):
            yield words[0], words[2]


def parse_pool_io(text: str) -> Iterator[tuple[str, str]]:
    """Name and value of the columns of a pool's `io`."""
    lines = iter(text.splitlines())
    names = next((words for line in lines if (words := line.split())[:1] == ["nread"]), [])
    values = next(lines, "").split()
    return zip(names, values, strict=False)


def zfs(machine: Machine) -> Iterator[Sample]:
    """The part `zfs`."""
    proc, families = machine.proc, machine.families
    if not proc.exists(BASE):
        raise NoData("no ZFS")
    for file, prefix in FILES.items():
        if text := proc.optional_text(f"{BASE}/{file}"):
            for name, value in parse_kstat(text):
                metric = f"node_{prefix}_{name.replace('-', '_')}"
                yield families("unknown", metric, f"kstat.zfs.misc.{file}.{name}")(float(int(value)))
    for pool in proc.names(BASE):
        entries = proc.entries(f"{BASE}/{pool}") if pool not in FILES and proc.is_directory(f"{BASE}/{pool}") else []
        for entry in entries:
            yield from _pool(machine, pool, entry)


def _pool(machine: Machine, pool: str, entry: str) -> Iterator[Sample]:
    text = machine.proc.optional_text(f"{BASE}/{pool}/{entry}")  # may go away as the pool is exported
    if entry == "io":
        for name, value in parse_pool_io(text):
            help = f"kstat.zfs.misc.io.{name}"
            yield machine.families("unknown", f"node_zfs_zpool_{name}", help, "zpool")(float(int(value)), pool)
    elif entry == "state":
        for state in STATES:
            yield STATE(float(text.strip().lower() == state), pool, state)
    elif entry.startswith("objset-") and text:
        yield from _dataset(machine, pool, dict(parse_kstat(text)))


def _dataset(machine: Machine, pool: str, values: dict[str, str]) -> Iterator[Sample]:
    dataset = values.pop("dataset_name", "")
    for name, value in values.items():
        metric, help = f"node_zfs_zpool_dataset_{name}", f"kstat.zfs.misc.objset.{name}"
        yield machine.families("unknown", metric, help, "zpool", "dataset")(float(int(value)), pool, dataset)
