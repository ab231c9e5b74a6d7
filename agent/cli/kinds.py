"""What can be probed from the command line, and how a target becomes an option of its collector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

WHERE: Final = ("url", "urls", "urls_file", "targets", "targets_file", "dsn")  # options that say what to look at


class Kind(Struct, frozen=True):
    """How a target becomes an option: `head` and `tail` go around a bare host and port, `login` before it; without
    `option` there is no target. `port` is added to a host without one; where there are no `ports`, none is taken.
    `value` is what -w and -c judge: seconds, days, or nothing.
    """

    about: str
    option: str = ""
    head: str = ""
    login: str = ""
    tail: str = ""
    port: int = 0
    ports: bool = True
    value: str = "seconds"
    example: str = ""


KINDS: Final = {
    "http": Kind(
        "An HTTP request: status, headers, body, certificate.",
        "url",
        "http://",
        example="https://example.com/health -w 1 -c 5",
    ),
    "tls": Kind(
        "Certificates, over the wire or in files.",
        "targets",
        port=443,
        value="days",
        example="example.com:443 -w 14: -c 3:",
    ),
    "tcp": Kind("A connection, and what is said over it.", "targets", example="127.0.0.1:22 -w 0.5 -c 2"),
    "dns": Kind("A question to a name server.", "targets", example="9.9.9.9 --query-name example.com"),
    "icmp": Kind("A ping.", "targets", ports=False, example="127.0.0.1 -w 0.1 -c 0.5"),
    "redis": Kind("A Redis server.", "url", "redis://", example="127.0.0.1:6379 --expr 'redis_blocked_clients > 10'"),
    "postgres": Kind(
        "A PostgreSQL server.",
        "dsn",
        "postgres://",
        "nightjar@",
        "/postgres",
        example="127.0.0.1 --password '${file:/run/secrets/postgres}'",
    ),
    "mysql": Kind(
        "A MySQL or MariaDB server.",
        "url",
        "mysql://",
        "nightjar@",
        example="127.0.0.1 --password '${env:MYSQL_PASSWORD}'",
    ),
    "pgbouncer": Kind(
        "A pgbouncer.",
        "url",
        "postgres://",
        "nightjar@",
        "/pgbouncer",
        example="127.0.0.1:6432 --password '${env:PGPASSWORD}'",
    ),
    "scrape": Kind(
        "A page of metrics.", "url", "http://", tail="/metrics", example="127.0.0.1:9100 --expr node_load1 -w 8"
    ),
    "host": Kind(
        "This machine.",
        value="",
        example="--expr 'node_filesystem_avail_bytes / node_filesystem_size_bytes' -w 0.1: -c 0.05:",
    ),
}


def place(kind: Kind, values: Mapping[str, Any]) -> str | None:
    """What TARGET, or -H and -p, mean to a kind's option; None where neither is there. Raises ValueError."""
    target, host, port = values["target"], values["hostname"], values.get("port")
    if target is not None and host is not None:
        raise ValueError("--hostname: TARGET says that already")
    if target == "" or host == "":
        raise ValueError("TARGET: is empty")
    if kind.login and (host or target or "").startswith("/"):
        raise ValueError(f"TARGET: expected a host; a socket is {kind.head}{kind.tail}?host=/its/folder")
    if host is None:
        if port is not None:
            raise ValueError("--port: goes with -H")
        return None if target is None else _completed(kind, target)
    bare = f"[{host}]" if kind.ports and ":" in host and not host.startswith("[") else host
    where = bare if port is None else f"{bare}:{port}"
    if port == 443 and kind.head == "http://":
        return f"https://{where}{kind.tail}"
    return _completed(kind, where)


def _completed(kind: Kind, target: str) -> str:
    """A target with what is not worth writing."""
    if "://" in target or "${" in target:
        return target
    if not kind.head:
        bare = kind.port and "/" not in target and (":" not in target or target.endswith("]"))
        return f"{target}:{kind.port}" if bare else target
    if target.count(":") > 1 and not target.startswith("[") and not set(target) & set("@/"):
        target = f"[{target}]"
    return f"{kind.head}{target}" if set(target) & set("@/") else f"{kind.head}{kind.login}{target}{kind.tail}"
