"""Files that nobody else may read, whatever the umask and the directory's mode say: they hold what was collected."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path


def make_private(path: Path) -> None:
    """See to it that nobody else may read a database, before SQLite makes it: its logs get the same mode. A place
    that refuses is SQLite's to tell.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    for suffix in ("", "-wal", "-shm"):  # of an earlier version
        with contextlib.suppress(OSError):
            if os.stat(f"{path}{suffix}").st_mode & 0o077:
                os.chmod(f"{path}{suffix}", 0o600)


def copy_private(path: Path, to: Path) -> None:
    """Copy a file, ours alone to read; half a copy would only take the space that is lacking."""
    try:
        with path.open("rb") as source, open(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            shutil.copyfileobj(source, target)
    except OSError:
        to.unlink(missing_ok=True)
        raise
