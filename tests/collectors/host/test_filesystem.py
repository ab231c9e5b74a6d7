"""File systems: what statvfs says, what mountinfo says, and mounts that are dead."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.model import Sample
from collectors.host import filesystem
from collectors.host.filesystem import Filesystem, Mount, parse_mountinfo, usage
from collectors.host.machine import Machine

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
23 22 0:21 / /proc rw - proc proc rw
24 22 0:40 / /srv/two\\040words ro,relatime shared:9 master:2 - tmpfs scratch rw,size=1024k
25 22 0:50 / /mnt/nfs rw - nfs4 192.0.2.9:/export rw
26 22 8:2 / /data rw - xfs /dev/sda2 rw,emergency_ro
"""
ANSWER = os.statvfs_result((4096, 4096, 1000, 600, 500, 300, 200, 200, 0, 255))


def by_mount(samples: list[Sample], name: str) -> dict[str, float]:
    return {sample.labels[1]: sample.value for sample in samples if sample.family.name == name}


@pytest.fixture
def mounted(put: Callable[[str, str], None], machine: Callable[..., Machine]) -> Callable[..., Machine]:
    put("proc/1/mountinfo", MOUNTS)
    return machine


def test_mountinfo_is_parsed_with_optional_fields_and_escapes() -> None:
    mounts = list(parse_mountinfo(MOUNTS))
    assert mounts[0] == Mount("/dev/sda1", "/", "ext4", "8", "1", False)
    assert mounts[2] == Mount("scratch", "/srv/two words", "tmpfs", "0", "40", True)
    assert mounts[4].readonly, "the kernel made it so"


def test_the_root_of_a_container_is_cut_from_the_mount_points() -> None:
    text = "1 0 8:1 / /host rw - ext4 /dev/sda1 rw\n2 0 8:2 / /host/var rw - ext4 /dev/sda2 rw\n"
    assert [mount.mountpoint for mount in parse_mountinfo(text, "/host")] == ["/", "/var"]


def test_the_answer_is_in_bytes_and_inodes() -> None:
    found = usage(lambda path: ANSWER, "/")
    assert found == ("", 4096000.0, 2457600.0, 2048000.0, 300.0, 200.0)


async def test_each_mount_has_its_samples(mounted: Callable[..., Machine]) -> None:
    part = Filesystem(mounted(), stat=lambda path: ANSWER)
    samples = await part()
    part.close()
    assert by_mount(samples, "node_filesystem_size_bytes").keys() == {"/", "/srv/two words", "/mnt/nfs", "/data"}
    assert by_mount(samples, "node_filesystem_readonly") == {"/": 0, "/srv/two words": 1, "/mnt/nfs": 0, "/data": 1}


async def test_statvfs_is_asked_below_the_root_of_the_host(mounted: Callable[..., Machine], tree: Path) -> None:
    asked: list[str] = []

    def stat(path: str) -> os.statvfs_result:
        asked.append(path)
        return ANSWER

    part = Filesystem(mounted(mounts_include="^/data$", mounts_exclude=""), stat=stat)
    await part()
    part.close()
    assert asked == [f"{tree}/data"]


async def test_types_and_mounts_are_filtered(mounted: Callable[..., Machine]) -> None:
    part = Filesystem(mounted(fstypes_exclude="^nfs", mounts_exclude="^/srv"), stat=lambda path: ANSWER)
    samples = await part()
    part.close()
    assert by_mount(samples, "node_filesystem_files").keys() == {"/", "/proc", "/data"}


async def test_a_refusal_is_told_as_an_error_of_that_mount(mounted: Callable[..., Machine]) -> None:
    def stat(path: str) -> os.statvfs_result:
        if path.endswith("/mnt/nfs"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return ANSWER

    part = Filesystem(mounted(), stat=stat)
    samples = await part()
    part.close()
    assert by_mount(samples, "node_filesystem_device_error")["/mnt/nfs"] == 1
    assert by_mount(samples, "node_filesystem_size_bytes").keys() == {"/", "/srv/two words", "/data"}
    assert {sample.labels[3] for sample in samples if sample.labels[1] == "/mnt/nfs"} == {"permission denied"}


async def test_a_dead_mount_freezes_nothing_and_is_asked_again_when_it_is_back(
    mounted: Callable[..., Machine],
) -> None:
    back = threading.Event()
    asked: list[str] = []

    def stat(path: str) -> os.statvfs_result:
        asked.append(path)
        if path.endswith("/mnt/nfs"):
            back.wait(30)
        return ANSWER

    part = Filesystem(mounted(), stat=stat, timeout=0.2)
    for _ in range(3):
        samples = await part()
        assert by_mount(samples, "node_filesystem_device_error") == {
            "/": 0,
            "/srv/two words": 0,
            "/mnt/nfs": 1,
            "/data": 0,
        }
        errors = {sample.labels[3] for sample in samples if sample.labels[1] == "/mnt/nfs"}
        assert errors == {filesystem.TIMED_OUT}
    assert sum(path.endswith("/mnt/nfs") for path in asked) == 1
    back.set()
    while by_mount(await part(), "node_filesystem_device_error")["/mnt/nfs"]:
        pass
    part.close()


async def test_without_the_mounts_of_process_1_our_own_are_taken(
    put: Callable[[str, str], None], machine: Callable[..., Machine]
) -> None:
    put("proc/self/mountinfo", MOUNTS)
    part = Filesystem(machine(), stat=lambda path: ANSWER)
    assert by_mount(await part(), "node_filesystem_files")
    part.close()
