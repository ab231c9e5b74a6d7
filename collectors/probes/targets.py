"""The targets of a prober: from the configuration, or from a file that is watched."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from agent.logs import get_logger
from config import ClientOptions
from config.files import Unreadable, read_regular

LARGEST = 16 << 20  # bytes of a file of targets

IDLE: Final = ("proxy", "headers", "bearer_token", "username")  # what a probe below HTTP has no use for

log = get_logger("probes")


class Targets:
    """Fixed ones, and those of a file with one a line; blank lines and what follows a `#` do not count.

    `fault` says what is wrong with a target, or nothing. A file is looked at every round, and read when it changed; a
    line that is no target is left out and told, a file that cannot be read leaves what was there.
    """

    def __init__(self, fixed: Sequence[str], file: str | None, fault: Callable[[str], str]) -> None:
        self._fixed, self._file, self._fault = tuple(dict.fromkeys(fixed)), file, fault
        self._stamp: tuple[int, int, int] | None = None
        self._found: tuple[str, ...] = ()
        self._told = ""

    def now(self) -> Sequence[str]:
        """The targets, each once."""
        if self._file is None:
            return self._fixed
        try:
            stat = os.stat(self._file)
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp != self._stamp:
                self._found = self._read(self._file)
                self._stamp, self._told = stamp, ""
        except (OSError, Unreadable) as error:
            self._tell(f"{getattr(error, 'strerror', None) or error}")
        return tuple(dict.fromkeys((*self._fixed, *self._found)))

    def _read(self, file: str) -> tuple[str, ...]:
        found = []
        for number, line in enumerate(read_regular(file, LARGEST).decode("utf-8", "replace").splitlines(), start=1):
            text = line.partition(" #")[0].strip()
            if not text or text.startswith("#"):
                continue
            if fault := self._fault(text):
                log.warning("a line is no target and is left out", file=f"{file}:{number}", fault=fault)
            else:
                found.append(text)
        return tuple(found)

    def _tell(self, fault: str) -> None:
        if fault != self._told:
            self._told = fault
            log.warning("the file of targets cannot be read; those known stay", file=self._file, error=fault)


def idle_faults(options: ClientOptions) -> Iterator[str]:
    """Options of every client that would be ignored by a prober that does not speak HTTP."""
    for name in IDLE:
        if getattr(options, name):
            yield f"{name}: is for HTTP; this section has no use for it"
