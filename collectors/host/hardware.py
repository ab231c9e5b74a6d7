"""Frequencies, temperatures, memory errors, energy, power supplies, watchdogs: small classes of /sys."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

from agent.model import NoData, Sample, counter, gauge

from .machine import Filter, Machine, Tree, words

CPU = "devices/system/cpu"
CPUFREQ = {  # file of cpufreq, in kHz -> family
    "cpuinfo_cur_freq": gauge("node_cpu_frequency_hertz", "Current CPU thread frequency in hertz.", "cpu"),
    "cpuinfo_avg_freq": gauge("node_cpu_frequency_avg_hertz", "Average CPU thread frequency in hertz.", "cpu"),
    "cpuinfo_min_freq": gauge("node_cpu_frequency_min_hertz", "Minimum CPU thread frequency in hertz.", "cpu"),
    "cpuinfo_max_freq": gauge("node_cpu_frequency_max_hertz", "Maximum CPU thread frequency in hertz.", "cpu"),
    "scaling_cur_freq": gauge(
        "node_cpu_scaling_frequency_hertz", "Current scaled CPU thread frequency in hertz.", "cpu"
    ),
    "scaling_min_freq": gauge(
        "node_cpu_scaling_frequency_min_hertz", "Minimum scaled CPU thread frequency in hertz.", "cpu"
    ),
    "scaling_max_freq": gauge(
        "node_cpu_scaling_frequency_max_hertz", "Maximum scaled CPU thread frequency in hertz.", "cpu"
    ),
}
CPUFREQ_FIXED = frozenset({"cpuinfo_min_freq", "cpuinfo_max_freq"})
GOVERNOR = gauge("node_cpu_scaling_governor", "Current enabled CPU frequency governor.", "cpu", "governor")

ZONE_TEMP = gauge("node_thermal_zone_temp", "Zone temperature in Celsius", "zone", "type")
COOLING_CURRENT = gauge("node_cooling_device_cur_state", "Current throttle state of the cooling device", "name", "type")
COOLING_MAX = gauge("node_cooling_device_max_state", "Maximum throttle state of the cooling device", "name", "type")

EDAC = "devices/system/edac/mc"
CE = counter("node_edac_correctable_errors_total", "Total correctable memory errors.", "controller")
UE = counter("node_edac_uncorrectable_errors_total", "Total uncorrectable memory errors.", "controller")
ROW_LABELS = ("controller", "csrow")
ROW_CE = counter(
    "node_edac_csrow_correctable_errors_total", "Total correctable memory errors for this csrow.", *ROW_LABELS
)
ROW_UE = counter(
    "node_edac_csrow_uncorrectable_errors_total", "Total uncorrectable memory errors for this csrow.", *ROW_LABELS
)
CHANNEL_LABELS = ("controller", "csrow", "channel", "dimm_label")
CHANNEL_CE = counter(
    "node_edac_channel_correctable_errors_total", "Total correctable memory errors for this channel.", *CHANNEL_LABELS
)
CHANNEL_UE = counter(
    "node_edac_channel_uncorrectable_errors_total",
    "Total uncorrectable memory errors for this channel.",
    *CHANNEL_LABELS,
)
WATCHDOG = {  # file -> family
    "bootstatus": gauge("node_watchdog_bootstatus", "Value of /sys/class/watchdog/<watchdog>/bootstatus", "name"),
    "fw_version": gauge("node_watchdog_fw_version", "Value of /sys/class/watchdog/<watchdog>/fw_version", "name"),
    "nowayout": gauge("node_watchdog_nowayout", "Value of /sys/class/watchdog/<watchdog>/nowayout", "name"),
    "timeleft": gauge("node_watchdog_timeleft_seconds", "Value of /sys/class/watchdog/<watchdog>/timeleft", "name"),
    "timeout": gauge("node_watchdog_timeout_seconds", "Value of /sys/class/watchdog/<watchdog>/timeout", "name"),
    "pretimeout": gauge(
        "node_watchdog_pretimeout_seconds", "Value of /sys/class/watchdog/<watchdog>/pretimeout", "name"
    ),
    "access_cs0": gauge("node_watchdog_access_cs0", "Value of /sys/class/watchdog/<watchdog>/access_cs0", "name"),
}
WATCHDOG_WORDS = ("options", "identity", "state", "status", "pretimeout_governor")
WATCHDOG_INFO = gauge("node_watchdog_info", "Info of /sys/class/watchdog/<watchdog>", "name", *WATCHDOG_WORDS)
NOT_IN_NAMES = re.compile(r"_*[^0-9A-Za-z_]+_*")


def numbered(names: list[str], prefix: str) -> Iterator[tuple[str, str]]:
    """The names that are the prefix and a number, with that number, in their order."""
    for name in names:
        if name.startswith(prefix) and (number := name[len(prefix) :]).isdigit():
            yield name, number


class Cpufreq:
    """The part `cpufreq`; limits of the hardware are read once."""

    def __init__(self, machine: Machine) -> None:
        self._sys = machine.sys
        self._fixed: dict[str, str | None] = {}

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        for name, cpu in sorted(numbered(self._sys.entries(CPU), "cpu"), key=lambda pair: int(pair[1])):
            directory = f"{CPU}/{name}/cpufreq"
            if self._sys.exists(directory):
                yield from self._core(directory, cpu)

    def _core(self, directory: str, cpu: str) -> Iterator[Sample]:
        for file, family in CPUFREQ.items():
            text = self._read(f"{directory}/{file}", file in CPUFREQ_FIXED)
            if text and text.isdigit():
                yield family(int(text) * 1000.0, cpu)
        governor = self._sys.optional(f"{directory}/scaling_governor")
        available = self._read(f"{directory}/scaling_available_governors", fixed=True)
        if governor and available is not None:
            for name in available.split(" "):
                yield GOVERNOR(float(name == governor), cpu, name)

    def _read(self, path: str, fixed: bool) -> str | None:
        if not fixed:
            return self._sys.optional(path)
        if path not in self._fixed:
            self._fixed[path] = self._sys.optional(path)
        return self._fixed[path]


def thermal_zone(machine: Machine) -> Iterator[Sample]:
    """The part `thermal_zone`: zones and cooling devices; one that cannot be read is left out."""
    sys, directory = machine.sys, "class/thermal"
    names = sys.entries(directory)
    for name, zone in numbered(names, "thermal_zone"):
        kind, temperature = (sys.optional(f"{directory}/{name}/{file}") for file in ("type", "temp"))
        if kind is not None and temperature is not None:
            yield ZONE_TEMP(int(temperature) / 1000.0, zone, kind)
    for name, device in numbered(names, "cooling_device"):
        kind, current, maximum = (
            sys.optional(f"{directory}/{name}/{file}") for file in ("type", "cur_state", "max_state")
        )
        if kind is not None and current is not None and maximum is not None:
            yield COOLING_CURRENT(float(current), device, kind)
            yield COOLING_MAX(float(maximum), device, kind)


def edac(machine: Machine) -> Iterator[Sample]:
    """The part `edac`: memory errors by controller, row and channel."""
    sys = machine.sys
    for name, controller in numbered(sys.entries(EDAC), "mc"):
        directory = f"{EDAC}/{name}"
        yield CE(sys.number(f"{directory}/ce_count"), controller)
        yield ROW_CE(sys.number(f"{directory}/ce_noinfo_count"), controller, "unknown")
        yield UE(sys.number(f"{directory}/ue_count"), controller)
        yield ROW_UE(sys.number(f"{directory}/ue_noinfo_count"), controller, "unknown")
        for row, number in numbered(sys.names(directory), "csrow"):
            yield from _edac_row(sys, f"{directory}/{row}", controller, number)


def _edac_row(sys: Tree, directory: str, controller: str, row: str) -> Iterator[Sample]:
    yield ROW_CE(sys.number(f"{directory}/ce_count"), controller, row)
    yield ROW_UE(sys.number(f"{directory}/ue_count"), controller, row)
    for name in sys.names(directory):
        channel = name.removeprefix("ch").removesuffix("_ce_count")
        if name != f"ch{channel}_ce_count" or not channel.isdigit():
            continue
        label = edac_label(sys.optional(f"{directory}/ch{channel}_dimm_label"))
        yield CHANNEL_CE(sys.number(f"{directory}/{name}"), controller, row, channel, label)
        uncorrectable = sys.optional(f"{directory}/ch{channel}_ue_count")
        if uncorrectable and uncorrectable.isdigit():
            yield CHANNEL_UE(float(uncorrectable), controller, row, channel, label)


def edac_label(text: str | None) -> str:
    """A DIMM's label as node_exporter writes it: `mc#0csrow#1channel#0` is `mc0_csrow1_channel0`."""
    if text is None:
        return "unknown"
    return text.replace("#", "").replace("csrow", "_csrow").replace("channel", "_channel")


def parse_zone_name(name: str, seen: dict[str, int]) -> tuple[str, str]:
    """Name and index of a RAPL zone: `package-0` has its index in it, others are counted in `seen`."""
    base, dash, index = name.partition("-")
    if not (dash and index.isdigit()):
        base, index = name, str(seen.get(name, 0))
    seen[base] = int(index) + 1
    return base, index


def rapl(machine: Machine) -> Iterator[Sample]:
    """The part `rapl`: energy counters of processor packages; root alone may read them on newer kernels."""
    sys, directory = machine.sys, "class/powercap"
    seen: dict[str, int] = {}
    try:
        for entry in sys.names(directory):
            if (text := sys.optional(f"{directory}/{entry}/name")) is None:
                continue
            name, index = parse_zone_name(text, seen)
            joules = sys.number(f"{directory}/{entry}/energy_uj") / 1000000.0
            metric = f"node_rapl_{NOT_IN_NAMES.sub('_', name)}_joules_total"
            family = machine.families("counter", metric, f"Current RAPL {name} value in joules", "index", "path")
            yield family(joules, index, sys.path(f"{directory}/{entry}"))
    except (FileNotFoundError, PermissionError):
        raise NoData("no energy counters to read") from None


def watchdog(machine: Machine) -> Iterator[Sample]:
    """The part `watchdog`."""
    sys, directory = machine.sys, "class/watchdog"
    try:
        names = sys.names(directory)
    except (FileNotFoundError, PermissionError):
        raise NoData("no watchdogs") from None
    for name in names:
        for file, family in WATCHDOG.items():
            if (text := sys.optional(f"{directory}/{name}/{file}")) is not None:
                yield family(float(int(text, 0)), name)
        words = (sys.optional(f"{directory}/{name}/{file}") or "" for file in WATCHDOG_WORDS)
        yield WATCHDOG_INFO(1.0, name, *words)


SUPPLY_HELP = "{} value of /sys/class/power_supply/<power_supply>."
SUPPLY_RENAMED = {
    "cycle_count": "cyclecount",
    "time_to_empty_now": "time_to_empty_seconds",
    "time_to_full_now": "time_to_full_seconds",
    "current_now": "current_ampere",
    "energy_now": "energy_watthour",
    "voltage_now": "voltage_volt",
    "charge_now": "charge_ampere",
    "power_now": "power_watt",
}
SUPPLY_PLAIN = words(
    "authentic calibrate capacity capacity_alert_max capacity_alert_min cycle_count online present"
    " time_to_empty_now time_to_full_now"
)
SUPPLY_MICRO = words(
    "current_boot current_max current_now energy_empty energy_empty_design energy_full energy_full_design"
    " energy_now voltage_boot voltage_max voltage_max_design voltage_min voltage_min_design voltage_now"
    " voltage_ocv charge_control_limit charge_control_limit_max charge_counter charge_empty charge_empty_design"
    " charge_full charge_full_design charge_now charge_term_current constant_charge_current"
    " constant_charge_current_max constant_charge_voltage constant_charge_voltage_max precharge_current"
    " input_current_limit power_now"
)
SUPPLY_TENTH = words(
    "temp temp_alert_max temp_alert_min temp_ambient temp_ambient_max temp_ambient_min temp_max temp_min"
)
SUPPLY_NUMBERS = {  # file -> name, divisor
    **{file: (SUPPLY_RENAMED.get(file, file), 1.0) for file in SUPPLY_PLAIN},
    **{file: (SUPPLY_RENAMED.get(file, file), 1e6) for file in SUPPLY_MICRO},
    **{file: (f"{file}_celsius", 10.0) for file in SUPPLY_TENTH},
}
SUPPLY_WORDS = words(
    "capacity_level charge_type health manufacturer model_name serial_number status technology type usb_type scope"
)
SUPPLY_SILENT = {errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV, errno.EINVAL, errno.ENODATA}


class PowerSupply:
    """The part `powersupplyclass`: batteries, chargers, mains."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._chosen = Filter(machine.options.power_supplies_exclude)

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        directory = "class/power_supply"
        try:
            names = self._machine.sys.names(directory)
        except FileNotFoundError:
            raise NoData("no power supplies") from None
        for name in names:
            if self._chosen(name):
                yield from self._supply(f"{directory}/{name}", name)

    def _supply(self, directory: str, name: str) -> Iterator[Sample]:
        present = frozenset(self._machine.sys.names(directory))
        families = self._machine.families
        for file, (metric, divisor) in SUPPLY_NUMBERS.items():
            if file in present and (text := self._read(f"{directory}/{file}")) is not None:
                family = families("gauge", f"node_power_supply_{metric}", SUPPLY_HELP.format(metric), "power_supply")
                yield family(int(text) / divisor, name)
        texts = {file: self._read(f"{directory}/{file}") for file in SUPPLY_WORDS if file in present}
        words = {file: text for file, text in texts.items() if text}
        help = "info of /sys/class/power_supply/<power_supply>."
        yield families("gauge", "node_power_supply_info", help, "power_supply", *words)(1.0, name, *words.values())

    def _read(self, path: str) -> str | None:
        try:
            return self._machine.sys.word(path)
        except OSError as error:
            if error.errno in SUPPLY_SILENT:
                return None
            raise
