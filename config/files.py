"""Reading a small file that may be anything: regular files only, never more than a limit, never blocking on a FIFO."""

from __future__ import annotations

import os
import stat


class Unreadable(ValueError):
    """A file that cannot be used; the text says why, without its content."""


def read_regular(path: str, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes; raises Unreadable."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            return _read(descriptor, limit)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unreadable(_reason(error)) from None
    except Unreadable:
        raise
    except ValueError:  # a NUL, or half of a surrogate pair
        raise Unreadable("is no possible file name") from None


def toml_files(directory: str) -> list[str]:
    """Paths of `*.toml` in a directory in name order, hidden ones left out; empty if there is no such directory."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Unreadable(_reason(error)) from None
    except ValueError:
        return []  # the file beside it has an impossible name, and says so itself
    return [os.path.join(directory, name) for name in sorted(names) if name.endswith(".toml") and name[0] != "."]


def _read(descriptor: int, limit: int) -> bytes:
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        raise Unreadable("is a directory" if stat.S_ISDIR(mode) else "is no regular file")
    data = b""
    while more := os.read(descriptor, limit + 1 - len(data)):
        data += more
    if len(data) > limit:
        raise Unreadable(f"is larger than {limit} bytes")
    return data


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return f"cannot be read: {error.strerror}"
