"""Regular expressions for text that others wrote: RE2, whose time is linear in the text, whatever pattern and text are.

Its syntax is that of Go, and so of Prometheus and its exporters: no look-around, no back references. Python's `re` can
be made to stand still, and the whole agent with it, by a body as simple as a million times the letter a.
"""

from __future__ import annotations

from typing import Any, AnyStr

MEMORY = 4 << 20  # bytes that one expression may take


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
