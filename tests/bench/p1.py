"""P1: a host with Redis, PostgreSQL and five probes, every second, beside four exporters and vmagent.

Ours: the collectors host, redis, postgres (a role with pg_monitor) and http (four plain targets, one with TLS) every
second, delivered by remote write to a VictoriaMetrics. The other: node_exporter, redis_exporter, postgres_exporter and
blackbox_exporter, each with its defaults, scraped every second by a vmagent that writes to another VictoriaMetrics.
Both ask the same servers at the same time, for 100 s. Memory is the proportional set size: medians of the last third.
"""

from __future__ import annotations

from pathlib import Path

from tests.bench.beside import settle, spent, typical, watch
from tests.bench.processes import Bench, Child, job
from tests.bench.table import Row, at_most
from tests.collectors.probes.zoo import Certificates
from tests.servers.postgres_servers import PASSWORD, PostgresServer, primary
from tests.servers.redis_servers import RedisServer, fill, redis_server

SECTIONS = """
[collectors.host]

[collectors.redis]
url = "{redis}"

[collectors.postgres]
dsn = "{postgres}"
password = "${{file:{secret}}}"

[collectors.http]
urls = [{urls}]
ca_file = "{authority}"
"""
MODULES = """
modules:
  http: {{prober: http, timeout: 1s, http: {{preferred_ip_protocol: ip4, tls_config: {{ca_file: {authority}}}}}}}
"""
PROBES = """
- job_name: http
  metrics_path: /probe
  params: {{module: [http]}}
  static_configs: [{{targets: [{urls}]}}]
  relabel_configs:
  - {{source_labels: [__address__], target_label: __param_target}}
  - {{source_labels: [__param_target], target_label: instance}}
  - {{target_label: __address__, replacement: "127.0.0.1:{port}"}}
"""


def run(*, short: bool) -> list[Row]:
    """The rows."""
    with Bench() as bench:
        work = Work(bench)
        stores = bench.victoria(), bench.victoria()
        ours, theirs = (work.ours(stores[0]),), work.theirs(stores[1])
        settle()
        sides = watch(ours, theirs, 30.0 if short else 100.0)
        series = [store.sum("count(last_over_time({__name__!=''}[5s]))") for store in stores]
        good = [store.sum("sum(probe_success) + sum(redis_up) + sum(pg_up)") for store in stores]
    if good != [7.0, 7.0]:
        raise RuntimeError(f"of 7 targets there are {good} up")
    name = "P1 host, Redis, PostgreSQL, 5 probes every second"
    cpu, pss = spent(*sides), typical(*sides, "pss")
    return [
        at_most(f"{name}: CPU s in {sides[0][-1].at:.0f} s", *cpu, 0.4),
        at_most(f"{name}: PSS, MiB", *pss, 0.6),
        Row(f"{name}: series", *series),
    ]


class Work:
    """The servers that both sides look at, and the two sides."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._redis: RedisServer = bench.enter(redis_server(bench.folder / "redis"))
        fill(self._redis)
        self._postgres: PostgresServer = bench.enter(primary())
        folder = bench.folder / "certificates"
        folder.mkdir()
        certificates = Certificates(folder)
        certificates.leaf("good")
        self._authority: Path = certificates.authority
        plain, secured = bench.web(), bench.web(folder / "good.chain", folder / "good.key")
        self._urls = [f"http://localhost:{plain.port}/{number}" for number in range(4)]
        self._urls.append(f"https://localhost:{secured.port}/")

    @property
    def _listed(self) -> str:
        return ", ".join(f'"{url}"' for url in self._urls)

    def ours(self, store: Child) -> Child:
        """The agent."""
        secret = self._bench.folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o600)
        more = SECTIONS.format(
            redis=self._redis.url,
            postgres=self._postgres.dsn(more="?sslmode=disable"),  # as the other side
            secret=secret,
            urls=self._listed,
            authority=self._authority,
        )
        return self._bench.nightjar(store.port, self._bench.folder / "state", interval="1s", more=more)

    def theirs(self, store: Child) -> tuple[Child, ...]:
        """Four exporters and vmagent."""
        bench, modules = self._bench, self._bench.folder / "blackbox.yml"
        modules.write_text(MODULES.format(authority=self._authority))
        exporters = {
            "node": bench.exporter("node"),
            "redis": bench.exporter("redis", f"--redis.addr={self._redis.url}"),
            "postgres": bench.exporter("postgres", env={"DATA_SOURCE_NAME": self._postgres.exporter_dsn}),
        }
        blackbox = bench.exporter("blackbox", f"--config.file={modules}", "--log.level=error")
        jobs = "".join(job(name, exporter) for name, exporter in exporters.items())
        jobs += PROBES.format(urls=self._listed, port=blackbox.port)
        return *exporters.values(), blackbox, bench.scraper(store.port, jobs, "1s")
