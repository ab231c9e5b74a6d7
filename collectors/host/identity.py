"""What the machine is: kernel, distribution, firmware, clock sources, SELinux."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from agent.model import NoData, Sample, gauge

from .machine import Machine

UNAME = gauge(
    "node_uname_info",
    "Labeled system information as provided by the uname system call.",
    *("sysname", "release", "version", "machine", "nodename", "domainname"),
)
OS_LABELS = (
    *("build_id", "id", "id_like", "image_id", "image_version", "name", "pretty_name"),
    *("variant", "variant_id", "version", "version_codename", "version_id"),
)
OS_INFO = gauge(
    "node_os_info",
    "A metric with a constant '1' value labeled by build_id, id, id_like, image_id, image_version, "
    "name, pretty_name, variant, variant_id, version, version_codename, version_id.",
    *OS_LABELS,
)
OS_VERSION = gauge(
    "node_os_version", "Metric containing the major.minor part of the OS version.", "id", "id_like", "name"
)
OS_SUPPORT_END = gauge(
    "node_os_support_end_timestamp_seconds", "Metric containing the end-of-life date timestamp of the OS."
)
DMI_LABELS = (
    *("bios_date", "bios_release", "bios_vendor", "bios_version"),
    *("board_asset_tag", "board_name", "board_serial", "board_vendor", "board_version"),
    *("chassis_asset_tag", "chassis_serial", "chassis_vendor", "chassis_version"),
    *("product_family", "product_name", "product_serial", "product_sku", "product_uuid", "product_version"),
    "system_vendor",
)
DMI_HELP = f"A metric with a constant '1' value labeled by {', '.join(DMI_LABELS)} if provided by DMI."
TIME = gauge("node_time_seconds", "System time in seconds since epoch (1970).")
ZONE = gauge("node_time_zone_offset_seconds", "System time zone offset in seconds.", "time_zone")
CLOCKSOURCE_AVAILABLE = gauge(
    "node_time_clocksource_available_info",
    "Available clocksources read from '/sys/devices/system/clocksource'.",
    *("device", "clocksource"),
)
CLOCKSOURCE_CURRENT = gauge(
    "node_time_clocksource_current_info",
    "Current clocksource read from '/sys/devices/system/clocksource'.",
    *("device", "clocksource"),
)
SELINUX_ENABLED = gauge("node_selinux_enabled", "SELinux is enabled, 1 is true, 0 is false")
SELINUX_CONFIG = gauge("node_selinux_config_mode", "Configured SELinux enforcement mode")
SELINUX_CURRENT = gauge("node_selinux_current_mode", "Current SELinux enforcement mode")
SELINUX_MODES = {"enforcing": 1.0, "permissive": 0.0}
OS_RELEASE = ("etc/os-release", "usr/lib/os-release")
ESCAPED = re.compile(r"\\([\"$`\\])")


def uname(machine: Machine) -> Iterator[Sample]:
    """The part `uname`."""
    found = os.uname()
    domain = machine.proc.optional("sys/kernel/domainname") or "(none)"
    yield UNAME(1.0, found.sysname, found.release, found.version, found.machine, found.nodename, domain)


def parse_os_release(text: str) -> dict[str, str]:
    """The assignments of os-release(5), by lower-case name."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or name.startswith("#"):
            continue
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1] if value[0] == "'" else ESCAPED.sub(r"\1", value[1:-1])
        found[name.lower()] = value
    return found


def os_samples(found: dict[str, str]) -> Iterator[Sample]:
    """The samples of an os-release file."""
    yield OS_INFO(1.0, *(found.get(label, "") for label in OS_LABELS))
    if version := re.match(r"[0-9]+\.?[0-9]*", found.get("version_id", "")):
        yield OS_VERSION(float(version[0]), found.get("id", ""), found.get("id_like", ""), found.get("name", ""))
    if "support_end" in found:
        end = datetime.strptime(found["support_end"], "%Y-%m-%d").replace(tzinfo=UTC)
        yield OS_SUPPORT_END(end.timestamp())


class Os:
    """The part `os`; the file is read again when it changed."""

    def __init__(self, machine: Machine) -> None:
        self._root = machine.root
        self._seen: tuple[str, int] | None = None
        self._samples: list[Sample] = []

    def __call__(self) -> list[Sample]:
        """One round."""
        for name in OS_RELEASE:
            if (changed := self._root.changed(name)) is not None:
                if self._seen != (name, changed):
                    self._samples = list(os_samples(parse_os_release(self._root.text(name))))
                    self._seen = name, changed
                return self._samples
        raise NoData("no os-release file")


class Dmi:
    """The part `dmi`: read once, as firmware does not change while it runs."""

    def __init__(self, machine: Machine) -> None:
        self._sys = machine.sys
        self._families = machine.families
        self._sample: Sample | None = None
        self._read = False

    def __call__(self) -> list[Sample]:
        """One round."""
        if not self._read:
            self._sample, self._read = self._find(), True
        if self._sample is None:
            raise NoData("no DMI")
        return [self._sample]

    def _find(self) -> Sample | None:
        names = {label: "sys_vendor" if label == "system_vendor" else label for label in DMI_LABELS}
        values = {label: self._sys.optional(f"class/dmi/id/{name}") for label, name in names.items()}
        found = {label: value for label, value in values.items() if value is not None}
        family = self._families("gauge", "node_dmi_info", DMI_HELP, *found)
        return family(1.0, *found.values()) if found else None


class Clock:
    """The part `time`."""

    def __init__(self, machine: Machine) -> None:
        self._sys = machine.sys

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        now = time.time()
        local = time.localtime(now)
        yield TIME(now)
        yield ZONE(float(local.tm_gmtoff), local.tm_zone)
        directory = "devices/system/clocksource"
        sources = [name for name in self._sys.entries(directory) if name.startswith("clocksource")]
        for at, name in enumerate(sources):
            for source in self._sys.word(f"{directory}/{name}/available_clocksource").split():
                yield CLOCKSOURCE_AVAILABLE(1.0, str(at), source)
            yield CLOCKSOURCE_CURRENT(1.0, str(at), self._sys.word(f"{directory}/{name}/current_clocksource"))


def parse_selinux_config(text: str) -> float:
    """The mode of /etc/selinux/config: 1 enforcing, 0 permissive, -1 disabled."""
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip() == "SELINUX":
            return SELINUX_MODES.get(value.strip().lower(), -1.0)
    return -1.0


def selinux(machine: Machine) -> Iterator[Sample]:
    """The part `selinux`."""
    current = machine.sys.optional("fs/selinux/enforce")
    if current is None:
        yield SELINUX_ENABLED(0.0)
        return
    yield SELINUX_ENABLED(1.0)
    yield SELINUX_CONFIG(parse_selinux_config(machine.root.optional_text("etc/selinux/config")))
    yield SELINUX_CURRENT(float(current))
