"""Starting the agent and its peers for a benchmark, and reading from /proc what they take.

Everything listens on free loopback ports and keeps its data in one temporary folder; all of it is gone at the end,
whatever the end is.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import TypeVar
from urllib.parse import urlencode

from tests.conftest import find_peer, free_port

T = TypeVar("T")
TICK = os.sysconf("SC_CLK_TCK")
ROOT = Path(__file__).parents[2]

AGENT = """
[agent]
listen = "127.0.0.1:{port}"
state_dir = "{state}"
interval = "{interval}"

[exporters.remote_write]
url = "http://127.0.0.1:{victoria}/api/v1/write"
"""


class Missing(Exception):
    """A peer's program is not here; `make peers` fetches it."""


class Child:
    """A process that was started, and the port it listens on."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self.port = process, port

    @property
    def cpu(self) -> float:
        """Seconds of user and system time so far."""
        fields = self._read("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self, field: str = "Pss") -> float:
        """KiB of a field of smaps_rollup, over all threads."""
        lines = self._read("smaps_rollup").splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith(f"{field}:")))

    @property
    def bytes_read(self) -> int:
        """Bytes that it has read from sockets and files so far."""
        return int(self._read("io").split()[1])

    def _read(self, name: str) -> str:
        return Path(f"/proc/{self.process.pid}/{name}").read_text()

    def get(self, path: str) -> str:
        """The text of a page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def sum(self, query: str) -> float:
        """What a VictoriaMetrics answers to a query of one number; 0 for none."""
        told = json.loads(self.get(f"/api/v1/query?{urlencode({'query': query})}"))["data"]["result"]
        return float(told[0]["value"][1]) if told else 0.0

    def rows_inserted(self) -> int:
        """Samples that a VictoriaMetrics has taken by remote write."""
        lines = self.get("/metrics").splitlines()
        return sum(
            int(float(line.split()[1])) for line in lines if line.startswith('vm_rows_inserted_total{type="prom')
        )

    def stop(self) -> None:
        """End it in order, and at last by force."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Bench:
    """A temporary folder and the processes of one benchmark; leaving it ends them all."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Bench:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that the end is reached
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="nightjar-bench-")))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def enter(self, server: AbstractContextManager[T]) -> T:
        """Something that runs until the end."""
        return self._stack.enter_context(server)

    def exporter(self, name: str, *options: str, env: Mapping[str, str] | None = None, ready: str = "/") -> Child:
        """A Prometheus exporter of Debian's."""
        port = free_port()
        command = [peer(f"prometheus-{name}-exporter"), f"--web.listen-address=127.0.0.1:{port}", *options]
        return self.start(name, command, port, ready, {**os.environ, **(env or {})})

    def start(
        self, name: str, command: Sequence[str], port: int, ready: str, env: Mapping[str, str] | None = None
    ) -> Child:
        """Start a program and wait until `ready` is answered on its port."""
        log = self._stack.enter_context((self.folder / f"{name}-{port}.log").open("wb"))
        process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=env)
        child = Child(process, port)
        self._stack.callback(child.stop)
        if ready:
            wait_for(lambda: _answers(child, ready), f"{name} does not answer")
        return child

    def victoria(self, port: int = 0) -> Child:
        """A fresh VictoriaMetrics."""
        port = port or free_port()
        command = [
            peer("victoria-metrics"),
            f"-storageDataPath={tempfile.mkdtemp(dir=self.folder)}",
            f"-httpListenAddr=127.0.0.1:{port}",
            "-retentionPeriod=100y",
        ]
        return self.start("victoria-metrics", command, port, "/health")

    def vmagent(self, target: int, queue: Path, *options: str, ready: str = "/health") -> Child:
        """A vmagent that writes to a port of ours."""
        port = free_port()
        command = [
            peer("vmagent"),
            f"-httpListenAddr=127.0.0.1:{port}",
            f"-remoteWrite.url=http://127.0.0.1:{target}/api/v1/write",
            f"-remoteWrite.tmpDataPath={queue}",
            *options,
        ]
        return self.start("vmagent", command, port, ready)

    def scraper(self, target: int, jobs: str, interval: str = "15s") -> Child:
        """A vmagent that scrapes these jobs."""
        file = self.folder / "scrape.yml"
        file.write_text(f"global: {{scrape_interval: {interval}}}\nscrape_configs:\n{jobs}")
        return self.vmagent(target, self.folder / "scraper-queue", f"-promscrape.config={file}")

    def web(self, *certificate: Path) -> Child:
        """A web server to be probed; with a certificate and its key it speaks TLS."""
        port = free_port()
        command = [sys.executable, "-m", "tests.bench.web", str(port), *map(str, certificate)]
        paths = {**os.environ, "PYTHONPATH": str(ROOT)}
        return self.start("web", command, port, "" if certificate else "/", paths)

    def nightjar(
        self,
        victoria: int,
        state: Path,
        *,
        interval: str = "15s",
        more: str = "[collectors.host]",
        ready: str = "/livez",
    ) -> Child:
        """The real daemon, as its unit starts it."""
        port = free_port()
        file = self.folder / f"agent-{port}.toml"
        file.write_text(AGENT.format(port=port, state=state, interval=interval, victoria=victoria) + more)
        return self.start(
            "nightjar",
            [str(Path(sys.executable).parent / "nightjar"), "run", "-c", str(file)],
            port,
            ready,
            environment(),
        )


def environment() -> dict[str, str]:
    """The environment that the unit gives the agent."""
    unit = (ROOT / "packaging" / "nightjar.service").read_text().splitlines()
    pairs = [pair for line in unit if line.startswith("Environment=") for pair in line.partition("=")[2].split()]
    return {**os.environ, **dict(pair.split("=", 1) for pair in pairs)}


def peer(program: str) -> str:
    """The path of a peer's program; raises `Missing`."""
    if (found := find_peer(program)) is None:
        raise Missing(f"{program} is not here; try: make peers")
    return found


def wait_for(condition: Callable[[], bool], otherwise: str, seconds: float = 60.0, pause: float = 0.05) -> None:
    """Look until a condition holds; raises TimeoutError."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(otherwise)
        time.sleep(pause)


def _answers(child: Child, path: str) -> bool:
    if child.process.poll() is not None:
        raise RuntimeError(f"{child.process.args!r} ended with {child.process.returncode}")
    try:
        child.get(path)
    except OSError:
        return False
    return True


def job(name: str, exporter: Child) -> str:
    """The scrape job of an exporter."""
    return f'- {{job_name: {name}, static_configs: [{{targets: ["127.0.0.1:{exporter.port}"]}}]}}\n'


def disk(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def median(values: Sequence[float]) -> float:
    """The middle of some measurements."""
    return float(statistics.median(values))
