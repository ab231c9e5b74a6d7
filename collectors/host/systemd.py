"""systemd's units, sockets and timers, asked over D-Bus: the system bus, or systemd's own socket as root.

The type of a service does not change while it runs, so it is asked once for each state that the unit gets into.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from agent.model import NoData, Sample, counter, gauge

from .dbus import RETURN, Bus, Call, DBusError, Message
from .machine import Filter, Machine

SOCKETS = (("run/dbus/system_bus_socket", True), ("run/systemd/private", False))  # path, whether it is a bus
TIMEOUT = 3.0  # seconds for a round: a hung systemd must not take the other parts with it
MANAGER = "/org/freedesktop/systemd1"
SYSTEMD = "org.freedesktop.systemd1"
PROPERTIES = "org.freedesktop.DBus.Properties"
HELLO = Call("/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", (), "org.freedesktop.DBus")
LIST = Call(MANAGER, f"{SYSTEMD}.Manager", "ListUnits")
STATES = ("active", "activating", "deactivating", "inactive", "failed")
VERSION_NUMBER = re.compile(r"[0-9]{3,}(\.[0-9]+)?")
TYPED = {".service": "Service", ".mount": "Mount"}  # units whose type is a label

UNIT_STATE = gauge("node_systemd_unit_state", "Systemd unit", "name", "state", "type")
UNITS = gauge("node_systemd_units", "Summary of systemd unit states", "state")
RUNNING = gauge("node_systemd_system_running", "Whether the system is operational (see 'systemctl is-system-running')")
VERSION = gauge("node_systemd_version", "Detected systemd version", "version")
VIRTUALIZATION = gauge("node_systemd_virtualization_info", "Detected virtualization technology", "virtualization_type")
TIMER = gauge("node_systemd_timer_last_trigger_seconds", "Seconds since epoch of last trigger.", "name")
SOCKET = {  # property -> family
    "NAccepted": counter(
        "node_systemd_socket_accepted_connections_total", "Total number of accepted socket connections", "name"
    ),
    "NConnections": gauge("node_systemd_socket_current_connections", "Current number of socket connections", "name"),
    "NRefused": gauge(
        "node_systemd_socket_refused_connections_total", "Total number of refused socket connections", "name"
    ),
}


class Unit(NamedTuple):
    """A line of ListUnits."""

    name: str
    load: str
    active: str
    path: str


class Question(NamedTuple):
    """A property to ask of a unit."""

    unit: Unit
    interface: str
    name: str

    def call(self) -> Call:
        """The call that asks it."""
        return Call(self.unit.path, PROPERTIES, "Get", (f"{SYSTEMD}.{self.interface}", self.name))


def parse_units(answer: Message) -> list[Unit]:
    """The units of an answer to ListUnits, by name; raises DBusError where it is refused."""
    if answer.type != RETURN:
        raise DBusError(f"ListUnits: {answer.body}")
    return sorted(Unit(row[0], row[2], row[3], row[6]) for row in answer.body[0])


def value(answer: Message, default: Any) -> Any:
    """The value of an answer to Properties.Get; the default where the property is not there."""
    return answer.body[0] if answer.type == RETURN and answer.body else default


def summary(units: Iterable[Unit]) -> Iterator[Sample]:
    """Units by state; the five of them always, others when there are."""
    counts = dict.fromkeys(STATES, 0)
    for unit in units:
        counts[unit.active] = counts.get(unit.active, 0) + 1
    return (UNITS(float(count), state) for state, count in counts.items())


def questions(units: Iterable[Unit]) -> list[Question]:
    """What is asked of sockets and timers in every round."""
    asked: list[Question] = []
    for unit in units:
        if unit.name.endswith(".socket"):
            asked += (Question(unit, "Socket", name) for name in SOCKET)
        elif unit.name.endswith(".timer"):
            asked.append(Question(unit, "Timer", "LastTriggerUSec"))
    return asked


def manager_samples(version: str, virtualization: str, state: str) -> Iterator[Sample]:
    """What systemd says of itself."""
    number = VERSION_NUMBER.search(version)
    yield VERSION(float(number[0]) if number else 0.0, version if number else "")
    yield VIRTUALIZATION(1.0, virtualization or "none")
    yield RUNNING(float(state == "running"))


def property_sample(question: Question, found: float) -> Sample:
    """The sample of a socket's or timer's property."""
    if question.interface == "Timer":
        return TIMER(found / 1e6, question.unit.name)
    return SOCKET[question.name](found, question.unit.name)


class Systemd:
    """The part `systemd`."""

    def __init__(self, machine: Machine) -> None:
        options = machine.options
        self._root = machine.root
        self._chosen = Filter(f"^(?:{options.units_exclude})$", f"^(?:{options.units_include})$")
        self._types: dict[tuple[str, str], str] = {}  # unit and its state -> type
        self._bus: Bus | None = None

    async def __call__(self) -> list[Sample]:
        """One round."""
        try:
            async with asyncio.timeout(TIMEOUT):
                bus = self._bus or await self._connect()
                return [*await self._collect(bus)]
        except OSError:  # TimeoutError and DBusError too
            self.close()
            raise
        except asyncio.CancelledError:  # answers would come to the next round's calls
            self.close()
            raise

    async def _connect(self) -> Bus:
        failure: OSError = FileNotFoundError("no socket of systemd")
        for name, is_bus in SOCKETS:
            if not self._root.exists(name):
                continue
            try:
                bus = await Bus.connect(self._root.path(name))
            except OSError as error:
                failure = error
                continue
            self._bus = bus
            if is_bus:
                await bus.call([HELLO])
            return bus
        if isinstance(failure, FileNotFoundError | ConnectionRefusedError):
            raise NoData("no systemd")
        raise failure

    async def _collect(self, bus: Bus) -> list[Sample]:
        names = ("Version", "Virtualization", "SystemState")
        gets = [Call(MANAGER, PROPERTIES, "Get", (f"{SYSTEMD}.Manager", name)) for name in names]
        listed, *told = await bus.call([LIST, *gets])
        units = parse_units(listed)
        version, virtualization, state = (str(value(answer, "")) for answer in told)
        samples = [*manager_samples(version, virtualization, state), *summary(units)]
        chosen = [unit for unit in units if unit.load == "loaded" and self._chosen(unit.name)]
        await self._learn_types(bus, chosen)
        for unit in chosen:
            kind = self._types.get((unit.name, unit.active), "")
            samples += (UNIT_STATE(float(unit.active == state), unit.name, state, kind) for state in STATES)
        asked = questions(chosen)
        for question, answer in zip(asked, await bus.call([question.call() for question in asked]), strict=True):
            if isinstance(found := value(answer, None), int):
                samples.append(property_sample(question, float(found)))
        return samples

    async def _learn_types(self, bus: Bus, units: list[Unit]) -> None:
        typed = {unit: TYPED[suffix] for unit in units for suffix in TYPED if unit.name.endswith(suffix)}
        known = self._types
        self._types = {key: known[key] for unit in typed if (key := (unit.name, unit.active)) in known}
        asked = [Question(unit, kind, "Type") for unit, kind in typed.items() if (unit.name, unit.active) not in known]
        answers = await bus.call([question.call() for question in asked])
        for question, answer in zip(asked, answers, strict=True):
            self._types[question.unit.name, question.unit.active] = str(value(answer, ""))

    def close(self) -> None:
        """Hang up."""
        if self._bus is not None:
            self._bus.close()
            self._bus = None
