"""A Prometheus that scrapes, and a server of many pages: one address of 127.0.0.0/8 each, so each is an instance."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import free_port, need_peer
from tests.daemon import Process, get, query, within

Key = frozenset[tuple[str, str]]
Value = float | tuple[str, ...]  # a number, or a native histogram as the API of Prometheus tells it
Held = dict[Key, Value]


def stored(base: str, job: str) -> dict[str, Held]:
    """Every series that a Prometheus has of a job now, by instance; timestamped ones too."""
    found: dict[str, Held] = {}
    for one in query(base, f'last_over_time({{job="{job}"}}[1m])'):
        labels: dict[str, str] = one["metric"]
        labels["__name__"] = labels["__name__"].lstrip(" \t")  # Prometheus takes blanks before a name as a part of it
        labels.pop("agent", None)  # ours: the host that scraped
        value = float(one["value"][1]) if "value" in one else _native(one["histogram"][1])
        found.setdefault(labels.get("instance", ""), {})[frozenset(labels.items())] = value
    return found


def _native(told: dict[str, Any]) -> tuple[str, ...]:
    """Count, sum and each bucket with its bounds."""
    return told["count"], told["sum"], *[" ".join(map(str, bucket)) for bucket in told.get("buckets", ())]


def differences(ours: Held, theirs: Held) -> list[str]:
    """What differs, a line each."""
    lines = [f"  only ours: {sorted(key)} {ours[key]}" for key in ours.keys() - theirs.keys()]
    lines += [f"  only theirs: {sorted(key)} {theirs[key]}" for key in theirs.keys() - ours.keys()]
    for key in ours.keys() & theirs.keys():
        mine, other = ours[key], theirs[key]
        if mine != other and (mine == mine or other == other):  # neither is NaN, or one
            lines.append(f"  {sorted(key)}: {mine} here, {other} there")
    return lines


class Page(NamedTuple):
    content_type: str
    body: bytes
    status: int = 200


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024  # all targets are asked at once

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that break off: scrapers end before we do."""


class Pages:
    """The server; `pages` may change while it runs."""

    def __init__(self, pages: Sequence[Page]) -> None:
        self.pages = list(pages)
        self.accepts: set[tuple[str, str]] = set()  # who asked, and for what
        self._server = _Server(("0.0.0.0", 0), self._handler())
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pages = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                who = self.headers.get("User-Agent", "").partition("/")[0].lower()
                pages.accepts.add((who, self.headers.get("Accept", "")))
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


class Job(NamedTuple):
    """A job of a Prometheus: its targets, and lines of its scrape_config."""

    name: str
    targets: Sequence[str]
    settings: Sequence[str] = ()
    seconds: int = 1


Scraper = Callable[..., str]


@pytest.fixture
def scraper(tmp_path: Path) -> Iterator[Scraper]:
    """`scraper(Job("zoo", targets, ["honor_labels: true"]), …)`: the base URL of a Prometheus that scrapes them.

    Without jobs it only takes what is written to it.
    """
    processes: list[Process] = []

    def start(*jobs: Job) -> str:
        folder = tmp_path / f"scraper-{len(processes)}"
        folder.mkdir()
        binary, port = need_peer("prometheus"), free_port()
        lines = [f"scrape_configs: {'' if jobs else '[]'}", *[line for job in jobs for line in _lines(job)]]
        (folder / "prometheus.yml").write_text("\n".join(lines) + "\n")
        command = [
            binary,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-remote-write-receiver",
            "--enable-feature=exemplar-storage,extra-scrape-metrics,native-histograms",
        ]
        process = Process(command, folder / "server.log")
        processes.append(process)
        base = f"http://127.0.0.1:{port}"
        within(30, lambda: get(f"{base}/-/ready")[0] == 200, f"Prometheus answers; it printed {process.output[-800:]}")
        return base

    yield start
    for process in processes:
        process.__exit__()


def _lines(job: Job) -> list[str]:
    """A scrape_config."""
    lines = [f"- job_name: {job.name}", f"  scrape_interval: {job.seconds}s"]
    lines += [f"  scrape_timeout: {job.seconds * 1000 - 100}ms"]
    lines += [f"  {line}" for setting in job.settings for line in setting.splitlines()]
    return [*lines, "  static_configs:", f"  - targets: {list(job.targets)!r}"]
