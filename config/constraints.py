"""Bounds that msgspec's Meta puts on an option, told in the option's own units."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import Meta

from config.secret import Secret
from config.values import Duration, Size

_TO_THE_END: Final = re.compile(r"(?<!\\)\$\Z")  # as JSON Schema means it; Python's lets a line break follow


def violations(value: Any, metas: Iterable[Meta]) -> Iterator[str]:
    """A sentence for each bound that a converted value breaks; none of them shows a text."""
    value = value.reveal() if isinstance(value, Secret) else value
    for meta in metas:
        if isinstance(value, (int, float)):
            yield from _number_violations(value, meta)
        if isinstance(value, str):
            yield from _text_violations(value, meta)
        if hasattr(value, "__len__"):
            yield from _length_violations(value, meta)


def _number_violations(value: float, meta: Meta) -> Iterator[str]:
    if meta.gt is not None and not value > meta.gt:
        yield f"must be more than {_like(value, meta.gt)}"
    if meta.ge is not None and not value >= meta.ge:
        yield f"must be at least {_like(value, meta.ge)}"
    if meta.lt is not None and not value < meta.lt:
        yield f"must be less than {_like(value, meta.lt)}"
    if meta.le is not None and not value <= meta.le:
        yield f"must be at most {_like(value, meta.le)}"
    if meta.multiple_of is not None and not math.isclose(math.remainder(value, meta.multiple_of), 0, abs_tol=1e-9):
        yield f"must be a multiple of {_like(value, meta.multiple_of)}"


def _like(value: float, bound: float) -> str:
    """A bound in the units of the value it bounds."""
    if isinstance(value, Duration):
        return str(Duration.of(bound))
    return str(Size(f"{bound}B")) if isinstance(value, Size) else str(bound)


def _text_violations(value: str, meta: Meta) -> Iterator[str]:
    if meta.pattern is not None and not re.search(_TO_THE_END.sub(r"\\Z", meta.pattern), value):
        yield f"expected {meta.description or f'a string that matches {meta.pattern}'}"


def _length_violations(value: Any, meta: Meta) -> Iterator[str]:
    unit = "characters" if isinstance(value, str) else "entries"
    if meta.min_length is not None and len(value) < meta.min_length:
        yield "must not be empty" if meta.min_length == 1 else f"must have at least {meta.min_length} {unit}"
    if meta.max_length is not None and len(value) > meta.max_length:
        yield f"must have at most {meta.max_length} {unit}"
