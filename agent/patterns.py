"""Regular expressions for text that others wrote: RE2, whose time is linear in the text, whatever pattern and text are.

Its syntax is that of Go, and so of Prometheus and its exporters: no look-around, no back references. Python's `re` can
be made to stand still, and the whole agent with it, by a body as simple as a million times the letter a.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, AnyStr, Final

MEMORY = 4 << 20  # bytes that one expression may take
_REFERENCE: Final = r"\$(?:(\$)|([\pL\p{Nd}_]+)|\{([\pL\p{Nd}_]+)\})"
_NUMBER: Final = re.compile("0|[1-9][0-9]{0,8}")  # what else has digits alone is a name


def compile_pattern(text: AnyStr) -> Any:
    """The expression for text, or for bytes, which it then reads one by one. Raises ValueError with the fault."""
    import re2  # type: ignore[import-untyped]  # 3 MB and 7 ms that only patterns cost; ships no types

    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY
    if isinstance(text, bytes):
        options.encoding = re2.Options.Encoding.LATIN1
    try:
        return re2.compile(text, options)
    except re2.error as error:
        words = error.args[0]
        raise ValueError(words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)) from None


@cache
def _reference() -> Any:
    return compile_pattern(_REFERENCE)


def expander(template: str) -> Callable[[Any], str]:
    """What fills the groups of a match into a template, where `$1`, `${name}` and `$$` stand; one that is not there is
    empty.

    Source: Go's regexp.Expand (https://pkg.go.dev/regexp#Regexp.Expand)
    """
    parts, end = list[tuple[str, str]](), 0  # a text, and the group behind it
    for found in _reference().finditer(template):
        dollar, bare, braced = found.groups()
        parts.append((template[end : found.start()] + (dollar or ""), bare or braced or ""))
        end = found.end()
    rest = template[end:]
    return lambda match: "".join([text + _group(match, name) for text, name in parts]) + rest


def _group(match: Any, name: str) -> str:
    pattern = match.re
    at = int(name) if _NUMBER.fullmatch(name) else pattern.groupindex.get(name, pattern.groups + 1)
    return (match.group(at) or "") if name and at <= pattern.groups else ""
