"""P5: 1,000 HTTP targets every 10 s, beside blackbox_exporter and vmagent.

Ours: one `http` section whose targets come from a file, delivered by remote write to a VictoriaMetrics. The other:
blackbox_exporter, asked for each target by a vmagent that writes to another VictoriaMetrics. Each side probes a web
server of its own, over new connections, at the same time, for 200 s (the short form: 60 s). A probe's CPU is all CPU of
a side over the requests that its web server saw.
"""

from __future__ import annotations

import json

from tests.bench.beside import settle, spent, typical, watch
from tests.bench.processes import Bench, Child
from tests.bench.table import Row, at_most

TARGETS, INTERVAL = 1000, 10.0

MODULES = "modules: {plain: {prober: http, timeout: 5s, http: {preferred_ip_protocol: ip4}}}\n"
JOB = """
- job_name: blackbox
  scrape_timeout: 5s
  metrics_path: /probe
  params: {{module: [plain]}}
  file_sd_configs: [{{files: [{targets}]}}]
  relabel_configs:
  - {{source_labels: [__address__], target_label: __param_target}}
  - {{source_labels: [__param_target], target_label: instance}}
  - {{target_label: __address__, replacement: "127.0.0.1:{port}"}}
"""
SECTION = """
[collectors.http]
urls_file = "{targets}"
interval = "{interval:g}s"
timeout = "5s"
"""


def run(*, short: bool) -> list[Row]:
    """The rows."""
    with Bench() as bench:
        webs, stores = (bench.web(), bench.web()), (bench.victoria(), bench.victoria())
        ours, theirs = (_ours(bench, webs[0], stores[0]),), _theirs(bench, webs[1], stores[1])
        settle()
        before = [_count(web) for web in webs]
        sides = watch(ours, theirs, 60.0 if short else 200.0)
        probes = [_count(web) - count for web, count in zip(webs, before, strict=True)]
        for store in stores:
            if (good := store.sum("sum(probe_success)")) != TARGETS:
                raise RuntimeError(f"{good:g} of {TARGETS} probes succeeded")
    cpu = [seconds / count * 1e6 for seconds, count in zip(spent(*sides), probes, strict=True)]
    name = f"P5 {TARGETS:,} HTTP targets every {INTERVAL:g} s"
    return [
        at_most(f"{name}: CPU us a probe", cpu[0], cpu[1], 0.25),
        Row(f"{name}: probes", *map(float, probes)),
        Row(f"{name}: PSS, MiB", *typical(*sides, "pss")),
    ]


def _count(web: Child) -> int:
    return int(web.get("/count"))


def _urls(web: Child) -> list[str]:
    return [f"http://127.0.0.1:{web.port}/{number}" for number in range(TARGETS)]


def _ours(bench: Bench, web: Child, store: Child) -> Child:
    targets = bench.folder / "urls"
    targets.write_text("\n".join(_urls(web)))
    return bench.nightjar(store.port, bench.folder / "state", more=SECTION.format(targets=targets, interval=INTERVAL))


def _theirs(bench: Bench, web: Child, store: Child) -> tuple[Child, ...]:
    modules, targets = bench.folder / "blackbox.yml", bench.folder / "targets.json"
    modules.write_text(MODULES)
    targets.write_text(json.dumps([{"targets": _urls(web)}]))
    blackbox = bench.exporter("blackbox", f"--config.file={modules}", "--log.level=error")
    jobs = JOB.format(targets=targets, port=blackbox.port)
    return blackbox, bench.scraper(store.port, jobs, f"{INTERVAL:g}s")
