"""Numbers as Go's `strconv.ParseFloat` takes them: what Python's `float` would let through beyond that is refused.

A whole page of values is judged at once: when nothing but digits, signs, points and exponents is in it, `float` and Go
agree on each, except that Go refuses what is too large for a double.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

_PLAIN: Final = b"0123456789.eE+-"
_NUMBER: Final = re.compile(rb"[+-]?(?:[0-9.]++(?:[eE][+-]?[0-9]++)?|(?i:inf(?:inity)?))|(?i:nan)")
_INFINITE: Final = re.compile(rb"[+-]?(?i:inf(?:inity)?)")
_COMMON: Final = {b"NaN": math.nan, b"+Inf": math.inf, b"-Inf": -math.inf}


def parse_number(text: bytes) -> float:
    """One number; raises ValueError."""
    if (found := _COMMON.get(text)) is not None:
        return found
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"no number: {text[:40]!r}")
    value = float(text)
    if math.isinf(value) and not _INFINITE.fullmatch(text):
        raise ValueError(f"beyond a double: {text[:40]!r}")
    return value


def parse_numbers(texts: Sequence[bytes]) -> list[float]:
    """All numbers of a page; raises ValueError when one is none."""
    if not b"".join(texts).translate(None, _PLAIN):
        values = list(map(float, texts))
        if math.isfinite(sum(values)):
            return values
    return list(map(parse_number, texts))
