"""Metrics that other programs leave in `*.prom` files (text format 0.0.4), as node_exporter's textfile collector.

A file that cannot be read or parsed is left out whole and shows as `node_textfile_scrape_error` 1. A file is parsed
again when it changed; writers replace it with a rename.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from agent.model import Sample, gauge

from .exposition import Group, parse_exposition
from .machine import Machine

MOST_BYTES = 16 * 1024 * 1024  # of one file

ERROR = gauge("node_textfile_scrape_error", "1 if there was an error opening or reading a file, 0 otherwise")
MTIME = gauge("node_textfile_mtime_seconds", "Unixtime mtime of textfiles successfully read.", "file")


class File(NamedTuple):
    """A file as it was last seen: what tells that it changed, when it was written, what is in it."""

    mark: tuple[int, int, int]
    mtime: float
    groups: list[Group] | None  # None: it cannot be parsed


def read_file(path: str) -> tuple[os.stat_result, str]:
    """A regular file, read in one piece and without waiting for a writer; raises OSError and ValueError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
            raise ValueError(f"{path} is no file to read")
        return found, os.read(fd, MOST_BYTES).decode("utf-8")
    finally:
        os.close(fd)


class Textfile:
    """The part `textfile`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._pattern = machine.options.textfile_dir
        self._files: dict[str, File] = {}

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        paths, failed = self._list()
        self._files = {path: file for path in paths if (file := self._look(path))}
        good = {path: file for path, file in self._files.items() if file.groups is not None}
        failed = failed or len(good) < len(paths)
        helps: dict[str, str] = {}
        for path, file in good.items():
            for group in file.groups or ():
                if group.help is not None and helps.setdefault(group.name, group.help) != group.help:
                    failed = True  # the same metric explained in two ways: the first file has it
                    continue
                yield from self._group(group, helps.get(group.name, f"Metric read from {path}"))
        for path, file in good.items():
            yield MTIME(file.mtime, path)
        yield ERROR(float(failed))

    def _list(self) -> tuple[list[str], bool]:
        paths: list[str] = []
        failed = False
        for directory in sorted(glob.glob(self._pattern)) or filter(None, [self._pattern]):
            try:
                names = sorted(os.listdir(directory))
            except OSError:
                failed = True
                continue
            paths += [os.path.join(directory, name) for name in names if name.endswith(".prom")]
        return paths, failed

    def _look(self, path: str) -> File | None:
        try:
            found = os.stat(path)
            mark = (found.st_ino, found.st_size, found.st_mtime_ns)
            known = self._files.get(path)
            if known and known.mark == mark:
                return known
            found, text = read_file(path)
        except (OSError, ValueError):
            return None
        mark = (found.st_ino, found.st_size, found.st_mtime_ns)
        try:
            return File(mark, float(found.st_mtime_ns // 1_000_000_000), parse_exposition(text))
        except ValueError:
            return File(mark, 0.0, None)

    def _group(self, group: Group, help: str) -> Iterator[Sample]:
        names = sorted({name for exposed in group.exposed for name in exposed.labels})
        family = self._machine.families(group.kind, group.name, help, *names)
        for exposed in group.exposed:
            yield Sample(family, tuple(exposed.labels.get(name, "") for name in names), exposed.value)
