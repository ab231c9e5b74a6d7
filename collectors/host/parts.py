"""The parts of the host collector, by node_exporter's name for each: a literal table.

A part is called once a round and yields samples. A plain function takes the machine; a class is made with it once,
may keep what it learned, and may have `close()`. `NoData` means that its subject is not on this machine.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from inspect import iscoroutinefunction
from types import ModuleType
from typing import Any, NamedTuple

from agent.model import Family, Sample

from . import (
    bcache,
    bcachefs,
    btrfs,
    container,
    cpu,
    disks,
    drives,
    fabric,
    filesystem,
    hardware,
    hwmon,
    identity,
    ipvs,
    kernel,
    memory,
    netclass,
    network,
    nfs,
    processes,
    raid,
    sockets,
    systemd,
    textfile,
    timex,
    xfs,
    zfs,
)
from .machine import Machine

Sync = Callable[[], Iterable[Sample]]
Async = Callable[[], Awaitable[Iterable[Sample]]]
Source = Callable[[Machine], Iterable[Sample]] | type[Sync] | type[Async]


class Part(NamedTuple):
    """A part made for one machine: `run` it, or where it `waits`, await `wait()`."""

    name: str
    run: Sync
    wait: Async
    waits: bool
    close: Callable[[], None]


LINUX: dict[str, Source] = {
    "arp": network.Arp,
    "bcache": bcache.bcache,
    "bcachefs": bcachefs.bcachefs,
    "bonding": raid.bonding,
    "btrfs": btrfs.Btrfs,
    "container": container.Container,
    "conntrack": sockets.conntrack,
    "cpu": cpu.Cpu,
    "cpufreq": hardware.Cpufreq,
    "diskstats": disks.Diskstats,
    "dmi": identity.Dmi,
    "edac": hardware.edac,
    "entropy": kernel.entropy,
    "fibrechannel": fabric.fibrechannel,
    "filefd": kernel.filefd,
    "filesystem": filesystem.Filesystem,
    "hwmon": hwmon.Hwmon,
    "infiniband": fabric.Infiniband,
    "interrupts": kernel.Interrupts,
    "ipvs": ipvs.ipvs,
    "kernel_hung": kernel.kernel_hung,
    "loadavg": kernel.loadavg,
    "mdadm": raid.mdadm,
    "meminfo": memory.Meminfo,
    "netclass": netclass.Netclass,
    "netdev": network.Netdev,
    "netstat": sockets.Netstat,
    "nfs": nfs.nfs,
    "nfsd": nfs.nfsd,
    "nvme": drives.nvme,
    "os": identity.Os,
    "powersupplyclass": hardware.PowerSupply,
    "pressure": kernel.pressure,
    "process": processes.own_process,
    "processes": processes.Processes,
    "rapl": hardware.rapl,
    "schedstat": kernel.schedstat,
    "selinux": identity.selinux,
    "sockstat": sockets.Sockstat,
    "softnet": sockets.softnet,
    "stat": kernel.stat,
    "systemd": systemd.Systemd,
    "tapestats": drives.Tapestats,
    "tcpstat": sockets.Tcpstat,
    "textfile": textfile.Textfile,
    "thermal_zone": hardware.thermal_zone,
    "time": identity.Clock,
    "timex": timex.timex,
    "udp_queues": sockets.udp_queues,
    "uname": identity.uname,
    "vmstat": memory.Vmstat,
    "watchdog": hardware.watchdog,
    "xfs": xfs.xfs,
    "zfs": zfs.zfs,
}


def _portable() -> dict[str, Source]:
    from .portable import PARTS  # psutil is not for Linux to load

    return PARTS


TABLE = LINUX if sys.platform.startswith("linux") else _portable()
SLOW: frozenset[str] = frozenset({"cpufreq", "hwmon", "powersupplyclass", "thermal_zone"})  # they ask the hardware
BOOT_PART = "stat" if TABLE is LINUX else "boottime"
OFF: frozenset[str] = frozenset({"interrupts", "tcpstat"})  # as in node_exporter; `enable` turns them on


def make(name: str, source: Source, machine: Machine) -> Part:
    """A part for a machine."""
    made: Any = source(machine) if isinstance(source, type) else partial(source, machine)
    waits = iscoroutinefunction(type(made).__call__)
    return Part(name, made, made, waits, getattr(made, "close", _nothing))


def _nothing() -> None:
    pass


def declared() -> Iterator[Family]:
    """The families that the parts of this platform declare, each once; those named by the kernel are not known yet."""
    modules = {sys.modules[source.__module__] for source in TABLE.values()}
    found = {id(family): family for module in modules for family in _families(module)}
    return iter(sorted(found.values(), key=lambda family: (family.name, family.labels)))


def _families(value: object) -> Iterator[Family]:
    match value:
        case Family():
            yield value
        case ModuleType():
            for name, inner in vars(value).items():
                if name.isupper():
                    yield from _families(inner)
        case dict():
            for inner in value.values():
                yield from _families(inner)
        case tuple() | list():
            for inner in value:
                yield from _families(inner)
