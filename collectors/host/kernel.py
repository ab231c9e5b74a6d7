"""The kernel's own counts: load, scheduling, pressure, interrupts, handles, entropy."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from agent.model import Family, NoData, Sample, counter, gauge

from .machine import Filter, Machine

LOADS = (
    gauge("node_load1", "1m load average."),
    gauge("node_load5", "5m load average."),
    gauge("node_load15", "15m load average."),
)
STAT = {  # first word of the line in /proc/stat -> family
    "intr": counter("node_intr_total", "Total number of interrupts serviced."),
    "ctxt": counter("node_context_switches_total", "Total number of context switches."),
    "processes": counter("node_forks_total", "Total number of forks."),
    "btime": gauge("node_boot_time_seconds", "Node boot time, in unixtime."),
    "procs_running": gauge("node_procs_running", "Number of processes in runnable state."),
    "procs_blocked": gauge("node_procs_blocked", "Number of processes blocked waiting for I/O to complete."),
}
FILEFD_ALLOCATED = gauge("node_filefd_allocated", "File descriptor statistics: allocated.")
FILEFD_MAXIMUM = gauge("node_filefd_maximum", "File descriptor statistics: maximum.")
ENTROPY_AVAILABLE = gauge("node_entropy_available_bits", "Bits of available entropy.")
ENTROPY_POOL = gauge("node_entropy_pool_size_bits", "Bits of entropy pool.")
HUNG = counter(
    "node_kernel_hung_tasks_total", "Total number of tasks that have been detected as hung since the system booted."
)
PRESSURE: dict[str, dict[str, Family]] = {  # file of /proc/pressure -> line -> family
    "cpu": {
        "some": counter(
            "node_pressure_cpu_waiting_seconds_total",
            "Total time in seconds that processes have waited for CPU time",
        )
    },
    "io": {
        "some": counter(
            "node_pressure_io_waiting_seconds_total",
            "Total time in seconds that processes have waited due to IO congestion",
        ),
        "full": counter(
            "node_pressure_io_stalled_seconds_total",
            "Total time in seconds no process could make progress due to IO congestion",
        ),
    },
    "memory": {
        "some": counter(
            "node_pressure_memory_waiting_seconds_total",
            "Total time in seconds that processes have waited for memory",
        ),
        "full": counter(
            "node_pressure_memory_stalled_seconds_total",
            "Total time in seconds no process could make progress due to memory congestion",
        ),
    },
    "irq": {
        "full": counter(
            "node_pressure_irq_stalled_seconds_total",
            "Total time in seconds no process could make progress due to IRQ congestion",
        )
    },
}
RUNNING = counter("node_schedstat_running_seconds_total", "Number of seconds CPU spent running a process.", "cpu")
WAITING = counter(
    "node_schedstat_waiting_seconds_total", "Number of seconds spent by processing waiting for this CPU.", "cpu"
)
TIMESLICES = counter("node_schedstat_timeslices_total", "Number of timeslices executed by CPU.", "cpu")
INTERRUPTS = counter("node_interrupts_total", "Interrupt details.", "cpu", "type", "info", "devices")


def loadavg(machine: Machine) -> Iterator[Sample]:
    """The part `loadavg`."""
    loads = machine.proc.kept("loadavg").split()
    for at, family in enumerate(LOADS):
        yield family(float(loads[at]))


def parse_stat(text: str) -> dict[str, float]:
    """The lines of /proc/stat that hold one count, and the total of those that begin with one; raises ValueError."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if name in STAT:
            found[name] = float(rest.partition(" ")[0])
    if not found:
        raise ValueError("this is no /proc/stat")
    return found


def stat(machine: Machine) -> Iterator[Sample]:
    """The part `stat`."""
    found = parse_stat(machine.proc.shared("stat"))
    return (STAT[name](value) for name, value in found.items())


def filefd(machine: Machine) -> Iterator[Sample]:
    """The part `filefd`."""
    allocated, _, maximum = machine.proc.kept("sys/fs/file-nr").split()
    yield FILEFD_ALLOCATED(float(allocated))
    yield FILEFD_MAXIMUM(float(maximum))


def entropy(machine: Machine) -> Iterator[Sample]:
    """The part `entropy`."""
    yield ENTROPY_AVAILABLE(float(machine.proc.kept("sys/kernel/random/entropy_avail")))
    yield ENTROPY_POOL(float(machine.proc.kept("sys/kernel/random/poolsize")))


def kernel_hung(machine: Machine) -> Iterator[Sample]:
    """The part `kernel_hung` (Linux 6.13 and later)."""
    try:
        yield HUNG(float(machine.proc.kept("sys/kernel/hung_task_detect_count")))
    except FileNotFoundError:
        raise NoData("the kernel does not count hung tasks") from None


def parse_pressure(text: str) -> dict[str, float]:
    """Seconds per line (`some`, `full`) of a file of /proc/pressure; the kernel counts in microseconds."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        found[kind] = int(rest.rpartition("total=")[2]) / 1000.0 / 1000.0
    return found


def pressure(machine: Machine) -> Iterator[Sample]:
    """The part `pressure`."""
    seen = False
    for resource, families in PRESSURE.items():
        try:
            found = parse_pressure(machine.proc.kept(f"pressure/{resource}"))
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                raise NoData("pressure is switched off: boot with psi=1") from None
            raise
        seen = True
        for kind, family in families.items():
            yield family(found[kind])
    if not seen:
        raise NoData("the kernel has no pressure information")


def parse_schedstat(text: str) -> Iterator[tuple[str, float, float, float]]:
    """CPU, running and waiting seconds, timeslices (Documentation/scheduler/sched-stats.rst)."""
    for line in text.splitlines():
        if line.startswith("cpu"):
            fields = line.split()
            yield fields[0][3:], int(fields[7]) / 1e9, int(fields[8]) / 1e9, float(fields[9])


def schedstat(machine: Machine) -> Iterator[Sample]:
    """The part `schedstat`."""
    try:
        text = machine.proc.kept("schedstat")
    except FileNotFoundError:
        raise NoData("the kernel has no scheduler statistics") from None
    for cpu, running, waiting, timeslices in parse_schedstat(text):
        yield RUNNING(running, cpu)
        yield WAITING(waiting, cpu)
        yield TIMESLICES(timeslices, cpu)


def parse_interrupts(text: str) -> Iterator[tuple[str, str, str, list[str]]]:
    """Name, info, devices and count per CPU of /proc/interrupts; lines without a count per CPU are left out."""
    header, *lines = text.splitlines()
    cpus = len(header.split())
    for line in lines:
        name, colon, rest = line.partition(":")
        fields = rest.split()
        if not colon or len(fields) <= cpus:
            continue
        name, counts, tail = name.strip(), fields[:cpus], fields[cpus:]
        info, devices = (tail[0], " ".join(tail[1:])) if name.isdigit() else (" ".join(tail), "")
        yield name, info, devices, counts


class Interrupts:
    """The part `interrupts`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._chosen = Filter(machine.options.interrupts_exclude, machine.options.interrupts_include)

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        for name, info, devices, counts in parse_interrupts(self._machine.proc.kept("interrupts")):
            if self._chosen(f"{name};{info};{devices}"):
                for cpu, count in enumerate(counts):
                    yield INTERRUPTS(float(count), str(cpu), name, info, devices)
