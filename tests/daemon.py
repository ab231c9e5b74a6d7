"""Starting the real agent in a test, and asking it and others over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

NIGHTJAR = str(Path(sys.executable).parent / "nightjar")


def within(seconds: float, look: Callable[[], T | None], what: str) -> T:
    """The first true answer of `look`, asked again until `seconds` are over."""
    deadline = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


def get(url: str, timeout: float = 5.0) -> tuple[int, str]:
    """(status, body) of a GET; (0, error) when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


class Process:
    """A child process whose output goes to a file."""

    def __init__(self, command: list[str], log: Path, **environ: str) -> None:
        self.log = log
        with log.open("ab") as out:
            self.child = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env={**os.environ, **environ}
            )

    @property
    def output(self) -> str:
        """Everything printed so far."""
        return self.log.read_text(errors="replace")

    def send(self, number: int) -> None:
        """Send a signal."""
        self.child.send_signal(number)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 20.0) -> int:
        """Send a signal and wait for the exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.child.send_signal(number)
        return self.child.wait(seconds)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *failure: object) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait(10)


def query(base: str, expression: str) -> list[dict[str, Any]]:
    """The result of an instant query."""
    from urllib.parse import quote

    status, body = get(f"{base}/api/v1/query?query={quote(expression)}")
    assert status == 200, body
    found: list[dict[str, Any]] = json.loads(body)["data"]["result"]
    return found


def lines_of(text: str) -> Iterator[dict[str, Any]]:
    """The JSON lines of a log."""
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            yield json.loads(line)
