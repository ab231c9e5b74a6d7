"""The whole road, from a file's metrics to a query in a real server, in both versions of remote write."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.delivery import Delivery
from agent.model import MetricBatch, Series, SeriesSet
from agent.spool import Spool
from exporters.remote_write import RemoteWrite
from tests.conftest import free_port
from tests.daemon import NIGHTJAR, Process, get, query, within
from tests.servers.conftest import Server

pytestmark = pytest.mark.servers

METRICS = """\
# HELP shop_orders_total Orders taken.
# TYPE shop_orders_total counter
shop_orders_total{lane="express"} 12345.625
shop_orders_total{lane="slow"} 0
# HELP shop_open Whether the shop is open.
# TYPE shop_open gauge
shop_open 1
# HELP shop_wait_seconds Time in the queue.
# TYPE shop_wait_seconds histogram
shop_wait_seconds_bucket{le="0.5"} 3
shop_wait_seconds_bucket{le="1"} 7
shop_wait_seconds_bucket{le="+Inf"} 9
shop_wait_seconds_sum 10.25
shop_wait_seconds_count 9
# HELP shop_odd Numbers at the edge.
# TYPE shop_odd gauge
shop_odd{kind="infinite"} +Inf
shop_odd{kind="tiny"} 2.5e-300
shop_odd{kind="large"} 1.5e+308
"""
EXPECTED = {
    'shop_orders_total{lane="express"}': "12345.625",
    'shop_orders_total{lane="slow"}': "0",
    "shop_open": "1",
    'shop_wait_seconds_bucket{le="+Inf"}': "9",
    "shop_wait_seconds_sum": "10.25",
    'shop_odd{kind="infinite"}': "+Inf",
    'shop_odd{kind="tiny"}': "2.5e-300",
    'shop_odd{kind="large"}': "1.5e+308",
}


class Agent:
    """An agent that reads one textfile directory every second and writes to one server."""

    def __init__(self, folder: Path, server: Server, protocol: str) -> None:
        self.metrics = folder / "textfiles" / "shop.prom"
        self.metrics.parent.mkdir()
        self.metrics.write_text(METRICS)
        self.port = free_port()
        self.config = folder / "agent.toml"
        self.config.write_text(f"""
            [agent]
            instance = "shop-1"
            interval = "1s"
            timeout = "900ms"
            state_dir = "{folder / "state"}"
            listen = "127.0.0.1:{self.port}"
            [agent.labels]
            env = "test"
            [collectors.host]
            textfile_dir = "{self.metrics.parent}"
            [exporters.remote_write]
            url = "{server.write}"
            protocol = "{protocol}"
        """)
        self.process = Process([NIGHTJAR, "run", "-c", str(self.config)], folder / "agent.log")

    def status(self) -> dict[str, Any]:
        """What the agent says of itself."""
        return json.loads(get(f"http://127.0.0.1:{self.port}/api/status")[1])

    def log(self) -> str:
        """What it logged."""
        return self.process.output


@pytest.fixture(params=["prometheus-auto", "prometheus-2.0", "prometheus-1.0", "old_prometheus-auto", "victoria-auto"])
def road(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Agent, Server]]:
    """An agent and the server it writes to."""
    name, _, protocol = request.param.partition("-")
    server = request.getfixturevalue(name)
    agent = Agent(tmp_path, server, protocol)
    with agent.process:
        yield agent, server


def test_values_arrive_as_they_were_and_vanish_within_an_interval(road: tuple[Agent, Server]) -> None:
    agent, server = road
    within(15, lambda: query(server.base, "shop_open"), f"shop_open arrives; log: {agent.log()}")
    for selector, value in EXPECTED.items():
        found = query(server.base, selector)
        assert [float(one["value"][1]) for one in found] == [float(value)], selector
        labels = found[0]["metric"]
        assert (labels["instance"], labels["job"], labels["env"]) == ("shop-1", "node", "test")
    assert query(server.base, "node_load1")
    agent.metrics.write_text(METRICS.replace("shop_open 1\n", ""))
    within(4, lambda: not query(server.base, "shop_open"), "a query for the vanished series returns nothing")
    assert query(server.base, 'shop_orders_total{lane="slow"}'), "the others stay"
    assert agent.process.stop() == 0


def test_the_ledger_agrees_with_what_the_server_holds(road: tuple[Agent, Server]) -> None:
    agent, server = road
    within(15, lambda: len(query(server.base, "count_over_time(shop_open[1m])")) == 1, "samples arrive")
    assert agent.process.stop() == 0
    again = Process([NIGHTJAR, "spool", "stat", "--json", "-c", str(agent.config)], agent.config.parent / "stat.log")
    assert again.child.wait(20) == 0, again.output
    (entry,) = json.loads(again.output)["ledger"]
    assert entry["balanced"]
    assert entry["pending"] == 0
    assert entry["dropped"] == entry["rejected"] == {}
    assert entry["delivered"] == entry["accepted"] > 0


def test_types_and_help_arrive_where_the_server_keeps_them(victoria: Server, tmp_path: Path) -> None:
    agent = Agent(tmp_path, victoria, "auto")
    with agent.process:
        found = within(
            20,
            lambda: json.loads(get(f"{victoria.base}/api/v1/metadata?metric=shop_orders_total")[1])["data"],
            "metadata arrives",
        )
    assert found["shop_orders_total"][0]["type"] == "counter"
    assert found["shop_orders_total"][0]["help"] == "Orders taken."


def test_an_old_receiver_is_spoken_to_in_its_own_version(old_prometheus: Server, tmp_path: Path) -> None:
    agent = Agent(tmp_path, old_prometheus, "auto")
    with agent.process:
        within(15, lambda: query(old_prometheus.base, "shop_open"), "samples arrive")
        (exporter,) = agent.status()["exporters"]
        assert exporter["requests"].get("reencode") == 1
        assert exporter["requests"]["ok"] >= 1


def test_prometheus_3_is_spoken_to_in_remote_write_2(prometheus: Server, tmp_path: Path) -> None:
    """It keeps the types it is sent in its write-ahead log alone; nothing can be asked for them."""
    agent = Agent(tmp_path, prometheus, "2.0")
    with agent.process:
        within(15, lambda: query(prometheus.base, "shop_open"), "samples arrive")
        (exporter,) = agent.status()["exporters"]
        assert set(exporter["requests"]) == {"ok"}


def test_a_mistyped_path_empties_no_spool(victoria: Server, tmp_path: Path) -> None:
    """VictoriaMetrics answers 400 to every path that it does not know."""
    agent = Agent(tmp_path, victoria, "auto")
    right = agent.config.read_text()
    agent.config.write_text(right.replace("/api/v1/write", "/api/v1/wirte"))
    with agent.process:
        within(20, lambda: "see the option `url`" in agent.process.output, "the destination is told apart")
        time.sleep(3)
        status = agent.status()
        assert "see the option `url`" in status["exporters"][0]["error"]
        assert status["ledger"][0]["rejected"] == {}
        assert status["ledger"][0]["pending"] == status["ledger"][0]["accepted"] > 1_000
        agent.config.write_text(right)
        agent.process.child.send_signal(signal.SIGHUP)
        within(20, lambda: query(victoria.base, "count_over_time(shop_open[1m]) > 3"), "the backlog arrives")


async def test_prometheus_3_keeps_what_is_good_and_the_rest_is_counted(prometheus: Server, tmp_path: Path) -> None:
    """Out of order samples in the middle: a 400 with counts of what was written, round after round."""
    late = Series("partial_late", "gauge", "", "", ())
    good = SeriesSet([Series("partial_good", "gauge", "", "", ()), late])
    now = int(time.time() * 1000)
    spool = Spool(tmp_path)
    await spool.open()
    await spool.attach([("rw", "metrics")])
    exporter = RemoteWrite(RemoteWrite.Options(url=prometheus.write, protocol="2.0", max_samples=4))
    delivery = Delivery("rw", exporter, spool)
    task = asyncio.create_task(delivery.run())
    async with asyncio.timeout(30):
        await spool.append([MetricBatch("c", now, SeriesSet([late]), [1.0])])
        await delivery.drain()  # in one request with what is late, Prometheus counts that as written
        for round_ in range(5):
            await spool.append([MetricBatch("c", now - 40 + round_, good, [float(round_), 2.0])])
        await delivery.drain()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await exporter.close()
    (entry,) = spool.entries()
    await spool.close()
    assert entry.balanced
    assert (entry.accepted, entry.pending, entry.delivered) == (11, 0, 6)
    assert entry.rejected == {"bad_request": 5}
    assert query(prometheus.base, "count_over_time(partial_good[1m])")[0]["value"][1] == "5"
