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
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from agent.rules.findings import Finding, Status
from config.files import Unreadable, read_regular

LARGEST: Final = 4 << 20  # bytes of what the last run found


class Wrong(Struct, frozen=True):
    """One thing that was wrong, and how."""

    check: str
    subject: str
    status: Status


class Found(Struct, frozen=True):
    """What was wrong in a run, by the keys of its findings."""

    wrong: dict[str, Wrong] = {}


class Blind(NamedTuple):
    """What a run could not see: the series that some rules name, and the targets that are down."""

    checks: frozenset[str]
    targets: frozenset[str]

    def hides(self, key: str, one: Wrong) -> bool:
        """Whether something that was wrong may be so still."""
        return one.check in self.checks or any(f"instance={target}" in key.split("\0") for target in self.targets)


class Overlap(Exception):
    """The same check is running."""


class LastRun:
    """The files of one check; raises OSError where they cannot be made."""

    def __init__(self, state: Path, words: Sequence[str]) -> None:
        digest = hashlib.blake2b("\0".join(words).encode(), digest_size=6).hexdigest()
        state.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._found = state / f"check-{digest}.json"
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self._lock = os.open(state / f"check-{digest}.lock", flags, 0o600)
        self._owner = state.stat()
        _give(self._lock, self._owner)

    def lock(self) -> None:
        """Take the lock, which the kernel gives back when this process ends; raises `Overlap`."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Overlap("the same check is still running") from None

    def read(self) -> Found:
        """What was wrong the last time; nothing where that is not known."""
        try:
            return msgspec.json.decode(read_regular(str(self._found), LARGEST), type=Found)
        except (Unreadable, msgspec.MsgspecError, UnicodeError):
            return Found()

    def write(self, found: Found) -> None:
        """Keep what is wrong now, whole or not at all; raises OSError."""
        made = self._found.with_suffix(f".{os.getpid()}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC  # never what somebody put there
        try:
            made.unlink(missing_ok=True)
            with open(os.open(made, flags, 0o600), "wb") as file:
                _give(file.fileno(), self._owner)
                file.write(msgspec.json.encode(found))
                file.flush()
                os.fsync(file.fileno())
            made.replace(self._found)
        except OSError:
            with contextlib.suppress(OSError):
                made.unlink()
            raise


def _give(descriptor: int, owner: os.stat_result) -> None:
    """What root makes in the directory of the agent's user is that user's."""
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def kept(before: Found, findings: Sequence[Finding], blind: Blind) -> Found:
    """What to remember of a run; what it could not see is as it was."""
    seen = {one.key for one in findings if not one.empty}
    wrong = {one.key: Wrong(one.check, one.subject, one.status) for one in findings if one.status != "ok"}
    unseen = {key: one for key, one in before.wrong.items() if key not in seen and blind.hides(key, one)}
    return Found(wrong={**unseen, **wrong})


def changes(before: Found, findings: Sequence[Finding], blind: Blind) -> list[Finding]:
    """What is wrong in another way than the last time, and what is wrong no more.

    What could not be seen is not called well: its collector failed, or its target is down.
    """
    now = {one.key: one for one in findings if not one.empty}
    was = {key: one.status for key, one in before.wrong.items()}
    changed = [one for key, one in now.items() if one.status != was.get(key, "ok")]
    recovered = [one for one in changed if one.status == "ok"]
    gone = [one for key, one in before.wrong.items() if key not in now and not blind.hides(key, one)]
    return [
        *(one for one in changed if one.status != "ok"),
        *(_well(Wrong(one.check, one.subject, was[one.key])) for one in recovered),
        *map(_well, gone),
    ]


def _well(one: Wrong) -> Finding:
    return Finding(one.check, "ok", one.subject, f"{one.subject or one.check}: was {one.status}, is no more")
