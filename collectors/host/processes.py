"""Processes and threads by state, and their limits; and the agent's own process, as every exporter shows its own."""

from __future__ import annotations

import mmap
import os
from collections import Counter
from collections.abc import Iterable, Iterator

from agent.model import Sample, counter, gauge

from .cpu import TICKS
from .kernel import parse_stat
from .machine import Machine

MAX_KEPT = 128  # open files; an eighth of the usual limit

THREADS = gauge("node_processes_threads", "Allocated threads in system")
MAX_THREADS = gauge("node_processes_max_threads", "Limit of threads in the system")
STATE = gauge("node_processes_state", "Number of processes in each state.", "state")
THREADS_STATE = gauge("node_processes_threads_state", "Number of threads in each state.", "thread_state")
PIDS = gauge("node_processes_pids", "Number of PIDs")
MAX_PIDS = gauge("node_processes_max_processes", "Number of max PIDs limit")

OWN_CPU = counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")
OWN_FDS = gauge("process_open_fds", "Number of open file descriptors.")
OWN_MAX_FDS = gauge("process_max_fds", "Maximum number of open file descriptors.")
OWN_VIRTUAL = gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")
OWN_MAX_VIRTUAL = gauge("process_virtual_memory_max_bytes", "Maximum amount of virtual memory available in bytes.")
OWN_RESIDENT = gauge("process_resident_memory_bytes", "Resident memory size in bytes.")
OWN_START = gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.")


def parse_pid_stat(text: str) -> tuple[str, int]:
    """State and number of threads of /proc/<pid>/stat; the command in it may hold spaces and parentheses."""
    fields = text[text.rindex(")") + 2 :].split(" ", 18)
    return fields[0], int(fields[17])


class Processes:
    """The part `processes`. A process of one thread has its state: only the others' threads are looked at.

    The first `MAX_KEPT` processes' files stay open: opening one costs the kernel more than reading it.
    """

    def __init__(self, machine: Machine) -> None:
        self._proc = machine.proc
        self._kept: dict[str, int] = {}

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        processes: Counter[str] = Counter()
        threads: Counter[str] = Counter()
        total = 0
        pids = [name for name in os.listdir(self._proc.root or "/") if name.isdigit()]
        for pid in pids:
            if found := self._process(pid):
                state, count = found
                processes[state] += 1
                total += count
                if count == 1:
                    threads[state] += 1
                else:
                    threads.update(self._threads(pid, state))
        self._forget(self._kept.keys() - pids)
        yield THREADS(float(total))
        yield MAX_THREADS(self._proc.number("sys/kernel/threads-max"))
        for state, count in sorted(processes.items()):
            yield STATE(float(count), state)
        for state, count in sorted(threads.items()):
            yield THREADS_STATE(float(count), state)
        yield PIDS(float(processes.total()))
        yield MAX_PIDS(self._proc.number("sys/kernel/pid_max"))

    def _process(self, pid: str) -> tuple[str, int] | None:
        fd = self._kept.get(pid)
        try:
            if fd is None:
                if len(self._kept) >= MAX_KEPT:
                    return self._stat(f"{pid}/stat")
                fd = self._kept[pid] = os.open(self._proc.path(f"{pid}/stat"), os.O_RDONLY)
            return parse_pid_stat(os.pread(fd, 4096, 0).decode("utf-8", "replace"))
        except ProcessLookupError:  # it ended; its number may already be another's
            self._forget({pid})
            return self._stat(f"{pid}/stat")
        except FileNotFoundError:
            return None

    def _threads(self, pid: str, state: str) -> Iterator[str]:
        try:
            tids = os.listdir(f"{self._proc.root}/{pid}/task")
        except (FileNotFoundError, ProcessLookupError):
            return
        for tid in tids:
            if tid == pid:
                yield state
            elif found := self._stat(f"{pid}/task/{tid}/stat"):
                yield found[0]

    def _stat(self, name: str) -> tuple[str, int] | None:
        try:
            return parse_pid_stat(self._proc.word(name))
        except (FileNotFoundError, ProcessLookupError):  # gone since it was listed
            return None

    def _forget(self, pids: Iterable[str]) -> None:
        for pid in pids:
            if (fd := self._kept.pop(pid, None)) is not None:
                os.close(fd)

    def close(self) -> None:
        """Close the files that stayed open."""
        self._forget(list(self._kept))


def parse_limit(limits: str, name: str) -> float:
    """The soft limit of this name in /proc/<pid>/limits; where there is none, the largest number of 64 bits."""
    for line in limits.splitlines():
        if line.startswith(name):
            soft = line.removeprefix(name).split()[0]
            return float(2**64 - 1) if soft == "unlimited" else float(soft)
    raise ValueError(f"no {name!r} in the limits")


def own_process(machine: Machine) -> Iterator[Sample]:
    """The part `process`: the agent itself."""
    proc = machine.proc
    stat, limits = proc.text("self/stat"), proc.text("self/limits")
    fields = stat[stat.rindex(")") + 2 :].split(" ")
    yield OWN_CPU((int(fields[11]) + int(fields[12])) / TICKS)
    counted = os.stat(proc.path("self/fd")).st_size if machine.own_network else 0  # Linux 6.2 and later tell it so
    yield OWN_FDS(float(counted or len(os.listdir(proc.path("self/fd")))))
    yield OWN_MAX_FDS(parse_limit(limits, "Max open files"))
    yield OWN_VIRTUAL(float(fields[20]))
    yield OWN_MAX_VIRTUAL(parse_limit(limits, "Max address space"))
    yield OWN_RESIDENT(float(int(fields[21]) * mmap.PAGESIZE))
    yield OWN_START(parse_stat(proc.shared("stat"))["btime"] + int(fields[19]) / TICKS)
