"""Processes that come, go, and give their number to others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from collectors.host import Options
from collectors.host.machine import Machine
from collectors.host.processes import Processes

STAT = "{pid} (x) {state} 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 9 1 1\n"
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no /proc")


def states(part: Processes) -> dict[str, float]:
    return {sample.labels[0]: sample.value for sample in part() if sample.family.name == "node_processes_state"}


@pytest.fixture
def part(put: Callable[[str, str], None], machine: Callable[..., Machine]) -> Processes:
    put("proc/sys/kernel/threads-max", "9\n")
    put("proc/sys/kernel/pid_max", "9\n")
    put("proc/1/stat", STAT.format(pid=1, state="S", threads=1))
    return Processes(machine())


def test_files_of_processes_that_are_gone_are_closed(part: Processes, put: Callable[[str, str], None]) -> None:
    put("proc/2/stat", STAT.format(pid=2, state="R", threads=1))
    assert states(part) == {"R": 1, "S": 1}
    tree = part._proc.root
    os.unlink(f"{tree}/2/stat")
    os.rmdir(f"{tree}/2")
    assert states(part) == {"S": 1}
    assert part._kept.keys() == {"1"}
    part.close()
    assert part._kept == {}


def test_more_processes_than_files_may_stay_open_are_read_as_well(
    part: Processes, put: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collectors.host.processes.MAX_KEPT", 2)
    for pid in range(2, 9):
        put(f"proc/{pid}/stat", STAT.format(pid=pid, state="D", threads=1))
    assert states(part) == {"D": 7, "S": 1}
    assert len(part._kept) == 2
    part.close()


@LINUX
def test_a_process_that_ended_between_rounds_is_no_fault() -> None:
    machine = Machine(Options())
    part = Processes(machine)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        list(part())
        assert str(child.pid) in part._kept
        child.communicate(b"\n")
    assert states(part)
    assert str(child.pid) not in part._kept
    part.close()
    machine.close()
