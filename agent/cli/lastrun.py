"""What one run of a check leaves for the next: a lock while it runs, and what it found.

Both are files in the state directory, by the command line that was given: two checks of different parts of a
configuration may run side by side. Where the directory cannot be written there is neither.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

from agent.rules.findings import STATUSES, Finding, Status

LARGEST: Final = 4 << 20  # bytes of what the last run found


class Overlap(Exception):
    """The same check is running."""


class LastRun:
    """The files of one check; raises OSError where they cannot be made."""

    def __init__(self, state: Path, words: Sequence[str]) -> None:
        digest = hashlib.blake2b("\0".join(words).encode(), digest_size=6).hexdigest()
        state.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._found = state / f"check-{digest}.json"
        self._lock = os.open(state / f"check-{digest}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def lock(self) -> None:
        """Take the lock, which the kernel gives back when this process ends; raises `Overlap`."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Overlap("the same check is still running") from None

    def read(self) -> dict[str, Status]:
        """What was wrong the last time, by check and subject; nothing where that is not known."""
        try:
            with self._found.open("rb") as file:
                found = orjson.loads(file.read(LARGEST))
            return {key: status for key, status in found["wrong"].items() if status in STATUSES}
        except (OSError, orjson.JSONDecodeError, KeyError, AttributeError, TypeError):
            return {}

    def write(self, findings: Sequence[Finding]) -> None:
        """Keep what is wrong now, whole or not at all; raises OSError."""
        text = orjson.dumps({"wrong": {_key(one): one.status for one in findings if one.status != "ok"}})
        made = self._found.with_suffix(".new")
        try:
            with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            made.replace(self._found)
        except OSError:
            with contextlib.suppress(OSError):
                made.unlink()
            raise


def changes(before: dict[str, Status], findings: Sequence[Finding]) -> list[Finding]:
    """What is wrong in another way than the last time, and what is wrong no more."""
    now = {_key(one): one for one in findings}
    changed = [one for key, one in now.items() if one.status != before.get(key, "ok")]
    for key, status in before.items():
        if key not in now:
            check, _, subject = key.partition("\0")
            changed.append(Finding(check, "ok", subject, f"{subject or check}: was {status}, is no more"))
    return [_recovered(one, before.get(_key(one), "ok")) for one in changed]


def _recovered(one: Finding, before: Status) -> Finding:
    if one.status != "ok" or one.message:
        return one
    from msgspec.structs import replace

    return replace(one, message=f"{one.subject or one.check}: was {before}, is no more")


def _key(one: Finding) -> str:
    return f"{one.check}\0{one.subject}"
