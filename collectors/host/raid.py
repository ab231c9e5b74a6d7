"""Redundant disks and links: software RAID (mdadm) and bonded interfaces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from agent.model import NoData, Sample, gauge

from .machine import Machine, Tree

STATE = gauge("node_md_state", "Indicates the state of md-device.", "device", "state")
DISKS = gauge("node_md_disks", "Number of active/failed/spare disks of device.", "device", "state")
REQUIRED = gauge("node_md_disks_required", "Total number of disks of device.", "device")
BLOCKS = gauge("node_md_blocks", "Total number of blocks on device.", "device")
SYNCED = gauge("node_md_blocks_synced", "Number of blocks synced on device.", "device")
RAID_DISKS = gauge("node_md_raid_disks", "Number of raid disks on device.", "device")
DEGRADED = gauge("node_md_degraded", "Number of degraded disks on device.", "device")
STATES = {"active": "active", "inactive": "inactive", "recovering": "recovering", "resyncing": "resync"} | {
    "checking": "check"
}
SYNC_STATES = (  # word in the line of progress -> state; the first one counts
    ("recovery", "recovering"),
    ("reshape", "reshaping"),
    ("check", "checking"),
    ("resync", "resyncing"),
)
STATUS_LINE = re.compile(r"(\d+) blocks .*\[(\d+)/(\d+)\] \[([U_]+)\]")
PROGRESS = re.compile(r"\((\d+)/\d+\)")
REDUNDANT = ("raid1", "raid4", "raid5", "raid6", "raid10")  # levels that can be degraded
CONTAINERS = ("", "container", "imsm", "ddf")  # levels without disks of their own

SLAVES = gauge("node_bonding_slaves", "Number of configured slaves per bonding interface.", "master")
ACTIVE = gauge("node_bonding_active", "Number of active slaves per bonding interface.", "master")


class Array(NamedTuple):
    """An array of /proc/mdstat; sizes in blocks of 1 KiB."""

    name: str
    state: str
    required: int
    active: int
    failed: int
    spare: int
    blocks: int
    synced: int


def parse_mdstat(text: str) -> Iterator[Array]:
    """The arrays of /proc/mdstat; raises ValueError where a line is not what md.c writes."""
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if not line.strip() or line[0].isspace() or line.startswith(("unused", "Personalities")):
            continue
        name, _colon, state, *_ = line.split()
        active, required, blocks = parse_status(line, lines[at + 1])
        rest = lines[at + 2 : at + 4]
        progress = next((text for text in rest if text[:1].isspace() and "bitmap" not in text), "")
        state, synced = parse_progress(progress, state, blocks)
        yield Array(name, state, required, active, line.count("(F)"), line.count("(S)"), blocks, synced)


def parse_status(device: str, status: str) -> tuple[int, int, int]:
    """Active disks, required disks and blocks, from the two lines of an array."""
    blocks = int(status.split()[0])
    if "raid0" in device or "linear" in device:
        return device.count("["), device.count("["), blocks
    if "inactive" in device:
        return 0, 0, blocks
    match = STATUS_LINE.search(status)
    if not match:
        raise ValueError(f"mdstat: {status!r} is no status line")
    return int(match[3]), int(match[2]), blocks


def parse_progress(line: str, state: str, blocks: int) -> tuple[str, int]:
    """State and blocks in sync: all of them, unless the array is being brought in sync."""
    for word, name in SYNC_STATES:
        if word in line:
            if "PENDING" in line or "DELAYED" in line:
                return name, 0
            match = PROGRESS.search(line)
            if not match:
                raise ValueError(f"mdstat: no progress in {line!r}")
            return name, int(match[1])
    return state, blocks


def mdadm(machine: Machine) -> Iterator[Sample]:
    """The part `mdadm`."""
    try:
        text = machine.proc.text("mdstat")
    except FileNotFoundError:
        raise NoData("no software RAID") from None
    for array in parse_mdstat(text):
        yield REQUIRED(float(array.required), array.name)
        for state, count in (("active", array.active), ("failed", array.failed), ("spare", array.spare)):
            yield DISKS(float(count), array.name, state)
        for state, shown in STATES.items():
            yield STATE(float(array.state == state), array.name, shown)
        yield BLOCKS(float(array.blocks), array.name)
        yield SYNCED(float(array.synced), array.name)
    yield from _md_disks(machine.sys)


def _md_disks(sys: Tree) -> Iterator[Sample]:
    for name in sys.entries("block"):
        if not name.startswith("md") or not sys.exists(f"block/{name}/md"):
            continue
        level = sys.word(f"block/{name}/md/level")
        disks = sys.word(f"block/{name}/md/raid_disks").partition(" ")[0] if level not in CONTAINERS else ""
        if disks.isdigit():  # during a reshape: "5 (4)"
            yield RAID_DISKS(float(disks), name)
        yield DEGRADED(sys.number(f"block/{name}/md/degraded") if level in REDUNDANT else 0.0, name)


def bonding(machine: Machine) -> Iterator[Sample]:
    """The part `bonding`."""
    sys = machine.sys
    try:
        masters = sys.word("class/net/bonding_masters").split()
    except FileNotFoundError:
        raise NoData("no bonded interfaces") from None
    for master in masters:
        slaves = sys.word(f"class/net/{master}/bonding/slaves").split()
        yield SLAVES(float(len(slaves)), master)
        yield ACTIVE(float(sum(_is_up(sys, master, slave) for slave in slaves)), master)


def _is_up(sys: Tree, master: str, slave: str) -> bool:
    status = sys.optional(f"class/net/{master}/lower_{slave}/bonding_slave/mii_status")
    if status is None:  # older kernels
        status = sys.word(f"class/net/{master}/slave_{slave}/bonding_slave/mii_status")
    return status == "up"
