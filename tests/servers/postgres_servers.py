"""PostgreSQL, its standby and pgbouncer from Debian, run as a user without rights, one of each for all tests."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import MISSING, NO_SKIPS, ROOT, free_port, need_peer
from tests.daemon import Process, within

PROGRAMS = Path("/usr/lib/postgresql")
PASSWORD = "s3cret-of-the-tests"
ROLE = ROOT / "packaging/postgres/role.sql"
CONFIG = """
listen_addresses = '127.0.0.1'
fsync = off
max_connections = 30
max_wal_senders = 4
wal_level = replica
password_encryption = scram-sha-256
"""


def program(name: str) -> str:
    """The path of a program of PostgreSQL: that of the folder NIGHTJAR_POSTGRES, or the newest that is installed."""
    if (folder := os.environ.get("NIGHTJAR_POSTGRES")) is not None:
        return str(Path(folder) / name)
    found = sorted(PROGRAMS.glob(f"*/bin/{name}"))
    if not found:
        (pytest.fail if NO_SKIPS else pytest.skip)(f"{MISSING}postgresql (try: apt-get install postgresql)")
    return str(found[-1])


def unprivileged(*command: str) -> list[str]:
    """PostgreSQL and pgbouncer refuse to run as root."""
    if os.geteuid() != 0:
        return list(command)
    nobody = pwd.getpwnam("nobody")
    return ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", *command]


def folder_for_all() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="nightjar-pg-", dir="/tmp"))
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
    return folder


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


class PostgresServer:
    """A server that can be started, stopped and asked as its superuser."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.data, self.log = folder, folder / name, folder / f"{name}.log"
        self.port = free_port()
        self.process: Process | None = None

    def initialize(self) -> None:
        run(*unprivileged(program("initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8"))
        # The superuser comes in over the socket alone, everybody else has to know the password.
        (self.data / "pg_hba.conf").write_text(
            "local all all trust\nlocal replication all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )
        self.configure(CONFIG)

    def configure(self, text: str) -> None:
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"{text}\nport = {self.port}\nunix_socket_directories = '{self.folder}'\n")

    def start(self) -> PostgresServer:
        self.process = Process(unprivileged(program("postgres"), "-D", str(self.data)), self.log)
        within(30, self.answers, f"PostgreSQL answers; it printed {self.process.output[-500:]}")
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop(signal.SIGQUIT)
            self.process = None

    def answers(self) -> bool:
        command = [program("psql"), "-h", str(self.folder), "-p", str(self.port), "-U", "postgres", "-qAtc", "SELECT 1"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def psql(self, sql: str, database: str = "postgres", *flags: str) -> str:
        base = ("-h", str(self.folder), "-p", str(self.port), "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-X")
        return run(program("psql"), *base, "-qAt", "-d", database, *flags, "-c", sql).strip()

    def dsn(self, user: str = "nightjar", database: str = "postgres", more: str = "") -> str:
        return f"postgres://{user}@127.0.0.1:{self.port}/{database}{more}"

    @property
    def exporter_dsn(self) -> str:
        return f"postgres://nightjar:{PASSWORD}@127.0.0.1:{self.port}/postgres?sslmode=disable"


@contextmanager
def primary() -> Iterator[PostgresServer]:
    """A primary with a table of a thousand rows, a role as we ship it, and certificates for `localhost`."""
    folder = folder_for_all()
    server = PostgresServer(folder, "primary")
    try:
        server.initialize()
        make_certificates(folder)
        server.configure(f"ssl = on\nssl_cert_file = '{folder}/server.pem'\nssl_key_file = '{folder}/server.key'")
        server.start()
        base = ("-h", str(folder), "-p", str(server.port), "-U", "postgres", "-X", "-q")
        run(program("psql"), *base, "-f", str(ROLE), "postgres")
        server.psql(f"ALTER ROLE nightjar PASSWORD '{PASSWORD}'")
        server.psql("CREATE TABLE things (id int PRIMARY KEY, name text)")
        server.psql("INSERT INTO things SELECT n, repeat('x', 20) FROM generate_series(1, 1000) n")
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A primary for all tests."""
    with primary() as server:
        yield server


@pytest.fixture(scope="session")
def standby(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A streaming replica of the primary, with a slot."""
    server = PostgresServer(postgres.folder, "standby")
    source = ("-h", str(postgres.folder), "-p", str(postgres.port), "-U", "postgres")
    base = ("-D", str(server.data), "-R", "-C", "-S", "standby", "-c", "fast", "-X", "stream", "--no-sync")
    run(*unprivileged(program("pg_basebackup"), *source, *base))
    try:
        server.configure("")
        server.start()
        streams = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn IS NOT NULL"
        within(20, lambda: postgres.psql(streams) == "1", "the standby streams")
        yield server
    finally:
        server.stop()


class PgbouncerServer:
    """A running pgbouncer before the primary."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"postgres://nightjar@127.0.0.1:{port}/pgbouncer"


@pytest.fixture(scope="session")
def pgbouncer(postgres: PostgresServer) -> Iterator[PgbouncerServer]:
    """A pgbouncer whose `stats_users` has our role."""
    binary, port = need_peer("pgbouncer"), free_port()
    (postgres.folder / "users.txt").write_text(f'"nightjar" "{PASSWORD}"\n"stranger" "{PASSWORD}"\n')
    config = postgres.folder / "pgbouncer.ini"
    config.write_text(
        f"[databases]\npostgres = host=127.0.0.1 port={postgres.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {postgres.folder}/users.txt\nstats_users = nightjar\n"
        "ignore_startup_parameters = extra_float_digits\n"
    )
    with Process(unprivileged(binary, str(config)), postgres.folder / "pgbouncer.log") as process:
        within(20, lambda: "process up" in process.output, "pgbouncer answers")
        yield PgbouncerServer(port)


def make_certificates(folder: Path) -> None:
    """An authority and a certificate for `localhost`, which the server's user owns."""
    name = ("-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    ca, key = folder / "ca.pem", folder / "ca.key"
    run("openssl", "req", "-x509", *name, "-keyout", str(key), "-out", str(ca), "-days", "30", "-subj", "/CN=tests")
    request, extensions = folder / "server.csr", folder / "server.ext"
    extensions.write_text("subjectAltName = DNS:localhost\n")
    secret, certificate = folder / "server.key", folder / "server.pem"
    run("openssl", "req", *name, "-keyout", str(secret), "-out", str(request), "-subj", "/CN=localhost")
    sign = ("-CA", str(ca), "-CAkey", str(key), "-CAcreateserial", "-days", "30", "-extfile", str(extensions))
    run("openssl", "x509", "-req", "-in", str(request), "-out", str(certificate), *sign)
    secret.chmod(0o600)
    if os.geteuid() == 0:
        shutil.chown(secret, "nobody")
