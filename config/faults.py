"""What is wrong with a configuration, and where."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Place(Struct, frozen=True, order=True):
    """A place in a file, counted from 1; line 0 means the file as a whole."""

    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        file = self.file if self.file.isprintable() else ascii(self.file)
        return f"{file}:{self.line}:{self.column}" if self.line else file


class Fault(Struct, frozen=True, order=True):
    """One fault: its place (line 0: the file as a whole), the option's dotted path, and what to do about it."""

    file: str
    line: int
    column: int
    path: str
    message: str

    @classmethod
    def at(cls, place: Place, path: str, message: str) -> Fault:
        """A fault at a place."""
        return cls(place.file, place.line, place.column, path, message)

    def __str__(self) -> str:
        place = str(Place(self.file, self.line, self.column))
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(Exception):
    """A configuration that cannot be used; carries every fault found, sorted by place."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults: tuple[Fault, ...] = tuple(sorted(set(faults)))
        super().__init__("\n".join(map(str, self.faults)))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[Fault, ...]]]:
        return (ConfigError, (self.faults,))


def key_path(parent: str, key: str) -> str:
    """`parent.key`, with the key quoted where TOML would ask for it, and never more than a line."""
    text = key if _BARE_KEY.fullmatch(key) else json.dumps(key[:64])
    return f"{parent}.{text}" if parent else text


def dotted(path: Iterable[str]) -> str:
    """The keys of a path as one `key_path`."""
    return functools.reduce(key_path, path, "")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean "..."?` with the nearest known word, or nothing."""
    return asking(nearest(word, known))


def asking(near: str) -> str:
    """The question whether a known word was meant; nothing when there is none."""
    return f'; did you mean "{near}"?' if near else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, or nothing."""
    import difflib  # only needed when something is wrong

    return next(iter(difflib.get_close_matches(word[:64], list(known), n=1, cutoff=0.65)), "")
