"""Interfaces: netlink's messages, /proc/net/dev, and properties of devices that come and go."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import NoData
from collectors.host import Options
from collectors.host.machine import Machine
from collectors.host.netclass import Netclass
from collectors.host.netlink import Netlink, parse_attributes, parse_messages
from collectors.host.network import (
    IFINFO,
    NAMES,
    NDMSG,
    STATS64,
    Arp,
    Netdev,
    parse_link,
    parse_neighbour,
    parse_net_dev,
)
from collectors.host.sockets import DIAG_MESSAGE, parse_tcp_sockets

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="netlink is Linux's")


def attribute(kind: int, data: bytes) -> bytes:
    whole = struct.pack("=HH", 4 + len(data), kind) + data
    return whole + bytes(-len(whole) % 4)


def link(name: str, *counts: int) -> bytes:
    stats = STATS64.pack(*counts, *[0] * (24 - len(counts)))
    return IFINFO.pack(0, 1, 2, 0, 0) + attribute(3, name.encode() + b"\0") + attribute(23, stats + bytes(8))


def test_a_link_is_counted_as_proc_net_dev_counts_it() -> None:
    found = parse_link(link("eth0", *range(1, 25)))
    assert found is not None
    name, values = found
    assert name == "eth0"
    assert (values["receive_packets"], values["transmit_bytes"]) == (1, 4)
    assert values["receive_drop"] == 7 + 16
    assert values["receive_frame"] == 14 + 11 + 12 + 13
    assert values["transmit_carrier"] == 18 + 17 + 20 + 21
    assert values["receive_nohandler"] == 24
    assert tuple(values) == NAMES


def test_a_link_without_counters_is_left_out() -> None:
    assert parse_link(IFINFO.pack(0, 1, 2, 0, 0) + attribute(3, b"lo\0")) is None


def test_neighbours_without_arp_are_left_out() -> None:
    assert parse_neighbour(NDMSG.pack(2, 0, 7, 0x02, 0, 0)) == 7
    assert parse_neighbour(NDMSG.pack(2, 0, 7, 0x40, 0, 0)) is None


def test_an_error_of_the_kernel_is_an_oserror() -> None:
    message = struct.pack("=IHHII", 20, 2, 0, 1, 0) + struct.pack("=i", -1)
    with pytest.raises(PermissionError):
        list(parse_messages(message))


@given(st.binary(max_size=300))
def test_garbage_from_a_socket_is_parsed_or_refused(data: bytes) -> None:
    parse_attributes(data, 0)
    with contextlib.suppress(OSError, ValueError, struct.error):
        list(parse_messages(data))


def test_old_names_run_into_their_first_number() -> None:
    text = "h\nh\n  eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\nveth:x: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
    assert [name for name, _values in parse_net_dev(text)] == ["eth0", "veth:x"]


def test_tcp_sockets_are_counted_by_state_with_their_queues() -> None:
    messages = [DIAG_MESSAGE.pack(2, state, 0, 0, 0, 5, 6, 0, 0) for state in (1, 1, 10, 99)]
    assert parse_tcp_sockets(messages) == {
        "established": 2,
        "listen": 1,
        "unknown": 1,
        "rx_queued_bytes": 20,
        "tx_queued_bytes": 24,
    }


@LINUX
def test_this_machines_links_are_told_by_netlink_and_the_socket_stays_open() -> None:
    machine = Machine(Options(interfaces_include="^lo$"))
    part = Netdev(machine)
    first = [sample.family.name for sample in part()]
    assert [sample.family.name for sample in part()] == first
    assert "node_network_receive_nohandler_total" in first
    part.close()
    machine.close()


@LINUX
def test_a_dump_that_the_kernel_refuses_closes_the_socket_and_the_next_one_works() -> None:
    netlink = Netlink()
    with pytest.raises(OSError, match=r"."):
        netlink.dump(9999, b"")
    assert netlink.dump(18, IFINFO.pack(0, 0, 0, 0, 0))
    netlink.close()


def test_a_foreign_proc_is_read_from_its_files(planted: Path, machine: Callable[..., Machine]) -> None:
    there = machine(interfaces_exclude="^lo$")
    assert not there.own_network
    assert {sample.labels for sample in Netdev(there)()} == {("eth0",)}
    assert {sample.labels: sample.value for sample in Arp(there)()} == {("eth0",): 2, ("eth1",): 1}


def test_a_device_that_came_back_is_looked_at_anew(planted: Path, machine: Callable[..., Machine]) -> None:
    part = Netclass(machine())
    before = {sample.family.name: sample.value for sample in part() if sample.labels[0] == "eth0"}
    directory = planted / "sys/devices/pci0000:00/net/eth0"
    directory.rename(planted / "gone")
    directory.mkdir()
    (directory / "ifindex").write_text("9\n")
    after = {sample.family.name: sample.value for sample in part() if sample.labels[0] == "eth0"}
    assert (before["node_network_iface_id"], after["node_network_iface_id"]) == (2, 9)
    assert after["node_network_up"] == 0


def test_no_network_class_is_no_data(machine: Callable[..., Machine]) -> None:
    with pytest.raises(NoData):
        list(Netclass(machine())())


def test_the_family_of_arp_is_ipv4() -> None:
    assert NDMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0)[0] == socket.AF_INET
