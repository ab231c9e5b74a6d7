"""Network traffic and neighbours per interface.

From netlink, as node_exporter does, because it counts more and costs less than /proc/net/dev; from the files where
`proc` is not the procfs of this network namespace.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Iterator

from agent.model import Sample, counter, gauge

from .machine import Filter, Machine
from .netlink import Netlink, parse_attributes

GETLINK, GETNEIGH = 18, 30  # linux/rtnetlink.h
IFINFO = struct.Struct("=BxHiII")  # struct ifinfomsg
NDMSG = struct.Struct("=BxHiHBB")  # struct ndmsg
IFLA_IFNAME, IFLA_STATS64 = 3, 23
STATS64 = struct.Struct("=24Q")  # struct rtnl_link_stats64, up to rx_nohandler
NUD_NOARP = 0x40

ENTRIES = gauge("node_arp_entries", "ARP entries by device", "device")
NAMES = (
    *("receive_packets", "transmit_packets", "receive_bytes", "transmit_bytes", "receive_errs", "transmit_errs"),
    *("receive_drop", "transmit_drop", "receive_multicast", "transmit_colls", "receive_frame", "receive_fifo"),
    *("transmit_carrier", "transmit_fifo", "receive_compressed", "transmit_compressed", "receive_nohandler"),
)
TRAFFIC = {name: counter(f"node_network_{name}_total", f"Network device statistic {name}.", "device") for name in NAMES}
DEV_COLUMNS = (  # /proc/net/dev
    *("receive_bytes", "receive_packets", "receive_errs", "receive_drop", "receive_fifo", "receive_frame"),
    *("receive_compressed", "receive_multicast", "transmit_bytes", "transmit_packets", "transmit_errs"),
    *("transmit_drop", "transmit_fifo", "transmit_colls", "transmit_carrier", "transmit_compressed"),
)

Traffic = tuple[str, dict[str, float]]


def parse_link(message: bytes) -> Traffic | None:
    """Name and counters of an RTM_NEWLINK message, summed up as /proc/net/dev does; None where it has no counters."""
    attributes = parse_attributes(message, IFINFO.size)
    name, stats = attributes.get(IFLA_IFNAME), attributes.get(IFLA_STATS64)
    if name is None or stats is None or len(stats) < STATS64.size:
        return None
    s = STATS64.unpack_from(stats)
    values = (
        *s[:6],
        s[6] + s[15],  # rx_dropped, rx_missed_errors
        *s[7:10],
        s[13] + s[10] + s[11] + s[12],  # rx_frame_errors, length, over, crc
        s[14],
        s[17] + s[16] + s[19] + s[20],  # tx_carrier_errors, aborted, heartbeat, window
        *(s[18], s[21], s[22], s[23]),
    )
    return name.rstrip(b"\0").decode("utf-8", "replace"), dict(zip(NAMES, map(float, values), strict=True))


def parse_net_dev(text: str) -> Iterator[Traffic]:
    """The interfaces of /proc/net/dev."""
    for line in text.splitlines()[2:]:
        name, _, columns = line.rpartition(":")
        yield name.strip(), dict(zip(DEV_COLUMNS, map(float, columns.split()), strict=True))


def parse_neighbour(message: bytes) -> int | None:
    """The interface index of an RTM_NEWNEIGH message; None where the neighbour needs no ARP."""
    _family, _pad, index, state, _flags, _type = NDMSG.unpack_from(message)
    return None if state & NUD_NOARP else int(index)


def parse_arp(text: str) -> Iterator[str]:
    """The device of each entry of /proc/net/arp."""
    return (line.split()[-1] for line in text.splitlines()[1:] if line.strip())


class Netdev:
    """The part `netdev`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._chosen = Filter(machine.options.interfaces_exclude, machine.options.interfaces_include)
        self._netlink = Netlink()

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        for name, values in self._links() if self._machine.own_network else self._files():
            if self._chosen(name):
                for key, value in values.items():
                    yield Sample(TRAFFIC[key], (name,), value)

    def _files(self) -> Iterator[Traffic]:
        return parse_net_dev(self._machine.proc.kept("net/dev"))

    def _links(self) -> Iterator[Traffic]:
        for message in self._netlink.dump(GETLINK, IFINFO.pack(0, 0, 0, 0, 0)):
            if link := parse_link(message):
                yield link

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()


class Arp:
    """The part `arp`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._chosen = Filter(machine.options.arp_exclude, machine.options.arp_include)
        self._netlink = Netlink()

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        names = self._neighbours() if self._machine.own_network else parse_arp(self._machine.proc.kept("net/arp"))
        for name, count in sorted(Counter(names).items()):
            if self._chosen(name):
                yield ENTRIES(float(count), name)

    def _neighbours(self) -> Iterator[str]:
        messages = self._netlink.dump(GETNEIGH, NDMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0))
        indexes = Counter(index for message in messages if (index := parse_neighbour(message)) is not None)
        for index, count in indexes.items():
            yield from [socket.if_indextoname(index)] * count

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()
