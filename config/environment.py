"""What the agent reads from its environment, in one place; nothing else in the project reads it.

Each function takes the environment as an argument for the tests and for `load(environ=...)`; by default it is the
process's own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

VAR_STATE: Final = "/var/lib/nightjar"

Environ = Mapping[str, str]


def process_environ() -> Environ:
    """The environment of this process."""
    return os.environ  # noqa: TID251  the one place that reads it


def _get(name: str, environ: Environ | None) -> str | None:
    return (process_environ() if environ is None else environ).get(name) or None


def config_file(environ: Environ | None = None) -> str | None:
    """`$NIGHTJAR_CONFIG`: the configuration file to use."""
    return _get("NIGHTJAR_CONFIG", environ)


def notify_socket(environ: Environ | None = None) -> str | None:
    """`$NOTIFY_SOCKET`: where systemd listens for READY=1 (a leading `@` means the abstract namespace)."""
    return _get("NOTIFY_SOCKET", environ)


def watchdog_seconds(environ: Environ | None = None) -> float | None:
    """Seconds within which systemd wants a WATCHDOG=1, or None; see sd_watchdog_enabled(3)."""
    text, pid = _get("WATCHDOG_USEC", environ), _get("WATCHDOG_PID", environ)
    if text is None or not text.isascii() or not text.isdigit() or (pid is not None and pid != str(os.getpid())):
        return None
    return int(text[:18]) / 1_000_000 or None


def credentials_directory(environ: Environ | None = None) -> str | None:
    """`$CREDENTIALS_DIRECTORY`: systemd's LoadCredential files."""
    return _get("CREDENTIALS_DIRECTORY", environ)


def proxy_for(url: str, environ: Environ | None = None) -> str | None:
    """`$HTTPS_PROXY` or `$HTTP_PROXY` for a URL, unless `$NO_PROXY` names its host; lower case goes first.

    `$HTTP_PROXY` in upper case is ignored where `$REQUEST_METHOD` is set, as everywhere since CVE-2016-5385.
    """
    from urllib.parse import urlsplit
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # the stubs forget it

    parts = urlsplit(url)
    name = f"{parts.scheme}_proxy"
    proxy = _get(name, environ) or (
        None if name == "http_proxy" and _get("REQUEST_METHOD", environ) else _get(name.upper(), environ)
    )
    without = _get("no_proxy", environ) or _get("NO_PROXY", environ) or ""
    bypassed = proxy_bypass_environment(parts.netloc.rpartition("@")[2], {"no": without})
    return None if bypassed else proxy


def no_color(environ: Environ | None = None) -> bool:
    """Whether `$NO_COLOR` asks for plain output (https://no-color.org: any text but the empty)."""
    return _get("NO_COLOR", environ) is not None


def host_name() -> str:
    """The host's name, for the label `instance`."""
    return os.uname().nodename or "localhost"


def state_directory(environ: Environ | None = None) -> str:
    """Where state lives: systemd's directory, /var/lib/nightjar if it can be written, else the user's own."""
    if (given := _get("STATE_DIRECTORY", environ)) is not None:
        return given.split(":")[0]
    if _writable(VAR_STATE):
        return VAR_STATE
    base = _get("XDG_STATE_HOME", environ) or ""
    if not base.startswith("/"):  # the specification: relative paths are invalid and to be ignored
        home = _get("HOME", environ) or os.path.expanduser("~")
        base = os.path.join(home, ".local", "state")
    return os.path.join(base, "nightjar")


def _writable(directory: str) -> bool:
    parent = directory if os.path.exists(directory) else os.path.dirname(directory)
    return os.access(parent, os.W_OK | os.X_OK)
