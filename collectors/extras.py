"""The optional libraries: whether one is there is known without importing it, and told in the same words everywhere."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

LIBRARIES: Final = {
    "dns": "dns",
    "http": "jmespath",
    "mysql": "pymysql",
    "postgres": "asyncpg",
    "redis": "redis",
    "tls": "OpenSSL",
}


def lack(extra: str) -> str:
    """What to do about an extra that is not installed; empty where it is."""
    try:
        found = find_spec(LIBRARIES[extra]) is not None
    except ImportError:
        found = False
    return "" if found else f"needs the extra `{extra}`: pip install 'nightjar-agent[{extra}]'"


def need(extra: str) -> None:
    """Raises ValueError where the extra is not installed."""
    if fault := lack(extra):
        raise ValueError(fault)
