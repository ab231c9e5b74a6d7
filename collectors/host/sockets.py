"""Sockets and protocols: netstat, sockstat, softnet, conntrack, UDP queues, TCP states."""

from __future__ import annotations

import mmap
import re
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from agent.model import Family, NoData, Sample, counter, gauge

from .machine import MAX_NAMES, Machine, Tree
from .netlink import SOCK_DIAG, Netlink

SOFTNET: tuple[tuple[int, Family], ...] = (  # column of /proc/net/softnet_stat
    (0, counter("node_softnet_processed_total", "Number of processed packets", "cpu")),
    (1, counter("node_softnet_dropped_total", "Number of dropped packets", "cpu")),
    (
        2,
        counter("node_softnet_times_squeezed_total", "Number of times processing packets ran out of quota", "cpu"),
    ),
    (
        8,
        counter(
            "node_softnet_cpu_collision_total",
            "Number of collision occur while obtaining device lock while transmitting",
            "cpu",
        ),
    ),
    (9, counter("node_softnet_received_rps_total", "Number of times cpu woken up received_rps", "cpu")),
    (10, counter("node_softnet_flow_limit_count_total", "Number of times flow limit has been reached", "cpu")),
    (11, gauge("node_softnet_backlog_len", "Softnet backlog status", "cpu")),
)
SOFTNET_CPU = 12
CONNTRACK_ENTRIES = gauge(
    "node_nf_conntrack_entries", "Number of currently allocated flow entries for connection tracking."
)
CONNTRACK_LIMIT = gauge("node_nf_conntrack_entries_limit", "Maximum size of connection tracking table.")
CONNTRACK: tuple[tuple[int, Family], ...] = (  # column of /proc/net/stat/nf_conntrack
    (2, gauge("node_nf_conntrack_stat_found", "Number of searched entries which were successful.")),
    (4, gauge("node_nf_conntrack_stat_invalid", "Number of packets seen which can not be tracked.")),
    (
        5,
        gauge(
            "node_nf_conntrack_stat_ignore",
            "Number of packets seen which are already connected to a conntrack entry.",
        ),
    ),
    (8, gauge("node_nf_conntrack_stat_insert", "Number of entries inserted into the list.")),
    (
        9,
        gauge(
            "node_nf_conntrack_stat_insert_failed",
            "Number of entries for which list insertion was attempted but failed.",
        ),
    ),
    (10, gauge("node_nf_conntrack_stat_drop", "Number of packets dropped due to conntrack failure.")),
    (
        11,
        gauge(
            "node_nf_conntrack_stat_early_drop",
            "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
        ),
    ),
    (
        16,
        gauge(
            "node_nf_conntrack_stat_search_restart",
            "Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
        ),
    ),
)
UDP_QUEUES = gauge(
    "node_udp_queues",
    "Number of allocated memory in the kernel for UDP datagrams in bytes.",
    *("queue", "ip"),
)
TCP_STATES = gauge("node_tcp_connection_states", "Number of connection states.", "state")
TCP_STATE_NAMES = (  # include/net/tcp_states.h, from 1
    *("established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2", "time_wait", "close", "close_wait"),
    *("last_ack", "listen", "closing"),
)
SOCKSTAT_KEYS = ("inuse", "orphan", "tw", "alloc", "mem", "memory")
DIAG_BY_FAMILY = 20
DIAG_REQUEST = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2
DIAG_MESSAGE = struct.Struct("=BBBB48xIIIII")  # struct inet_diag_msg
PAGE = float(mmap.PAGESIZE)


class Plan(NamedTuple):
    """Where the chosen fields stand in a line of so many values."""

    columns: int
    chosen: list[tuple[int, Family]]

    def samples(self, values: list[str]) -> Iterator[Sample]:
        """The samples of a line; raises ValueError where it has another shape."""
        if len(values) != self.columns:
            raise ValueError(f"{len(values)} values for {self.columns} names")
        return (family(float(values[at])) for at, family in self.chosen)


class Netstat:
    """The part `netstat`: the chosen fields of /proc/net/netstat, snmp and snmp6, found once for each shape."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._fields = re.compile(machine.options.netstat_fields)
        self._plans: dict[str, Plan] = {}  # by header line
        self._names6: list[str] = []
        self._plan6 = Plan(0, [])

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        for file in ("net/netstat", "net/snmp"):
            lines = self._machine.proc.kept(file).splitlines()
            for header, line in zip(lines[::2], lines[1::2], strict=True):
                yield from (self._plans.get(header) or self._learn(header)).samples(line.split())
        try:
            words = self._machine.proc.kept("net/snmp6").split()
        except FileNotFoundError:  # no IPv6
            return
        if words[::2] != self._names6:
            self._names6 = words[::2]
            self._plan6 = self._plan([name.replace("6", "6 ", 1) if "6" in name else "" for name in self._names6])
        yield from self._plan6.samples(words[1::2])

    def _learn(self, header: str) -> Plan:
        protocol, _, names = header.partition(":")
        if len(self._plans) >= 64:
            self._plans.clear()
        plan = self._plans[header] = self._plan(["", *(f"{protocol} {name}" for name in names.split())])
        return plan

    def _plan(self, names: list[str]) -> Plan:
        chosen: list[tuple[int, Family]] = []
        for at, name in enumerate(names):
            field = name.replace(" ", "_")
            if name and self._fields.search(field):
                help = f"Statistic {name.replace(' ', '')}."
                chosen.append((at, self._machine.families("unknown", f"node_netstat_{field}", help)))
        return Plan(len(names), chosen)


def parse_sockstat(text: str) -> Iterator[tuple[str, str, float]]:
    """Protocol, key and value of /proc/net/sockstat and sockstat6; `mem` also in bytes, as `mem_bytes`."""
    for line in text.splitlines():
        protocol, *words = line.split()
        pairs = dict(zip(words[::2], words[1::2], strict=True))
        protocol = protocol.rstrip(":")
        if protocol == "sockets":
            yield "sockets", "used", float(pairs["used"])
            continue
        for key in SOCKSTAT_KEYS:
            if key in pairs:
                yield protocol, key, float(pairs[key])
        if "mem" in pairs:
            yield protocol, "mem_bytes", float(pairs["mem"]) * PAGE


class Sockstat:
    """The part `sockstat`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._known: dict[tuple[str, str], Family] = {}

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        for file in ("net/sockstat", "net/sockstat6"):
            try:
                text = self._machine.proc.kept(file)
            except FileNotFoundError:
                continue
            for protocol, key, value in parse_sockstat(text):
                yield (self._known.get((protocol, key)) or self._learn(protocol, key))(value)

    def _learn(self, protocol: str, key: str) -> Family:
        help = f"Number of {protocol} sockets in state {key}."
        if protocol == "sockets":
            help = "Number of IPv4 sockets in use."
        if len(self._known) >= MAX_NAMES:
            self._known.clear()
        family = self._machine.families("gauge", f"node_sockstat_{protocol}_{key}", help)
        self._known[protocol, key] = family
        return family


def parse_softnet(text: str) -> Iterator[list[int]]:
    """The columns of /proc/net/softnet_stat, filled up to the newest layout (net/core/net-procfs.c)."""
    for at, line in enumerate(text.splitlines()):
        columns = [int(word, 16) for word in line.split()]
        if len(columns) < 9:
            raise ValueError(f"softnet_stat has {len(columns)} columns")
        if len(columns) <= SOFTNET_CPU:
            columns = columns[:11] + [0] * (SOFTNET_CPU - len(columns[:11])) + [at]
        yield columns


def softnet(machine: Machine) -> Iterator[Sample]:
    """The part `softnet`."""
    for columns in parse_softnet(machine.proc.kept("net/softnet_stat")):
        cpu = str(columns[SOFTNET_CPU])
        for at, family in SOFTNET:
            yield family(float(columns[at]), cpu)


def parse_conntrack(text: str) -> list[int]:
    """The columns of /proc/net/stat/nf_conntrack, summed over the CPUs; a missing 17th is zero."""
    totals = [0] * 17
    for line in text.splitlines()[1:]:
        columns = [int(word, 16) for word in line.split()]
        if not 16 <= len(columns) <= 17:
            raise ValueError(f"nf_conntrack has {len(columns)} columns")
        for at, value in enumerate(columns):
            totals[at] += value
    return totals


def conntrack(machine: Machine) -> Iterator[Sample]:
    """The part `conntrack`."""
    proc = machine.proc
    try:
        yield CONNTRACK_ENTRIES(float(proc.kept("sys/net/netfilter/nf_conntrack_count")))
        yield CONNTRACK_LIMIT(float(proc.kept("sys/net/netfilter/nf_conntrack_max")))
        totals = parse_conntrack(proc.kept("net/stat/nf_conntrack"))
    except FileNotFoundError:
        raise NoData("connection tracking is not loaded") from None
    for at, family in CONNTRACK:
        yield family(float(totals[at]))


def parse_udp_queues(text: str) -> tuple[float, float]:
    """Bytes queued to send and to receive, over all sockets of /proc/net/udp or udp6."""
    send = receive = 0
    for line in text.splitlines()[1:]:
        queued = line.split(None, 5)[4]
        send += int(queued[:8], 16)
        receive += int(queued[9:], 16)
    return float(send), float(receive)


def udp_queues(machine: Machine) -> Iterator[Sample]:
    """The part `udp_queues`."""
    missing = 0
    for file, ip in (("net/udp", "v4"), ("net/udp6", "v6")):
        try:
            send, receive = parse_udp_queues(machine.proc.kept(file))
        except FileNotFoundError:
            missing += 1
            continue
        yield UDP_QUEUES(send, "tx", ip)
        yield UDP_QUEUES(receive, "rx", ip)
    if missing == 2:
        raise NoData("no UDP")


def parse_tcp_sockets(messages: list[bytes]) -> Counter[str]:
    """Sockets per state, and the bytes in their queues, of sock_diag messages."""
    found: Counter[str] = Counter()
    for message in messages:
        _family, state, _timer, _retrans, _expires, received, sent, _uid, _inode = DIAG_MESSAGE.unpack_from(message)
        known = 1 <= state <= len(TCP_STATE_NAMES)
        found[TCP_STATE_NAMES[state - 1] if known else "unknown"] += 1
        found["rx_queued_bytes"] += received
        found["tx_queued_bytes"] += sent
    return found


class Tcpstat:
    """The part `tcpstat`."""

    def __init__(self, machine: Machine) -> None:
        self._proc: Tree = machine.proc
        self._netlink = Netlink(SOCK_DIAG)

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        found = parse_tcp_sockets(self._sockets(socket.AF_INET))
        if self._proc.exists("net/tcp6"):
            found += parse_tcp_sockets(self._sockets(socket.AF_INET6))
        for state, count in sorted(found.items()):
            yield TCP_STATES(float(count), state)

    def _sockets(self, family: int) -> list[bytes]:
        return self._netlink.dump(DIAG_BY_FAMILY, DIAG_REQUEST.pack(family, socket.IPPROTO_TCP, 2, 0xFFF))

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()
