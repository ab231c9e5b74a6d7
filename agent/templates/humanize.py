"""Numbers and times as people read them, to the letter as Prometheus 3.5's templates write them.

Source: its packages `template` and, of prometheus/common, `helpers/templates` and `model`.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from agent.templates.gotext import kind, shortest, special

LARGE: Final = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
BINARY: Final = ("", "ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")
SMALL: Final = ("", "m", "u", "n", "p", "f", "a", "z", "y")
NUMBER: Final = re.compile(
    r"[+-]?(?:inf|infinity|0x[0-9a-f]*\.?[0-9a-f]*p[+-]?\d+|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)|nan", re.IGNORECASE
)
UNITS: Final = {"y": 365 * 86400, "w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
DURATION: Final = re.compile("".join(rf"(?:(?P<{unit}>\d{{1,19}}){unit}(?![a-z]))?" for unit in UNITS))
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MOST_NANOSECONDS: Final = float(2**63)


def number(value: Any) -> float:
    """A number, or the number that a text says. Raises ValueError."""
    if isinstance(value, str):
        return parse_number(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"cannot make a number of {kind(value)}")
    return float(value)


def parse_number(text: str) -> float:
    """What Go's `strconv.ParseFloat` takes. Raises ValueError."""
    if NUMBER.fullmatch(text) is None:
        raise ValueError(f"{text[:40]!r} is no number")
    try:
        value = float.fromhex(text) if "x" in text.lower() else float(text)
    except OverflowError:
        value = math.inf
    if math.isinf(value) and "n" not in text.lower():
        raise ValueError(f"{text[:40]!r} is out of range")
    return value


def four(value: float) -> str:
    """Four significant digits."""
    return special(value) or f"{value:.4g}"


def humanize(value: Any) -> str:
    """1234567 as 1.235M, 0.002 as 2m."""
    given = number(value)
    if special(given) or given == 0:
        return four(given)
    return _scaled(given, LARGE, 1000) if abs(given) >= 1 else _shrunk(given)


def humanize_1024(value: Any) -> str:
    """1536 as 1.5ki."""
    given = number(value)
    return four(given) if special(given) or abs(given) <= 1 else _scaled(given, BINARY, 1024)


def _scaled(value: float, prefixes: tuple[str, ...], step: int) -> str:
    at = 0
    while abs(value) >= step and at < len(prefixes) - 1:
        value, at = value / step, at + 1
    return four(value) + prefixes[at]


def _shrunk(value: float) -> str:
    at = 0
    while abs(value) < 1 and at < len(SMALL) - 1:
        value, at = value * 1000, at + 1
    return four(value) + SMALL[at]


def humanize_duration(value: Any) -> str:
    """Seconds as 1d 2h 3m 4s; below a minute with four digits."""
    given = number(value)
    if special(given):
        return four(given)
    if abs(given) < 1:
        return _shrunk(given) + "s" if given else four(given) + "s"
    sign, seconds = "-" if given < 0 else "", abs(given)
    if seconds < 60:
        return f"{sign}{four(seconds)}s"
    minutes, left = divmod(int(min(seconds, MOST_NANOSECONDS - 1024)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{days}d", f"{hours}h", f"{minutes}m", f"{left}s"]
    return sign + " ".join(parts[0 if days else 1 if hours else 2 :])


def humanize_percentage(value: Any) -> str:
    """0.125 as 12.5%."""
    return four(number(value) * 100) + "%"


def humanize_timestamp(value: Any) -> str:
    """Seconds since 1970 as 2026-11-21 12:00:00.5 +0000 UTC, to the millisecond."""
    given = number(value)
    if special(given):
        return four(given)
    if abs(given * 1e9) > MOST_NANOSECONDS:
        raise ValueError(f"{shortest(given)} is out of the range of times")
    at = EPOCH + timedelta(milliseconds=int(int(given * 1e9) / 1_000_000))
    fraction = f".{at.microsecond // 1000:03d}".rstrip("0").rstrip(".")
    return f"{at.year:04d}-{at:%m-%d %H:%M:%S}{fraction} +0000 UTC"


def parse_duration(text: str) -> float:
    """Seconds of 1h30m, as PromQL writes durations."""
    if text == "0":
        return 0.0
    found = DURATION.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"{text[:40]!r} is no duration")
    milliseconds = sum(int(count) * int(UNITS[unit] * 1000) for unit, count in found.groupdict("0").items())
    if milliseconds * 1e6 >= MOST_NANOSECONDS:
        raise ValueError(f"{text[:40]!r} is too long a duration")
    return milliseconds / 1000
