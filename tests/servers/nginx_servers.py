"""A real nginx on free ports: plain, TLS, TLS that wants a client's certificate, a Unix socket, and a forward proxy."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.collectors.probes.zoo import Certificates
from tests.conftest import free_port, need_peer
from tests.daemon import Process, within

LOGIN = "user:word"
MODIFIED = 1445412480
CONFIG = """\
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  log_format seen '$server_port "$request" $status host="$http_host" login="$http_authorization" '
                  'proxy="$http_proxy_authorization" protocol="$server_protocol"';
  access_log {folder}/access.log seen;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  ssl_protocols TLSv1.2; ssl_ciphers ECDHE-ECDSA-AES256-GCM-SHA384;
  default_type text/plain; gzip_types *; gzip_min_length 1; gzip_http_version 1.0; keepalive_timeout 75s;
  root {folder}/root;
  server {{
    listen 127.0.0.1:{plain};
    listen unix:{folder}/app.sock;
    location / {{ try_files $uri =404; }}
    location /compressed/ {{ gzip on; alias {folder}/root/; }}
    location = /down {{ return 503 "later"; }}
    location = /to-tls {{ return 301 https://localhost:{tls}/hello; }}
    location = /to-other-path {{ return 302 /hello; }}
    location = /around {{ return 302 /around; }}
    location = /cookie {{
      if ($cookie_seen != "1") {{ add_header Set-Cookie "seen=1; Path=/" always; return 302 /cookie; }}
      return 200 "welcome";
    }}
    location = /posted {{ if ($request_method != POST) {{ return 405; }} return 200 "$content_length"; }}
    location = /login {{ if ($http_authorization != "Basic {login}") {{ return 401; }} return 200 "in"; }}
  }}
  server {{
    listen 127.0.0.1:{tls} ssl;
    listen unix:{folder}/tls.sock ssl;
    ssl_certificate {pem}; ssl_certificate_key {key};
    location = /to-plain {{ return 302 http://localhost:{plain}/hello; }}
  }}
  server {{
    listen 127.0.0.1:{locked} ssl;
    ssl_certificate {pem}; ssl_certificate_key {key}; ssl_client_certificate {ca}; ssl_verify_client on;
    location = /who {{ return 200 "$ssl_client_s_dn"; }}
  }}
  server {{
    listen 127.0.0.1:{proxy};
    location / {{
      if ($http_proxy_authorization != "Basic {login}") {{ return 407; }}
      proxy_set_header Proxy-Authorization ""; proxy_set_header Host $http_host;
      proxy_pass http://$http_host$request_uri;
    }}
  }}
}}
"""
FILES = {
    "hello": "hello",
    "health.json": '{"status": "ok", "nodes": [{"up": true}, {"up": true}]}',
    "long": "a long text, said again and again. " * 200,
}


class Nginx:
    """Where it listens, and what it noted of each request."""

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        self.folder, self.certificates = folder, certificates
        self.plain, self.tls, self.locked, self.proxy = (free_port() for _ in range(4))
        self.socket, self.tls_socket = str(folder / "app.sock"), str(folder / "tls.sock")
        self.proxy_url = f"http://{LOGIN}@127.0.0.1:{self.proxy}"

    def command(self) -> list[str]:
        """How it is started; files are written."""
        self.certificates.leaf("good")
        place = self.certificates.folder
        (self.folder / "root").mkdir(parents=True)
        for name, text in FILES.items():
            (self.folder / "root" / name).write_text(text)
        config = self.folder / "nginx.conf"
        config.write_text(
            CONFIG.format(
                folder=self.folder, pem=place / "good.pem", key=place / "good.key", ca=self.certificates.authority,
                plain=self.plain, tls=self.tls, locked=self.locked, proxy=self.proxy,
                login=base64.b64encode(LOGIN.encode()).decode(),
            )
        )  # fmt: skip
        return [need_peer("nginx"), "-p", str(self.folder), "-c", str(config), "-e", str(self.folder / "error.log")]

    def noted(self, word: str) -> list[str]:
        """Lines of its log with a word; it writes them when a request is over."""

        def lines() -> list[str]:
            return [line for line in (self.folder / "access.log").read_text().splitlines() if word in line]

        return within(5, lines, f"nginx notes {word}")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """One for all tests of a module: it answers the same whoever asks."""
    folder = tmp_path_factory.mktemp("nginx")
    server = Nginx(folder, Certificates(tmp_path_factory.mktemp("certificates")))
    with Process(server.command(), folder / "server.log") as process:
        within(20, lambda: _listening(server.proxy), f"nginx listens; it printed {process.output[-500:]}")
        yield server


def _listening(port: int) -> bool:
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True
