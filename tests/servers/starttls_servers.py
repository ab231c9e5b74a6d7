"""Servers from Debian that come to TLS by way of their own protocols, all with one certificate, run without rights."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.collectors.probes.test_tls_ocsp import listening
from tests.collectors.probes.zoo import Certificates
from tests.conftest import free_port, need_peer
from tests.daemon import Process, within
from tests.servers.postgres_servers import PostgresServer, folder_for_all, run, unprivileged

KIND = "with intermediate"
DOVECOT = """
protocols = imap pop3
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/dovecot.log
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = home={folder}/mail
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    address = 127.0.0.1
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
"""
NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate "{certificate}";
    ssl_certificate_key "{key}";
    ssl_stapling on;
    ssl_stapling_file {folder}/staple;
  }}
}}
"""


class Identity(NamedTuple):
    """What the servers show: files that their user may read."""

    folder: Path
    certificates: Certificates
    chain: Path
    key: Path


@pytest.fixture(scope="session")
def identity() -> Iterator[Identity]:
    """A certificate for `localhost` with one in between."""
    folder = folder_for_all()
    made = Certificates(folder)
    made.leaf(KIND)
    if os.geteuid() == 0:
        for path in folder.iterdir():
            shutil.chown(path, "nobody", "nogroup")
    try:
        yield Identity(folder, made, folder / f"{KIND}.chain", folder / f"{KIND}.key")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def starttls(identity: Identity) -> Iterator[dict[str, str]]:
    """The target of each protocol."""
    with ExitStack() as servers:
        yield {kind: start(identity, servers) for starter in STARTERS for kind, start in starter().items()}


def _postgres(identity: Identity, servers: ExitStack) -> str:
    server = PostgresServer(identity.folder, "postgres")
    server.initialize()
    server.configure(f"ssl = on\nssl_cert_file = '{identity.chain}'\nssl_key_file = '{identity.key}'")
    servers.callback(server.stop)
    return f"postgres://localhost:{server.start().port}"


def _mysql(identity: Identity, servers: ExitStack) -> str:
    need_peer("mariadbd")
    data, port = identity.folder / "mysql", free_port()
    options = ["--no-defaults", f"--datadir={data}"]
    run(*unprivileged("mariadb-install-db", *options, "--skip-test-db", "--auth-root-authentication-method=normal"))
    options += [f"--socket={data}/socket", f"--pid-file={data}/pid", f"--port={port}", "--bind-address=127.0.0.1"]
    options += [f"--ssl-cert={identity.chain}", f"--ssl-key={identity.key}", "--innodb-buffer-pool-size=8M"]
    program = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
    server = servers.enter_context(Process(unprivileged(program, *options), identity.folder / "mysql.log"))
    within(40, lambda: "ready for connections" in server.output, f"MariaDB is up; it printed {server.output[-500:]}")
    return f"mysql://localhost:{port}"


class Dovecot:
    """One process for two protocols."""

    def __init__(self) -> None:
        self.ports = {"imap": free_port(), "pop3": free_port()}
        self.process: Process | None = None

    def start(self, identity: Identity, servers: ExitStack) -> None:
        user, group = ("nobody", "nogroup") if os.geteuid() == 0 else (str(os.getuid()), str(os.getgid()))
        folder = identity.folder
        config = folder / "dovecot.conf"
        config.write_text(
            DOVECOT.format(
                folder=folder, user=user, group=group, certificate=identity.chain, key=identity.key, **self.ports
            )
        )
        command = unprivileged(need_peer("dovecot"), "-F", "-c", str(config))
        self.process = servers.enter_context(Process(command, folder / "dovecot.out"))
        servers.callback(self.process.stop, signal.SIGTERM)
        log = folder / "dovecot.log"
        within(20, lambda: log.exists() and "starting up" in log.read_text(), "dovecot is up; " + self.process.output)

    def target(self, protocol: str) -> Callable[[Identity, ExitStack], str]:
        def start(identity: Identity, servers: ExitStack) -> str:
            if self.process is None:
                self.start(identity, servers)
            return f"{protocol}://localhost:{self.ports[protocol]}"

        return start


def _dovecot() -> dict[str, Callable[[Identity, ExitStack], str]]:
    server = Dovecot()
    return {protocol: server.target(protocol) for protocol in server.ports}


STARTERS = (lambda: {"postgres": _postgres, "mysql": _mysql}, _dovecot)


@pytest.fixture
def stapling_nginx(identity: Identity) -> Iterator[Callable[[bytes], int]]:
    """`stapling_nginx(response)`: the port of one that staples this OCSP response."""
    folder = identity.folder
    with ExitStack() as servers:

        def start(response: bytes) -> int:
            port = free_port()
            (folder / "staple").write_bytes(response)
            config = folder / "nginx.conf"
            config.write_text(NGINX.format(folder=folder, port=port, certificate=identity.chain, key=identity.key))
            command = unprivileged(need_peer("nginx"), "-e", f"{folder}/nginx-error.log", "-c", str(config))
            servers.enter_context(Process(command, folder / "nginx.log"))
            within(10, lambda: listening(port), f"nginx is up; see nginx-error.log in {folder}")
            return port

        yield start
