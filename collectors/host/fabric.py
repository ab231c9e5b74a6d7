"""Storage and cluster fabrics: InfiniBand and Fibre Channel, from /sys/class.

Source: Documentation/ABI/stable/sysfs-class-infiniband of the kernel. InfiniBand's data counters count words of four
bytes.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from agent.model import Family, NoData, Sample, counter, gauge

from .machine import Machine, Tree


def _port(name: str, help: str) -> Family:
    return counter(f"node_infiniband_{name}", help, "device", "port")


IB_INFO = gauge(
    "node_infiniband_info",
    "Non-numeric data from /sys/class/infiniband/<device>, value is always 1.",
    *("device", "board_id", "firmware_version", "hca_type"),
)
STATE = gauge(
    "node_infiniband_state_id",
    "State of the InfiniBand port (0: no change, 1: down, 2: init, 3: armed, 4: active, 5: act defer)",
    *("device", "port"),
)
PHYSICAL_STATE = gauge(
    "node_infiniband_physical_state_id",
    "Physical state of the InfiniBand port (0: no change, 1: sleep, 2: polling, 3: disable, 4: shift, 5: link up, "
    "6: link error recover, 7: phytest)",
    *("device", "port"),
)
RATE = gauge("node_infiniband_rate_bytes_per_second", "Maximum signal transfer rate", "device", "port")
LIFESPAN = gauge("node_infiniband_lifespan_seconds", "How old the counters may be when they are read", "device", "port")
COUNTERS: dict[str, Family] = {  # file of a port -> family
    "counters_ext/port_multicast_rcv_packets": _port(
        "legacy_multicast_packets_received_total", "Number of multicast packets received"
    ),
    "counters_ext/port_multicast_xmit_packets": _port(
        "legacy_multicast_packets_transmitted_total", "Number of multicast packets transmitted"
    ),
    "counters_ext/port_rcv_data_64": _port(
        "legacy_data_received_bytes_total", "Number of data octets received on all links"
    ),
    "counters_ext/port_rcv_packets_64": _port(
        "legacy_packets_received_total", "Number of data packets received on all links"
    ),
    "counters_ext/port_unicast_rcv_packets": _port(
        "legacy_unicast_packets_received_total", "Number of unicast packets received"
    ),
    "counters_ext/port_unicast_xmit_packets": _port(
        "legacy_unicast_packets_transmitted_total", "Number of unicast packets transmitted"
    ),
    "counters_ext/port_xmit_data_64": _port(
        "legacy_data_transmitted_bytes_total", "Number of data octets transmitted on all links"
    ),
    "counters_ext/port_xmit_packets_64": _port(
        "legacy_packets_transmitted_total", "Number of data packets received on all links"
    ),
    "counters/excessive_buffer_overrun_errors": _port(
        "excessive_buffer_overrun_errors_total",
        "Number of times that OverrunErrors consecutive flow control update periods had an overrun error",
    ),
    "counters/link_downed": _port(
        "link_downed_total", "Number of times the link failed to recover from an error state and went down"
    ),
    "counters/link_error_recovery": _port(
        "link_error_recovery_total", "Number of times the link successfully recovered from an error state"
    ),
    "counters/local_link_integrity_errors": _port(
        "local_link_integrity_errors_total",
        "Number of times that local physical errors exceeded the threshold LocalPhyErrors",
    ),
    "counters/multicast_rcv_packets": _port(
        "multicast_packets_received_total", "Number of multicast packets received (including errors)"
    ),
    "counters/multicast_xmit_packets": _port(
        "multicast_packets_transmitted_total", "Number of multicast packets transmitted (including errors)"
    ),
    "counters/port_rcv_constraint_errors": _port(
        "port_constraint_errors_received_total",
        "Number of packets received on the switch physical port that are discarded",
    ),
    "counters/port_xmit_constraint_errors": _port(
        "port_constraint_errors_transmitted_total", "Number of packets not transmitted from the switch physical port"
    ),
    "counters/port_rcv_data": _port("port_data_received_bytes_total", "Number of data octets received on all links"),
    "counters/port_xmit_data": _port(
        "port_data_transmitted_bytes_total", "Number of data octets transmitted on all links"
    ),
    "counters/port_rcv_discards": _port(
        "port_discards_received_total",
        "Number of inbound packets discarded by the port because the port is down or congested",
    ),
    "counters/port_xmit_discards": _port(
        "port_discards_transmitted_total",
        "Number of outbound packets discarded by the port because the port is down or congested",
    ),
    "counters/port_rcv_errors": _port(
        "port_errors_received_total", "Number of packets containing an error that were received on this port"
    ),
    "counters/port_rcv_packets": _port(
        "port_packets_received_total", "Number of packets received on all VLs by this port (including errors)"
    ),
    "counters/port_xmit_packets": _port(
        "port_packets_transmitted_total", "Number of packets transmitted on all VLs from this port (including errors)"
    ),
    "counters/port_xmit_wait": _port(
        "port_transmit_wait_total",
        "Number of ticks during which the port had data to transmit but no data was sent during the entire tick",
    ),
    "counters/unicast_rcv_packets": _port(
        "unicast_packets_received_total", "Number of unicast packets received (including errors)"
    ),
    "counters/unicast_xmit_packets": _port(
        "unicast_packets_transmitted_total", "Number of unicast packets transmitted (including errors)"
    ),
    "counters/port_rcv_remote_physical_errors": _port(
        "port_receive_remote_physical_errors_total",
        "Number of packets received with the EBP (End of Bad Packet) delimiter",
    ),
    "counters/port_rcv_switch_relay_errors": _port(
        "port_receive_switch_relay_errors_total", "Number of packets that the switch could not forward"
    ),
    "counters/symbol_error": _port("symbol_error_total", "Number of minor link errors on the physical lanes"),
    "counters/VL15_dropped": _port(
        "vl15_dropped_total", "Number of incoming VL15 packets dropped for want of resources"
    ),
    "hw_counters/duplicate_request": _port(
        "duplicate_requests_packets_total", "Number of received packets that repeat a request executed before"
    ),
    "hw_counters/implied_nak_seq_err": _port(
        "implied_nak_seq_errors_total", "Number of ACKs with a larger PSN than expected for an RDMA read or response"
    ),
    "hw_counters/local_ack_timeout_err": _port(
        "local_ack_timeout_errors_total", "Number of times the ack timer of a QP expired at the sender"
    ),
    "hw_counters/np_cnp_sent": _port(
        "np_cnp_packets_sent_total", "Number of CNP packets sent by the notification point"
    ),
    "hw_counters/np_ecn_marked_roce_packets": _port(
        "np_ecn_marked_roce_packets_received_total", "Number of RoCEv2 packets received with ECN marks"
    ),
    "hw_counters/out_of_buffer": _port(
        "out_of_buffer_drops_total", "Number of drops for want of WQEs in the associated QPs"
    ),
    "hw_counters/out_of_sequence": _port(
        "out_of_sequence_packets_received_total", "Number of out of sequence packets received"
    ),
    "hw_counters/packet_seq_err": _port(
        "packet_sequence_errors_total", "Number of NAK sequence error packets received"
    ),
    "hw_counters/req_cqe_error": _port(
        "req_cqes_errors_total", "Number of CQEs completed with errors at the requester"
    ),
    "hw_counters/req_cqe_flush_error": _port(
        "req_cqes_flush_errors_total", "Number of CQEs completed with flushed errors at the requester"
    ),
    "hw_counters/req_remote_access_errors": _port(
        "req_remote_access_errors_total", "Number of remote access errors at the requester"
    ),
    "hw_counters/req_remote_invalid_request": _port(
        "req_remote_invalid_request_errors_total", "Number of remote invalid request errors at the requester"
    ),
    "hw_counters/resp_cqe_error": _port(
        "resp_cqes_errors_total", "Number of CQEs completed with errors at the responder"
    ),
    "hw_counters/resp_cqe_flush_error": _port(
        "resp_cqes_flush_errors_total", "Number of CQEs completed with flushed errors at the responder"
    ),
    "hw_counters/resp_local_length_error": _port(
        "resp_local_length_errors_total", "Number of local length errors at the responder"
    ),
    "hw_counters/resp_remote_access_errors": _port(
        "resp_remote_access_errors_total", "Number of remote access errors at the responder"
    ),
    "hw_counters/rnr_nak_retry_err": _port(
        "rnr_nak_retry_packets_received_total", "Number of RNR NAK packets received"
    ),
    "hw_counters/roce_adp_retrans": _port(
        "roce_adp_retransmits_total", "Number of adaptive retransmissions of RoCE traffic"
    ),
    "hw_counters/roce_adp_retrans_to": _port(
        "roce_adp_retransmits_timeout_total", "Number of timeouts of RoCE traffic by adaptive retransmission"
    ),
    "hw_counters/roce_slow_restart": _port(
        "roce_slow_restart_used_total", "Number of times RoCE slow restart was used"
    ),
    "hw_counters/roce_slow_restart_cnps": _port(
        "roce_slow_restart_cnps_total", "Number of times RoCE slow restart made CNP packets"
    ),
    "hw_counters/roce_slow_restart_trans": _port(
        "roce_slow_restart_total", "Number of times RoCE changed to slow restart"
    ),
    "hw_counters/rp_cnp_handled": _port(
        "rp_cnp_packets_handled_total", "Number of CNP packets with which the reaction point slowed down"
    ),
    "hw_counters/rp_cnp_ignored": _port(
        "rp_cnp_ignored_packets_received_total", "Number of CNP packets received and ignored by the reaction point"
    ),
    "hw_counters/rx_atomic_requests": _port("rx_atomic_requests_total", "Number of ATOMIC requests received"),
    "hw_counters/rx_dct_connect": _port(
        "rx_dct_connect_requests_total", "Number of connection requests received for DCTs"
    ),
    "hw_counters/rx_read_requests": _port("rx_read_requests_total", "Number of READ requests received"),
    "hw_counters/rx_write_requests": _port("rx_write_requests_total", "Number of WRITE requests received"),
    "hw_counters/rx_icrc_encapsulated": _port(
        "rx_icrc_encapsulated_errors_total", "Number of RoCE packets with ICRC errors"
    ),
}
FOUR_BYTES = frozenset(
    {
        *("counters/port_rcv_data", "counters/port_xmit_data"),
        *("counters_ext/port_rcv_data_64", "counters_ext/port_xmit_data_64"),
    }
)
SILENT = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL}
FC_FILES = {  # label -> file
    "speed": "speed",
    "port_state": "port_state",
    "port_type": "port_type",
    "port_id": "port_id",
    "port_name": "port_name",
    "fabric_name": "fabric_name",
    "symbolic_name": "symbolic_name",
    "supported_classes": "supported_classes",
    "supported_speeds": "supported_speeds",
    "dev_loss_tmo": "dev_loss_tmo",
}
FC_HEXADECIMAL = ("port_id", "port_name", "fabric_name")  # shown without 0x
FC_INFO = gauge(
    "node_fibrechannel_info",
    "Non-numeric data from /sys/class/fc_host/<host>, value is always 1.",
    *("fc_host", *FC_FILES),
)
UNKNOWN = 2**64 - 1  # a counter that the adapter does not have


def _fc(name: str, help: str) -> Family:
    return counter(f"node_fibrechannel_{name}_total", help, "fc_host")


FC_COUNTERS = {  # file of statistics -> family
    "dumped_frames": _fc("dumped_frames", "Number of dumped frames"),
    "error_frames": _fc("error_frames", "Number of errors in frames"),
    "invalid_crc_count": _fc("invalid_crc", "Invalid Cyclic Redundancy Check count"),
    "rx_frames": _fc("rx_frames", "Number of frames received"),
    "rx_words": _fc("rx_words", "Number of words received by host port"),
    "tx_frames": _fc("tx_frames", "Number of frames transmitted by host port"),
    "tx_words": _fc("tx_words", "Number of words transmitted by host port"),
    "seconds_since_last_reset": _fc("seconds_since_last_reset", "Number of seconds since last host port reset"),
    "invalid_tx_word_count": _fc("invalid_tx_words", "Number of invalid words transmitted by host port"),
    "link_failure_count": _fc("link_failure", "Number of times the host port link has failed"),
    "loss_of_sync_count": _fc("loss_of_sync", "Number of failures on either bit or transmission word boundaries"),
    "loss_of_signal_count": _fc("loss_of_signal", "Number of times signal has been lost"),
    "nos_count": _fc("nos", "Number Not_Operational Primitive Sequence received by host port"),
    "fcp_packet_aborts": _fc("fcp_packet_aborts", "Number of aborted packets"),
}


def parse_rate(text: str) -> float:
    """Bytes per second of `100 Gb/sec (4X EDR)`."""
    return float(int(float(text.split()[0]) * 125000000))


def parse_state(text: str) -> float:
    """The number before the colon of `4: ACTIVE`."""
    return float(int(text.partition(":")[0]))


def parse_port_counter(text: str) -> int | None:
    """A counter; None where the adapter has it not (`N/A (no PMA)`)."""
    return None if text.startswith("N/A") else int(text)


class Infiniband:
    """The part `infiniband`."""

    def __init__(self, machine: Machine) -> None:
        self._sys = machine.sys

    def __call__(self) -> Iterator[Sample]:
        """One round."""
        base = "class/infiniband"
        try:
            names = self._sys.names(base)
        except FileNotFoundError:
            raise NoData("no InfiniBand") from None
        for name in names:
            words = (self._sys.optional(f"{base}/{name}/{file}") or "" for file in ("board_id", "fw_ver", "hca_type"))
            yield IB_INFO(1.0, name, *words)
            for port in self._sys.names(f"{base}/{name}/ports"):
                yield from self._port(f"{base}/{name}/ports/{port}", name, port)

    def _port(self, directory: str, device: str, port: str) -> Iterator[Sample]:
        yield STATE(parse_state(self._sys.word(f"{directory}/state")), device, port)
        yield PHYSICAL_STATE(parse_state(self._sys.word(f"{directory}/phys_state")), device, port)
        yield RATE(parse_rate(self._sys.word(f"{directory}/rate")), device, port)
        present = {
            f"{place}/{file}"
            for place in ("counters", "counters_ext", "hw_counters")
            for file in self._sys.entries(f"{directory}/{place}")
        }
        if "hw_counters/lifespan" in present and (ms := self._counter(f"{directory}/hw_counters/lifespan")) is not None:
            yield LIFESPAN(float(ms // 1000), device, port)
        for file, family in COUNTERS.items():
            if file in present and (count := self._counter(f"{directory}/{file}")) is not None:
                yield family(float(count * 4 if file in FOUR_BYTES else count), device, port)

    def _counter(self, path: str) -> int | None:
        try:
            return parse_port_counter(self._sys.word(path))
        except OSError as error:
            if error.errno in SILENT:
                return None
            raise


def fibrechannel(machine: Machine) -> Iterator[Sample]:
    """The part `fibrechannel`."""
    sys, base = machine.sys, "class/fc_host"
    try:
        hosts = sys.names(base)
    except FileNotFoundError:
        raise NoData("no Fibre Channel") from None
    for host in hosts:
        words = {label: sys.optional(f"{base}/{host}/{file}") or "" for label, file in FC_FILES.items()}
        shown = [word[2:] if label in FC_HEXADECIMAL else word for label, word in words.items()]
        yield FC_INFO(1.0, host, *shown)
        offline = words["port_state"] in ("", "Unknown")  # such a host may have no counters
        for file, family in FC_COUNTERS.items():
            count = 0 if offline else _fc_counter(sys, f"{base}/{host}/statistics/{file}")
            if count is not None:
                yield family(float(count), host)


def _fc_counter(sys: Tree, path: str) -> int | None:
    text = sys.optional(path)
    count = None if text is None else int(text, 0)
    return None if count == UNKNOWN else count
