"""One process a state directory: an advisory lock that the kernel releases when the process dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path


class AlreadyRunning(Exception):
    """Another process holds the state directory."""


class Lock:
    """Holds `spool.lock`; the file keeps the holder's process id for people to read.

    Raises `AlreadyRunning`, or OSError when the file cannot be made or the file system knows no locks.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "spool.lock"
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._take(directory)
        except BaseException:
            os.close(self._file)
            raise

    def _take(self, directory: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
            raise AlreadyRunning(
                f"the state directory {directory} is in use by process {holder or 'unknown'}; stop that agent, "
                "or give this one a state_dir of its own"
            ) from None
        with contextlib.suppress(OSError):  # a full disk costs the process id, not the lock
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def moved(self) -> bool:
        """Whether the file is gone from its place, so that another process could take a lock beside ours."""
        try:
            return os.fstat(self._file).st_ino != self.path.stat().st_ino
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:  # a place that cannot be looked at
            return False

    def release(self) -> None:
        """Let go; the file stays, since removing it would race with the next holder."""
        os.close(self._file)
