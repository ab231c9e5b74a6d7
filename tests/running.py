"""The real daemon as a process, watched through what it says: datagrams to systemd, its socket, its log."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NIGHTJAR = str(Path(sys.executable).parent / "nightjar")


class Running:
    """One agent's configuration, state directory and, between `start` and its end, process."""

    def __init__(self, folder: Path, config: str = "", *, plugins: Path | None = None, **environ: str) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.file = folder / "agent.toml"
        self.errors = folder / "stderr"
        self.process: subprocess.Popen[bytes] | None = None
        self.messages: list[str] = []  # all that was told to systemd
        (folder / "home").mkdir(parents=True, exist_ok=True)
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(folder / "home"), **environ}
        if plugins is not None:
            self.environ["PYTHONPATH"] = str(plugins)
        address = f"\0nightjar-{os.getpid()}-{id(self)}"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(address)
        self.environ["NOTIFY_SOCKET"] = f"@{address[1:]}"
        if config:
            self.configure(config)

    def configure(self, config: str) -> None:
        """Write the configuration; `[agent]` and what no test wants to repeat come first."""
        if "[agent]" not in config:
            config = f"[agent]\n{config}"
        fixed = f'[agent]\nstate_dir = "{self.state}"\n' + ("" if "listen" in config else 'listen = ""\n')
        self.file.write_text(config.replace("[agent]\n", fixed, 1))

    # -- life -----------------------------------------------------------------------------------------------------

    def start(self, *arguments: str, ready: bool = True) -> Running:
        self._receive(until=lambda: False, seconds=0)  # what the last life said late
        self.messages.clear()
        command = [NIGHTJAR, "run", *(arguments or ("-c", str(self.file)))]
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self.environ, stdout=subprocess.PIPE, stderr=errors
            )
        if ready:
            self.hear("READY=1")
        return self

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def reload(self, config: str = "") -> None:
        """Write a configuration, ask for it, and wait until systemd is told of the end."""
        if config:
            self.configure(config)
        before = len(self.messages)
        self.signal(signal.SIGHUP)
        self.hear("RELOADING=1", after=before)
        self.hear("READY=1", after=before)

    def ended(self, seconds: float = 20.0) -> int:
        """The exit code, once the process has ended."""
        assert self.process is not None
        try:
            code = self.process.wait(seconds)
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()
        self.process = None
        return code

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.ended()

    def close(self) -> None:
        """Whatever happened, leave no process behind."""
        if self.process is not None:
            self.process.kill()
            self.ended()
        self._notify.close()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    # -- what it says ---------------------------------------------------------------------------------------------

    def hear(self, wanted: str, seconds: float = 20.0, *, after: int = 0) -> str:
        """Wait for a message to systemd with this text, later than the first `after` messages."""

        def heard() -> list[str]:
            return [message for message in self.messages[after:] if wanted in message]

        self._receive(until=lambda: bool(heard()), seconds=seconds)
        assert heard(), f"{wanted} was not told; heard {self.messages[-5:]}; log:\n{self.log_text()[-3000:]}"
        return heard()[0]

    def listen(self, seconds: float) -> list[str]:
        """All messages to systemd within so many seconds."""
        before = len(self.messages)
        self._receive(until=lambda: False, seconds=seconds)
        return self.messages[before:]

    def _receive(self, until: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            left = deadline - time.monotonic()
            if left <= 0 and seconds > 0:
                return
            if self.process is not None and self.process.poll() is not None:
                left = min(left, 0.1)
            self._notify.settimeout(max(left, 0.0))
            try:
                self.messages.append(self._notify.recv(65536).decode())
            except (TimeoutError, BlockingIOError):
                return

    def log_text(self) -> str:
        return self.errors.read_text() if self.errors.exists() else ""

    def log(self, event: str = "") -> list[dict[str, Any]]:
        """The log's entries so far, those whose event holds a text."""
        entries = []
        for line in self.log_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                entries.append(json.loads(line))
        return [entry for entry in entries if event in entry.get("event", "")]

    def logged(self, event: str, seconds: float = 20.0, *, count: int = 1) -> list[dict[str, Any]]:
        """Wait for log entries."""
        eventually(lambda: len(self.log(event)) >= count, f"log entry {event!r}", seconds, self.log_text)
        return self.log(event)

    def ask(self, path: str) -> tuple[int, bytes]:
        """The status and body of an answer from its own socket."""
        connection = http.client.HTTPConnection("localhost", timeout=20)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(20)
        try:
            connection.sock.connect(str(self.state / "nightjar.sock"))
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.ask("/api/status")[1]))

    def ledger(self, exporter: str = "remote_write") -> dict[str, Any]:
        """The account of an exporter's metrics; it must balance whenever it is looked at."""
        (entry,) = [one for one in self.status()["ledger"] if one["exporter"] == exporter]
        assert entry["balanced"], entry
        return dict(entry)

    def command(self, *arguments: str, seconds: float = 20.0) -> subprocess.CompletedProcess[str]:
        """Another command of the same agent."""
        return subprocess.run(
            [NIGHTJAR, *arguments], cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=seconds
        )


def eventually(
    condition: Callable[[], bool], what: str, seconds: float = 20.0, why: Callable[[], object] = lambda: ""
) -> None:
    """Look until something holds that no event tells of."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s; {why()}"
        time.sleep(0.02)
