"""Dashboards made for node_exporter: a query that answers for it in a real Prometheus answers for ours.

`NIGHTJAR_DASHBOARD` names a dashboard's JSON (Node Exporter Full, say); without it, the queries are our own list of
what such dashboards read.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.model import Sample
from collectors.host import Host, Options
from collectors.host.options import DISKS_EXCLUDE, FSTYPES_EXCLUDE, MOUNTS_EXCLUDE
from tests.conftest import free_port

pytestmark = pytest.mark.servers

SCRAPES = 4  # enough for a rate
VARIABLES = {  # what Grafana puts in
    "job": "node",
    "__rate_interval": "10s",
    "__interval": "10s",
    "__range": "1m",
    "diskdevices": "[a-z]+|nvme[0-9]+n[0-9]+|mmcblk[0-9]+",
    "nodename": ".*",
}
IT = 'instance="$node",job="$job"'
RATES = (  # counters, by the labels that a dashboard picks
    *('node_cpu_seconds_total{mode="idle",%s}', 'node_cpu_seconds_total{mode=~"user|system|iowait|steal|irq",%s}'),
    *("node_cpu_guest_seconds_total{mode=~'user|nice',%s}", "node_context_switches_total{%s}", "node_intr_total{%s}"),
    *("node_forks_total{%s}", "node_vmstat_pgfault{%s}", "node_vmstat_pgmajfault{%s}", "node_vmstat_oom_kill{%s}"),
    *("node_vmstat_pswpin{%s}", "node_vmstat_pswpout{%s}", "node_vmstat_pgpgin{%s}", "node_vmstat_pgpgout{%s}"),
    *(
        "node_disk_reads_completed_total{%s}",
        "node_disk_writes_completed_total{%s}",
        "node_disk_reads_merged_total{%s}",
    ),
    *("node_disk_read_bytes_total{%s}", "node_disk_written_bytes_total{%s}", "node_disk_writes_merged_total{%s}"),
    *("node_disk_io_time_seconds_total{%s}", "node_disk_io_time_weighted_seconds_total{%s}"),
    *("node_disk_read_time_seconds_total{%s}", "node_disk_write_time_seconds_total{%s}"),
    *("node_disk_discards_completed_total{%s}", "node_disk_discards_merged_total{%s}"),
    *("node_network_receive_bytes_total{%s}", "node_network_transmit_bytes_total{%s}"),
    *("node_network_receive_packets_total{%s}", "node_network_transmit_packets_total{%s}"),
    *("node_network_receive_errs_total{%s}", "node_network_transmit_errs_total{%s}"),
    *("node_network_receive_drop_total{%s}", "node_network_transmit_drop_total{%s}"),
    *("node_network_receive_compressed_total{%s}", "node_network_receive_multicast_total{%s}"),
    *("node_network_receive_fifo_total{%s}", "node_network_transmit_fifo_total{%s}"),
    *("node_network_receive_frame_total{%s}", "node_network_transmit_carrier_total{%s}"),
    *("node_network_receive_nohandler_total{%s}", "node_network_transmit_colls_total{%s}"),
    *("node_netstat_IpExt_InOctets{%s}", "node_netstat_Icmp_InMsgs{%s}", "node_netstat_Udp_InDatagrams{%s}"),
    *("node_netstat_Tcp_InSegs{%s}", "node_netstat_Tcp_RetransSegs{%s}", "node_netstat_TcpExt_ListenDrops{%s}"),
    *("node_netstat_Tcp_ActiveOpens{%s}", "node_netstat_Udp_RcvbufErrors{%s}", "node_netstat_Icmp_InErrors{%s}"),
    *("node_schedstat_running_seconds_total{%s}", "node_schedstat_waiting_seconds_total{%s}"),
    *("node_schedstat_timeslices_total{%s}", "node_softnet_processed_total{%s}", "node_softnet_dropped_total{%s}"),
    *("node_softnet_times_squeezed_total{%s}", "node_softnet_flow_limit_count_total{%s}"),
    *("node_pressure_cpu_waiting_seconds_total{%s}", "node_pressure_memory_waiting_seconds_total{%s}"),
    *("node_pressure_memory_stalled_seconds_total{%s}", "node_pressure_io_waiting_seconds_total{%s}"),
    *("node_pressure_io_stalled_seconds_total{%s}", "node_pressure_irq_stalled_seconds_total{%s}"),
)
VALUES = (
    *("node_uname_info{%s}", "node_os_info{%s}", "node_boot_time_seconds{%s}", "node_time_seconds{%s}"),
    *("node_load1{%s}", "node_load5{%s}", "node_load15{%s}", "node_procs_running{%s}", "node_procs_blocked{%s}"),
    *("node_memory_MemTotal_bytes{%s}", "node_memory_MemFree_bytes{%s}", "node_memory_MemAvailable_bytes{%s}"),
    *("node_memory_Cached_bytes{%s}", "node_memory_Buffers_bytes{%s}", "node_memory_SReclaimable_bytes{%s}"),
    *("node_memory_SwapTotal_bytes{%s}", "node_memory_SwapFree_bytes{%s}", "node_memory_SwapCached_bytes{%s}"),
    *("node_memory_Slab_bytes{%s}", "node_memory_PageTables_bytes{%s}", "node_memory_Active_anon_bytes{%s}"),
    *("node_memory_Inactive_file_bytes{%s}", "node_memory_Committed_AS_bytes{%s}", "node_memory_Mapped_bytes{%s}"),
    *("node_memory_HugePages_Total{%s}", "node_memory_Hugepagesize_bytes{%s}", "node_memory_DirectMap4k_bytes{%s}"),
    *("node_memory_VmallocUsed_bytes{%s}", "node_memory_KernelStack_bytes{%s}", "node_memory_Percpu_bytes{%s}"),
    *("node_memory_HardwareCorrupted_bytes{%s}", "node_memory_AnonHugePages_bytes{%s}", "node_memory_Dirty_bytes{%s}"),
    *('node_filesystem_size_bytes{mountpoint="/",fstype!="rootfs",%s}', "node_filesystem_avail_bytes{%s}"),
    *("node_filesystem_free_bytes{%s}", "node_filesystem_files{%s}", "node_filesystem_files_free{%s}"),
    *("node_filesystem_readonly{%s}", 'node_filesystem_device_error{device!~"rootfs",%s}'),
    *("node_disk_io_now{%s}", "node_disk_info{%s}", "node_filefd_allocated{%s}", "node_filefd_maximum{%s}"),
    *('node_network_info{operstate!="x",%s}', "node_network_up{%s}", "node_network_mtu_bytes{%s}"),
    *("node_network_speed_bytes{%s}", "node_network_carrier{%s}", "node_network_transmit_queue_length{%s}"),
    *("node_arp_entries{%s}", "node_nf_conntrack_entries{%s}", "node_nf_conntrack_entries_limit{%s}"),
    *("node_netstat_Tcp_CurrEstab{%s}", "node_sockstat_TCP_alloc{%s}", "node_sockstat_TCP_mem_bytes{%s}"),
    *("node_sockstat_UDP_inuse{%s}", "node_sockstat_RAW_inuse{%s}", "node_sockstat_sockets_used{%s}"),
    *("node_entropy_available_bits{%s}", 'node_udp_queues{queue="rx",ip="v4",%s}', "node_softnet_backlog_len{%s}"),
    *("node_timex_offset_seconds{%s}", "node_timex_sync_status{%s}", "node_timex_frequency_adjustment_ratio{%s}"),
    *("node_timex_estimated_error_seconds{%s}", "node_timex_maxerror_seconds{%s}", "node_timex_tick_seconds{%s}"),
    *("node_timex_loop_time_constant{%s}", "node_timex_tai_offset_seconds{%s}", "node_kernel_hung_tasks_total{%s}"),
    *("node_processes_threads{%s}", "node_processes_max_threads{%s}", "node_processes_pids{%s}"),
    *('node_processes_state{state=~"S|I",%s}', "node_cooling_device_cur_state{%s}", "node_hwmon_temp_celsius{%s}"),
    *("node_hwmon_chip_names{%s}", "node_cpu_scaling_frequency_hertz{%s}", "node_power_supply_online{%s}"),
    *("node_md_disks{%s}", "node_bonding_active{%s}", "node_thermal_zone_temp{%s}", "node_textfile_scrape_error{%s}"),
    *(
        'node_systemd_units{state="failed",%s}',
        'node_systemd_unit_state{state="failed",%s}',
        "node_selinux_enabled{%s}",
    ),
    *('node_scrape_collector_success{collector="cpu",%s}', "node_scrape_collector_duration_seconds{%s}"),
)


def own_queries() -> list[str]:
    selectors = (selector % IT for selector in VALUES)
    return [*(f"rate({selector % IT}[$__rate_interval])" for selector in RATES), *selectors]


def dashboard_queries(dashboard: Any) -> Iterator[str]:
    """Every `expr`, and every selector that fills a variable, of a dashboard's JSON."""
    match dashboard:
        case dict():
            if isinstance(expr := dashboard.get("expr"), str):
                yield expr
            query = dashboard.get("query")
            text = query.get("query", "") if isinstance(query, dict) else query
            if isinstance(text, str) and (found := re.match(r"label_values\((.*),", text)):
                yield found[1]
            for inner in dashboard.values():
                yield from dashboard_queries(inner)
        case list():
            for inner in dashboard:
                yield from dashboard_queries(inner)


def filled(query: str, node: str) -> str:
    for name, value in {"node": node, **VARIABLES}.items():
        query = re.sub(rf"\$(\{{{name}(:\w+)?\}}|{name}\b)", lambda _match, value=value: value, query)
    return query


def exposition(samples: Iterable[Sample]) -> str:
    lines: dict[str, list[str]] = {}
    for family, labels, value, _extra in samples:
        kind = "untyped" if family.kind == "unknown" else family.kind
        text = lines.setdefault(family.name, [f"# TYPE {family.name} {kind}"])
        pairs = (
            f'{name}="{label}"'.replace("\\", r"\\").replace("\n", r"\n")
            for name, label in zip(family.labels, labels, strict=True)
        )
        text.append(f"{family.name}{{{','.join(pairs)}}} {value}")
    return "\n".join("\n".join(text) for text in lines.values()) + "\n"


class Ours:
    """The host collector as something to scrape; `scraped` is set by the scrape that makes it enough."""

    def __init__(self) -> None:
        self.host = Host(Options())
        self.scrapes = 0
        self.scraped = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = exposition(await self.host.collect()).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()
        self.scrapes += 1
        if self.scrapes % SCRAPES == 0:
            self.scraped.set()


class Prometheus:
    """A running Prometheus that scrapes both."""

    def __init__(self, url: str, ours: Ours) -> None:
        self.url = url
        self.ours = ours

    async def ask(self, query: str) -> list[Any]:
        found = await asyncio.to_thread(self._get, query)
        return list(found["data"]["result"])

    def _get(self, query: str) -> Any:
        url = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)

    async def enough(self) -> None:
        """Both were scraped often enough; the wait is for our own next scrapes."""
        while True:
            await asyncio.wait_for(self.ours.scraped.wait(), 60)
            self.ours.scraped.clear()
            counts = await self.ask("sum_over_time(up[1m])")
            if len(counts) == 2 and all(float(count["value"][1]) >= SCRAPES for count in counts):
                return


@asynccontextmanager
async def prometheus(peer: Callable[[str], str], place: Path) -> AsyncIterator[Prometheus]:
    ours = Ours()
    server = await asyncio.start_server(ours.serve, "127.0.0.1", 0)
    theirs, web = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    exporter = [
        peer("prometheus-node-exporter"),
        f"--web.listen-address={theirs}",
        "--log.level=error",
        "--collector.processes",
        f"--collector.filesystem.mount-points-exclude={MOUNTS_EXCLUDE}",
        f"--collector.filesystem.fs-types-exclude={FSTYPES_EXCLUDE}",
        f"--collector.diskstats.device-exclude={DISKS_EXCLUDE}",
    ]
    targets = {"theirs": theirs, "ours": f"127.0.0.1:{server.sockets[0].getsockname()[1]}"}
    config = {
        "scrape_configs": [
            {
                "job_name": "node",
                "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "static_configs": [
                    {"targets": [target], "labels": {"instance": name}} for name, target in targets.items()
                ],
            }
        ]
    }
    (place / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    program = [
        peer("prometheus"),
        f"--config.file={place}/prometheus.yml",
        f"--storage.tsdb.path={place}/data",
        f"--web.listen-address={web}",
        "--log.level=error",
    ]
    with ExitStack() as running:
        processes = [running.enter_context(subprocess.Popen(command)) for command in (exporter, program)]
        try:
            yield Prometheus(f"http://{web}", ours)
        finally:
            for process in processes:
                process.terminate()
            server.close()
            ours.host.close()


def names_of(result: list[Any]) -> set[tuple[tuple[str, str], ...]]:
    return {tuple(sorted((k, v) for k, v in row["metric"].items() if k != "instance")) for row in result}


async def test_what_answers_for_node_exporter_on_a_dashboard_answers_for_ours(
    peer: Callable[[str], str], tmp_path: Path
) -> None:
    path = os.environ.get("NIGHTJAR_DASHBOARD")
    queries = [*dict.fromkeys(dashboard_queries(json.loads(Path(path).read_text())) if path else own_queries())]
    answered, silent, fewer = 0, [], []
    async with prometheus(peer, tmp_path) as server:
        await server.enough()
        for query in queries:
            theirs = await server.ask(filled(query, "theirs"))
            ours = await server.ask(filled(query, "ours"))
            answered += bool(theirs)
            if theirs and not ours:
                silent.append(query)
            elif len(ours) < len(theirs):
                fewer.append(f"{query}: {sorted(names_of(theirs) - names_of(ours))}")
    print(f"\n{len(queries)} queries, {answered} answer for node_exporter, {answered - len(silent)} of them for ours")
    print(*(f"fewer series: {line}" for line in fewer), sep="\n")
    assert answered > 50
    assert silent == []
