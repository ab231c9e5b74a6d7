"""The parts that work without /proc, through psutil, under the names that node_exporter has on macOS."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import psutil

from agent.asker import Asker
from agent.model import Family, Sample, counter, gauge

from .cpu import SECONDS
from .disks import FIELDS
from .filesystem import TIMEOUT, Mount, Usage, measure, usage
from .identity import TIME, UNAME, ZONE
from .kernel import LOADS, STAT
from .machine import Filter, Machine
from .network import TRAFFIC
from .options import FSTYPES_EXCLUDE, MOUNTS_EXCLUDE
from .textfile import Textfile

MAC_MOUNTS_EXCLUDE = r"^/(dev)($|/)"  # what stands for the default there, as in node_exporter
MAC_FSTYPES_EXCLUDE = r"^devfs$"
CPU_MODES = ("user", "nice", "system", "idle")
MEMORY: dict[str, Family] = {  # field of psutil.virtual_memory -> family
    name: gauge(f"node_memory_{name}_bytes", f"Memory information field {name}_bytes.")
    for name in ("active", "inactive", "wired", "free", "total")
}
SWAP: dict[str, Family] = {  # field of psutil.swap_memory -> family
    "used": gauge("node_memory_swap_used_bytes", "Memory information field swap_used_bytes."),
    "total": gauge("node_memory_swap_total_bytes", "Memory information field swap_total_bytes."),
    "sin": counter("node_memory_swapped_in_bytes_total", "Memory information field swapped_in_bytes_total."),
    "sout": counter("node_memory_swapped_out_bytes_total", "Memory information field swapped_out_bytes_total."),
}
NETWORK = {  # field of psutil.net_io_counters -> key of TRAFFIC
    "bytes_recv": "receive_bytes",
    "bytes_sent": "transmit_bytes",
    "packets_recv": "receive_packets",
    "packets_sent": "transmit_packets",
    "errin": "receive_errs",
    "errout": "transmit_errs",
    "dropin": "receive_drop",
}
DISK_FAMILIES = {family.name: family for family, _unit in FIELDS}
DISKS = {  # field of psutil.disk_io_counters -> family, unit
    "read_count": (DISK_FAMILIES["node_disk_reads_completed_total"], 1.0),
    "write_count": (DISK_FAMILIES["node_disk_writes_completed_total"], 1.0),
    "read_bytes": (DISK_FAMILIES["node_disk_read_bytes_total"], 1.0),
    "write_bytes": (DISK_FAMILIES["node_disk_written_bytes_total"], 1.0),
    "read_time": (DISK_FAMILIES["node_disk_read_time_seconds_total"], 0.001),
    "write_time": (DISK_FAMILIES["node_disk_write_time_seconds_total"], 0.001),
}


def cpu(_machine: Machine) -> Iterator[Sample]:
    """The part `cpu`."""
    for at, times in enumerate(psutil.cpu_times(percpu=True)):
        for mode in CPU_MODES:
            yield SECONDS(float(getattr(times, mode)), str(at), mode)


def loadavg(_machine: Machine) -> Iterator[Sample]:
    """The part `loadavg`."""
    return (family(load) for family, load in zip(LOADS, os.getloadavg(), strict=True))


def meminfo(_machine: Machine) -> Iterator[Sample]:
    """The part `meminfo`; a field that this platform does not have is left out."""
    for fields, found in ((MEMORY, psutil.virtual_memory()), (SWAP, psutil.swap_memory())):
        for name, family in fields.items():
            if (value := getattr(found, name, None)) is not None:
                yield family(float(value))


def boottime(_machine: Machine) -> Iterator[Sample]:
    """The part `boottime`."""
    yield STAT["btime"](psutil.boot_time())


def uname(_machine: Machine) -> Iterator[Sample]:
    """The part `uname`; there is no domain name outside Linux."""
    found = os.uname()
    yield UNAME(1.0, found.sysname, found.release, found.version, found.machine, found.nodename, "(none)")


def clock(_machine: Machine) -> Iterator[Sample]:
    """The part `time`."""
    now = time.time()
    local = time.localtime(now)
    yield TIME(now)
    yield ZONE(float(local.tm_gmtoff), local.tm_zone)


class Netdev:
    """The part `netdev`."""

    def __init__(self, machine: Machine) -> None:
        self._chosen = Filter(machine.options.interfaces_exclude, machine.options.interfaces_include)

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        for device, found in sorted(psutil.net_io_counters(pernic=True, nowrap=False).items()):
            if self._chosen(device):
                for field, key in NETWORK.items():
                    yield TRAFFIC[key](float(getattr(found, field)), device)


class Diskstats:
    """The part `diskstats`."""

    def __init__(self, machine: Machine) -> None:
        self._chosen = Filter(machine.options.disks_exclude, machine.options.disks_include)

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        for device, found in sorted(psutil.disk_io_counters(perdisk=True, nowrap=False).items()):
            if self._chosen(device):
                for field, (family, unit) in DISKS.items():
                    yield family(getattr(found, field) * unit, device)


class Filesystem:
    """The part `filesystem`."""

    def __init__(self, machine: Machine) -> None:
        options = machine.options
        mounts, types = options.mounts_exclude, options.fstypes_exclude
        mounts = MAC_MOUNTS_EXCLUDE if mounts == MOUNTS_EXCLUDE else mounts
        types = MAC_FSTYPES_EXCLUDE if types == FSTYPES_EXCLUDE else types
        self._mounts_chosen = Filter(mounts, options.mounts_include)
        self._types_chosen = Filter(types, options.fstypes_include)
        self._asker: Asker[Usage] = Asker(lambda path: usage(os.statvfs, path))

    async def __call__(self) -> list[Sample]:
        """One round."""
        mounts = [
            Mount(part.device, part.mountpoint, part.fstype, "", "", "ro" in part.opts.split(","))
            for part in psutil.disk_partitions(all=True)
            if self._mounts_chosen(part.mountpoint) and self._types_chosen(part.fstype)
        ]
        return await measure(self._asker, mounts, "", TIMEOUT)

    def close(self) -> None:
        """Let the threads end."""
        self._asker.close()


PARTS: dict[str, Any] = {  # name -> function or class, as in parts.py
    "boottime": boottime,
    "cpu": cpu,
    "diskstats": Diskstats,
    "filesystem": Filesystem,
    "loadavg": loadavg,
    "meminfo": meminfo,
    "netdev": Netdev,
    "textfile": Textfile,
    "time": clock,
    "uname": uname,
}
