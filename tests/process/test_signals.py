"""Signals: the end in order, at once, and never by a reload asked for early."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from agent.spool.offline import Offline
from tests import receiver
from tests.receiver import Receiver
from tests.running import Running, eventually

CONFIG = """
[agent]
interval = "200ms"
[collectors.numbers]
[exporters.remote_write]
url = "{url}"
timeout = "{timeout}"
"""


def configured(agent: Running, to: Receiver, timeout: str = "2s") -> Running:
    agent.configure(CONFIG.format(url=to.url, timeout=timeout))
    return agent


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_delivers_what_it_has_and_exits_0(agent: Running, to: Receiver, number: int) -> None:
    configured(agent, to).start()
    to.wait(lambda: len(to.requests) >= 2)
    started = time.monotonic()
    agent.signal(number)
    assert agent.ended() == 0
    assert time.monotonic() - started < 5
    with Offline(agent.state) as spool:
        (entry,) = spool.entries()
    assert (entry.pending, entry.delivered) == (0, to.items)
    assert agent.log()[-1]["pending"] == {"remote_write/metrics": 0}


def test_asked_to_stop_during_an_outage_it_keeps_what_is_pending(agent: Running, to: Receiver) -> None:
    configured(agent, to)
    to.down()
    agent.start()
    eventually(lambda: agent.ledger()["pending"] > 50, "a backlog")
    started = time.monotonic()
    assert agent.stop() == 0
    assert time.monotonic() - started < 5
    with Offline(agent.state) as spool:
        (entry,) = spool.entries()
    assert entry.balanced
    assert entry.pending == entry.accepted > 50
    assert agent.log()[-1]["pending"] == {"remote_write/metrics": entry.pending}


def test_a_request_under_way_gets_its_time_at_the_end(agent: Running, to: Receiver) -> None:
    configured(agent, to, timeout="10s")
    to.script.extend([receiver.status(500), receiver.late(1.5)])
    agent.start()
    to.wait(lambda: to.started >= 2)
    assert agent.stop() == 0
    assert to.duplicates == 0
    with Offline(agent.state) as spool:
        (entry,) = spool.entries()
    assert entry.delivered == to.items > 0


def test_a_destination_that_does_not_answer_does_not_hold_up_the_end(agent: Running, to: Receiver) -> None:
    configured(agent, to, timeout="60s")
    to.default = receiver.hang(60)
    agent.start()
    to.wait(lambda: to.started >= 1)
    started = time.monotonic()
    assert agent.stop() == 0
    assert time.monotonic() - started < 9


def test_a_second_signal_ends_it_at_once(agent: Running, to: Receiver) -> None:
    configured(agent, to, timeout="60s")
    to.default = receiver.hang(60)
    agent.start()
    to.wait(lambda: to.started >= 1)
    agent.signal(signal.SIGTERM)
    agent.hear("STOPPING=1")
    started = time.monotonic()
    agent.signal(signal.SIGTERM)
    assert agent.ended() == 1
    assert time.monotonic() - started < 2
    with Offline(agent.state) as spool:
        assert spool.verify() == []


def hears(agent: Running, number: int) -> bool:
    """Whether the process ignores or catches a signal, instead of dying of it (proc(5))."""
    assert agent.process is not None
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    masks = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigIgn:", "SigCgt:"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


def test_a_reload_asked_for_as_early_as_can_be_does_not_kill(agent: Running, to: Receiver) -> None:
    """Before the interpreter runs our code nobody can help; from then on until READY=1 it is asked for again."""
    configured(agent, to).start(ready=False)
    eventually(lambda: hears(agent, signal.SIGHUP), "an ear for SIGHUP")
    while "READY=1" not in "".join(agent.messages):
        agent.signal(signal.SIGHUP)
        agent.listen(0.02)
    agent.hear("READY=1")
    assert agent.stop() == 0


@pytest.mark.parametrize("kind", ["stubborn", "wedge"])
def test_a_collector_that_ignores_everything_does_not_hold_up_the_end(
    agent: Running, tmp_path: Path, kind: str
) -> None:
    told = tmp_path / "told"
    agent.configure(f'[agent]\ninterval = "500ms"\n[collectors.{kind}]\nwhile_exists = "{told}"\n')
    agent.start()
    told.touch()
    if kind == "stubborn":
        agent.logged("collection failed")
    else:
        told.unlink()  # a wedged loop hears nothing; freed, it stops
    started = time.monotonic()
    assert agent.stop() == 0
    assert time.monotonic() - started < 10


def test_an_exporter_that_ignores_its_cancellation_does_not_hold_up_the_end(agent: Running) -> None:
    agent.configure('[agent]\ninterval = "200ms"\n[collectors.numbers]\n[exporters.deaf]\n')
    agent.start()
    eventually(lambda: agent.ledger("deaf")["pending"] > 0, "a request")
    started = time.monotonic()
    assert agent.stop() == 0
    assert time.monotonic() - started < 12
