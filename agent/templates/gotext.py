"""How Go writes values as text: what `print`, `printf` and `{{ … }}` do in Prometheus' templates.

Source: the documentation of Go's packages fmt and strconv. Values are str, float, int, bool, None and mappings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

LONGEST: Final = 1 << 16  # characters of one text; templates have no loops, but `printf "%s%s" $x $x` doubles
WIDEST: Final = 1_000_000  # Go's own limit of a width or a precision
LARGE: Final = 6  # powers of ten from here on are written with an exponent
MAX_RUNE: Final = 0x10FFFF
VERB: Final = re.compile(r"%([-+# 0]*)(\d{1,9})?(\.\d{0,9})?(?:\[(\d+)\])?(.)?", re.DOTALL)
ESCAPE: Final = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
CONTROLS: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
ESCAPES: Final = {text: f"\\{letter}" for letter, text in CONTROLS.items()}


class TooLong(ValueError):
    """A text grew over what an annotation may take."""


def bounded(text: str) -> str:
    """The text as it is. Raises TooLong."""
    if len(text) > LONGEST:
        raise TooLong(f"more than {LONGEST} characters")
    return text


def joined(pieces: Iterable[str]) -> str:
    """The pieces in a row. Raises TooLong."""
    parts, size = [], 0
    for piece in pieces:
        size += len(piece)
        if size > LONGEST:
            raise TooLong(f"more than {LONGEST} characters")
        parts.append(piece)
    return "".join(parts)


def kind(value: object) -> str:
    """Go's name of the value's type."""
    if value is None:
        return "<nil>"
    if isinstance(value, Mapping):
        return "map[string]string"
    return {"str": "string", "float": "float64"}.get(type(value).__name__, type(value).__name__)


def special(value: float) -> str:
    """NaN and the infinities; empty for a number."""
    if math.isnan(value):
        return "NaN"
    return ("+Inf" if value > 0 else "-Inf") if math.isinf(value) else ""


def shortest(value: float) -> str:
    """The fewest digits that say this number, with an exponent from 1e6 on and below 1e-4."""
    if word := special(value):
        return word
    sign, digits, power = _decimal(value)
    if -4 <= power < LARGE:
        return f"{value:.{max(len(digits) - 1 - power, 0)}f}"
    point = "." if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{point}{digits[1:]}e{'-' if power < 0 else '+'}{abs(power):02d}"


def _decimal(value: float) -> tuple[str, str, int]:
    """Sign, shortest digits and decimal power of a finite number; the point stands after the first digit."""
    mantissa, _, power = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    leading = len(whole) + len(fraction) - len(digits)
    sign = "-" if math.copysign(1, value) < 0 else ""
    return sign, digits.rstrip("0") or "0", len(whole) - 1 - leading + int(power or 0) if digits else 0


def text_of(value: Any) -> str:
    """A value as Go's `%v` writes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return shortest(value)
    if isinstance(value, Mapping):
        return bounded(f"map[{' '.join(f'{name}:{text_of(value[name])}' for name in sorted(value))}]")
    return "<nil>" if value is None else str(value)


def sprint(values: tuple[Any, ...]) -> str:
    """Go's `print`: a space between two neighbours of which neither is a string."""
    text = ""
    for at, value in enumerate(values):
        if at and not isinstance(value, str) and not isinstance(values[at - 1], str):
            text += " "
        text = bounded(text + text_of(value))
    return text


def sprintf(pattern: str, *values: Any) -> str:
    """Go's `printf`, with its own words for a verb that does not fit its value. Raises TooLong."""
    return joined(_Printer(values).pieces(pattern))


class _Printer:
    """One call of `printf`: which value comes next."""

    def __init__(self, values: tuple[Any, ...]) -> None:
        self._values, self._next = values, 0
        self._reordered = False

    def pieces(self, pattern: str) -> Iterator[str]:
        at = 0
        for found in VERB.finditer(pattern):
            yield pattern[at : found.start()]
            yield self._one(*found.groups())
            at = found.end()
        yield pattern[at:]
        rest = self._values[self._next :]
        if rest and not self._reordered:
            yield f"%!(EXTRA {', '.join('<nil>' if one is None else f'{kind(one)}={text_of(one)}' for one in rest)})"

    def _one(self, flags: str, width: str | None, precision: str | None, position: str | None, verb: str | None) -> str:
        if verb is None:
            return "%!(NOVERB)"
        if verb == "%":
            return "%"
        digits, places = int(width or 0), None if precision is None else int(precision[1:] or 0)
        if digits > WIDEST or (places or 0) > WIDEST:
            return f"%!{verb}(BAD{'WIDTH' if digits > WIDEST else 'PREC'})"
        bounded(" " * max(digits, places or 0))
        if position is not None:
            self._reordered, self._next = True, int(position[:9]) - 1
        if not 0 <= self._next < len(self._values):
            return f"%!{verb}({'BADINDEX' if self._reordered else 'MISSING'})"
        value = self._values[self._next]
        self._next += 1
        return _padded(*_shaped(value, verb, flags, places), flags, digits)


def _padded(text: str, numeric: bool, flags: str, width: int) -> str:
    if "-" in flags:
        return text.ljust(width)
    if "0" not in flags or text[1:4] in ("Inf", "NaN") or text == "NaN":
        return text.rjust(width)
    return text.zfill(width) if numeric else text.rjust(width, "0")


def _shaped(value: Any, verb: str, flags: str, places: int | None) -> tuple[str, bool]:
    """The value by its verb, not yet padded, and whether it is a number with a sign that leads its zeros."""
    if isinstance(value, str):
        return _shaped_text(value, verb, places), False
    if isinstance(value, bool):
        return text_of(value) if verb in "tv" else _misfit(value, verb), False
    if isinstance(value, int):
        return _signed(_shaped_integer(value, verb), flags), True
    if isinstance(value, float):
        return _signed(_shaped_float(value, verb, places), flags), True
    if isinstance(value, Mapping):
        return _shaped_mapping(value, verb, flags, places), False
    return text_of(value) if verb == "v" else _misfit(value, verb), False


def _shaped_mapping(value: Mapping[str, Any], verb: str, flags: str, places: int | None) -> str:
    shaped = {name: _shaped(one, verb, flags, places)[0] for name, one in value.items()}
    return f"map[{' '.join(f'{_shaped_text(name, verb, places)}:{shaped[name]}' for name in sorted(shaped))}]"


def _misfit(value: Any, verb: str) -> str:
    return f"%!{verb}({'<nil>' if value is None else f'{kind(value)}={text_of(value)}'})"


def _signed(text: str, flags: str) -> str:
    if not (text[:1].isdigit() or text == "NaN"):
        return text
    return f"+{text}" if "+" in flags else f" {text}" if " " in flags else text


def _shaped_text(text: str, verb: str, places: int | None) -> str:
    if verb not in "svqxX":
        return f"%!{verb}(string={text})"
    text = text if places is None else text[:places]
    if verb in "xX":
        octets = text.encode().hex()
        return octets.upper() if verb == "X" else octets
    return quote(text) if verb == "q" else text


def _shaped_integer(value: int, verb: str) -> str:
    if verb == "v":
        return str(value)
    if verb in "qc":
        character = chr(value) if is_character(value) else "\ufffd"
        return character if verb == "c" else "'" + _escaped(character, "'") + "'"
    return f"{value:{verb}}" if verb in "dxXob" else _misfit(value, verb)


def is_character(code: int) -> bool:
    """Whether a number is a character's; surrogates are none."""
    return 0 <= code <= MAX_RUNE and not 0xD800 <= code < 0xE000


def _shaped_float(value: float, verb: str, places: int | None) -> str:
    if verb not in "veEfFgG":
        return _misfit(value, verb)
    if word := special(value):
        return word
    if verb in "vgG":
        text = shortest(value) if places is None else f"{value:.{places}g}"
        return text.upper() if verb == "G" else text
    return f"{value:.{6 if places is None else places}{verb}}"


def quote(text: str) -> str:
    """A text in Go's double quotes."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(letter: str, mark: str = '"') -> str:
    if letter == mark or (letter in ESCAPES and letter != '"'):
        return ESCAPES.get(letter, f"\\{letter}")
    if letter.isprintable():
        return letter
    code = ord(letter)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def unquote(literal: str) -> str:
    """The text of a Go string literal, in double quotes or in back quotes. Raises ValueError with the fault."""
    if literal.startswith("`"):
        return literal[1:-1].replace("\r", "")
    return ESCAPE.sub(_unescaped, literal[1:-1])


def _unescaped(found: re.Match[str]) -> str:
    octet, short, long, octal, letter = found.groups()
    if letter is not None:
        if letter not in CONTROLS and letter != "'":
            raise ValueError(f"no such escape: \\{letter}")
        return CONTROLS.get(letter, letter)
    code = int(octal, 8) if octal else int(octet or short or long, 16)
    if not is_character(code):
        raise ValueError(f"no such character: {found.group()}")
    return chr(code)
