"""The container or limited control group that the agent itself lives in, under cAdvisor's names.

psutil and /proc/meminfo tell the host's numbers in a container; these are the container's. Sources:
Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/ of the kernel; the working set is kubelet's: usage without
inactive file pages. cAdvisor shows no limit as 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from agent.model import Family, NoData, Sample, counter, gauge

from .kernel import parse_pressure
from .machine import Machine

BASE: Final = "fs/cgroup"
UNLIMITED: Final = 2**62  # version 1 writes a huge number where there is no limit
CONTAINER_ID: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
HOME_OF_ID: Final = re.compile(r"/containers/([0-9a-f]{64})/")
MARKS: Final = (".dockerenv", "run/.containerenv")


def _counter(name: str, help: str, *labels: str) -> Family:
    return counter(f"container_{name}", help, "id", *labels)


def _gauge(name: str, help: str) -> Family:
    return gauge(f"container_{name}", help, "id")


CPU = _counter("cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", "cpu")
FAMILIES: dict[str, Family] = {  # field of Group -> family
    "cpu_user": _counter("cpu_user_seconds_total", "Cumulative user cpu time consumed in seconds."),
    "cpu_system": _counter("cpu_system_seconds_total", "Cumulative system cpu time consumed in seconds."),
    "periods": _counter("cpu_cfs_periods_total", "Number of elapsed enforcement period intervals."),
    "throttled_periods": _counter("cpu_cfs_throttled_periods_total", "Number of throttled period intervals."),
    "throttled_seconds": _counter(
        "cpu_cfs_throttled_seconds_total", "Total time duration the container has been throttled."
    ),
    "quota": _gauge("spec_cpu_quota", "CPU quota of the container."),
    "period": _gauge("spec_cpu_period", "CPU period of the container."),
    "memory_usage": _gauge("memory_usage_bytes", "Current memory usage in bytes, including all memory."),
    "memory_peak": _gauge("memory_max_usage_bytes", "Maximum memory usage recorded in bytes."),
    "working_set": _gauge("memory_working_set_bytes", "Current working set in bytes."),
    "rss": _gauge("memory_rss", "Size of RSS in bytes."),
    "cache": _gauge("memory_cache", "Number of bytes of page cache memory."),
    "mapped": _gauge("memory_mapped_file", "Size of memory mapped files in bytes."),
    "swap": _gauge("memory_swap", "Container swap usage in bytes."),
    "memory_failures": _counter("memory_failcnt", "Number of memory usage hits limits."),
    "memory_limit": _gauge("spec_memory_limit_bytes", "Memory limit for the container."),
    "oom_kills": _counter("oom_events_total", "Count of out of memory events observed for the container."),
    "threads": _gauge("threads", "Number of threads running inside the container."),
    "threads_max": _gauge(
        "threads_max", "Maximum number of threads allowed inside the container, infinity if value is zero."
    ),
}
PRESSURE: dict[tuple[str, str], Family] = {
    (resource, kind): _counter(
        f"pressure_{resource}_{shown}_seconds_total",
        f"Total time in seconds {who} tasks in the container have waited for {resource}.",
    )
    for resource in ("cpu", "memory", "io")
    for kind, shown, who in (("some", "waiting", "some"), ("full", "stalled", "all"))
}

Values = dict[str, float]


class Place(NamedTuple):
    """Where the process is: the version of its control groups, a directory per controller, and its name."""

    version: int
    directories: dict[str, str]
    name: str


def parse_self_cgroup(text: str) -> dict[str, str]:
    """Path by controller, of /proc/self/cgroup; version 2's is under the empty name."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        _hierarchy, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    return paths


def parse_pairs(text: str) -> Values:
    """Lines of a name and a number, such as memory.stat, cpu.stat and memory.events."""
    pairs = (line.split(" ") for line in text.splitlines())
    return {pair[0]: float(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def parse_limit(text: str) -> float:
    """A limit; 0 where there is none."""
    number = float("inf") if text == "max" else float(int(text))
    return 0.0 if number < 0 or number >= UNLIMITED else number


def container_id(path: str, mountinfo: str) -> str:
    """The container's id as its path or, where a namespace hides that, its mounts give it away; else empty."""
    if found := CONTAINER_ID.search(path):
        return found[0]
    home = HOME_OF_ID.search(mountinfo)
    return home[1] if home else ""


def version_2(files: dict[str, str]) -> Values:
    """Values out of the files of a version 2 group; a file that is missing leaves its values out."""
    found: Values = {}
    cpu, memory = parse_pairs(files.get("cpu.stat", "")), parse_pairs(files.get("memory.stat", ""))
    for field, name, unit in CPU_STAT_2:
        if name in cpu:
            found[field] = cpu[name] / unit
    if "cpu.max" in files:
        quota, period = files["cpu.max"].split()
        found |= {"quota": parse_limit(quota), "period": float(period)}
    found |= _plain(files, PLAIN_2) | _picked(memory, {"rss": "anon", "cache": "file", "mapped": "file_mapped"})
    if "memory_usage" in found:
        found["working_set"] = max(0.0, found["memory_usage"] - memory.get("inactive_file", 0.0))
    found |= _picked(parse_pairs(files.get("memory.events", "")), {"memory_failures": "max", "oom_kills": "oom_kill"})
    return found


def version_1(files: dict[str, str]) -> Values:
    """The same for version 1."""
    cpu, memory = parse_pairs(files.get("cpu.stat", "")), parse_pairs(files.get("memory.stat", ""))
    found = _picked(cpu, {"periods": "nr_periods", "throttled_periods": "nr_throttled"})
    if "throttled_time" in cpu:
        found["throttled_seconds"] = cpu["throttled_time"] / 1e9
    if "cpuacct.usage" in files:
        found["cpu"] = int(files["cpuacct.usage"]) / 1e9
    ticks = parse_pairs(files.get("cpuacct.stat", ""))
    found |= {f"cpu_{name}": value / 100.0 for name, value in ticks.items() if name in ("user", "system")}
    found |= _plain(files, PLAIN_1)
    found |= _picked(memory, {"rss": "total_rss", "cache": "total_cache", "swap": "total_swap"})
    found |= _picked(memory, {"mapped": "total_mapped_file"})
    if "memory_usage" in found:
        found["working_set"] = max(0.0, found["memory_usage"] - memory.get("total_inactive_file", 0.0))
    found |= _picked(parse_pairs(files.get("memory.oom_control", "")), {"oom_kills": "oom_kill"})
    return found


def _plain(files: dict[str, str], names: dict[str, str]) -> Values:
    return {field: parse_limit(files[name]) for field, name in names.items() if name in files}


def _picked(values: Values, names: dict[str, str]) -> Values:
    return {field: values[name] for field, name in names.items() if name in values}


CPU_STAT_2: Final = (  # field, name in cpu.stat, unit
    ("cpu", "usage_usec", 1e6),
    ("cpu_user", "user_usec", 1e6),
    ("cpu_system", "system_usec", 1e6),
    ("periods", "nr_periods", 1.0),
    ("throttled_periods", "nr_throttled", 1.0),
    ("throttled_seconds", "throttled_usec", 1e6),
)
PLAIN_2: Final = {  # field -> file with one number
    "memory_usage": "memory.current",
    "memory_peak": "memory.peak",
    "memory_limit": "memory.max",
    "swap": "memory.swap.current",
    "threads": "pids.current",
    "threads_max": "pids.max",
}
PLAIN_1: Final = {
    "quota": "cpu.cfs_quota_us",
    "period": "cpu.cfs_period_us",
    "memory_usage": "memory.usage_in_bytes",
    "memory_peak": "memory.max_usage_in_bytes",
    "memory_limit": "memory.limit_in_bytes",
    "memory_failures": "memory.failcnt",
    "threads": "pids.current",
    "threads_max": "pids.max",
}
FILES: Final = {  # version -> controller -> files
    2: {"": ("cpu.stat", "cpu.max", "memory.stat", "memory.events", *PLAIN_2.values())},
    1: {
        "cpu": ("cpu.stat", "cpu.cfs_quota_us", "cpu.cfs_period_us"),
        "cpuacct": ("cpuacct.usage", "cpuacct.stat"),
        "memory": ("memory.stat", "memory.oom_control", *(name for name in PLAIN_1.values() if name[:6] == "memory")),
        "pids": ("pids.current", "pids.max"),
    },
}


def samples(found: Values, name: str) -> Iterator[Sample]:
    """The samples of a group's values; no quota means no sample of it, as cAdvisor has it."""
    if "cpu" in found:
        yield CPU(found["cpu"], name, "total")
    for field, family in FAMILIES.items():
        if field in found and not (field == "quota" and not found[field]):
            yield family(found[field], name)


class Container:
    """The part `container`: nothing on a host's own root group, or in one that limits neither CPU nor memory."""

    def __init__(self, machine: Machine) -> None:
        self._proc, self._sys, self._root = machine.proc, machine.sys, machine.root
        self._place: Place | None = None
        self._marked = False

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        place = self._place = self._place or self._find()
        files = self._read(place)
        found = version_2(files) if place.version == 2 else version_1(files)
        if not found.get("memory_usage") and "period" not in found:
            raise NoData("the root control group")
        if not (self._contained(place) or found.get("memory_limit") or found.get("quota")):
            raise NoData("no container and no limits")
        yield from samples(found, place.name)
        if place.version == 2:
            yield from self._pressure(place)

    def _find(self) -> Place:
        try:
            paths = parse_self_cgroup(self._proc.text("self/cgroup"))
        except FileNotFoundError:
            raise NoData("no control groups") from None
        self._marked = any(self._root.exists(mark) for mark in MARKS)
        version = 2 if self._sys.exists(f"{BASE}/cgroup.controllers") else 1
        path = paths.get("" if version == 2 else "memory", "/")
        identity = container_id(path, self._proc.optional_text("self/mountinfo"))
        name = f"/{identity}" if path == "/" and identity else path
        directories = {key: directory for key in FILES[version] if (directory := self._directory(key, paths))}
        return Place(version, directories, name)

    def _directory(self, controller: str, paths: dict[str, str]) -> str:
        """A runtime may mount the own group alone: then the path in it is not there, and the mount is the group."""
        mount = f"{BASE}/{controller}" if controller else BASE
        whole = mount + paths.get(controller, "/").rstrip("/")
        return whole if self._sys.exists(whole) else mount

    def _read(self, place: Place) -> dict[str, str]:
        texts = {
            name: self._text(f"{place.directories[controller]}/{name}")
            for controller, names in FILES[place.version].items()
            for name in names
        }
        return {name: text for name, text in texts.items() if text is not None}

    def _text(self, path: str) -> str | None:
        try:
            return self._sys.kept(path).strip()  # the own group lives as long as we do
        except OSError:
            return None

    def _contained(self, place: Place) -> bool:
        return bool(CONTAINER_ID.search(place.name)) or self._marked

    def _pressure(self, place: Place) -> Iterator[Sample]:
        for resource in ("cpu", "memory", "io"):
            found = parse_pressure(self._text(f"{place.directories['']}/{resource}.pressure") or "")
            for kind, seconds in found.items():
                yield PRESSURE[resource, kind](seconds, place.name)
