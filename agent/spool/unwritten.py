"""What was accepted into memory while the disk refused and never came onto it: found at the next start, and counted.

Meanwhile the account goes to the witness after every change. It is then ahead of a file in which nothing is damaged:
the account is taken, and what it knows beyond the file is booked as lost with memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from agent.ledger import Account, Gap, Head, State
from agent.spool.carve import Carving
from agent.spool.store import FILE
from agent.spool.witness import Seen, Witness


class Found(Struct, frozen=True):
    """What the disk holds, the account to go on with, and the most items that an exporter newly lost."""

    disk: State
    state: State
    lost: int = 0


def give_up(state: State, disk: State) -> Found:
    """Book everything beyond what the disk holds as lost with memory, unless it was given up already."""
    state, lost = state.copy(), 0
    for signal, head in state.heads.items():
        start = disk.head(signal).items
        if not (missing := _missing(state.gaps.get(signal, ()), start, head)):
            continue
        lost += max((sum(ahead(account, missing).values()) for account in state.of(signal)), default=0)
        state.gaps[signal] = sorted([*state.gaps.get(signal, ()), *missing], key=lambda gap: gap.start)
        for exporter, accounts in state.accounts.items():
            if signal in accounts and accounts[signal].items >= start:
                state.settle(exporter, signal, head.seq, head.items)
    return Found(disk, state, lost)


def _missing(gaps: Iterable[Gap], start: int, head: Head) -> list[Gap]:
    """What lies between the gaps from item `start` on, as gaps of memory."""
    missing, at = [], start
    for gap in (*gaps, Gap(head.items, head.items, head.seq + 1, "")):
        if gap.start > at:
            missing.append(Gap(at, gap.start, gap.seq - 1, "memory"))
        at = max(at, gap.stop)
    return missing


def ahead(account: Account, gaps: Iterable[Gap]) -> dict[str, int]:
    """What of an account is given up, though its cursor has not come to it; by reason."""
    found: dict[str, int] = {}
    for gap in gaps:
        stop = min(gap.stop, account.end_items) if account.ended else gap.stop
        if (items := stop - max(gap.start, account.items)) > 0:
            found[gap.reason] = found.get(gap.reason, 0) + items
    return found


def adopted(disk: State, seen: Seen | None) -> Found:
    """The account to go on with: the file's, or the witness's where that is ahead because the disk refused."""
    if seen is None or not seen.durable <= disk.commit < seen.commit:
        return Found(disk, disk)
    return give_up(_with_evictions(seen.state, disk), disk)


def _with_evictions(state: State, disk: State) -> State:
    """An account kept in memory, with what the disk gave up since: that is committed first, and the process may die
    before it is noted.
    """
    state = state.copy()
    for exporter, signals in disk.accounts.items():
        for signal, account in signals.items():
            mine = state.accounts.get(exporter, {}).get(signal)
            if mine is not None and account.items > mine.items:
                more = {reason: count - mine.dropped.get(reason, 0) for reason, count in account.dropped.items()}
                state.settle(exporter, signal, account.seq, account.items, reason=max(more, key=more.__getitem__))
    return state


def known(directory: Path) -> Found | None:
    """What the files of a directory say, read without SQLite; None when they cannot be read, or are damaged."""
    try:
        with Carving(directory / FILE) as carving:
            disk = carving.state()
    except OSError:
        return None
    seen = Witness(directory / "spool.witness").read()
    if disk is None or (seen is not None and seen.durable > disk.commit):
        return None
    return adopted(disk, seen)
