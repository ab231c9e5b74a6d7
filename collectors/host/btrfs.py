"""Btrfs: allocation and commits from /sys/fs/btrfs, device errors by ioctl (include/uapi/linux/btrfs.h)."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple
from uuid import UUID

from agent.model import Sample, counter, gauge

from .filesystem import parse_mountinfo
from .machine import Machine, Tree

BASE = "fs/btrfs"
SECTOR = 512.0
GROUPS = ("data", "metadata", "system")
COPIES = {"single": 1.0, "raid0": 1.0, "dup": 2.0, "raid1": 2.0, "raid10": 2.0, "raid1c3": 3.0, "raid1c4": 4.0}

INFO = gauge("node_btrfs_info", "Filesystem information", "uuid", "label")
RESERVE = gauge("node_btrfs_global_rsv_size_bytes", "Size of global reserve.", "uuid")
COMMITS = counter("node_btrfs_commits_total", "The total number of commits that have occurred.", "uuid")
LAST_COMMIT = gauge("node_btrfs_last_commit_seconds", "Duration of the most recent commit, in seconds.", "uuid")
MAX_COMMIT = gauge("node_btrfs_max_commit_seconds", "Duration of the slowest commit, in seconds.", "uuid")
COMMIT_SECONDS = counter("node_btrfs_commit_seconds_total", "Sum of the duration of all commits, in seconds.", "uuid")
RESERVED = gauge("node_btrfs_reserved_bytes", "Amount of space reserved for a data type", "uuid", "block_group_type")
LAYOUT = ("uuid", "block_group_type", "mode")
USED = gauge("node_btrfs_used_bytes", "Amount of used space by a layout/data type", *LAYOUT)
SIZE = gauge("node_btrfs_size_bytes", "Amount of space allocated for a layout/data type", *LAYOUT)
RATIO = gauge("node_btrfs_allocation_ratio", "Data allocation ratio for a layout/data type", *LAYOUT)
DEVICE_HELP = "Size of a device that is part of the filesystem."
DEVICE_SIZE = gauge("node_btrfs_device_size_bytes", DEVICE_HELP, "uuid", "device")
DEVICE = ("uuid", "device", "btrfs_dev_uuid")
ASKED_SIZE = gauge("node_btrfs_device_size_bytes", DEVICE_HELP, *DEVICE)
UNUSED = gauge(
    "node_btrfs_device_unused_bytes", "Unused bytes unused on a device that is part of the filesystem.", *DEVICE
)
ERRORS = counter(
    "node_btrfs_device_errors_total", "Errors reported for the device", "uuid", "type", "device", "btrfs_dev_uuid"
)
ERROR_TYPES = ("write", "read", "flush", "corruption", "generation")

FS_INFO, DEV_INFO, DEV_STATS = 0x8400941F, 0xD000941E, 0xC4089434  # ioctl numbers: _IOR, _IOWR, _IOWR of 0x94
FS_INFO_HEAD = struct.Struct("=QQ16s")  # max_id, num_devices, fsid
DEV_INFO_HEAD = struct.Struct("=Q16sQQ")  # devid, uuid, bytes_used, total_bytes
DEV_STATS_HEAD = struct.Struct("=QQQ5Q")  # devid, nr_items, flags, values
DEV_PATH = 3072  # where the path begins in struct btrfs_ioctl_dev_info_args
SIZES = {FS_INFO: 1024, DEV_INFO: 4096, DEV_STATS: 1032}

Ioctl = Callable[[int, int, bytearray], object]


class Device(NamedTuple):
    """A device as the ioctls tell it."""

    name: str
    uuid: str
    used: int
    total: int
    errors: tuple[int, ...]


def parse_commits(text: str) -> dict[str, int]:
    """The lines of commit_stats."""
    pairs = (line.split() for line in text.splitlines())
    return {name: int(value) for name, value in pairs}


def ratio(mode: str, devices: int) -> float:
    """Bytes on disk for a byte of data."""
    parity = {"raid5": 1, "raid6": 2}.get(mode, 0)
    if parity:
        return devices / (devices - parity) if devices > parity else 0.0
    return COPIES.get(mode, 0.0)


def ask_devices(ioctl: Ioctl, fd: int) -> tuple[str, list[Device]]:
    """The file system's UUID and its devices; ids may have holes. Raises OSError."""

    def ask(request: int, identity: int = 0) -> bytearray:
        buffer = bytearray(SIZES[request])
        struct.pack_into("=QQ", buffer, 0, identity, 5 if request == DEV_STATS else 0)
        ioctl(fd, request, buffer)
        return buffer

    highest, count, fsid = FS_INFO_HEAD.unpack_from(ask(FS_INFO))
    devices: list[Device] = []
    for identity in range(highest + 1):
        try:
            info = ask(DEV_INFO, identity)
        except OSError as error:
            if error.errno == errno.ENODEV:
                continue
            raise
        errors = DEV_STATS_HEAD.unpack_from(ask(DEV_STATS, identity))[3:]
        _id, uuid, used, total = DEV_INFO_HEAD.unpack_from(info)
        path = bytes(info[DEV_PATH:]).partition(b"\0")[0].decode("utf-8", "replace")
        devices.append(Device(path.rpartition("/")[2], str(UUID(bytes=uuid)), used, total, errors))
        if len(devices) == count:
            break
    return str(UUID(bytes=fsid)), devices


def device_samples(uuid: str, devices: list[Device]) -> Iterator[Sample]:
    """Size, free space and errors of each device."""
    for device in devices:
        labels = (uuid, device.name, device.uuid)
        yield ASKED_SIZE(float(device.total), *labels)
        yield UNUSED(float(device.total - device.used), *labels)
        for kind, count in zip(ERROR_TYPES, device.errors, strict=True):
            yield ERRORS(float(count), uuid, kind, device.name, device.uuid)


def _ioctl(fd: int, request: int, buffer: bytearray) -> object:
    from fcntl import ioctl  # POSIX alone has it

    return ioctl(fd, request, buffer)


class Btrfs:
    """The part `btrfs`."""

    def __init__(self, machine: Machine, ioctl: Ioctl = _ioctl) -> None:
        self._machine = machine
        self._ioctl = ioctl

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        names = [name for name in self._machine.sys.entries(BASE) if "-" in name]
        asked = dict(self._ask()) if names else {}
        for name in names:
            yield from self._filesystem(self._machine.sys, name, asked)

    def _ask(self) -> Iterator[tuple[str, list[Device]]]:
        seen: set[str] = set()
        for mount in parse_mountinfo(self._machine.proc.text("self/mountinfo")):
            if mount.fstype != "btrfs" or mount.device in seen:
                continue
            seen.add(mount.device)
            try:
                fd = os.open(self._machine.root.path(mount.mountpoint.lstrip("/")), os.O_RDONLY)
            except OSError:
                continue  # another mount of it may do
            try:
                yield ask_devices(self._ioctl, fd)
            except OSError:
                continue
            finally:
                os.close(fd)

    def _filesystem(self, sys: Tree, name: str, asked: dict[str, list[Device]]) -> Iterator[Sample]:
        base = f"{BASE}/{name}"
        uuid = sys.optional(f"{base}/metadata_uuid") or name
        devices = sys.names(f"{base}/devices")
        yield INFO(1.0, uuid, sys.optional(f"{base}/label") or "")
        yield RESERVE(_number(sys, f"{base}/allocation/global_rsv_size"), uuid)
        commits = parse_commits(sys.optional_text(f"{base}/commit_stats"))
        yield COMMITS(float(commits.get("commits", 0)), uuid)
        yield LAST_COMMIT(commits.get("last_commit_ms", 0) / 1000, uuid)
        yield MAX_COMMIT(commits.get("max_commit_ms", 0) / 1000, uuid)
        yield COMMIT_SECONDS(commits.get("total_commit_ms", 0) / 1000, uuid)
        for group in GROUPS:
            yield from _group(sys, f"{base}/allocation/{group}", uuid, group, len(devices))
        if uuid in asked:
            yield from device_samples(uuid, asked[uuid])
            return
        for device in devices:
            yield DEVICE_SIZE(_number(sys, f"{base}/devices/{device}/size") * SECTOR, uuid, device)


def _group(sys: Tree, base: str, uuid: str, group: str, devices: int) -> Iterator[Sample]:
    yield RESERVED(_number(sys, f"{base}/bytes_reserved"), uuid, group)
    for mode in sys.names(base):
        if sys.is_directory(f"{base}/{mode}"):
            yield USED(_number(sys, f"{base}/{mode}/used_bytes"), uuid, group, mode)
            yield SIZE(_number(sys, f"{base}/{mode}/total_bytes"), uuid, group, mode)
            yield RATIO(ratio(mode, devices), uuid, group, mode)


def _number(sys: Tree, path: str) -> float:
    text = sys.optional(path)
    return float(text) if text and text.isdigit() else 0.0
