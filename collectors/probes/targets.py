"""The targets of a prober: from the configuration, or from a file that is watched."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from typing import Final, NamedTuple

from agent.asker import Asker
from agent.logs import get_logger
from config import ClientOptions
from config.files import Unreadable, read_regular
from config.secret import MASK

LARGEST = 16 << 20  # bytes of a file of targets
MOST = 20_000  # targets of a file: a round of so many takes 300 MiB
PATIENCE = 2.0  # seconds for the disk to answer

IDLE: Final = ("proxy", "headers", "bearer_token", "username")  # what a probe below HTTP has no use for

_HOST: Final = re.compile(r"[^/?#]*")

log = get_logger("probes")


class _File(NamedTuple):
    """What a file of targets says: a stamp that changes with it, its targets, and how many lines are none."""

    stamp: tuple[int, int, int]
    found: tuple[str, ...]
    left_out: int
    first: dict[str, str]  # of those lines: the place, and the fault


class Targets:
    """Fixed ones, and those of a file with one a line; blank lines and what follows a `#` do not count.

    `fault` says what is wrong with a target, or nothing. A file is looked at every round, and read when it changed, in
    a thread: a dead network mount must not stop the agent. Lines that are no targets are left out and told, a file that
    cannot be read leaves what was there.
    """

    def __init__(self, fixed: Sequence[str], file: str | None, fault: Callable[[str], str]) -> None:
        self._fixed, self._file, self._fault = tuple(dict.fromkeys(fixed)), file, fault
        self._asker: Asker[_File | str | None] = Asker(self._look)
        self._stamp: tuple[int, int, int] | None = None  # of what was read
        self._found: tuple[str, ...] = ()
        self._told = ""

    async def now(self) -> Sequence[str]:
        """The targets, each once."""
        if self._file is None:
            return self._fixed
        answers = await self._asker.ask([self._file], PATIENCE)
        answer = answers.get(self._file, "it does not answer in time")
        if isinstance(answer, str):
            self._tell(answer)
        else:
            self._told = ""
            if answer is not None:
                self._take(self._file, answer)
        return tuple(dict.fromkeys((*self._fixed, *self._found)))

    def close(self) -> None:
        """Let the thread go."""
        self._asker.close()

    def _take(self, file: str, said: _File) -> None:
        if said.left_out:
            log.warning("lines that are no targets are left out", lines=said.left_out, **said.first)
        if not said.found and (self._found or self._stamp is None):
            log.warning(f"the file of targets holds no targets{'; those it had end' if self._found else ''}", file=file)
        self._stamp, self._found = said.stamp, said.found

    def _look(self, file: str) -> _File | str | None:
        """In a thread: what the file says, None where it did not change, or why it cannot be read."""
        try:
            stat = os.stat(file)
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            return None if stamp == self._stamp else self._read(file, stamp)
        except (OSError, Unreadable) as error:
            return f"{getattr(error, 'strerror', None) or error}"

    def _read(self, file: str, stamp: tuple[int, int, int]) -> _File:
        found: list[str] = []
        left_out = 0
        first: dict[str, str] = {}
        for number, line in enumerate(read_regular(file, LARGEST).decode("utf-8", "replace").splitlines(), start=1):
            text = line.partition(" #")[0].strip()
            if not text or text.startswith("#"):
                continue
            if fault := self._fault(text) if len(found) < MOST else f"there are more than {MOST}":
                first = first or {"first": f"{file}:{number}", "fault": fault}
                left_out += 1
            else:
                found.append(text)
        return _File(stamp, tuple(found), left_out, first)

    def _tell(self, fault: str) -> None:
        if fault != self._told:
            self._told = fault
            known = "; those known stay" if self._found else ""
            log.warning(f"the file of targets cannot be read{known}", file=self._file, error=fault)


def shown(target: str) -> str:
    """A target that is none, as it may be shown: someone may have taken it for the place of a login or a token."""
    scheme, mark, rest = target.partition("://")
    if not mark or not scheme.isalpha():
        scheme, mark, rest = "", "", target
    _, login, place = rest.rpartition("@")
    host = _HOST.match(place)[0]  # type: ignore[index]  # it always does
    rest = "" if host == place else place[len(host)] + MASK
    return f"{scheme}{mark}{MASK if login else ''}{login}{host}{rest}"


def is_host(text: str) -> bool:
    """Whether it may be a host's name or its address; what holds colons has to be one of IPv6."""
    if not text or set(text) & set("[]/@ "):
        return False
    try:
        return ":" not in text or bool(ip_address(text.partition("%")[0]))
    except ValueError:
        return False


def target_faults(targets: Sequence[str], file: str | None, fault: Callable[[str], str]) -> Iterator[str]:
    """What is wrong with the options `targets` and `targets_file`; `fault` says it of one target."""
    for target in targets:
        if found := fault(target):
            yield f"targets: {shown(target)!r} {found}"
    if not targets and file is None:
        yield "targets: one of `targets` and `targets_file` is needed"


def idle_faults(options: ClientOptions) -> Iterator[str]:
    """Options of every client that would be ignored by a prober that does not speak HTTP."""
    for name in IDLE:
        if getattr(options, name):
            yield f"{name}: is for HTTP; this section has no use for it"
