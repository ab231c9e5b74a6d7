"""Talking to systemd: state changes, a status line, and a watchdog that is fed by progress alone.

Source: sd_notify(3), systemd.service(5). Without `$NOTIFY_SOCKET` every call does nothing; what the socket answers is
ignored, as the protocol asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Coroutine
from typing import Any

PATIENCE = 30.0  # seconds of more time asked for at once


class Notifier:
    """Sends datagrams to the service manager."""

    def __init__(self, address: str | None) -> None:
        self._address = f"\0{address[1:]}" if address and address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)  # a manager that does not read must not stop the loop

    def send(self, **facts: object) -> None:
        """One message of `KEY=VALUE` lines."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                lines = [f"{key}={_one_line(str(value))}" for key, value in facts.items()]
                self._socket.sendto("\n".join(lines).encode("utf-8", "replace"), self._address or "")

    def ready(self, status: str) -> None:
        """Start-up, or a reload, is done."""
        self.send(READY=1, STATUS=status)

    def reloading(self) -> None:
        """A reload begins; the time lets the manager tell it from an older one."""
        self.send(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000, STATUS="Reloading")

    def status(self, text: str) -> None:
        """The line that `systemctl status` shows."""
        self.send(STATUS=text)

    def stopping(self, status: str) -> None:
        """Shutdown begins."""
        self.send(STOPPING=1, STATUS=status)

    def extend(self, seconds: float) -> None:
        """Ask for more time while starting or stopping."""
        self.send(EXTEND_TIMEOUT_USEC=int(seconds * 1_000_000))

    async def patiently(self, work: Coroutine[Any, Any, None], status: str) -> None:
        """Await a part of the start that may take longer than the manager waits."""
        task = asyncio.create_task(work)
        while not (await asyncio.wait({task}, timeout=PATIENCE / 2))[0]:
            self.extend(PATIENCE)
            self.status(status)
        await task

    def watchdog(self) -> None:
        """All is well."""
        self.send(WATCHDOG=1)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _one_line(text: str) -> str:
    """Text of others, such as a server's words, must not become a message of its own."""
    return "".join(char if char.isprintable() else " " for char in text)
