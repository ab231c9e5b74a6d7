"""SIGHUP changes what differs and nothing else; what is wrong changes nothing and is told."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from agent.model import STALE_BYTES
from tests import receiver
from tests.conftest import free_port
from tests.receiver import Receiver
from tests.running import Running, eventually

STALE = int.from_bytes(STALE_BYTES, "little")
AGENT = '[agent]\ninterval = "200ms"\n'
NUMBERS = "[collectors.numbers]\nrun = {run}\n"
EXPORTER = '[exporters.{kind}]\nurl = "{url}"\n'


def self_metric(to: Receiver, name: str, **labels: str) -> float:
    import struct

    latest = list(to.series(name, **labels).values())[-1]
    return float(struct.unpack("<d", struct.pack("<Q", latest))[0])


def peers(to: Receiver) -> set[object]:
    return {seen.peer for seen in to.requests}


def test_what_did_not_change_keeps_its_connection_and_its_state(agent: Running, to: Receiver) -> None:
    exporter = EXPORTER.format(kind="remote_write", url=to.url)
    agent.configure(AGENT + NUMBERS.format(run=1) + exporter)
    agent.start()
    to.wait(lambda: len(to.requests) >= 3)
    agent.reload(AGENT + NUMBERS.format(run=1) + "[collectors.numbers.labels]\nnew = 'label'\n" + exporter)
    seen = len(to.requests)
    to.wait(lambda: len(to.requests) >= seen + 3)
    assert len(peers(to)) == 1
    assert agent.log("configuration reloaded")[-1]["changed"] == ["numbers"]
    agent.reload()
    assert agent.log("configuration reloaded")[-1] | {"timestamp": ""} == {
        "added": [],
        "changed": [],
        "removed": [],
        "event": "configuration reloaded",
        "level": "info",
        "timestamp": "",
    }
    assert agent.stop() == 0
    numbers = [value for value in to.series("number", at="0", new="label").values() if value != STALE]
    assert numbers == sorted(numbers)
    assert len(numbers) == len(set(numbers)), "the second reload began the collector's rounds anew"


def test_a_removed_collector_ends_its_series(agent: Running, to: Receiver) -> None:
    exporter = EXPORTER.format(kind="remote_write", url=to.url)
    agent.configure(AGENT + NUMBERS.format(run=1) + exporter)
    agent.start()
    to.wait(lambda: len(to.requests) >= 2)
    agent.reload(AGENT + exporter)
    to.wait(lambda: STALE in to.series("number", at="0").values(), what="the staleness marker")
    seen = len(to.requests)
    to.wait(lambda: len(to.requests) >= seen + 2)
    for at in range(20):
        values = list(to.series("number", at=str(at)).values())
        assert values.index(STALE) == len(values) - 1
    assert [one["name"] for one in agent.status()["collectors"]] == ["nightjar"]
    assert agent.stop() == 0
    assert to.disorder == []


def test_a_changed_collector_ends_its_old_series_and_begins_new_ones(agent: Running, to: Receiver) -> None:
    exporter = EXPORTER.format(kind="remote_write", url=to.url)
    agent.configure(AGENT + NUMBERS.format(run=1) + exporter)
    agent.start()
    to.wait(lambda: len(to.requests) >= 2)
    agent.reload(AGENT + NUMBERS.format(run=1) + "series = 5\n" + exporter)
    to.wait(lambda: list(to.series("number", at="19").values())[-1:] == [STALE], what="the staleness marker")
    to.wait(lambda: list(to.series("number", at="4").values())[-1:] != [STALE], what="the new rounds")
    assert agent.stop() == 0
    assert to.disorder == []


def test_a_new_token_takes_effect(agent: Running, to: Receiver, tmp_path: Path) -> None:
    """Also one that comes by reference, with a file that did not change a letter."""
    secret = tmp_path / "token"
    secret.write_text("first")
    exporter = EXPORTER.format(kind="remote_write", url=to.url) + f'bearer_token = "${{file:{secret}}}"\n'
    to.default = receiver.guarded("first")
    agent.configure(AGENT + NUMBERS.format(run=1) + exporter)
    agent.start()
    to.wait(lambda: len(to.record) > 0)
    secret.write_text("second")
    agent.reload()
    to.default = receiver.guarded("second")
    seen = len(to.requests)
    to.wait(lambda: [one.status for one in to.requests[seen:]].count(204) >= 2)
    assert agent.log("configuration reloaded")[-1]["changed"] == ["remote_write"]
    ledger = agent.ledger()
    assert ledger["dropped"] == ledger["rejected"] == {}
    assert agent.stop() == 0
    assert to.disorder == []


def test_a_changed_exporter_goes_on_where_it_was(agent: Running, to: Receiver) -> None:
    agent.configure(AGENT + NUMBERS.format(run=1) + EXPORTER.format(kind="remote_write", url="http://127.0.0.1:1/"))
    agent.start()
    eventually(lambda: agent.ledger()["pending"] > 50, "a backlog")
    before = agent.ledger()
    agent.reload(AGENT + NUMBERS.format(run=1) + EXPORTER.format(kind="remote_write", url=to.url))
    to.wait(lambda: to.items > before["pending"])
    assert agent.stop() == 0
    numbers = [value for value in to.series("number", at="0").values() if value != STALE]
    assert len(numbers) >= before["pending"] // 100
    assert to.disorder == []


@pytest.mark.parametrize(
    "bad",
    [
        "[agent\n",
        AGENT + "[collectors.nonesuch]\n",
        AGENT + NUMBERS.format(run=1) + '[exporters.remote_write]\nurl = "no url"\n',
        AGENT + NUMBERS.format(run="1\nbearer_token"),
    ],
    ids=["syntax", "kind", "value", "key"],
)
def test_an_invalid_file_changes_nothing_and_is_told(agent: Running, to: Receiver, bad: str) -> None:
    good = AGENT + NUMBERS.format(run=1) + EXPORTER.format(kind="remote_write", url=to.url)
    agent.configure(good)
    agent.start()
    to.wait(lambda: len(to.requests) >= 2)
    agent.file.write_text(bad)
    agent.reload()
    assert agent.log("the new configuration is refused")[0]["fault"].startswith(f"{agent.file}:")
    to.wait(lambda: self_metric(to, "nightjar_config_last_reload_successful") == 0.0, what="the failed reload")
    assert self_metric(to, "nightjar_config_reloads_total", outcome="refused") == 1.0
    agent.reload(good)
    to.wait(lambda: self_metric(to, "nightjar_config_last_reload_successful") == 1.0, what="the good reload")
    assert agent.stop() == 0
    numbers = [value for value in to.series("number", at="0").values() if value != STALE]
    assert STALE not in to.series("number", at="0").values()
    assert numbers == sorted(set(numbers))
    assert len(peers(to)) == 1


def get(port: int, token: str = "") -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/readyz", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def listening(port: int, more: str = "") -> str:
    return f'[agent]\ninterval = "200ms"\nlisten = "127.0.0.1:{port}"\n{more}' + NUMBERS.format(run=1)


def test_an_address_that_cannot_be_had_changes_nothing(agent: Running) -> None:
    port = free_port()
    agent.configure(listening(port))
    agent.start()
    eventually(lambda: get(port) == 200, "readiness")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        agent.reload(listening(taken.getsockname()[1]) + "series = 3\n")
        assert "cannot listen" in agent.log("the new configuration is refused")[0]["fault"]
        assert get(port) == 200
        assert {one["name"]: one["series"] for one in agent.status()["collectors"]}["numbers"] == 20
    agent.reload(listening(port) + "series = 3\n")
    eventually(lambda: get(port) == 200, "readiness after a round of the changed collector")
    eventually(
        lambda: {one["name"]: one["series"] for one in agent.status()["collectors"]}["numbers"] == 3, "the new options"
    )
    assert agent.stop() == 0


def test_another_address_and_another_token_take_effect(agent: Running) -> None:
    first, second = free_port(), free_port()
    agent.configure(listening(first))
    agent.start()
    eventually(lambda: get(first) == 200, "readiness")
    agent.reload(listening(second, 'token = "first"\n'))
    assert agent.log("configuration reloaded")[-1]["changed"] == ["agent.listen", "agent.token"]
    assert get(second, "first") == 200
    assert get(second) == 401
    with pytest.raises(urllib.error.URLError):
        get(first)
    agent.reload(listening(second, 'token = "second"\n'))
    assert (get(second, "first"), get(second, "second")) == (401, 200)
    assert agent.stop() == 0


def test_another_state_directory_waits_for_a_restart_and_the_way_back_is_quiet(agent: Running) -> None:
    agent.configure(AGENT + NUMBERS.format(run=1))
    agent.start()
    good = agent.file.read_text()
    agent.file.write_text(good.replace(str(agent.state), f"{agent.state}-2"))
    agent.reload()
    agent.file.write_text(good)
    agent.reload()
    assert len(agent.log("configuration reloaded")) == 2
    assert len(agent.log("state_dir takes effect after a restart")) == 1
    assert agent.stop() == 0


def test_many_reloads_leak_neither_memory_nor_files(agent: Running, to: Receiver) -> None:
    def config(run: int) -> str:
        return (
            AGENT
            + NUMBERS.format(run=run)
            + EXPORTER.format(kind="remote_write", url=to.url)
            + f'headers = {{ x-run = "{run}" }}\n'
        )

    def held() -> tuple[int, int]:
        assert agent.process is not None
        proc = Path("/proc") / str(agent.process.pid)
        pages = int((proc / "statm").read_text().split()[1])
        return len(list((proc / "fd").iterdir())), pages * 4

    agent.configure(config(0))
    agent.start()
    to.wait(lambda: len(to.requests) >= 2)
    for run in range(1, 11):
        agent.reload(config(run))
    before = held()
    for run in range(11, 51):
        agent.reload(config(run))
    after = held()
    assert after[0] <= before[0] + 3, f"files: {before[0]} before, {after[0]} after 40 reloads"
    assert after[1] <= before[1] + 4_096, f"KiB: {before[1]} before, {after[1]} after 40 reloads"
    assert json.loads(agent.ask("/api/status")[1])["ready"]
    assert agent.stop() == 0
