"""What a JSON body must be like, in JMESPath (jmespath.org): an expression holds when it gives `true`.

Not chosen: CEL, blackbox_exporter's language, whose libraries for Python bring four more along, where this one is small
and alone; JSONPath, which selects, and compares differently everywhere; to take every value for true that is not empty:
a status of `"false"` would pass.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import orjson

INLINE = 4 << 10  # bytes of a body up to which judging it takes the event loop no more than a few ms


class Expression(Protocol):
    """A compiled one."""

    def search(self, value: Any) -> Any:
        """What it gives for a document."""


class Expressions:
    """Those of a section."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._compiled = [(text, parse_expression(text)) for text in texts]

    async def fault(self, body: bytes) -> str:
        """What is not as expected; empty when every expression gives true. A large body is judged in a thread."""
        if len(body) <= INLINE:
            return self.judged(body)
        return await asyncio.to_thread(self.judged, body)

    def judged(self, body: bytes) -> str:
        """The same, here and now."""
        try:
            document = orjson.loads(body)  # refuses what is too deep, and numbers that no double can hold
        except orjson.JSONDecodeError:
            return "the body is no JSON"
        for text, expression in self._compiled:
            try:
                found = expression.search(document)
            except (ValueError, TypeError, ArithmeticError, RecursionError):
                return f"{text} cannot be told of the body"
            if found is not True:
                return f"{text} is not true"
        return ""


def parse_expression(text: str) -> Expression:
    """The compiled expression; raises ValueError with what is wrong with it."""
    try:
        import jmespath  # type: ignore[import-untyped]  # ships no types
        from jmespath.functions import Functions  # type: ignore[import-untyped]  # the same
    except ImportError:
        raise ValueError("needs the extra `http`: pip install 'nightjar-agent[http]'") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PendingDeprecationWarning)  # of `ok` for `"ok"`, which many still write
            compiled: Any = jmespath.compile(text)
        unknown = [name for name in _functions(compiled.parsed) if name not in Functions.FUNCTION_TABLE]
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{text[:80]!r} is no JMESPath expression: {_first_line(error)}") from None
    if unknown:
        raise ValueError(f"{text[:80]!r} is no JMESPath expression: there is no function {unknown[0]}()")
    found: Expression = compiled
    return found


def _functions(node: Any) -> Iterator[str]:
    """The names of the functions in an expression: they are looked up only when they are called."""
    if node["type"] == "function_expression":
        yield node["value"]
    for child in node["children"]:
        if isinstance(child, dict):
            yield from _functions(child)


def _first_line(error: Exception) -> str:
    lines = str(error).removeprefix("Invalid jmespath expression: ").splitlines()
    return lines[0].rstrip(":").strip() if lines else type(error).__name__
