"""Block devices: /proc/diskstats, and what udev and sysfs say about each disk.

Source: Documentation/admin-guide/iostats.rst of the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from agent.model import Family, Sample, counter, gauge

from .machine import Filter, Machine

SECTOR = 512.0  # what /proc/diskstats counts in, whatever the disk's own sectors are
TICK = 1.0 / 1000.0

INFO = gauge(
    "node_disk_info",
    "Info of /sys/block/<block_device>.",
    *("device", "major", "minor", "path", "wwn", "model", "serial", "revision", "rotational"),
)
FILESYSTEM_INFO = gauge(
    "node_disk_filesystem_info", "Info about disk filesystem.", "device", "type", "usage", "uuid", "version"
)
DEVICE_MAPPER_INFO = gauge(
    "node_disk_device_mapper_info",
    "Info about disk device mapper.",
    *("device", "name", "uuid", "vg_name", "lv_name", "lv_layer"),
)
FIELDS: tuple[tuple[Family, float], ...] = (  # the columns of /proc/diskstats after the name, and their unit
    (counter("node_disk_reads_completed_total", "The total number of reads completed successfully.", "device"), 1.0),
    (counter("node_disk_reads_merged_total", "The total number of reads merged.", "device"), 1.0),
    (counter("node_disk_read_bytes_total", "The total number of bytes read successfully.", "device"), SECTOR),
    (counter("node_disk_read_time_seconds_total", "The total number of seconds spent by all reads.", "device"), TICK),
    (counter("node_disk_writes_completed_total", "The total number of writes completed successfully.", "device"), 1.0),
    (counter("node_disk_writes_merged_total", "The number of writes merged.", "device"), 1.0),
    (counter("node_disk_written_bytes_total", "The total number of bytes written successfully.", "device"), SECTOR),
    (
        counter(
            "node_disk_write_time_seconds_total", "This is the total number of seconds spent by all writes.", "device"
        ),
        TICK,
    ),
    (gauge("node_disk_io_now", "The number of I/Os currently in progress.", "device"), 1.0),
    (counter("node_disk_io_time_seconds_total", "Total seconds spent doing I/Os.", "device"), TICK),
    (
        counter("node_disk_io_time_weighted_seconds_total", "The weighted # of seconds spent doing I/Os.", "device"),
        TICK,
    ),
    (
        counter("node_disk_discards_completed_total", "The total number of discards completed successfully.", "device"),
        1.0,
    ),
    (counter("node_disk_discards_merged_total", "The total number of discards merged.", "device"), 1.0),
    (
        counter("node_disk_discarded_sectors_total", "The total number of sectors discarded successfully.", "device"),
        1.0,
    ),
    (
        counter(
            "node_disk_discard_time_seconds_total",
            "This is the total number of seconds spent by all discards.",
            "device",
        ),
        TICK,
    ),
    (
        counter(
            "node_disk_flush_requests_total", "The total number of flush requests completed successfully", "device"
        ),
        1.0,
    ),
    (
        counter(
            "node_disk_flush_requests_time_seconds_total",
            "This is the total number of seconds spent by all flush requests.",
            "device",
        ),
        TICK,
    ),
)
ATA = {  # udev property -> family
    "ID_ATA_WRITE_CACHE": gauge("node_disk_ata_write_cache", "ATA disk has a write cache.", "device"),
    "ID_ATA_WRITE_CACHE_ENABLED": gauge(
        "node_disk_ata_write_cache_enabled", "ATA disk has its write cache enabled.", "device"
    ),
    "ID_ATA_ROTATION_RATE_RPM": gauge(
        "node_disk_ata_rotation_rate_rpm", "ATA disk rotation rate in RPMs (0 for SSDs).", "device"
    ),
}


class Disk(NamedTuple):
    """A line of /proc/diskstats."""

    major: str
    minor: str
    name: str
    counts: list[str]


def parse_diskstats(text: str) -> Iterator[Disk]:
    """The disks and partitions of /proc/diskstats."""
    for line in text.splitlines():
        major, minor, name, *counts = line.split()
        yield Disk(major, minor, name, counts)


def parse_udev(text: str) -> dict[str, str]:
    """The properties (`E:NAME=value`) of an entry of udev's database."""
    pairs = (line[2:].partition("=") for line in text.splitlines() if line.startswith("E:"))
    return {name: value for name, equals, value in pairs if equals}


def describe(disk: Disk, udev: dict[str, str], rotational: str) -> Iterator[Sample]:
    """The samples that do not move: what the disk is and what is on it."""
    serial = udev.get("SCSI_IDENT_SERIAL") or udev.get("ID_SERIAL_SHORT") or udev.get("ID_SERIAL", "")
    path, wwn, model = (udev.get(name, "") for name in ("ID_PATH", "ID_WWN", "ID_MODEL"))
    revision = udev.get("ID_REVISION", "")
    yield INFO(1.0, disk.name, disk.major, disk.minor, path, wwn, model, serial, revision, rotational)
    if udev.get("ID_FS_TYPE"):
        usage = (udev.get(f"ID_FS_{name}", "") for name in ("TYPE", "USAGE", "UUID", "VERSION"))
        yield FILESYSTEM_INFO(1.0, disk.name, *usage)
    if udev.get("DM_NAME"):
        names = (udev.get(f"DM_{name}", "") for name in ("NAME", "UUID", "VG_NAME", "LV_NAME", "LV_LAYER"))
        yield DEVICE_MAPPER_INFO(1.0, disk.name, *names)
    if udev.get("ID_ATA"):
        for name, family in ATA.items():
            if udev.get(name, "").isdigit():
                yield family(float(udev[name]), disk.name)


class Diskstats:
    """The part `diskstats`; udev's entry of a disk is read again when it changed."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._chosen = Filter(machine.options.disks_exclude, machine.options.disks_include)
        self._udev: dict[str, tuple[int, dict[str, str]]] = {}

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        disks = [disk for disk in parse_diskstats(self._machine.proc.kept("diskstats")) if self._chosen(disk.name)]
        for disk in disks:
            rotational = self._machine.sys.optional(f"block/{disk.name}/queue/rotational")
            yield from describe(disk, self._properties(disk), "1" if rotational == "1" else "0")
            for (family, unit), count in zip(FIELDS, disk.counts, strict=False):
                yield family(int(count) * unit, disk.name)
        if len(self._udev) > 2 * len(disks):
            self._udev.clear()

    def _properties(self, disk: Disk) -> dict[str, str]:
        name = f"run/udev/data/b{disk.major}:{disk.minor}"
        changed = self._machine.root.changed(name)
        known = self._udev.get(name)
        if changed is None:
            return {}
        if known is None or known[0] != changed:
            known = self._udev[name] = changed, parse_udev(self._machine.root.optional_text(name))
        return known[1]
