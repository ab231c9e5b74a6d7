"""MariaDB and a replica of it, run as a user without rights, one of each for all tests."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, free_port, need_peer
from tests.daemon import Process, within
from tests.servers.postgres_servers import folder_for_all, make_certificates, run, unprivileged

PASSWORD = "s3cret-of-the-tests"
ROLE = ROOT / "packaging/mysql/role.sql"
MOST_CONNECTIONS = 12
FLAGS = (
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--innodb-buffer-pool-size=8M",
    "--innodb-log-file-size=4M",
    "--innodb-flush-log-at-trx-commit=0",
    "--sync-binlog=0",
    "--gtid-strict-mode=1",
    "--log-bin=bin",
    f"--max-connections={MOST_CONNECTIONS}",
    "--extra-max-connections=2",
    "--plugin-load-add=query_response_time",
    "--query-response-time-stats=1",
)


class MysqlServer:
    """A server that can be started, stopped and asked as root, over its own socket and a port that is never full."""

    def __init__(self, folder: Path, name: str, number: int, *flags: str) -> None:
        self.folder, self.data, self.log = folder, folder / name, folder / f"{name}.log"
        self.socket = folder / f"{name}.sock"
        self.port, self.extra_port = free_port(), free_port()
        self.process: Process | None = None
        self._flags = (
            *(f"--datadir={self.data}", f"--socket={self.socket}", f"--pid-file={folder / name}.pid"),
            *(f"--port={self.port}", f"--extra-port={self.extra_port}", f"--server-id={number}", *FLAGS, *flags),
        )

    def initialize(self) -> None:
        program = need_peer("mariadb-install-db")
        how = ("--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
        run(*unprivileged(program, *how, f"--datadir={self.data}"))

    def start(self) -> MysqlServer:
        self.process = Process(unprivileged(need_peer("mariadbd"), "--no-defaults", *self._flags), self.log)
        within(30, self.answers, f"MariaDB answers; it printed {self.process.output[-500:]}")
        return self

    def stop(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.stop(number)
            self.process = None

    def answers(self) -> bool:
        return subprocess.run(self._client("SELECT 1"), capture_output=True, check=False).returncode == 0

    def _client(self, *sql: str) -> list[str]:
        base = (need_peer("mariadb"), "--no-defaults", "-h127.0.0.1", f"-P{self.extra_port}", "-uroot", "-NB")
        return [*base, "-e", ";".join(sql)]

    def sql(self, *statements: str) -> str:
        return run(*self._client(*statements)).strip()

    def connections(self) -> int:
        """How many there are of ours."""
        return int(self.sql("SELECT count(*) FROM information_schema.processlist WHERE user = 'nightjar'"))

    def url(self, user: str = "nightjar", more: str = "") -> str:
        return f"mysql://{user}@127.0.0.1:{self.port}{more}"


@pytest.fixture(scope="session")
def mysql() -> Iterator[MysqlServer]:
    """A primary with our user as we ship it, and certificates for `localhost`."""
    folder = folder_for_all()
    make_certificates(folder)
    tls = (f"--ssl-ca={folder}/ca.pem", f"--ssl-cert={folder}/server.pem", f"--ssl-key={folder}/server.key")
    server = MysqlServer(folder, "primary", 1, *tls)
    try:
        server.initialize()
        server.start()
        server.sql(ROLE.read_text())
        server.sql(f"ALTER USER 'nightjar'@'%' IDENTIFIED BY '{PASSWORD}' ACCOUNT UNLOCK")
        server.sql("CREATE DATABASE shop", "CREATE TABLE shop.things (id int PRIMARY KEY, name text) ENGINE=InnoDB")
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def replica(mysql: MysqlServer) -> Iterator[MysqlServer]:
    """A replica, over a connection with a name, and with GTIDs."""
    server = MysqlServer(mysql.folder, "replica", 2, "--read-only=1")
    try:
        server.initialize()
        server.start()
        mysql.sql("CREATE USER IF NOT EXISTS 'copy'@'%' IDENTIFIED BY 'copy'")
        mysql.sql("GRANT REPLICATION SLAVE ON *.* TO 'copy'@'%'")
        source = f"MASTER_HOST='127.0.0.1', MASTER_PORT={mysql.port}, MASTER_USER='copy', MASTER_PASSWORD='copy'"
        server.sql(f"CHANGE MASTER 'east' TO {source}, MASTER_USE_GTID=slave_pos", "START SLAVE 'east'")
        within(20, lambda: user_is_there(server), "the replica has our user")
        yield server
    finally:
        server.stop()


def user_is_there(server: MysqlServer) -> bool:
    return server.sql("SELECT count(*) FROM mysql.user WHERE user = 'nightjar' AND password <> ''") == "1"
