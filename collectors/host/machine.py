"""The machine as the parts see it: its /proc, /sys and root, read cheaply.

Reading is apart from parsing: a `Tree` hands out text, parsers take text. Files of /proc that are read every round
stay open and are read again from their start, which spares the kernel the path walk (about half the cost of a
small file). Their number is bounded; files of /sys are opened each time, because their devices come and go.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from agent.model import Family, Kind

from .options import Options

CHUNK = 16 * 1024
MAX_KEPT = 64  # open files of one tree
MAX_NAMES = 4096  # names remembered by a filter or a family cache


def words(text: str) -> tuple[str, ...]:
    """The words of a long literal, which would fill a page with one in a line."""
    return tuple(text.split())


def read_all(fd: int) -> str:
    """Everything in an open file, from its start; garbage bytes become U+FFFD."""
    data = part = os.pread(fd, CHUNK, 0)
    while part:
        part = os.pread(fd, CHUNK, len(data))
        data += part
    return data.decode("utf-8", "replace")


class Tree:
    """A file tree of the kernel's, `/proc` or `/sys`, by paths relative to its root."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self._kept: dict[str, int] = {}
        self._round: dict[str, str] = {}

    def path(self, name: str) -> str:
        """The absolute path of a file of this tree."""
        return f"{self.root}/{name}"

    def text(self, name: str) -> str:
        """The whole of a file, opened and closed; raises OSError."""
        fd = os.open(f"{self.root}/{name}", os.O_RDONLY)
        try:
            return read_all(fd)
        finally:
            os.close(fd)

    def word(self, name: str) -> str:
        """A small file, stripped: one read, as sysfs attributes fit in a page; raises OSError."""
        fd = os.open(f"{self.root}/{name}", os.O_RDONLY)
        try:
            return os.read(fd, 4096).decode("utf-8", "replace").strip()
        finally:
            os.close(fd)

    def optional(self, name: str) -> str | None:
        """A small file, or None where it is missing or unreadable."""
        try:
            return self.word(name)
        except OSError:
            return None

    def optional_text(self, name: str) -> str:
        """The whole of a file; empty where it is missing or unreadable."""
        try:
            return self.text(name)
        except OSError:
            return ""

    def changed(self, name: str) -> int | None:
        """When a file was last modified, in ns; None where it is missing."""
        try:
            return os.stat(f"{self.root}/{name}").st_mtime_ns
        except OSError:
            return None

    def inode(self, name: str) -> int | None:
        """The inode of a file or directory; None where it is missing. A device that came back has another."""
        try:
            return os.stat(f"{self.root}/{name}").st_ino
        except OSError:
            return None

    def number(self, name: str) -> float:
        """A small file as an integer; raises OSError and ValueError."""
        return float(int(self.word(name)))

    def names(self, name: str) -> list[str]:
        """The entries of a directory, sorted; raises OSError."""
        return sorted(os.listdir(f"{self.root}/{name}"))

    def entries(self, name: str) -> list[str]:
        """The entries of a directory, sorted; nothing where it is missing."""
        try:
            return self.names(name)
        except FileNotFoundError:
            return []

    def exists(self, name: str) -> bool:
        """Whether there is such a file or directory."""
        return os.access(f"{self.root}/{name}", os.F_OK)

    def is_directory(self, name: str) -> bool:
        """Whether this is a directory."""
        return os.path.isdir(f"{self.root}/{name}")

    def kept(self, name: str) -> str:
        """The whole of a file that stays open between rounds; raises OSError."""
        fd = self._kept.get(name)
        if fd is None:
            if len(self._kept) >= MAX_KEPT:
                return self.text(name)
            fd = self._kept[name] = os.open(f"{self.root}/{name}", os.O_RDONLY)
        try:
            return read_all(fd)
        except OSError:
            os.close(self._kept.pop(name))
            raise

    def shared(self, name: str) -> str:
        """The same as `kept`, read once a round however many parts ask."""
        if (text := self._round.get(name)) is None:
            text = self._round[name] = self.kept(name)
        return text

    def next_round(self) -> None:
        """Forget what was shared in the last round."""
        self._round.clear()

    def close(self) -> None:
        """Close the files that stayed open."""
        while self._kept:
            os.close(self._kept.popitem()[1])


class Filter:
    """An exclude and an include expression, with the verdict on each name remembered."""

    def __init__(self, exclude: str, include: str = "") -> None:
        self._exclude = re.compile(exclude) if exclude else None
        self._include = re.compile(include) if include else None
        self._known: dict[str, bool] = {}

    def __call__(self, name: str) -> bool:
        """Whether the name stays."""
        if (known := self._known.get(name)) is None:
            if len(self._known) >= MAX_NAMES:
                self._known.clear()
            known = self._known[name] = self._judge(name)
        return known

    def _judge(self, name: str) -> bool:
        if self._exclude and self._exclude.search(name):
            return False
        return not self._include or bool(self._include.search(name))


class Families:
    """Families whose names the kernel or a file chooses: made when first met, the same object from then on."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, Kind, str, tuple[str, ...]], Family] = {}

    def __call__(self, kind: Kind, name: str, help: str, *labels: str) -> Family:
        """The family of this name, kind, help and labels."""
        key = (name, kind, help, labels)
        if (family := self._made.get(key)) is None:
            if len(self._made) >= MAX_NAMES:
                self._made.clear()
            family = self._made[key] = Family(name, kind, help, labels)
        return family

    def __iter__(self) -> Iterator[Family]:
        return iter(self._made.values())


class Machine:
    """What every part is made from."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.proc = Tree(options.proc)
        self.sys = Tree(options.sys)
        self.root = Tree(options.rootfs)
        self.families = Families()
        self._own_network: bool | None = None

    @property
    def own_network(self) -> bool:
        """Whether `proc` shows the network namespace that this process lives in, so that netlink tells the same."""
        if self._own_network is None:
            try:
                same = os.path.samefile(self.proc.path("self/ns/net"), "/proc/self/ns/net")
            except OSError:
                same = False
            self._own_network = same
        return self._own_network

    def next_round(self) -> None:
        """A round begins."""
        self.proc.next_round()
        self.sys.next_round()

    def close(self) -> None:
        """Let go of open files."""
        self.proc.close()
        self.sys.close()
        self.root.close()
