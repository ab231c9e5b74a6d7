"""NVMe controllers and tape drives."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.model import NoData, Sample, counter, gauge

from .machine import Filter, Machine, Tree

NVME_INFO = gauge(
    "node_nvme_info",
    "Non-numeric data from /sys/class/nvme/<device>, value is always 1.",
    *("device", "firmware_revision", "model", "serial", "state", "cntlid"),
)
NAMESPACE_INFO = gauge(
    "node_nvme_namespace_info",
    "Information about NVMe namespaces. Value is always 1",
    *("device", "nsid", "ana_state"),
)
NAMESPACE_CAPACITY = gauge(
    "node_nvme_namespace_capacity_bytes",
    "Capacity of the NVMe namespace in bytes. Computed as namespace_size * namespace_logical_block_size",
    *("device", "nsid"),
)
NAMESPACE_SIZE = gauge(
    "node_nvme_namespace_size_bytes",
    "Size of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/size",
    *("device", "nsid"),
)
NAMESPACE_USED = gauge(
    "node_nvme_namespace_used_bytes",
    "Used space of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/nuse",
    *("device", "nsid"),
)
NAMESPACE_BLOCK = gauge(
    "node_nvme_namespace_logical_block_size_bytes",
    "Logical block size of the NVMe namespace in bytes. Usually 4Kb. "
    "Available in /sys/class/nvme/<device>/<namespace>/queue/logical_block_size",
    *("device", "nsid"),
)
NVME_WORDS = ("firmware_rev", "model", "serial", "state", "cntlid")
NAMESPACE = re.compile(r"nvme\d+n(\d+)$")

NS = 0.000000001
TAPE = {  # file -> family, unit
    "in_flight": (
        gauge("node_tape_io_now", "The number of I/Os currently outstanding to this device.", "device"),
        1.0,
    ),
    "io_ns": (
        counter(
            "node_tape_io_time_seconds_total",
            "The amount of time spent waiting for all I/O to complete (including read and write). This includes tape "
            "movement commands such as seeking between file or set marks and implicit tape movement such as when "
            "rewind on close tape devices are used.",
            "device",
        ),
        NS,
    ),
    "other_cnt": (
        counter(
            "node_tape_io_others_total",
            "The number of I/Os issued to the tape drive other than read or write commands. The time taken to complete "
            "these commands uses the following calculation "
            "io_time_seconds_total-read_time_seconds_total-write_time_seconds_total",
            "device",
        ),
        1.0,
    ),
    "read_byte_cnt": (
        counter("node_tape_read_bytes_total", "The number of bytes read from the tape drive.", "device"),
        1.0,
    ),
    "read_cnt": (
        counter("node_tape_reads_completed_total", "The number of read requests issued to the tape drive.", "device"),
        1.0,
    ),
    "read_ns": (
        counter(
            "node_tape_read_time_seconds_total",
            "The amount of time spent waiting for read requests to complete.",
            "device",
        ),
        NS,
    ),
    "resid_cnt": (
        counter(
            "node_tape_residual_total",
            "The number of times during a read or write we found the residual amount to be non-zero. This should mean "
            "that a program is issuing a read larger thean the block size on tape. For write not all data made it to "
            "tape.",
            "device",
        ),
        1.0,
    ),
    "write_byte_cnt": (
        counter("node_tape_written_bytes_total", "The number of bytes written to the tape drive.", "device"),
        1.0,
    ),
    "write_cnt": (
        counter("node_tape_writes_completed_total", "The number of write requests issued to the tape drive.", "device"),
        1.0,
    ),
    "write_ns": (
        counter(
            "node_tape_write_time_seconds_total",
            "The amount of time spent waiting for write requests to complete.",
            "device",
        ),
        NS,
    ),
}


def nvme(machine: Machine) -> Iterator[Sample]:
    """The part `nvme`."""
    sys, directory = machine.sys, "class/nvme"
    try:
        names = sys.names(directory)
    except FileNotFoundError:
        raise NoData("no NVMe") from None
    for name in names:
        words = (sys.word(f"{directory}/{name}/{file}") for file in NVME_WORDS)
        yield NVME_INFO(1.0, name, *words)
        for entry in sys.names(f"{directory}/{name}"):
            if match := NAMESPACE.match(entry):
                yield from _namespace(sys, f"{directory}/{name}/{entry}", name, match[1])


def _namespace(sys: Tree, directory: str, device: str, number: str) -> Iterator[Sample]:
    block = sys.number(f"{directory}/queue/logical_block_size")
    size = sys.number(f"{directory}/size") * block
    yield NAMESPACE_INFO(1.0, device, number, sys.optional(f"{directory}/ana_state") or "unknown")
    yield NAMESPACE_CAPACITY(size, device, number)
    yield NAMESPACE_SIZE(size, device, number)
    yield NAMESPACE_USED(sys.number(f"{directory}/nuse") * block, device, number)
    yield NAMESPACE_BLOCK(block, device, number)


class Tapestats:
    """The part `tapestats`."""

    def __init__(self, machine: Machine) -> None:
        self._sys = machine.sys
        self._chosen = Filter(machine.options.tapes_exclude)

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        directory = "class/scsi_tape"
        try:
            names = self._sys.names(directory)
        except FileNotFoundError:
            raise NoData("no tape drives") from None
        for name in names:
            if name.startswith("st") and name[2:].isdigit() and self._chosen(name):
                for file, (family, unit) in TAPE.items():
                    yield family(self._sys.number(f"{directory}/{name}/stats/{file}") * unit, name)
