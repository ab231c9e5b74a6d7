"""File systems: space, inodes and state of each mount.

A mount that does not answer in time is reported as `node_filesystem_device_error` 1, and the others go on: see
`agent.asker`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from agent.asker import Asker
from agent.model import Sample, gauge

from .machine import Filter, Machine

TIMEOUT = 2.0  # seconds for all mounts of a round together
TIMED_OUT = "mountpoint timeout"

LABELS = ("device", "mountpoint", "fstype", "device_error")
ERROR = gauge(
    "node_filesystem_device_error",
    "Whether an error occurred while getting statistics for the given device.",
    *LABELS,
)
READONLY = gauge("node_filesystem_readonly", "Filesystem read-only status.", *LABELS)
SIZE = gauge("node_filesystem_size_bytes", "Filesystem size in bytes.", *LABELS)
FREE = gauge("node_filesystem_free_bytes", "Filesystem free space in bytes.", *LABELS)
AVAIL = gauge("node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes.", *LABELS)
FILES = gauge("node_filesystem_files", "Filesystem total file nodes.", *LABELS)
FILES_FREE = gauge("node_filesystem_files_free", "Filesystem total free file nodes.", *LABELS)
PURGEABLE = gauge(
    "node_filesystem_purgeable_bytes",
    "Filesystem space available including purgeable space (MacOS specific).",
    *LABELS,
)
MOUNT_INFO = gauge(
    "node_filesystem_mount_info", "Filesystem mount information.", "device", "major", "minor", "mountpoint"
)

Stat = Callable[[str], "os.statvfs_result"]


class Mount(NamedTuple):
    """A line of mountinfo, with the mount point as the host sees it."""

    device: str
    mountpoint: str
    fstype: str
    major: str
    minor: str
    readonly: bool


class Usage(NamedTuple):
    """What statvfs says, in bytes and inodes; `error` is empty where it answered."""

    error: str = ""
    size: float = 0.0
    free: float = 0.0
    avail: float = 0.0
    files: float = 0.0
    files_free: float = 0.0


def parse_mountinfo(text: str, rootfs: str = "") -> Iterator[Mount]:
    """The mounts of /proc/<pid>/mountinfo (see proc_pid_mountinfo(5)); `rootfs` is cut from their paths."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, tail = before.split(" "), after.split(" ")
        major, _, minor = fields[2].partition(":")
        path = fields[4].replace("\\040", " ").replace("\\011", "\t")
        if rootfs:
            path = path.removeprefix(rootfs) or "/"
        flags = {*fields[5].split(","), *tail[2].split(",")} if len(tail) > 2 else {*fields[5].split(",")}
        yield Mount(tail[1], path, tail[0], major, minor, not flags.isdisjoint({"ro", "emergency_ro"}))


def usage(stat: Stat, path: str) -> Usage:
    """Ask the file system; its refusal becomes part of the answer."""
    try:
        answer = stat(path)
    except OSError as error:
        return Usage((error.strerror or str(error)).lower())
    # node_exporter multiplies by statfs' f_bsize; macOS has there what is best for a transfer
    unit = float(answer.f_bsize if sys.platform.startswith("linux") else answer.f_frsize)
    return Usage(
        "",
        answer.f_blocks * unit,
        answer.f_bfree * unit,
        answer.f_bavail * unit,
        float(answer.f_files),
        float(answer.f_ffree),
    )


def samples(mount: Mount, found: Usage) -> Iterator[Sample]:
    """The samples of one mount."""
    labels = (mount.device, mount.mountpoint, mount.fstype, found.error)
    yield Sample(ERROR, labels, float(bool(found.error)))
    yield Sample(READONLY, labels, float(mount.readonly))
    if found.error:
        return
    yield Sample(SIZE, labels, found.size)
    yield Sample(FREE, labels, found.free)
    yield Sample(AVAIL, labels, found.avail)
    yield Sample(FILES, labels, found.files)
    yield Sample(FILES_FREE, labels, found.files_free)
    yield MOUNT_INFO(1.0, mount.device, mount.major, mount.minor, mount.mountpoint)
    if mount.major:  # Linux, where nothing is purgeable; macOS does not say how much is
        yield Sample(PURGEABLE, labels, 0.0)


async def measure(asker: Asker[Usage], mounts: list[Mount], rootfs: str, within: float) -> list[Sample]:
    """The samples of all mounts; a mount that was not heard of within so many seconds has the error for it."""
    paths = [rootfs + mount.mountpoint for mount in mounts]
    answers = await asker.ask(paths, within)
    silent = Usage(TIMED_OUT)
    found = [(mount, answers.get(path, silent)) for mount, path in zip(mounts, paths, strict=True)]
    return [sample for mount, answer in found for sample in samples(mount, answer)]


class Filesystem:
    """The part `filesystem`."""

    def __init__(self, machine: Machine, stat: Stat | None = None, timeout: float = TIMEOUT) -> None:
        options = machine.options
        ask = stat or os.statvfs
        self._machine = machine
        self._rootfs = options.rootfs.rstrip("/")
        self._mounts_chosen = Filter(options.mounts_exclude, options.mounts_include)
        self._types_chosen = Filter(options.fstypes_exclude, options.fstypes_include)
        self._timeout = timeout
        self._asker: Asker[Usage] = Asker(lambda path: usage(ask, path))
        self._text = ""
        self._mounts: list[Mount] = []

    async def __call__(self) -> list[Sample]:
        """One round; waits until every mount answered, or for `timeout` seconds."""
        if (text := self._mountinfo()) != self._text:
            self._text, self._mounts = text, self._choose(text)
        return await measure(self._asker, self._mounts, self._rootfs, self._timeout)

    def _mountinfo(self) -> str:
        try:
            return self._machine.proc.kept("1/mountinfo")
        except (FileNotFoundError, PermissionError):  # hidepid
            return self._machine.proc.kept("self/mountinfo")

    def _choose(self, text: str) -> list[Mount]:
        unique: dict[tuple[str, str, str], Mount] = {}
        for mount in parse_mountinfo(text, self._rootfs):
            if self._mounts_chosen(mount.mountpoint) and self._types_chosen(mount.fstype):
                unique.setdefault((mount.device, mount.mountpoint, mount.fstype), mount)
        return [*unique.values()]

    def close(self) -> None:
        """Let the threads end."""
        self._asker.close()
