"""Real servers, one for each test that asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import free_port, need_peer
from tests.daemon import Process, get, within
from tests.servers.mysql_servers import mysql, replica  # noqa: F401  # fixtures
from tests.servers.nginx_servers import web  # noqa: F401  # a fixture
from tests.servers.postgres_servers import pgbouncer, postgres, standby  # noqa: F401  # fixtures
from tests.servers.redis_servers import redis_locked, redis_single  # noqa: F401  # fixtures
from tests.servers.scrape_servers import scraper  # noqa: F401  # a fixture
from tests.servers.starttls_servers import identity, stapling_nginx, starttls  # noqa: F401  # fixtures


class Server:
    """A running server: where it answers, and where remote write goes."""

    def __init__(self, base: str, process: Process) -> None:
        self.base, self.process = base, process
        self.write = f"{base}/api/v1/write"


def _prometheus(program: str, folder: Path, *flags: str) -> Iterator[Server]:
    binary, port = need_peer(program), free_port()
    config = folder / "prometheus.yml"
    config.write_text("global: {}\n")
    command = [
        binary,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-remote-write-receiver",
        *flags,
    ]
    yield from _serve(command, port, "/-/ready", folder)


def _serve(command: list[str], port: int, ready: str, folder: Path) -> Iterator[Server]:
    base = f"http://127.0.0.1:{port}"
    with Process(command, folder / "server.log") as process:
        within(30, lambda: get(base + ready)[0] == 200, f"{command[0]} answers; it printed {process.output[-500:]}")
        yield Server(base, process)


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Server]:
    """Prometheus 3: takes remote write 2.0."""
    folder = tmp_path / "prometheus"
    folder.mkdir()
    yield from _prometheus("prometheus", folder)


@pytest.fixture
def old_prometheus(tmp_path: Path) -> Iterator[Server]:
    """Prometheus 2.42: knows remote write 1.0 alone."""
    folder = tmp_path / "old_prometheus"
    folder.mkdir()
    yield from _prometheus("old/usr/bin/prometheus", folder)


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[Server]:
    """VictoriaMetrics, with metadata kept."""
    folder = tmp_path / "victoria"
    folder.mkdir()
    binary, port = need_peer("victoria-metrics"), free_port()
    command = [
        binary,
        f"-storageDataPath={folder / 'data'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-enableMetadata",
        "-search.latencyOffset=0s",
        "-search.maxStalenessInterval=5m",
        "-retentionPeriod=10y",
    ]
    yield from _serve(command, port, "/health", folder)
