"""Room kept for the day the disk is full: deleting takes some, too.

A full disk cannot take what the log has grown by, so the log cannot start again, so nothing can be written, not even
what would make room. Giving up this file breaks that circle.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class Reserve:
    """The file `spool.reserve`: blocks that mean nothing."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "spool.reserve"

    @property
    def held(self) -> int:
        """Bytes of it."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def hold(self, size: int) -> None:
        """Make it so large, if the disk has the room."""
        with contextlib.suppress(OSError):
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
            try:
                os.posix_fallocate(file, 0, size)
                os.ftruncate(file, size)
            except OSError:
                self.path.unlink()
            finally:
                os.close(file)

    def give_up(self) -> None:
        """Let the disk have it."""
        with contextlib.suppress(OSError):
            self.path.unlink()
