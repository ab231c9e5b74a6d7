"""What Nagios, Icinga and their kin expect of a plugin: ranges, performance data, a status line. All of it is pure.

Source: Monitoring Plugins Development Guidelines, "Plugin Output for Nagios" and "Plugin Options". Further performance
data follows a second `|`, behind the last line of long output, as Nagios 3 and later read it.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from msgspec import Struct

LINE: Final = 1024  # characters of a line with performance data; older transports cut off what is longer
TEXT: Final = 400  # characters of the words in the first line

_NUMBER: Final = r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_RANGE: Final = re.compile(rf"(@?)(?:(~|{_NUMBER}):)?({_NUMBER})?")
_PLAIN_LABEL: Final = re.compile(r"[A-Za-z0-9_./:%+-]+")
_OPERATORS: Final = (">", ">=", "<", "<=", "==", "!=")

Unit = Literal["", "s", "B", "%", "c"]


class Status(enum.IntEnum):
    """How a check ended; the number is the exit code."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


GRAVITY: Final = (Status.OK, Status.WARNING, Status.UNKNOWN, Status.CRITICAL)  # best first


def worst(found: Iterable[Status]) -> Status:
    """The gravest of some ends; OK for none. What is known to be broken weighs more than what is not known."""
    return max(found, key=GRAVITY.index, default=Status.OK)


class Range(Struct, frozen=True):
    """A range of numbers, both ends included, and on which side of it lies what is wrong."""

    start: float = 0.0
    end: float = math.inf
    inside: bool = False

    def alerts(self, value: float) -> bool:
        """Whether a value is worth an alert. NaN is, to every range: nobody knows that all is well."""
        if math.isnan(value):
            return True
        return (self.start <= value <= self.end) == self.inside

    def __str__(self) -> str:
        start = "~:" if self.start == -math.inf else f"{decimal(self.start)}:"
        end = "" if self.end == math.inf else decimal(self.end)
        return f"{'@' * self.inside}{'' if start == '0:' and end else start}{end}"


def parse_range(text: str) -> Range:
    """`10`, `10:`, `~:10`, `10:20` or `@10:20`; raises ValueError with words for people."""
    found = _RANGE.fullmatch(text)
    if found is None or (found[2] is None and found[3] is None):
        hint = '; without a lower end it is "~:10"' if text.lstrip("@").startswith(":") else ""
        raise ValueError(f'expected a range such as "10", "10:", "~:10", "10:20" or "@10:20"{hint}')
    start = -math.inf if found[2] == "~" else float(found[2] or 0)
    end = math.inf if found[3] is None else float(found[3])
    if math.inf in (start, -end):
        raise ValueError("a number is too large")
    if start > end:
        hint = f'; from minus infinity it is "{found[1]}~:{found[3]}"' if found[2] is None else ""
        raise ValueError(f"the start, {decimal(start)}, is above the end, {decimal(end)}{hint}")
    return Range(start, end, bool(found[1]))


def range_of(op: str, limit: float) -> Range:
    """The range that alerts exactly where `value op limit` holds, for every number but NaN, whose comparisons do not.

    Raises ValueError for another operator, and for a limit that is not finite, which no range can name.
    """
    if op not in _OPERATORS or not math.isfinite(limit):
        raise ValueError(f"no range says {op} {limit}")
    ends = {">": (-math.inf, limit), "<=": (-math.inf, limit), "<": (limit, math.inf), ">=": (limit, math.inf)}
    return Range(*ends.get(op, (limit, limit)), inside=op in (">=", "<=", "=="))


class Perf(Struct, frozen=True):
    """A value for the graphs, as `'label'=value[unit];warn;crit;min;max`.

    Units: seconds, bytes, percent, a counter, or none. The label loses what it may not hold, above all `=`. A value
    that is NaN or infinite is `U`, unknown.
    """

    label: str
    value: float
    unit: Unit = ""
    warn: Range | None = None
    crit: Range | None = None
    minimum: float | None = None
    maximum: float | None = None

    def __str__(self) -> str:
        value = f"{decimal(self.value)}{self.unit}" if math.isfinite(self.value) else "U"
        ranges = ("" if one is None else str(one) for one in (self.warn, self.crit))
        ends = (decimal(one) if one is not None and math.isfinite(one) else "" for one in (self.minimum, self.maximum))
        return ";".join([f"{_label(self.label)}={value}", *ranges, *ends]).rstrip(";")


def plugin_output(
    word: str, status: Status, headline: str, long_lines: Sequence[str] = (), perfs: Sequence[Perf] = ()
) -> str:
    """The whole output, without a line end: `WORD STATUS: headline | values`, then the long lines.

    Values beyond `LINE` follow the long lines, behind a `|` of their own.
    """
    first = f"{_clean(word)} {status.name}: {_cut(_clean(headline))}"
    near, *far = _gathered(perfs, LINE - len(first) - 3)
    lines = [f"{first} | {near}" if near else first, *filter(None, map(_clean, long_lines))]
    if far:
        if len(lines) == 1:
            lines.append("more values")
        lines[-1] = f"{lines[-1]} | {far[0]}"
    return "\n".join([*lines, *far[1:]])


def decimal(value: float) -> str:
    """A finite number as plugins write it, exactly: digits, a point, a minus, never an exponent."""
    text = repr(float(value)).removesuffix(".0")
    if "e" in text:
        from decimal import Decimal  # of numbers that are very large or small alone

        text = format(Decimal(text), "f")
    return "0" if text == "-0" else text


def _gathered(perfs: Sequence[Perf], room: int) -> list[str]:
    """Values joined to lines: the first has some room, the others that of a whole line."""
    lines = [""]
    for text in map(str, perfs):
        width = room if len(lines) == 1 else LINE
        if lines[-1] and len(lines[-1]) + 1 + len(text) > width:
            lines.append(text)
        else:
            lines[-1] = f"{lines[-1]} {text}".lstrip()
    return lines


def _label(text: str) -> str:
    """A label, quoted where it has to be."""
    clean = " ".join(_clean(text).replace("=", "_").split()) or "value"
    return clean if _PLAIN_LABEL.fullmatch(clean) else "'" + clean.replace("'", "''") + "'"


def _clean(text: str) -> str:
    """Text for one line: control characters are blanks, and a `|` would begin performance data."""
    if not text.isprintable():
        text = "".join([char if char.isprintable() else " " for char in text])
    return text.replace("|", "/").rstrip()


def _cut(text: str) -> str:
    return text if len(text) <= TEXT else f"{text[: TEXT - 3]}..."
