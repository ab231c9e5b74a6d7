"""IPVS, the load balancer of the kernel: /proc/net/ip_vs and ip_vs_stats."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address

from agent.model import NoData, Sample, counter, gauge

from .machine import Machine

TOTALS = (  # the columns of ip_vs_stats
    counter("node_ipvs_connections_total", "The total number of connections made."),
    counter("node_ipvs_incoming_packets_total", "The total number of incoming packets."),
    counter("node_ipvs_outgoing_packets_total", "The total number of outgoing packets."),
    counter("node_ipvs_incoming_bytes_total", "The total amount of incoming data."),
    counter("node_ipvs_outgoing_bytes_total", "The total amount of outgoing data."),
)
LABELS = ("local_address", "local_port", "remote_address", "remote_port", "proto", "local_mark")
ACTIVE = gauge(
    "node_ipvs_backend_connections_active",
    "The current active connections by local and remote address.",
    *LABELS,
)
INACTIVE = gauge(
    "node_ipvs_backend_connections_inactive",
    "The current inactive connections by local and remote address.",
    *LABELS,
)
WEIGHT = gauge("node_ipvs_backend_weight", "The current backend weight by local and remote address.", *LABELS)

Backends = dict[tuple[str, ...], tuple[float, float, float]]


def parse_totals(text: str) -> list[int]:
    """The third line of ip_vs_stats: five hexadecimal totals."""
    words = text.splitlines()[2].split()
    if len(words) != len(TOTALS):
        raise ValueError(f"ip_vs_stats has {len(words)} columns")
    return [int(word, 16) for word in words]


def parse_address(text: str) -> tuple[str, str]:
    """Address and port of `C0A80016:0CEA` or `[fe80:…]:0CEA`."""
    address, _, port = text.rpartition(":")
    if address.startswith("["):
        return str(ip_address(address[1:-1])), str(int(port, 16))
    return str(IPv4Address(int(address, 16))), str(int(port, 16))


def parse_backends(text: str) -> Backends:
    """Active and inactive connections and weight, summed by the labels."""
    found: Backends = {}
    local: tuple[str, str, str, str] | None = None  # address, port, protocol, mark
    for line in text.splitlines():
        words = line.split()
        match words:
            case ["TCP" | "UDP" as protocol, address, *_]:
                local = (*parse_address(address), protocol, "")
            case ["FWM", mark, *_]:
                local = ("", "0", "FWM", mark)
            case ["->", address, _forward, weight, active, inactive, *_] if local and ":" in address[-5:]:
                key = (*local[:2], *parse_address(address), *local[2:])
                before = found.get(key, (0.0, 0.0, 0.0))
                now = (float(active), float(inactive), float(weight))
                found[key] = (before[0] + now[0], before[1] + now[1], before[2] + now[2])
    return found


def ipvs(machine: Machine) -> Iterator[Sample]:
    """The part `ipvs`."""
    try:
        totals = parse_totals(machine.proc.text("net/ip_vs_stats"))
    except FileNotFoundError:
        raise NoData("IPVS is not loaded") from None
    for family, value in zip(TOTALS, totals, strict=True):
        yield family(float(value))
    for labels, (active, inactive, weight) in parse_backends(machine.proc.text("net/ip_vs")).items():
        yield ACTIVE(active, *labels)
        yield INACTIVE(inactive, *labels)
        yield WEIGHT(weight, *labels)
