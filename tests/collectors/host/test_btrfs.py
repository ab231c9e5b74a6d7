"""Btrfs devices by ioctl: holes in the ids, and file systems that do not answer."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from collectors.host.btrfs import DEV_INFO, DEV_PATH, DEV_STATS, FS_INFO, Btrfs, ask_devices, ratio
from collectors.host.machine import Machine

FSID = UUID("0abb23a9-579b-43e6-ad30-227ef47fcb9d")
DEVICE = UUID("11111111-2222-3333-4444-555555555555")


def answering(_fd: int, request: int, buffer: bytearray) -> None:
    """A file system with devices 1 and 3."""
    identity = struct.unpack_from("=Q", buffer)[0]
    if request == FS_INFO:
        struct.pack_into("=QQ16s", buffer, 0, 3, 2, FSID.bytes)
    elif identity not in (1, 3):
        raise OSError(errno.ENODEV, "No such device")
    elif request == DEV_INFO:
        struct.pack_into("=Q16sQQ", buffer, 0, identity, DEVICE.bytes, 100, 1000 * identity)
        path = f"/dev/loop{identity}".encode()
        buffer[DEV_PATH : DEV_PATH + len(path)] = path
    elif request == DEV_STATS:
        struct.pack_into("=QQQ5Q", buffer, 0, identity, 5, 0, 1, 2, 3, 4, 5)


def refusing(_fd: int, _request: int, _buffer: bytearray) -> None:
    raise PermissionError(errno.EPERM, "Operation not permitted")


def test_devices_are_asked_over_holes_in_their_ids() -> None:
    uuid, devices = ask_devices(answering, 0)
    assert uuid == str(FSID)
    assert [(device.name, device.total, device.errors) for device in devices] == [
        ("loop1", 1000, (1, 2, 3, 4, 5)),
        ("loop3", 3000, (1, 2, 3, 4, 5)),
    ]


def test_errors_and_free_space_come_from_the_ioctls(
    planted: Path, machine: Callable[..., Machine], put: Callable[[str, str], None]
) -> None:
    put("proc/42/mountinfo", "1 2 0:40 / / rw - btrfs /dev/loop1 rw\n")
    samples = list(Btrfs(machine(), answering)())
    errors = {sample.labels[1]: sample.value for sample in samples if sample.family.name.endswith("errors_total")}
    unused = {sample.labels: sample.value for sample in samples if sample.family.name.endswith("unused_bytes")}
    assert errors == {"write": 1, "read": 2, "flush": 3, "corruption": 4, "generation": 5}
    assert unused[str(FSID), "loop3", str(DEVICE)] == 2900


def test_sizes_come_from_sysfs_where_the_ioctl_is_refused(
    planted: Path, machine: Callable[..., Machine], put: Callable[[str, str], None]
) -> None:
    put("proc/42/mountinfo", "1 2 0:40 / / rw - btrfs /dev/loop1 rw\n")
    samples = list(Btrfs(machine(), refusing)())
    sizes = {sample.labels: sample.value for sample in samples if sample.family.name.endswith("device_size_bytes")}
    assert sizes[str(FSID), "loop25"] == 20971520 * 512


def test_bytes_on_disk_for_a_byte_of_data() -> None:
    assert [ratio("raid1", 2), ratio("raid5", 3), ratio("raid6", 2), ratio("new", 2)] == [2.0, 1.5, 0.0, 0.0]
