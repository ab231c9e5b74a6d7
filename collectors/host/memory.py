"""Memory: /proc/meminfo and /proc/vmstat."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.model import Family, Sample

from .machine import MAX_NAMES, Machine


def parse_meminfo(text: str) -> Iterator[tuple[str, int, str]]:
    """Field, value and unit (`kB` or nothing) of each line."""
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if words := rest.split():
            yield name, int(words[0]), words[1] if len(words) > 1 else ""


class Meminfo:
    """The part `meminfo`: every field of /proc/meminfo; `Active(anon)` is shown as `Active_anon`, kB as `_bytes`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._known: dict[str, tuple[Family, int]] = {}  # field -> family, bytes in one of its unit

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        for name, value, unit in parse_meminfo(self._machine.proc.kept("meminfo")):
            family, size = self._known.get(name) or self._learn(name, unit)
            yield family(float(value * size))

    def _learn(self, name: str, unit: str) -> tuple[Family, int]:
        shown = name.replace("(", "_").replace(")", "") + ("_bytes" if unit == "kB" else "")
        family = self._machine.families("gauge", f"node_memory_{shown}", f"Memory information field {shown}.")
        if len(self._known) >= MAX_NAMES:
            self._known.clear()
        known = self._known[name] = family, 1024 if unit == "kB" else 1
        return known


class Vmstat:
    """The part `vmstat`: the fields that the options choose, found once for each shape of the file."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._fields = re.compile(machine.options.vmstat_fields)
        self._names: list[str] = []
        self._chosen: list[tuple[int, Family]] = []

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        words = self._machine.proc.kept("vmstat").split()
        names, values = words[::2], words[1::2]
        if names != self._names:
            self._names, self._chosen = names, [*self._choose(names)]
        for at, family in self._chosen:
            yield family(float(values[at]))

    def _choose(self, names: list[str]) -> Iterator[tuple[int, Family]]:
        for at, name in enumerate(names):
            if self._fields.search(name):
                help = f"/proc/vmstat information field {name}."
                yield at, self._machine.families("unknown", f"node_vmstat_{name}", help)
