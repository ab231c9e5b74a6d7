"""What the server's texts mean as numbers, and families whose names come from the server."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from agent.model import Family

MOST: Final = 4000  # names; a server with every engine has 1500
LONGEST: Final = 1024  # characters of a label, or of what may be a number
_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WORDS: Final = {
    "yes": 1.0,
    "on": 1.0,
    "primary": 1.0,  # wsrep_cluster_status
    "no": 0.0,
    "off": 0.0,
    "disabled": 0.0,
    "connecting": 0.0,  # Slave_IO_Running
    "non-primary": 0.0,
    "disconnected": 0.0,
}
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EXPIRY: Final = re.compile(r"([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d) (\d{4}) [A-Z]{3,4}", re.ASCII)
_MOMENT: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)", re.ASCII)
_LONGEST_NAME: Final = 128
_NO_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")


def parse_value(text: str | None) -> float | None:
    """A number, a word such as ON, or a moment in UTC as Unix seconds; None for everything else."""
    if not text or len(text) > LONGEST:
        return None
    if _NUMBER.fullmatch(text):
        value = float(text)
        return value if math.isfinite(value) else None
    found = _WORDS.get(text.lower())
    return parse_moment(text) if found is None else found


def parse_moment(text: str) -> float | None:
    """`Nov 21 09:14:00 2027 GMT` (of certificates) or `2027-11-21 09:14:00`, as Unix seconds."""
    if found := _MOMENT.fullmatch(text):
        year, month, day, hour, minute, second = map(int, found.groups())
    elif (found := _EXPIRY.fullmatch(text)) and found[1] in _MONTHS:
        year, month = int(found[6]), _MONTHS.index(found[1]) + 1
        day, hour, minute, second = (int(part) for part in found.group(2, 3, 4, 5))
    else:
        return None
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    except ValueError:
        return None


def name_of(text: str) -> str:
    """A server's name for something as a part of a metric's name."""
    return _NO_NAME.sub("_", text[:_LONGEST_NAME]).lower()


class Named:
    """Families by the server's names: they have to stay the same objects from round to round."""

    def __init__(self, prefix: str, make: Callable[..., Family], help: str, *labels: str) -> None:
        self._prefix, self._make, self._help, self._labels = prefix, make, help, labels
        self._families: dict[str, Family] = {}

    def __getitem__(self, name: str) -> Family:
        if (family := self._families.get(name)) is None:
            if len(self._families) >= MOST:
                self._families.clear()
            family = self._families[name] = self._make(f"{self._prefix}_{name}", self._help, "instance", *self._labels)
        return family
