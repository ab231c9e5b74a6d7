"""Values with units: durations, sizes, and shares of a whole.

Each is built from the text a person writes and gives such text back: `str(Duration("90s")) == "1m30s"`. Bare
numbers are refused: `interval = 15` leaves open whether seconds or milliseconds are meant.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final, Self

_MICROSECONDS: Final = {
    "w": 604_800_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_LONGEST: Final = 36_500 * _MICROSECONDS["d"]  # a hundred years: microseconds stay exact in a float up to here
_DURATION: Final = re.compile("".join(rf"(?:([0-9]{{1,16}}(?:\.[0-9]{{1,9}})?){unit})?" for unit in _MICROSECONDS))

_BYTES: Final = {
    "PiB": 1 << 50,
    "TiB": 1 << 40,
    "GiB": 1 << 30,
    "MiB": 1 << 20,
    "KiB": 1 << 10,
    "PB": 10**15,
    "TB": 10**12,
    "GB": 10**9,
    "MB": 10**6,
    "KB": 10**3,
    "kB": 10**3,
    "B": 1,
}
_SIZE: Final = re.compile(r"([0-9]{1,19})(?:\.([0-9]{1,9}))?(" + "|".join(_BYTES) + ")")
_SHARE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)%")


class Duration(float):
    """A span of time in seconds, written with units, largest first: `"15s"`, `"1m30s"`, `"500ms"`, `"2h"`, `"7d"`.

    Exact to the microsecond, at most a hundred years. Raises ValueError for anything else.
    """

    __slots__ = ()
    expected: ClassVar[str] = 'a duration such as "15s" or "1m30s"'
    pattern: ClassVar[str] = r"(?=.)" + _DURATION.pattern

    def __new__(cls, text: str) -> Self:  # noqa: D102  the class says it
        return super().__new__(cls, _parse_microseconds(text) / 1_000_000)

    @classmethod
    def of(cls, seconds: float) -> Self:
        """The duration of so many seconds, rounded to the microsecond."""
        return cls(f"{round(seconds * 1_000_000)}us")

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override]  # float's own takes a float, we take text
        return (str(self),)

    def __str__(self) -> str:
        """The shortest text with units, without weeks: `"1m30s"`."""
        rest = round(self * 1_000_000)
        parts = []
        for unit in ("d", "h", "m", "s", "ms", "us"):
            count, rest = divmod(rest, _MICROSECONDS[unit])
            if count:
                parts.append(f"{count}{unit}")
        return "".join(parts) or "0s"

    def __repr__(self) -> str:
        return f"Duration('{self}')"


class Size(int):
    """A number of bytes, written with its unit: `"512MiB"`, `"4KiB"`, `"1GB"`, `"1.5GiB"`, `"0B"`.

    Raises ValueError for anything else, and beyond 63 bits.
    """

    expected: ClassVar[str] = 'a size such as "512MiB"'
    pattern: ClassVar[str] = _SIZE.pattern

    def __new__(cls, text: str) -> Self:  # noqa: D102  the class says it
        return super().__new__(cls, _parse_bytes(text))

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override]  # int's own takes an int, we take text
        return (str(self),)

    def __str__(self) -> str:
        """Exact text in the unit that needs the smallest number."""
        count = int(self)
        if not count:
            return "0B"
        whole = ((count // size, unit) for unit, size in _BYTES.items() if count % size == 0)
        number, unit = min(whole, key=lambda part: part[0])
        return f"{number}{unit}"

    def __repr__(self) -> str:
        return f"Size('{self}')"


class Share:
    """A part of a whole: `"5%"`, or a fixed `Size` such as `"1GiB"`. Raises ValueError for anything else."""

    __slots__ = ("percent", "size")
    expected: ClassVar[str] = 'a share such as "5%" or a size such as "1GiB"'
    pattern: ClassVar[str] = f"(?:{_SHARE.pattern})|(?:{_SIZE.pattern})"

    percent: float
    size: Size | None

    def __init__(self, text: str) -> None:
        found = _SHARE.fullmatch(text)
        self.percent = float(found[1]) if found else 0.0
        self.size = None if found else Size(text)
        if self.percent > 100:
            raise ValueError("more than the whole")

    def of(self, total_bytes: int) -> int:
        """Bytes of this share when the whole has `total_bytes`."""
        return int(total_bytes * self.percent / 100) if self.size is None else int(self.size)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Share) and (self.percent, self.size) == (other.percent, other.size)

    def __hash__(self) -> int:
        return hash((self.percent, self.size))

    def __reduce__(self) -> tuple[type[Share], tuple[str]]:
        return (Share, (str(self),))

    def __str__(self) -> str:
        return f"{self.percent:.9f}".rstrip("0").rstrip(".") + "%" if self.size is None else str(self.size)

    def __repr__(self) -> str:
        return f"Share('{self}')"


def _parse_microseconds(text: str) -> int:
    found = _DURATION.fullmatch(text) if text else None
    if found is None:
        raise ValueError("not a duration")
    total = sum(
        _scaled(number.partition("."), scale)
        for number, scale in zip(found.groups(), _MICROSECONDS.values(), strict=True)
        if number
    )
    if total > _LONGEST:
        raise ValueError("longer than a hundred years")
    return total


def _parse_bytes(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError("not a size")
    total = _scaled((found[1], ".", found[2] or ""), _BYTES[found[3]])
    if total >= 1 << 63:
        raise ValueError("beyond 63 bits")
    return total


def _scaled(number: tuple[str, str, str], scale: int) -> int:
    """A number, cut at its point, times `scale`; refuses what leaves a fraction."""
    whole, _, fraction = number
    numerator = int(whole + fraction) * scale
    result, rest = divmod(numerator, int("1" + "0" * len(fraction)))
    if rest:
        raise ValueError("finer than its smallest unit")
    return result
