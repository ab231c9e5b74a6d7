"""Sensors of the hardware monitors: temperatures, fans, voltages, currents, power.

Source: Documentation/hwmon/sysfs-interface.rst of the kernel. Which files a chip has and what its sensors are called
is learned once, while its directory stays the same.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from agent.model import Kind, NoData, Sample, gauge

from .machine import Families, Filter, Machine, Tree, words

CLASS = "class/hwmon"
TYPES = frozenset(
    words("vrm beep_enable update_interval in cpu fan pwm temp curr power energy humidity intrusion freq")
)
FILE = re.compile(r"^([^0-9]+)([0-9]*)(?:_(.+))?$")  # type, number, property
NOT_IN_NAMES = re.compile(r"[^a-z0-9:_]")
LABELS = ("chip", "sensor")
HUMIDITY_HELP = "Hardware monitor for humidity, as a ratio (multiply with 100.0 to get the humidity as a percentage)"

CHIP_NAMES = gauge("node_hwmon_chip_names", "Annotation metric for human-readable chip names", "chip", "chip_name")
LABEL = gauge("node_hwmon_sensor_label", "Label for given chip and sensor", "chip", "sensor", "label")
WHOLE = {  # sensors that are one file: family, unit
    "vrm": (gauge("node_hwmon_voltage_regulator_version", "Hardware voltage regulator", *LABELS), 1.0),
    "update_interval": (
        gauge("node_hwmon_update_interval_seconds", "Hardware monitor update interval", *LABELS),
        0.001,
    ),
    "beep_enable": (gauge("node_hwmon_beep_enabled", "Hardware beep enabled", *LABELS), 1.0),
}


class Reading(NamedTuple):
    """A file of a chip: which sensor, of what type, which property of it."""

    sensor: str
    type: str
    property: str
    path: str


class Chip(NamedTuple):
    """A chip: its directory, inode, name from its place, the content of its `name` file, and its files."""

    directory: str
    inode: int
    base: str
    name: str
    readings: list[Reading]


def clean(name: str) -> str:
    """A name as metrics and labels have it."""
    return NOT_IN_NAMES.sub("_", name.lower()).strip("_")


def parse_file_name(name: str) -> tuple[str, str, str] | None:
    """Sensor, type and property of a file such as `temp1_crit`; None where it is no sensor's."""
    match = FILE.match(name)
    if not match or match[1] not in TYPES:
        return None
    return f"{match[1]}{int(match[2] or 0)}", match[1], match[3] or ""


class Meaning(NamedTuple):
    """What a property is: the rest of its metric's name, its help, and what one of its value is worth."""

    suffix: str
    help: str
    unit: float = 1.0


def meaning(kind: str, element: str) -> Meaning:
    """What the property `element` of a sensor of this type is."""
    match kind, element:
        case _, "fault" | "alarm":
            return Meaning("", f"Hardware sensor {element} status ({kind})")
        case _, "beep":
            return Meaning("_enabled", "Hardware monitor sensor has beeping enabled")
        case "in" | "cpu", _:
            return Meaning("_volts", f"Hardware monitor for voltage ({element})", 0.001)
        case "temp", _ if element != "type":
            return Meaning("_celsius", f"Hardware monitor for temperature ({element or 'input'})", 0.001)
        case "curr", _:
            return Meaning("_amps", f"Hardware monitor for current ({element})", 0.001)
        case "energy", _:
            return Meaning("_joule_total", f"Hardware monitor for joules used so far ({element})", 1e-6)
        case "power", "accuracy":
            return Meaning("", "Hardware monitor power meter accuracy, as a ratio", 1e-6)
        case "power", "average_interval" | "average_interval_min" | "average_interval_max":
            return Meaning("_seconds", f"Hardware monitor power usage update interval ({element})", 0.001)
        case "power", _:
            return Meaning("_watt", f"Hardware monitor for power usage in watts ({element})", 1e-6)
        case "humidity", _:
            return Meaning("", f"{HUMIDITY_HELP} ({element})", 1e-6)
        case "fan", "input" | "min" | "max" | "target":
            return Meaning("_rpm", f"Hardware monitor for fan revolutions per minute ({element})")
        case "freq", "input":
            return Meaning("_freq_mhz", "Hardware monitor for GPU frequency in MHz", 1e-6)
    return Meaning("", f"Hardware monitor {kind} element {element}")


def metric_name(kind: str, element: str, named_input: bool) -> str:
    """The metric's name without its unit; `input` is the value itself, unless the sensor has a bare file too."""
    if not element or (element == "input" and not named_input):
        return f"node_hwmon_{kind}"
    return f"node_hwmon_{kind}_{clean(element)}"


def sensor_samples(families: Families, chip: str, sensor: str, kind: str, values: dict[str, str]) -> Iterator[Sample]:
    """The samples of one sensor, from the text of its properties."""
    if "label" in values:
        yield LABEL(1.0, chip, sensor, values["label"])
    if kind in WHOLE:
        family, unit = WHOLE[kind]
        if (value := parse_value(values.get("", ""))) is not None:
            yield family(value * unit, chip, sensor)
        return
    for element, text in values.items():
        value = parse_value(text)
        if element == "label" or value is None:
            continue
        suffix, help, unit = meaning(kind, element)
        name, shown = metric_name(kind, element, "" in values), sensor
        if suffix == "_freq_mhz":
            if "label" not in values:
                continue
            shown = clean(values["label"])
        type_: Kind = "counter" if suffix.endswith("_total") else "gauge"
        yield families(type_, name + suffix, help, *LABELS)(value * unit, chip, shown)


def parse_value(text: str) -> float | None:
    """A number; None for anything else."""
    try:
        return float(text)
    except ValueError:
        return None


def chip_labels(chips: list[Chip]) -> list[str]:
    """A label for each chip; those that share a device are told apart by their name, or by their directory."""
    bases = Counter(chip.base for chip in chips)
    names = Counter((chip.base, chip.name) for chip in chips)
    labels = []
    for chip in chips:
        label = chip.base
        if bases[chip.base] > 1:
            unique = clean(chip.name) if names[chip.base, chip.name] == 1 else ""
            label += f"_{unique or clean(os.path.basename(chip.directory))}"
        labels.append(label)
    return labels


class Hwmon:
    """The part `hwmon`."""

    def __init__(self, machine: Machine) -> None:
        options = machine.options
        self._sys: Tree = machine.sys
        self._families = machine.families
        self._chips_chosen = Filter(options.chips_exclude, options.chips_include)
        self._sensors_chosen = Filter(options.sensors_exclude, options.sensors_include)
        self._chips: dict[str, Chip] = {}

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        try:
            names = self._sys.names(CLASS)
        except FileNotFoundError:
            raise NoData("no hardware monitors") from None
        self._chips = {name: chip for name in names if (chip := self._chip(name))}
        chips = [*self._chips.values()]
        for chip, label in zip(chips, chip_labels(chips), strict=True):
            if self._chips_chosen(label):
                yield from self._samples(chip, label)

    def _chip(self, name: str) -> Chip | None:
        directory = f"{CLASS}/{name}"
        inode = self._sys.inode(directory)
        known = self._chips.get(name)
        if inode is None or (known and known.inode == inode):
            return known if inode is not None else None
        title = self._sys.optional(f"{directory}/name") or ""
        base = self._place(directory) or clean(title) or clean(name)
        return Chip(directory, inode, base, title, [*self._readings(directory)])

    def _place(self, directory: str) -> str:
        if not self._sys.exists(f"{directory}/device"):
            return ""
        parent, device = os.path.split(os.path.realpath(self._sys.path(f"{directory}/device")))
        return "_".join(filter(None, (clean(os.path.basename(parent)), clean(device)))) if clean(device) else ""

    def _readings(self, directory: str) -> Iterator[Reading]:
        found: dict[tuple[str, str], Reading] = {}
        for place in (directory, f"{directory}/device"):
            for name in self._sys.entries(place):
                if parsed := parse_file_name(name):
                    sensor, kind, element = parsed
                    found[sensor, element] = Reading(sensor, kind, element, f"{place}/{name}")
        return iter(sorted(found.values()))

    def _samples(self, chip: Chip, label: str) -> Iterator[Sample]:
        if clean(chip.name):
            yield CHIP_NAMES(1.0, label, clean(chip.name))
        for (sensor, kind), readings in groupby(chip.readings, key=lambda reading: reading[:2]):
            if self._sensors_chosen(f"{label};{sensor}"):
                texts = {reading.property: self._sys.optional(reading.path) for reading in readings}
                values = {element: text for element, text in texts.items() if text is not None}
                yield from sensor_samples(self._families, label, sensor, kind, values)
