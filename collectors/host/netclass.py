"""Properties of network interfaces, from /sys/class/net (Documentation/ABI/testing/sysfs-class-net of the kernel)."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from agent.model import Family, NoData, Sample, counter, gauge

from .machine import Filter, Machine

CLASS = "class/net"
MAX_KEPT = 8  # devices whose files stay open, about 20 each
IFF_UP = 0x1

UP = gauge("node_network_up", "Value is 1 if operstate is 'up', 0 otherwise.", "device")
INFO = gauge(
    "node_network_info",
    "Non-numeric data from /sys/class/net/<iface>, value is always 1.",
    *("device", "address", "broadcast", "duplex", "operstate", "adminstate", "ifalias"),
)
SPEED = gauge("node_network_speed_bytes", "Network device property: speed_bytes", "device")


def _gauge(name: str) -> Family:
    return gauge(f"node_network_{name}", f"Network device property: {name}", "device")


def _counter(name: str) -> Family:
    return counter(f"node_network_{name}", f"Network device property: {name}", "device")


FIXED = {  # file -> family; what a device keeps as long as it lives
    "dev_id": _gauge("device_id"),
    "ifindex": _gauge("iface_id"),
    "name_assign_type": _gauge("name_assign_type"),
    "type": _gauge("protocol_type"),
}
NUMBERS = {  # file -> family
    "addr_assign_type": _gauge("address_assign_type"),
    "carrier": _gauge("carrier"),
    "carrier_changes": _counter("carrier_changes_total"),
    "carrier_up_count": _counter("carrier_up_changes_total"),
    "carrier_down_count": _counter("carrier_down_changes_total"),
    "dormant": _gauge("dormant"),
    "flags": _gauge("flags"),
    "iflink": _gauge("iface_link"),
    "link_mode": _gauge("iface_link_mode"),
    "mtu": _gauge("mtu_bytes"),
    "netdev_group": _gauge("net_dev_group"),
    "speed": SPEED,
    "tx_queue_len": _gauge("transmit_queue_length"),
}
WORDS = ("address", "broadcast", "duplex", "operstate", "ifalias")
UNSUPPORTED = {errno.ENOENT, errno.ENODEV, errno.EACCES, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP}


def parse_number(text: str) -> float | None:
    """A number as sysfs writes it, decimal or `0x`; None for anything else."""
    try:
        return float(int(text, 0))
    except ValueError:
        return None


def admin_state(flags: float | None) -> str:
    """Whether the interface is switched on."""
    if flags is None:
        return "unknown"
    return "up" if int(flags) & IFF_UP else "down"


class Device:
    """An interface: its directory's inode, its open files, and what it keeps as long as it lives."""

    def __init__(self, path: str, inode: int, keep: bool) -> None:
        self.inode = inode
        self._path = path
        self._keep = keep
        self._open: dict[str, int] = {}
        name = os.path.basename(path)
        values = {file: self.number(file) for file in FIXED}
        self.fixed = [FIXED[file](value, name) for file, value in values.items() if value is not None]

    def word(self, file: str) -> str | None:
        """A file, stripped; None where this device does not have it or say it."""
        try:
            return self._read(file).decode("utf-8", "replace").strip()
        except OSError as error:
            if error.errno in UNSUPPORTED:
                return None
            raise

    def number(self, file: str) -> float | None:
        """A file as a number."""
        text = self.word(file)
        return None if text is None else parse_number(text)

    def _read(self, file: str) -> bytes:
        fd = self._open.get(file)
        if fd is not None:
            return os.pread(fd, 4096, 0)
        fd = os.open(f"{self._path}/{file}", os.O_RDONLY)
        if self._keep:
            self._open[file] = fd
            return os.pread(fd, 4096, 0)
        try:
            return os.read(fd, 4096)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the files that stayed open."""
        while self._open:
            os.close(self._open.popitem()[1])


class Netclass:
    """The part `netclass`. The files of the first `MAX_KEPT` devices stay open, which is a sixth of the cost."""

    def __init__(self, machine: Machine) -> None:
        self._sys = machine.sys
        self._chosen = Filter(machine.options.netclass_exclude)
        self._devices: dict[str, Device] = {}

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        try:
            with os.scandir(self._sys.path(CLASS)) as entries:
                names = sorted(entry.name for entry in entries if not entry.is_file(follow_symlinks=False))
        except (FileNotFoundError, PermissionError):
            raise NoData("no network class") from None
        chosen = [name for name in names if self._chosen(name)]
        for gone in self._devices.keys() - set(chosen):
            self._devices.pop(gone).close()
        for name in chosen:
            if device := self._device(name):
                yield from self._samples(device, name)

    def _device(self, name: str) -> Device | None:
        path = self._sys.path(f"{CLASS}/{name}")
        inode = self._sys.inode(f"{CLASS}/{name}")
        known = self._devices.get(name)
        if inode is None or (known and known.inode == inode):
            return known if inode is not None else None  # gone since it was listed
        if known:
            known.close()
        made = self._devices[name] = Device(path, inode, len(self._devices) < MAX_KEPT)
        return made

    def _samples(self, device: Device, name: str) -> Iterator[Sample]:
        words = {file: device.word(file) or "" for file in WORDS}
        numbers = {file: device.number(file) for file in NUMBERS}
        yield UP(float(words["operstate"] == "up"), name)
        address, broadcast, duplex, operstate, alias = words.values()
        yield INFO(1.0, name, address, broadcast, duplex, operstate, admin_state(numbers["flags"]), alias)
        for file, value in numbers.items():
            if value is not None:
                unit = 125000.0 if file == "speed" else 1.0  # Mbit/s as bytes
                yield NUMBERS[file](value * unit, name)
        yield from device.fixed

    def close(self) -> None:
        """Close the files that stayed open."""
        for device in self._devices.values():
            device.close()
