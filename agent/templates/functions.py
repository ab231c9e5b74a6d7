"""The functions that annotations call, as Prometheus 3.5 has them (its template package; Go's built-in ones).

A fault at rendering is a ValueError: a number where a text belongs, a text that is no number.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from agent.patterns import compile_pattern, expander
from agent.templates.gotext import bounded, joined, kind, sprint, sprintf, text_of
from agent.templates.humanize import (
    humanize,
    humanize_1024,
    humanize_duration,
    humanize_percentage,
    humanize_timestamp,
    parse_duration,
)

WORD: Final = re.compile(r"\w+(?:[.:'\u2019\u00b7]\w+)*")
HTML: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"})


def title(text: str) -> str:
    """Every word's first letter as a capital."""
    return WORD.sub(lambda found: _capital(found.group()), text)


def _capital(word: str) -> str:
    for at, letter in enumerate(word):
        if letter.upper() != letter or letter.lower() != letter:
            return word[:at] + letter.title() + word[at + 1 :]
    return word


def to_upper(text: str) -> str:
    """Capitals, letter by letter."""
    return "".join(letter.upper() if len(letter.upper()) == 1 else letter for letter in text)


def to_lower(text: str) -> str:
    """Small letters, letter by letter."""
    return "".join(letter.lower()[:1] for letter in text)


def split_host_port(address: str) -> tuple[str, str] | None:
    """Host and port of `host:port` or `[host]:port`; None for anything else."""
    host, colon, port = address.rpartition(":")
    if not colon:
        return None
    if host.startswith("["):
        host, closed = host[1:-1], host.endswith("]")
    else:
        closed = ":" not in host
    return (host, port) if closed and not set("[]") & set(host + port) else None


def strip_port(address: str) -> str:
    """The address without its port."""
    parts = split_host_port(address)
    return address if parts is None else parts[0]


def strip_domain(address: str) -> str:
    """The host's first label, with the port if there was one; IP addresses stay whole."""
    host, port = split_host_port(address) or (address, "")
    if is_ip(host):
        return address
    host = host.partition(".")[0]
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host or "%" in host else f"{host}:{port}"


def is_ip(text: str) -> bool:
    """Whether this is an IP address; one with a zone is none."""
    from ipaddress import ip_address  # few templates want it

    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


@lru_cache(maxsize=16)
def _pattern(text: str) -> Any:
    return compile_pattern(text)


def match(pattern: str, text: str) -> bool:
    """Whether the regular expression is found in the text."""
    return _pattern(pattern).search(bounded(text)) is not None


def replace_all(pattern: str, replacement: str, text: str) -> str:
    """Every match replaced; `$1` and `${name}` stand for groups."""
    return joined(_replaced(_pattern(pattern), replacement, text))


def _replaced(pattern: Any, replacement: str, text: str) -> Iterator[str]:
    expand, at, last = expander(replacement), 0, -1
    for found in pattern.finditer(bounded(text)):
        if found.start() == found.end() == last:
            continue  # Go takes no empty match right behind another
        yield text[at : found.start()]
        yield expand(found)
        at = last = found.end()
    yield text[at:]


def _comparable(value: Any, other: Any) -> None:
    for one in (value, other):
        if not isinstance(one, (str, int, float)):
            raise ValueError(f"cannot compare {kind(one)}")
    if type(value) is not type(other):
        raise ValueError(f"cannot compare {kind(value)} with {kind(other)}")


def equal(first: Any, *others: Any) -> bool:
    """Whether the first is one of the others."""
    if not others:
        raise ValueError("eq needs two values")
    for other in others:
        _comparable(first, other)
        if first == other:
            return True
    return False


def unequal(first: Any, second: Any) -> bool:
    """Whether the two differ."""
    return not equal(first, second)


def ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """A comparison of two values of one kind."""

    def check(first: Any, second: Any) -> bool:
        _comparable(first, second)
        if isinstance(first, bool):
            raise ValueError("cannot order bool")
        return compare(first, second)

    return check


def above(first: Any, second: Any) -> bool:
    """Go has `gt` as "not less and not equal", which matters to NaN."""
    return not first <= second


def not_below(first: Any, second: Any) -> bool:
    """Go has `ge` as "not less"."""
    return not first < second


def index(item: Any, *keys: Any) -> Any:
    """What a mapping holds under a name."""
    for key in keys:
        if not isinstance(item, Mapping) or not isinstance(key, str):
            raise ValueError(f"cannot look up {kind(key)} in {kind(item)}")
        item = item.get(key, "")
    return item


def length(item: Any) -> int:
    """Bytes of a text, entries of a mapping."""
    if isinstance(item, str):
        return len(item.encode())
    if isinstance(item, Mapping):
        return len(item)
    raise ValueError(f"{kind(item)} has no length")


class Arguments(dict[str, Any]):
    """What `args` gathers; what it does not hold is nothing, where a label would be empty."""


def arguments(*values: Any) -> Arguments:
    """The values as arg0, arg1 and so on."""
    return Arguments((f"arg{at}", value) for at, value in enumerate(values))


def escape_html(*values: Any) -> str:
    """The values as `print` writes them, safe inside HTML."""
    return sprint(values).translate(HTML)


def escape_query(*values: Any) -> str:
    """The values as `print` writes them, for the query of a URL."""
    from urllib.parse import quote_plus  # few templates want it

    return quote_plus(sprint(values), safe="~")


class Function(NamedTuple):
    """A function; `least` and `most` arguments, `texts`: the first so many must be texts (-1: all)."""

    call: Callable[..., Any]
    least: int
    most: int | None
    texts: int = 0


def _texts(call: Callable[..., Any], count: int) -> Function:
    return Function(call, count, count, count)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "humanize": Function(humanize, 1, 1),
    "humanize1024": Function(humanize_1024, 1, 1),
    "humanizeDuration": Function(humanize_duration, 1, 1),
    "humanizePercentage": Function(humanize_percentage, 1, 1),
    "humanizeTimestamp": Function(humanize_timestamp, 1, 1),
    "parseDuration": _texts(parse_duration, 1),
    "title": _texts(title, 1),
    "toUpper": _texts(to_upper, 1),
    "toLower": _texts(to_lower, 1),
    "stripPort": _texts(strip_port, 1),
    "stripDomain": _texts(strip_domain, 1),
    "safeHtml": _texts(str, 1),
    "match": _texts(match, 2),
    "reReplaceAll": _texts(replace_all, 3),
    "args": Function(arguments, 0, None),
    "printf": Function(sprintf, 1, None, 1),
    "print": Function(lambda *values: sprint(values), 0, None),
    "println": Function(lambda *values: " ".join(map(text_of, values)) + "\n", 0, None),
    "html": Function(escape_html, 0, None),
    "urlquery": Function(escape_query, 0, None),
    "index": Function(index, 1, None),
    "len": Function(length, 1, 1),
    "not": Function(operator.not_, 1, 1),
    "eq": Function(equal, 1, None),
    "ne": Function(unequal, 2, 2),
    "lt": Function(ordered(operator.lt), 2, 2),
    "le": Function(ordered(operator.le), 2, 2),
    "gt": Function(ordered(above), 2, 2),
    "ge": Function(ordered(not_below), 2, 2),
}
