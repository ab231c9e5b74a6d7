"""Real Redis servers on free ports: single, replica, Sentinel, a cluster of three, and one behind a login and TLS."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.conftest import free_port, need_peer
from tests.daemon import Process, get, within

USER, PASSWORD = "nightjar", "s3cret/with:signs@"


class RedisServer:
    """A running server, and a client of the tests' own."""

    def __init__(self, process: Process, port: int, folder: Path, **login: Any) -> None:
        self.process, self.port, self.folder, self.login = process, port, folder, login
        self.url = f"redis://127.0.0.1:{port}"
        self.socket = str(folder / "redis.sock")
        self.client = redis.Redis("127.0.0.1", port, decode_responses=True, protocol=2, retry=None, **login)

    def __call__(self, *command: str | int) -> Any:
        """One command, as the tests' client."""
        return self.client.execute_command(*command)

    def alive(self) -> bool:
        try:
            return bool(self("PING"))
        except redis.exceptions.ConnectionError:
            return False


@contextmanager
def redis_server(folder: Path, *lines: str, sentinel: bool = False) -> Iterator[RedisServer]:
    """A server with these lines in its configuration."""
    folder.mkdir(parents=True)
    port = free_port()
    config = folder / "redis.conf"
    own = [f"port {port}", "bind 127.0.0.1", f"dir {folder}", f"unixsocket {folder}/redis.sock"]
    own += [] if sentinel else ['save ""', "enable-debug-command yes", "latency-monitor-threshold 1"]
    config.write_text("\n".join([*own, *lines, ""]))
    command = [need_peer("redis-server"), str(config), *(["--sentinel"] if sentinel else [])]
    with Process(command, folder / "server.log") as process:
        server = RedisServer(process, port, folder)
        within(20, server.alive, f"redis-server answers; it printed {process.output[-500:]}")
        try:
            yield server
        finally:
            server.client.close()


@contextmanager
def redis_replica(master: RedisServer, folder: Path) -> Iterator[RedisServer]:
    """A replica that has caught up."""
    with redis_server(folder, f"replicaof 127.0.0.1 {master.port}", "repl-diskless-sync-delay 0") as server:
        within(30, lambda: "master_link_status:up" in _text(server), "the replica is connected")
        within(30, lambda: ",state=online" in _text(master), "the master knows its replica")
        yield server


@contextmanager
def redis_sentinel(master: RedisServer, folder: Path) -> Iterator[RedisServer]:
    """A Sentinel that watches `master` alone, and has seen its replica."""
    lines = (f"sentinel monitor main 127.0.0.1 {master.port} 1", "sentinel down-after-milliseconds main 5000")
    with redis_server(folder, *lines, sentinel=True) as server:
        within(30, lambda: "slaves=1" in _text(server), "the Sentinel knows the replica")
        yield server


@contextmanager
def redis_cluster(folder: Path) -> Iterator[list[RedisServer]]:
    """Three masters that share the slots."""
    with ExitStack() as stack:
        buses = [free_port() for _ in range(3)]
        nodes = [
            stack.enter_context(redis_server(folder / str(at), "cluster-enabled yes", f"cluster-port {bus}"))
            for at, bus in enumerate(buses)
        ]
        for at, node in enumerate(nodes):
            node("CLUSTER", "ADDSLOTSRANGE", at * 5462, min((at + 1) * 5462, 16384) - 1)
            node("CONFIG", "SET", "cluster-require-full-coverage", "yes")
            for other, bus in zip(nodes, buses, strict=True):
                if other is not node:
                    node("CLUSTER", "MEET", "127.0.0.1", other.port, bus)
        for node in nodes:
            within(30, lambda node=node: _joined(node), "the cluster is whole")
        yield nodes


def _joined(node: RedisServer) -> bool:
    told = node("CLUSTER", "INFO")
    told = told if isinstance(told, str) else "\n".join(f"{key}:{value}" for key, value in told.items())
    return "cluster_state:ok" in told and "cluster_known_nodes:3" in told


def _text(server: RedisServer) -> str:
    """INFO as it came."""
    connection = server.client.connection_pool.get_connection()
    try:
        connection.send_command("INFO", "ALL")
        told: str = connection.read_response()
        return told
    finally:
        server.client.connection_pool.release(connection)


@contextmanager
def redis_exporter(server: RedisServer, *flags: str) -> Iterator[str]:
    """The real redis_exporter beside a server: its base URL."""
    address = f"127.0.0.1:{free_port()}"
    command = [
        need_peer("prometheus-redis-exporter"),
        f"--web.listen-address={address}",
        f"--redis.addr={server.url}",
        "--include-system-metrics",
        *flags,
    ]
    with Process(command, server.folder / "exporter.log") as process:
        base = f"http://{address}"
        within(20, lambda: get(f"{base}/health")[0] == 200, f"the exporter answers; {process.output[-300:]}")
        yield base


def make_certificates(folder: Path) -> None:
    """An authority `ca`, and what it signed: `server` for 127.0.0.1 and redis.test, `client`."""
    folder.mkdir()
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:redis.test\n")
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=authority"]
    _openssl(folder, *made, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2")
    for name in ("server", "client"):
        _openssl(
            folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{name}.key", "-out", f"{name}.csr",
        )  # fmt: skip
        _openssl(
            folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", f"{name}.pem", "-days", "2", "-extfile", "names",
        )  # fmt: skip


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run([need_peer("openssl"), *arguments], cwd=folder, check=True, capture_output=True)


def fill(server: RedisServer) -> None:
    """Something to see in every part of INFO."""
    for at in range(20):
        server("SET", f"text:{at}", "x" * at, "EX", 1000)
    server("RPUSH", "queue:jobs", *"abcde")
    server("HSET", "session:1", "a", 1, "b", 2)
    server("ZADD", "ranks", 1, "one")
    server("XADD", "events", "*", "a", 1)
    server("SADD", "members", "x", "y")
    server("GET", "nothing")
    server("SELECT", 0)
    server("CONFIG", "SET", "slowlog-log-slower-than", 0)
    server("DEBUG", "SLEEP", "0.01")
    server("CONFIG", "SET", "slowlog-log-slower-than", 1_000_000)
    with pytest.raises(redis.exceptions.ResponseError):
        server("LPUSH", "text:1", "wrong type")


@pytest.fixture
def redis_single(tmp_path: Path) -> Iterator[RedisServer]:
    """One server with some data."""
    with redis_server(tmp_path / "redis") as server:
        fill(server)
        yield server


@pytest.fixture
def redis_locked(tmp_path: Path) -> Iterator[RedisServer]:
    """One server that wants TLS with a client's certificate, and a login; `port` is its TLS port."""
    make_certificates(tmp_path / "tls")
    tls = tmp_path / "tls"
    port = free_port()
    lines = (
        f"tls-port {port}",
        f"tls-cert-file {tls}/server.pem",
        f"tls-key-file {tls}/server.key",
        f"tls-ca-cert-file {tls}/ca.pem",
        f"user {USER} on >{PASSWORD} +info +config|get +slowlog +latency +client|setname +cluster|info",
    )
    with redis_server(tmp_path / "redis", *lines) as server:
        server.tls_port = port  # type: ignore[attr-defined]
        yield server


def wait_until_blocked(server: RedisServer, seconds: float = 10.0) -> None:
    """Return when the server answers nobody, or `BUSY`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with redis.Redis("127.0.0.1", server.port, socket_timeout=0.2, retry=None) as client:
            try:
                client.ping()
            except redis.exceptions.RedisError:
                return
    raise AssertionError("the server still answers")
