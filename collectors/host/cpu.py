"""CPU time per core and mode, thermal throttling, isolation, and which cores are online."""

from __future__ import annotations

from collections.abc import Iterator

from agent.model import Sample, counter, gauge

from .machine import Machine

CPU = "devices/system/cpu"
TICKS = 100.0  # USER_HZ: what /proc counts in on every Linux platform of today
MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
GUEST_MODES = ("user", "nice")
IDLE = MODES.index("idle")
JUMP_BACK = 3.0  # seconds of idle time that a core may lose before it counts as a new one

SECONDS = counter("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.", "cpu", "mode")
GUEST = counter("node_cpu_guest_seconds_total", "Seconds the CPUs spent in guests (VMs) for each mode.", "cpu", "mode")
CORE_THROTTLES = counter(
    "node_cpu_core_throttles_total", "Number of times this CPU core has been throttled.", "package", "core"
)
PACKAGE_THROTTLES = counter(
    "node_cpu_package_throttles_total", "Number of times this CPU package has been throttled.", "package"
)
ISOLATED = gauge(
    "node_cpu_isolated", "Whether each core is isolated, information from /sys/devices/system/cpu/isolated.", "cpu"
)
ONLINE = gauge("node_cpu_online", "CPUs that are online and being scheduled.", "cpu")


def parse_cpu_times(stat: str) -> dict[str, list[float]]:
    """Seconds per mode for each core of /proc/stat: eight modes, then the two guest ones; raises ValueError."""
    times: dict[str, list[float]] = {}
    for line in stat.splitlines():
        if not line.startswith("cpu"):
            break  # the cores stand first
        name, *fields = line.split()
        if name != "cpu":
            seconds = [int(field) / TICKS for field in fields[:10]]
            times[name[3:]] = seconds + [0.0] * (10 - len(seconds))
    if not times:
        raise ValueError("no cores in /proc/stat")
    return times


def parse_cpu_list(text: str) -> list[str]:
    """The members of a list such as `0-3,8`."""
    cpus: list[str] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            cpus += [str(cpu) for cpu in range(int(first), int(last or first) + 1)]
    return cpus


def never_back(before: list[float] | None, now: list[float]) -> list[float]:
    """Counters that do not run backwards: the kernel's idle and iowait do, by a tick or so.

    A core that lost seconds of idle time was unplugged and came back: it starts anew.
    """
    if before is None or before[IDLE] - now[IDLE] >= JUMP_BACK:
        return now
    return now if before == now else [max(pair) for pair in zip(before, now, strict=True)]


class Cpu:
    """The part `cpu`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._times: dict[str, list[float]] = {}
        self._cores: list[tuple[str, str, str]] = []  # package, core, directory
        self._isolated: list[str] | None = None

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        known = self._times
        times = parse_cpu_times(self._machine.proc.shared("stat"))
        if known.keys() != times.keys():
            self._cores = list(self._topology())
        self._times = {cpu: never_back(known.get(cpu), now) for cpu, now in times.items()}
        for cpu, now in self._times.items():
            for mode, seconds in zip(MODES, now, strict=False):
                yield SECONDS(seconds, cpu, mode)
            yield GUEST(now[8], cpu, "user")
            yield GUEST(now[9], cpu, "nice")
        yield from self._isolation()
        yield from self._throttles()
        yield from self._online()

    def _topology(self) -> Iterator[tuple[str, str, str]]:
        sys = self._machine.sys
        for name in sorted(sys.entries(CPU), key=lambda name: (len(name), name)):
            if not name[3:].isdigit() or not name.startswith("cpu"):
                continue
            package = sys.optional(f"{CPU}/{name}/topology/physical_package_id")
            core = sys.optional(f"{CPU}/{name}/topology/core_id")
            if package and core and package.isdigit() and core.isdigit():
                yield package, core, f"{CPU}/{name}"

    def _throttles(self) -> Iterator[Sample]:
        packages: dict[str, float] = {}
        cores: dict[tuple[str, str], float] = {}
        for package, core, directory in self._cores:
            if (package, core) not in cores and (
                count := self._count(f"{directory}/thermal_throttle/core")
            ) is not None:
                cores[package, core] = count
            if package not in packages and (count := self._count(f"{directory}/thermal_throttle/package")) is not None:
                packages[package] = count
        for package, count in packages.items():
            yield PACKAGE_THROTTLES(count, package)
        for (package, core), count in cores.items():
            yield CORE_THROTTLES(count, package, core)

    def _count(self, path: str) -> float | None:
        text = self._machine.sys.optional(f"{path}_throttle_count")
        return float(text) if text and text.isdigit() else None

    def _isolation(self) -> Iterator[Sample]:
        if self._isolated is None:
            self._isolated = parse_cpu_list(self._machine.sys.optional(f"{CPU}/isolated") or "")
        for cpu in self._isolated:
            yield ISOLATED(1.0, cpu)

    def _online(self) -> Iterator[Sample]:
        if not self._machine.sys.exists(f"{CPU}/cpu0/online"):
            return
        for name in sorted(self._machine.sys.entries(CPU), key=lambda name: (len(name), name)):
            if name.startswith("cpu") and name[3:].isdigit():
                yield ONLINE(float(self._machine.sys.optional(f"{CPU}/{name}/online") == "1"), name[3:])
