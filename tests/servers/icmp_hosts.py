"""Hosts to ping, in network namespaces of their own: one that answers, and a router in front of some that do not."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shlex
import socket
import subprocess
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need_peer
from tests.daemon import Process, within

GOOD, GOOD6 = "10.0.0.2", "fd00::2"
UNREACHABLE, PROHIBITED, LOST, FAR = "10.1.0.1", "10.3.0.1", "10.2.0.1", "10.4.0.1"
UNREACHABLE6, LOST6 = "fd01::1", "fd02::1"
EVERYBODY, NOBODY = "0 2147483647", "1 0"
NEW_NETWORK = 0x40000000  # CLONE_NEWNET
HERE = """\
ip link set lo up
ip link add va type veth peer name vb netns {router}
ip address add 10.0.0.1/24 dev va
ip -6 address add fd00::1/64 dev va nodad
ip link set va up
"""
ROUTER = f"""\
ip link set lo up
ip address add {GOOD}/24 dev vb
ip -6 address add {GOOD6}/64 dev vb nodad
ip link set vb up
ip route add unreachable {UNREACHABLE}
ip route add prohibit {PROHIBITED}
ip route add blackhole {LOST}
ip route add {FAR} via 10.0.0.99
ip -6 route add unreachable {UNREACHABLE6}
ip -6 route add blackhole {LOST6}
"""
ROUTES = f"""\
ip route add default via {GOOD}
ip -6 route add default via {GOOD6}
"""


def allow(groups: str) -> None:
    """Who may ping without a capability, in the namespace of this thread."""
    try:
        Path("/proc/sys/net/ipv4/ping_group_range").write_text(groups)
    except OSError as error:
        pytest.skip(f"needs the right to set up networks: {error}")


def in_namespace(
    main: Callable[[], Awaitable[Any]],
    folder: Path,
    groups: str = NOBODY,
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> Any:
    """Run this in a thread that has a network of its own, with the hosts above; its children have it, too.

    Who may make no networks, as in many containers, skips: that is no missing server.
    """
    outcome: list[Any] = []

    def run() -> None:
        try:
            _leave()
            with _router(folder):
                allow(groups)
                with asyncio.Runner(loop_factory=factory) as runner:
                    outcome.append(runner.run(_awaited(main)))
        except BaseException as error:  # noqa: BLE001  # raised again where the test sees it
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(100)
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


async def _awaited(main: Callable[[], Awaitable[Any]]) -> Any:
    return await main()


def _leave() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK):
        pytest.skip(f"needs the right to make networks: {os.strerror(ctypes.get_errno())}")


class _router:  # reads as a context
    def __init__(self, folder: Path) -> None:
        self._process = Process(["unshare", "-n", "sleep", "300"], folder / "router.log")

    def __enter__(self) -> None:
        router = self._process.child.pid
        ours = os.readlink("/proc/thread-self/ns/net")
        within(10, lambda: _network(router) not in ("", ours), "the router has a network of its own")
        inside = [need_peer("nsenter"), "-t", str(router), "-n"]
        try:
            allow(NOBODY)
            _run(HERE.format(router=router))
            _run(ROUTER, *inside)
            for name in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
                _run(f"sh -c 'echo 1 > /proc/sys/{name}'", *inside)
            _run(ROUTES)
            within(10, lambda: all(_is_there(host) for host in (GOOD, GOOD6)), "the router is there")
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *failure: object) -> None:
        self._process.child.kill()
        self._process.child.wait(10)


def _is_there(host: str) -> bool:
    """Whether a host says that a port is closed; before a link is up nobody says anything."""
    try:
        socket.create_connection((host, 1), 0.5).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _network(process: int) -> str:
    try:
        return os.readlink(f"/proc/{process}/ns/net")
    except OSError:
        return ""


def _run(commands: str, *before: str) -> None:
    for command in commands.splitlines():
        arguments = shlex.split(command)
        arguments[0] = need_peer(arguments[0])
        subprocess.run([*before, *arguments], check=True, capture_output=True)
