"""Starting without a readable disk: what was collected before joins the account that is found when the disk comes.

Numbers given out before are above `FIRST`, so that they are never taken for numbers of the disk.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from agent.ledger import Account, Gap, State
from agent.spool.records import Settlement
from agent.spool.ring import NewRow

FIRST = 1 << 60


class Joined(Struct):
    """The joined account and batches, and what became of the numbers given out before: number -> (signal, number,
    total).
    """

    state: State
    rows: list[NewRow]
    numbers: dict[int, tuple[str, int, int]]
    begins: dict[str, int]  # signal -> items of the disk

    def translate(self, state: State, settlement: Settlement) -> Settlement | None:
        """A verdict over batches from before, in today's numbers; None when older ones must be delivered first, or
        nobody waits for it any more. These are then delivered again.
        """
        account = state.account(settlement.exporter, settlement.signal)
        found = self.numbers.get(settlement.seq)
        if found is None or account is None or account.items < self.begins.get(settlement.signal, 0):
            return None
        return msgspec.structs.replace(settlement, seq=found[1], total=found[2])


def join(before: State, rows: Iterable[NewRow], disk: State, detached: Iterable[str]) -> Joined:
    """Put what memory holds behind what the disk holds, under new numbers. Accounts add up."""
    state = disk.copy()
    state.commit += before.commit
    for exporter in detached:
        state.accounts.pop(exporter, None)
    for exporter, signals in before.accounts.items():
        for signal in signals:
            state.attach(exporter, signal)
    joined = Joined(state, [], {}, {signal: head.items for signal, head in state.heads.items()})
    for seq, _, batch in rows:
        head = state.accept(batch.signal, batch.items)
        joined.numbers[seq] = (batch.signal, head.seq, head.items)
        joined.rows.append((head.seq, head.items, batch))
    for exporter, signals in before.accounts.items():
        for signal, account in signals.items():
            _add(joined, exporter, signal, account, before.gaps.get(signal, []))
    return joined


def _add(joined: Joined, exporter: str, signal: str, early: Account, gaps: list[Gap]) -> None:
    """Book what an exporter did before the disk came, and step over what it has already taken."""
    account = joined.state.accounts[exporter][signal]
    taken = {new: items for old, (of, new, items) in joined.numbers.items() if old <= early.seq and of == signal}
    if older_wait := account.items != joined.begins.get(signal, 0):  # what was taken comes again, behind those
        early = _without(early, sum(batch.items for seq, _, batch in joined.rows if seq in taken))
    account.delivered += early.delivered
    given_up = [{gap.reason: gap.stop - max(gap.start, early.items)} for gap in gaps if gap.stop > early.items]
    for book in (early.dropped, *given_up):
        for reason, count in book.items():
            account.dropped[reason] = account.dropped.get(reason, 0) + count
    for reason, count in early.rejected.items():
        account.rejected[reason] = account.rejected.get(reason, 0) + count
    if not older_wait:
        account.seq, account.items = max(taken.items(), default=(account.seq, account.items))
    account.start = account.items - account.booked


def _without(account: Account, items: int) -> Account:
    """An account as if so many of its items had had no verdict yet, deliveries first."""
    delivered = max(0, account.delivered - items)
    items -= account.delivered - delivered
    books = []
    for book in (account.rejected, account.dropped):
        less = {}
        for reason, count in book.items():
            less[reason] = count - min(count, items)
            items -= count - less[reason]
        books.append({reason: count for reason, count in less.items() if count})
    return msgspec.structs.replace(account, delivered=delivered, rejected=books[0], dropped=books[1])
