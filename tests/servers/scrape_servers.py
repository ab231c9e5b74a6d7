"""A Prometheus that scrapes, and a server of many pages: one address of 127.0.0.0/8 each, so each is an instance."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import free_port, need_peer
from tests.daemon import Process, get, within


class Page(NamedTuple):
    content_type: str
    body: bytes
    status: int = 200


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024  # all targets are asked at once


class Pages:
    """The server; `pages` may change while it runs."""

    def __init__(self, pages: Sequence[Page]) -> None:
        self.pages = list(pages)
        self.accepts: set[str] = set()
        self._server = _Server(("0.0.0.0", 0), self._handler())
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pages = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                pages.accepts.add(self.headers.get("Accept", ""))
                _, _, high, low = self.connection.getsockname()[0].split(".")
                page = pages.pages[int(high) * 250 + int(low) - 1]
                self.send_response(page.status)
                self.send_header("Content-Type", page.content_type)
                self.send_header("Content-Length", str(len(page.body)))
                self.end_headers()
                self.wfile.write(page.body)

            def log_message(self, *_: object) -> None: ...

        return Handler

    def instance(self, number: int) -> str:
        return f"127.1.{number // 250}.{number % 250 + 1}:{self.port}"

    @property
    def instances(self) -> list[str]:
        return [self.instance(number) for number in range(len(self.pages))]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving(pages: Sequence[Page]) -> Iterator[Pages]:
    server = Pages(pages)
    try:
        yield server
    finally:
        server.close()


Scraper = Callable[..., str]


@pytest.fixture
def scraper(tmp_path: Path) -> Iterator[Scraper]:
    """`scraper(targets, "honor_labels: true", …)`: the base URL of a Prometheus that scrapes them every second.

    Without targets it only takes what is written to it.
    """
    processes: list[Process] = []

    def start(targets: Sequence[str], *settings: str) -> str:
        folder = tmp_path / f"scraper-{len(processes)}"
        folder.mkdir()
        binary, port = need_peer("prometheus"), free_port()
        lines = ["scrape_configs:", "- job_name: zoo", "  scrape_interval: 1s", "  scrape_timeout: 900ms"]
        lines += [f"  {line}" for setting in settings for line in setting.splitlines()]
        lines += ["  static_configs:", f"  - targets: {list(targets)!r}"]
        lines = lines if targets else ["global: {}"]
        (folder / "prometheus.yml").write_text("\n".join(lines) + "\n")
        command = [
            binary,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-remote-write-receiver",
            "--enable-feature=exemplar-storage,extra-scrape-metrics",
        ]
        process = Process(command, folder / "server.log")
        processes.append(process)
        base = f"http://127.0.0.1:{port}"
        within(30, lambda: get(f"{base}/-/ready")[0] == 200, f"Prometheus answers; it printed {process.output[-800:]}")
        return base

    yield start
    for process in processes:
        process.__exit__()
