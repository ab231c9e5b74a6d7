"""The live summary that a newcomer sees: what is collected, how it is going, where to look."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from agent import __version__
from agent.cli.options import ago, size, targets
from agent.model import MetricBatch
from agent.selfmetrics import memory

if TYPE_CHECKING:
    from agent.daemon import Daemon

COLORS = {"ok": "green", "no_data": "dim", "timeout": "red", "error": "red", None: "yellow"}


async def show(daemon: Daemon) -> None:
    """Redraw once a second until cancelled."""
    await daemon.ready.wait()
    with Live(_page(daemon), auto_refresh=False, transient=False) as live:
        while True:
            live.update(_page(daemon), refresh=True)
            await asyncio.sleep(1.0)


def _page(daemon: Daemon) -> Group:
    return Group(_head(daemon), _host(daemon), _collectors(daemon), _exporters(daemon), _foot(daemon))


def _head(daemon: Daemon) -> Text:
    reasons = daemon.core.troubles()
    text = Text.assemble(("Nightjar ", "bold"), __version__, " on ", (daemon.core.config.agent.instance, "bold"))
    text.append(f"  up {ago(time.time() - daemon.core.started)}  memory {size(memory()[0])}  ")
    return text.append(f"not ready: {reasons[0]}" if reasons else "ready", style="red" if reasons else "green")


def _host(daemon: Daemon) -> Table:
    table = Table.grid(padding=(0, 2))
    values = _values(daemon.core.pipeline.latest.get("host"))
    if values:
        total, free = values.get("node_memory_MemTotal_bytes", 0), values.get("node_memory_MemAvailable_bytes", 0)
        table.add_row("load", f"{values.get('node_load1', 0):.2f}", "memory", f"{size(total - free)} of {size(total)}")
    return table


def _values(batch: MetricBatch | None) -> dict[str, float]:
    if batch is None:
        return {}
    pairs = zip(batch.series.series, batch.values, strict=True)
    return {series.name: value for series, value in pairs if isinstance(value, float)}


def _collectors(daemon: Daemon) -> Table:
    table = Table(
        "collector", "state", "targets", "series", "took", "every", box=None, header_style="bold", pad_edge=False
    )
    for one in daemon.core.runners.values():
        state = Text(one.outcome or "waiting", style=COLORS[one.outcome])
        took = f"{one.duration * 1000:.1f} ms" if one.outcome else ""
        table.add_row(
            one.name, state, targets(one.targets.told()), str(one.stamper.series), took, f"{one.interval:g} s"
        )
    return table


def _exporters(daemon: Daemon) -> Table | Text:
    if not daemon.core.deliveries:
        return Text("no exporters yet: `nightjar config init` writes a configuration to start from", style="dim")
    table = Table(
        "exporter", "delivered", "pending", "lost", "last error", box=None, header_style="bold", pad_edge=False
    )
    for entry in daemon.core.spool.entries():
        lost = sum(entry.dropped.values()) + sum(entry.rejected.values())
        error = (
            daemon.core.deliveries[entry.exporter].error
            if entry.exporter in daemon.core.deliveries
            else "not configured"
        )
        table.add_row(entry.exporter, str(entry.delivered), str(entry.pending), str(lost), error[:60])
    return table


def _foot(daemon: Daemon) -> Text:
    agent = daemon.core.config.agent
    if not agent.listen:
        return Text("endpoints are off; `nightjar status` still answers", style="dim")
    if (port := daemon.endpoints.port) is None:
        return Text("stopped; what is pending waits in the spool", style="dim")
    scheme = "http" if agent.cert_file is None else "https"
    base = f"{scheme}://{agent.listen.rpartition(':')[0] or '127.0.0.1'}:{port}"
    return Text.assemble(
        ("look at ", "dim"), f"{base}/metrics", ("  ", ""), f"{base}/readyz", ("  stop with Ctrl-C", "dim")
    )
