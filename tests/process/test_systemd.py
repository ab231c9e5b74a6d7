"""What systemd is told, in which order, and what stops the watchdog's food."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests import receiver
from tests.receiver import Receiver
from tests.running import Running, eventually

NUMBERS = '[agent]\ninterval = "200ms"\n[collectors.numbers]\n'
REMOTE = '[exporters.remote_write]\nurl = "{url}"\ntimeout = "300ms"\n'


def keys(messages: list[str]) -> list[str]:
    return [message.partition("=")[0] for message in messages]


def test_a_whole_life_in_order(agent: Running, to: Receiver) -> None:
    agent.configure(NUMBERS + REMOTE.format(url=to.url))
    agent.start()
    assert agent.messages[0] == "READY=1\nSTATUS=2 collectors, 0 series, 1 exporters, 0 pending"
    agent.signal(signal.SIGHUP)
    agent.hear("READY=1", after=1)
    reloading, ready = agent.messages[1:3]
    lines = dict(line.split("=", 1) for line in reloading.splitlines())
    assert lines["RELOADING"] == "1"
    assert 0 <= time.clock_gettime(time.CLOCK_MONOTONIC) - int(lines["MONOTONIC_USEC"]) / 1e6 < 20
    assert ready.startswith("READY=1\nSTATUS=2 collectors")
    assert agent.stop() == 0
    agent.hear("EXTEND_TIMEOUT_USEC=", after=3)
    stopping, extend = agent.messages[3:5]
    assert stopping.startswith("STOPPING=1\nSTATUS=Stopping")
    assert int(extend.partition("=")[2]) > 10_000_000
    assert len(agent.messages) == 5
    assert agent.log() == agent.log("started") + agent.log("configuration reloaded") + agent.log("stopped")


def test_ready_means_that_signals_are_heard(agent: Running) -> None:
    agent.configure(NUMBERS)
    for number in (signal.SIGHUP, signal.SIGTERM):
        agent.start()
        agent.signal(number)
        if number == signal.SIGHUP:
            agent.hear("RELOADING=1")
            agent.signal(signal.SIGTERM)
        assert agent.ended() == 0


def test_a_refused_reload_ends_with_ready_too(agent: Running) -> None:
    agent.configure(NUMBERS)
    agent.start()
    agent.file.write_text("[nonsense\n")
    agent.signal(signal.SIGHUP)
    agent.hear("RELOADING=1")
    agent.hear("READY=1", after=2)
    assert agent.stop() == 0


def test_an_agent_at_work_feeds_the_watchdog_well_within_its_time(agent: Running, to: Receiver) -> None:
    """Also through an outage of the destination, which a restart would not mend."""
    agent.configure(NUMBERS + REMOTE.format(url=to.url))
    agent.environ["WATCHDOG_USEC"] = "900000"
    to.default = receiver.status(500)
    agent.start()
    told = keys(agent.listen(3.0))
    assert 6 <= told.count("WATCHDOG") <= 12
    assert told.count("STATUS") >= 6
    assert agent.stop() == 0


def test_the_status_line_tells_what_is_wrong(agent: Running, to: Receiver) -> None:
    agent.configure(NUMBERS + REMOTE.format(url=to.url))
    agent.environ["WATCHDOG_USEC"] = "900000"
    to.default = receiver.status(401)
    agent.start()
    assert "refuses the credentials" in agent.hear("refuses the credentials")


def test_another_process_watchdog_is_not_fed(agent: Running) -> None:
    agent.configure(NUMBERS)
    agent.environ |= {"WATCHDOG_USEC": "300000", "WATCHDOG_PID": "1"}
    agent.start()
    assert "WATCHDOG" not in keys(agent.listen(1.0))


def starved(agent: Running, period: float) -> None:
    """No more WATCHDOG=1 for three times what systemd would wait."""
    assert "WATCHDOG" not in keys(agent.listen(3 * period))


def test_a_wedged_event_loop_starves_the_watchdog(agent: Running, tmp_path: Path) -> None:
    told = tmp_path / "told"
    agent.configure(f'[agent]\ninterval = "200ms"\n[collectors.wedge]\nwhile_exists = "{told}"\n')
    agent.environ["WATCHDOG_USEC"] = "600000"
    agent.start()
    agent.hear("WATCHDOG=1")
    told.touch()
    agent.listen(0.5)
    starved(agent, 0.6)
    told.unlink()
    agent.hear("WATCHDOG=1", after=len(agent.messages))
    assert agent.stop() == 0


def test_a_stuck_spool_thread_starves_the_watchdog(agent: Running, to: Receiver, tmp_path: Path) -> None:
    told = tmp_path / "told"
    slow = f'[collectors.slow_disk]\nwhile_exists = "{told}"\n'
    agent.configure(f'[agent]\ninterval = "200ms"\n{slow}' + REMOTE.format(url=to.url))
    agent.environ["WATCHDOG_USEC"] = "600000"
    agent.start()
    agent.hear("WATCHDOG=1")
    told.touch()
    (entry, *_) = agent.logged("no progress; the watchdog is not fed")
    assert entry["reason"] == "the spool's thread does not finish its work"
    agent.listen(0.3)
    starved(agent, 0.6)
    assert agent.ask("/livez") == (200, b"ok\n")
    told.unlink()
    agent.hear("WATCHDOG=1", after=len(agent.messages))
    assert agent.stop() == 0


@pytest.mark.parametrize("kind", ["stuck", "deaf"])
def test_a_stuck_delivery_starves_the_watchdog(agent: Running, kind: str) -> None:
    agent.configure(NUMBERS + f'[exporters.{kind}]\ntimeout = "500ms"\n')
    agent.environ["WATCHDOG_USEC"] = "600000"
    agent.start()
    agent.hear("WATCHDOG=1")
    (entry, *_) = agent.logged("no progress; the watchdog is not fed")
    assert entry["reason"] == f"exporter {kind} is stuck in a request"
    agent.listen(0.3)
    starved(agent, 0.6)


def test_a_collector_that_is_stuck_does_not_starve_the_watchdog(agent: Running, tmp_path: Path) -> None:
    """Its ticks are missed and counted; a restart would only stop the others too."""
    told = tmp_path / "told"
    told.touch()
    agent.configure(f'[agent]\ninterval = "200ms"\n[collectors.stubborn]\nwhile_exists = "{told}"\n')
    agent.environ["WATCHDOG_USEC"] = "600000"
    agent.start()
    agent.logged("collection failed")
    assert keys(agent.listen(2.0)).count("WATCHDOG") >= 5
    eventually(lambda: agent.status()["collectors"][1]["missed_ticks"] > 5, "missed ticks")
    assert agent.status()["collectors"][1]["outcome"] == "timeout"
    told.unlink()
    eventually(lambda: agent.status()["collectors"][1]["outcome"] == "ok", "the collector's return")
    assert agent.stop() == 0


def test_a_spool_thread_that_stays_stuck_cannot_stop_the_end(agent: Running, to: Receiver, tmp_path: Path) -> None:
    told = tmp_path / "told"
    slow = f'[collectors.slow_disk]\nwhile_exists = "{told}"\n'
    agent.configure(f'[agent]\ninterval = "200ms"\n{slow}' + REMOTE.format(url=to.url))
    agent.environ["WATCHDOG_USEC"] = "600000"
    agent.start()
    to.wait(lambda: len(to.requests) >= 1)
    told.touch()
    agent.logged("no progress; the watchdog is not fed")
    agent.signal(signal.SIGTERM)
    assert agent.ended(40) == 1
    assert agent.log("stopping at once")[-1]["reason"] == "the end takes too long"
