"""`nightjar probe` as a process, and what it looks at."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.collectors.probes.zoo import says, serving
from tests.nagios_parser import Output, parse_output
from tests.running import NIGHTJAR

FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
KEYS = ["status", "exit_code", "kind", "target", "message", "value", "samples"]  # of the JSON


@dataclass(frozen=True)
class Done:
    """A probe that ended."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def output(self) -> Output:
        """What it said; it says one thing, on standard output, and exits as that says."""
        found = parse_output(self.stdout)
        assert found.code == self.code
        assert self.stderr == ""
        return found


async def probe(*arguments: str, environ: dict[str, str] | None = None, cwd: Path | None = None) -> Done:
    """One call; it has to end within half a minute by itself."""
    began = time.monotonic()
    child = await asyncio.create_subprocess_exec(
        NIGHTJAR,
        "probe",
        *arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ,
        cwd=cwd,
    )
    out, err = await asyncio.wait_for(child.communicate(), 30)
    assert child.returncode is not None
    return Done(child.returncode, out.decode(), err.decode(), time.monotonic() - began)


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
async def web() -> AsyncIterator[str]:
    """A web server's host and port."""
    async with serving(says(FINE)) as port:
        yield f"127.0.0.1:{port}"


def hanging(folder: Path, what: str) -> dict[str, str]:
    """An environment in which something never returns."""
    (folder / "sitecustomize.py").write_text(f"import os, socket, threading\nhang = threading.Event().wait\n{what}\n")
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder)}
