"""The kernel's clock discipline, from adjtimex(2) through ctypes; Linux alone has it."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from functools import cache

from agent.model import NoData, Sample, counter, gauge

from .machine import Machine

UNSYNCHRONISED = 5  # TIME_ERROR
STA_NANO = 0x2000
MICRO, NANO = 1e6, 1e9
SCALED_PPM = 1000000.0 * 65536.0  # NOTES of adjtimex(2)


class Timex(ctypes.Structure):
    """`struct timex` of linux/timex.h; `long` in every field but the modes, status and tai."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "freq", "maxerror", "esterror")),
        ("status", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("constant", "precision", "tolerance", "sec", "usec", "tick")),
        *((name, ctypes.c_long) for name in ("ppsfreq", "jitter")),
        ("shift", ctypes.c_int),
        *((name, ctypes.c_long) for name in ("stabil", "jitcnt", "calcnt", "errcnt", "stbcnt")),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


SYNC = gauge("node_timex_sync_status", "Is clock synchronized to a reliable server (1 = yes, 0 = no).")
OFFSET = gauge("node_timex_offset_seconds", "Time offset in between local system and reference clock.")
FREQUENCY = gauge("node_timex_frequency_adjustment_ratio", "Local clock frequency adjustment.")
JITTER = gauge("node_timex_pps_jitter_seconds", "Pulse per second jitter.")
FIELDS = (  # family, field, what one of it is worth
    (gauge("node_timex_maxerror_seconds", "Maximum error in seconds."), "maxerror", MICRO),
    (gauge("node_timex_estimated_error_seconds", "Estimated error in seconds."), "esterror", MICRO),
    (gauge("node_timex_status", "Value of the status array bits."), "status", 1.0),
    (gauge("node_timex_loop_time_constant", "Phase-locked loop time constant."), "constant", 1.0),
    (gauge("node_timex_tick_seconds", "Seconds between clock ticks."), "tick", MICRO),
    (gauge("node_timex_pps_frequency_hertz", "Pulse per second frequency."), "ppsfreq", SCALED_PPM),
    (gauge("node_timex_pps_shift_seconds", "Pulse per second interval duration."), "shift", 1.0),
    (
        gauge("node_timex_pps_stability_hertz", "Pulse per second stability, average of recent frequency changes."),
        "stabil",
        SCALED_PPM,
    ),
    (
        counter("node_timex_pps_jitter_total", "Pulse per second count of jitter limit exceeded events."),
        "jitcnt",
        1.0,
    ),
    (counter("node_timex_pps_calibration_total", "Pulse per second count of calibration intervals."), "calcnt", 1.0),
    (counter("node_timex_pps_error_total", "Pulse per second count of calibration errors."), "errcnt", 1.0),
    (
        counter(
            "node_timex_pps_stability_exceeded_total", "Pulse per second count of stability limit exceeded events."
        ),
        "stbcnt",
        1.0,
    ),
    (gauge("node_timex_tai_offset_seconds", "International Atomic Time (TAI) offset."), "tai", 1.0),
)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def read_clock() -> tuple[int, Timex]:
    """The clock's state and its `struct timex`; changes nothing. Raises OSError, and NoData where there is none."""
    if not sys.platform.startswith("linux"):
        raise NoData("adjtimex is Linux's")
    clock = Timex()
    state = _libc().adjtimex(ctypes.byref(clock))
    if state < 0:
        code = ctypes.get_errno()
        if code in (errno.EPERM, errno.ENOSYS):  # seccomp
            raise NoData("adjtimex is not allowed")
        raise OSError(code, os.strerror(code))
    return state, clock


def timex_samples(state: int, clock: Timex) -> Iterator[Sample]:
    """The samples of one reading."""
    unit = NANO if clock.status & STA_NANO else MICRO
    yield SYNC(float(state != UNSYNCHRONISED))
    yield OFFSET(clock.offset / unit)
    yield FREQUENCY(1 + clock.freq / SCALED_PPM)
    yield JITTER(clock.jitter / unit)
    for family, field, divisor in FIELDS:
        yield family(getattr(clock, field) / divisor)


def timex(_machine: Machine) -> Iterator[Sample]:
    """The part `timex`."""
    return timex_samples(*read_clock())
