"""What all tests share: where the real servers are, and what a missing one means."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PEERS = Path(os.environ.get("NIGHTJAR_PEERS") or ROOT / ".peers")
NO_SKIPS = bool(os.environ.get("NIGHTJAR_NO_SKIPS"))
MISSING = "missing server: "


def find_peer(program: str) -> str | None:
    """The path of a real server's program: unpacked by `make peers`, or on the PATH."""
    unpacked = PEERS / "usr/bin" / program if "/" not in program else PEERS / program
    return str(unpacked) if unpacked.exists() else shutil.which(program)


def need_peer(program: str) -> str:
    """Like `find_peer`; without it the test is skipped, or fails where skips are not allowed."""
    if (found := find_peer(program)) is None:
        (pytest.fail if NO_SKIPS else pytest.skip)(f"{MISSING}{program} (try: make peers)")
    return found


def has_ip6() -> bool:
    """Whether the loopback has an IPv6 address."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def need_ping() -> None:
    """Who may not ping, as in some containers, skips: that is a right and no server."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP).close()
        except PermissionError:
            continue
        return
    pytest.skip("needs the right to ping")


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def peer():
    """`peer("prometheus")`: the path of a real server's program, or the test is skipped."""
    return need_peer
