"""Numbers as Go calculates with them: no exception, but infinities and NaN (IEEE 754)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from math import copysign, inf, isinf, isnan, nan
from typing import Final

_DIGITS: Final = r"\d(?:_?\d)*"
_HEX: Final = r"[0-9a-f](?:_?[0-9a-f])*"
_FLOAT: Final = re.compile(
    rf"[+-]?(?:(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:e[+-]?{_DIGITS})?|(inf(?:inity)?))|nan"
    rf"|([+-]?0x(?:_?{_HEX}(?:\.(?:{_HEX})?)?|\.{_HEX})p[+-]?{_DIGITS})",
    re.ASCII | re.IGNORECASE,
)


def divide(a: float, b: float) -> float:
    """The quotient."""
    if b:
        return a / b
    return nan if not a or isnan(a) else copysign(inf, a) * copysign(1.0, b)


def modulo(a: float, b: float) -> float:
    """The remainder, with the sign of a."""
    return nan if not b or isinf(a) else math.fmod(a, b)


def power(a: float, b: float) -> float:
    """One number to the power of another."""
    try:
        return math.pow(a, b)
    except OverflowError:
        return -inf if a < 0 and b % 2 == 1 else inf
    except ValueError:  # a negative number to a fraction, or zero to a negative power
        if a:
            return nan
        return copysign(inf, a) if b % 2 == 1 else inf


def total(values: Iterable[float]) -> float:
    """The sum, without loss where small numbers meet large ones."""
    numbers = list(values)
    try:
        return math.fsum(numbers)
    except (OverflowError, ValueError):  # beyond what a float holds, or infinities of both signs
        return sum(numbers)


def mean(values: Sequence[float]) -> float:
    """The average, also of numbers whose sum no float holds."""
    found = total(values) / len(values)
    if isinf(found) and not any(map(isinf, values)):
        return total([value / len(values) for value in values])
    return found


def variance(values: Sequence[float]) -> float:
    """The variance of a population, value by value as aggregations have it, to the last digit (Welford)."""
    if any(isinf(value) or isnan(value) for value in values):
        return nan
    middle, squares = values[0], 0.0
    for count, value in enumerate(values[1:], 2):
        delta = value - middle
        middle += delta / count
        squares += delta * (value - middle)
    return squares / len(values)


def variance_over_time(values: Sequence[float]) -> float:
    """The same as functions of ranges have it, which carry along what sums lose (Kahan, Neumaier)."""
    if any(isinf(value) or isnan(value) for value in values):
        return nan
    middle = lost_middle = squares = lost_squares = 0.0
    for count, value in enumerate(values, 1):
        delta = value - (middle + lost_middle)
        middle, lost_middle = _carry(delta / count, middle, lost_middle)
        squares, lost_squares = _carry(delta * (value - (middle + lost_middle)), squares, lost_squares)
    return (squares + lost_squares) / len(values)


def _carry(value: float, sum_: float, lost: float) -> tuple[float, float]:
    """A sum with a value more, and what such sums have lost so far."""
    found = sum_ + value
    if isinf(found):
        return found, 0.0
    return found, lost + ((sum_ - found) + value if abs(sum_) >= abs(value) else (value - found) + sum_)


def largest(values: Iterable[float]) -> float:
    """The largest number; NaN only where there is nothing else."""
    return max([value for value in values if not isnan(value)], default=nan)


def smallest(values: Iterable[float]) -> float:
    """The smallest number; NaN only where there is nothing else."""
    return min([value for value in values if not isnan(value)], default=nan)


def go_max(a: float, b: float) -> float:
    """The larger one; NaN if either is, and none is infinite."""
    if inf in (a, b):
        return inf
    return nan if isnan(a) or isnan(b) else max(a, b)


def go_min(a: float, b: float) -> float:
    """The smaller one; NaN if either is, and none is infinite."""
    if -inf in (a, b):
        return -inf
    return nan if isnan(a) or isnan(b) else min(a, b)


def quiet(function: Callable[[float], float]) -> Callable[[float], float]:
    """A function of `math` that answers NaN outside of its domain, and infinity where no float is large enough."""

    def called(value: float) -> float:
        try:
            return function(value)
        except ValueError:
            return nan
        except OverflowError:
            return inf

    return called


root: Final = quiet(math.sqrt)


def logarithm(function: Callable[[float], float]) -> Callable[[float], float]:
    """A logarithm: minus infinity of zero, NaN below."""
    return lambda value: function(value) if value > 0 else (-inf if not value else nan)


def whole(function: Callable[[float], int]) -> Callable[[float], float]:
    """Floor or ceiling; what is no finite number stays."""
    return lambda value: value if isinf(value) or isnan(value) else copysign(float(function(value)), value)


def sign(value: float) -> float:
    """1, -1, or the zero or NaN that it is."""
    return 1.0 if value > 0 else -1.0 if value < 0 else value


def sinh(value: float) -> float:
    """The hyperbolic sine; infinite where no float is large enough."""
    try:
        return math.sinh(value)
    except OverflowError:
        return copysign(inf, value)


def atanh(value: float) -> float:
    """The inverse hyperbolic tangent; infinite at both ends."""
    return copysign(inf, value) if abs(value) == 1 else quiet(math.atanh)(value)


def go_float(text: str) -> float | None:
    """The number that a text is to Go; None where it is none, or too large.

    Source: https://pkg.go.dev/strconv#ParseFloat
    """
    if (found := _FLOAT.fullmatch(text)) is None:
        return None
    infinite, hexadecimal = found.groups()
    plain = text.replace("_", "")
    try:
        value = float.fromhex(plain) if hexadecimal else float(plain)
    except OverflowError:
        return None
    return None if isinf(value) and not infinite else value


def go_fixed(value: float) -> str:
    """A number as `count_values` writes it: no exponent, the shortest text that is the same number."""
    if isnan(value) or isinf(value):
        return "NaN" if isnan(value) else "+Inf" if value > 0 else "-Inf"
    from decimal import Decimal

    text = format(Decimal(repr(value)), "f")
    return text.removesuffix(".0")


ARITHMETIC: Final[dict[str, Callable[[float, float], float]]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": divide,
    "%": modulo,
    "^": power,
    "atan2": math.atan2,
}
COMPARISON: Final[dict[str, Callable[[float, float], bool]]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
}
