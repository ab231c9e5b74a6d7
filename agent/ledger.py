"""The account of every item: accepted = delivered + pending + dropped{reason} + rejected{reason}.

Each signal counts the items it ever took (`Head.items`); each exporter has a cursor on that count. What lies behind
the cursor was delivered, dropped or rejected, what lies before it is pending, so the account balances by
construction: moving a cursor over n items without a verdict for all of them books the rest as `dropped{corrupt}`.

Every way to lose data has its reason here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct, field

DROPPED: dict[str, str] = {
    "age": "older than spool.max_age when the destination had not taken it",
    "size": "pushed out by newer data at spool.max_size",
    "space": "given up to keep spool.min_free of the disk free",
    "memory": "in memory while the disk could not be written, and pushed out or there when the agent ended",
    "corrupt": "damaged on disk",
    "purged": "removed by `nightjar spool purge`",
}

LOST: dict[str, str] = {  # before anything was accepted: in no account, but counted
    "stalled": "collected while a commit hung, and pushed out by what came after",
    "unstorable": "a collector made what has no stored form",
}


class Head(Struct):
    """How far a signal has come: the last batch's number, and the items of all batches so far."""

    seq: int = 0
    items: int = 0


class Gap(Struct, frozen=True):
    """Items of a signal, from its item number `start` up to `stop`, given up for `reason` before they were read.

    `seq` is the number of the batch that ends at `stop`.
    """

    start: int
    stop: int
    seq: int
    reason: str


class Account(Struct):
    """One exporter's view of one signal. `seq` and `items` are its cursor; `start` is where it joined.

    An exporter that is no longer configured ends at `end_seq` and `end_items`: what came before still waits for it,
    what comes later is not its own.
    """

    seq: int = 0
    items: int = 0
    start: int = 0
    delivered: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    end_seq: int = 0
    end_items: int = -1

    @property
    def ended(self) -> bool:
        """Whether the exporter takes nothing new."""
        return self.end_items >= 0

    @property
    def finished(self) -> bool:
        """Whether nothing waits for it and nothing will."""
        return self.ended and self.items >= self.end_items

    def reopen(self, head: Head) -> None:
        """Take part again: what came meanwhile counts when it is still there, which it is while something waited."""
        if self.finished:
            self.start += head.items - self.items
            self.seq, self.items = head.seq, head.items
        self.end_seq, self.end_items = 0, -1

    @property
    def booked(self) -> int:
        """Items with a verdict."""
        return self.delivered + sum(self.dropped.values()) + sum(self.rejected.values())

    def move(
        self,
        seq: int,
        items: int,
        *,
        delivered: int = 0,
        rejected: dict[str, int] | None = None,
        gaps: Iterable[Gap] = (),
        reason: str = "corrupt",
    ) -> int:
        """Move the cursor to (`seq`, `items`), book the verdicts, and what has none as dropped for `reason`, or for
        the reason of the gap it fell into.

        Answers how many had neither verdict nor gap. A cursor never goes back. Fewer items than verdicts means that
        the spool gave up part of what was on its way; that part is booked as dropped already, and the verdicts are
        cut to what is left, deliveries last.
        """
        if self.ended:
            seq, items = min(seq, self.end_seq), min(items, self.end_items)
        if seq <= self.seq or items < self.items:
            return 0
        start, left = self.items, items - self.items
        self.seq, self.items = seq, items
        left -= _book(self.rejected, rejected or {}, left)
        taken = min(delivered, left)
        self.delivered += taken
        left -= taken
        for gap in gaps:
            within = max(0, min(gap.stop, items) - max(gap.start, start))
            left -= _book(self.dropped, {gap.reason: within}, left)
        _book(self.dropped, {reason: left}, left)
        return left


def _book(book: dict[str, int], more: dict[str, int], most: int) -> int:
    """Add counts by reason, `most` in all; answers how many were added."""
    left = most
    for name, count in more.items():
        if taken := min(count, left):
            book[name] = book.get(name, 0) + taken
            left -= taken
    return most - left


class Entry(Struct, frozen=True):
    """One line of the ledger as shown to people and machines."""

    exporter: str
    signal: str
    accepted: int
    delivered: int
    pending: int
    dropped: dict[str, int]
    rejected: dict[str, int]

    @property
    def balanced(self) -> bool:
        """Whether the account adds up."""
        booked = self.delivered + self.pending + sum(self.dropped.values()) + sum(self.rejected.values())
        return self.accepted == booked and self.pending >= 0


class State(Struct):
    """All heads and accounts: what a commit makes durable beside the batches.

    `jumps` are leaps of the wall clock, as (Unix ms before the leap, its ms), so that what was stored before does not
    look older than it is. `orphaned` says that the accounts were lost and the batches found wait for whoever comes.
    """

    commit: int = 0
    heads: dict[str, Head] = field(default_factory=dict)
    accounts: dict[str, dict[str, Account]] = field(default_factory=dict)  # exporter -> signal
    gaps: dict[str, list[Gap]] = field(default_factory=dict)  # by signal, in order
    jumps: list[tuple[int, int]] = field(default_factory=list)
    orphaned: bool = False

    def copy(self) -> State:
        """A copy to change; a state that others may see is never changed in place."""
        return msgspec.msgpack.decode(msgspec.msgpack.encode(self), type=State)

    def head(self, signal: str) -> Head:
        """The head of a signal; a signal never seen has an empty one."""
        return self.heads.get(signal) or Head()

    def account(self, exporter: str, signal: str) -> Account | None:
        """The account of an exporter, if it follows the signal."""
        return self.accounts.get(exporter, {}).get(signal)

    def of(self, signal: str) -> list[Account]:
        """The accounts that still have or will have something to do with a signal."""
        found = (accounts[signal] for accounts in self.accounts.values() if signal in accounts)
        return [account for account in found if not account.finished]

    def wanted(self, signal: str) -> bool:
        """Whether anybody takes what is new of a signal."""
        return any(not account.ended for account in self.of(signal))

    @property
    def last(self) -> int:
        """The number of the newest batch of any signal."""
        return max((head.seq for head in self.heads.values()), default=0)

    def done(self) -> dict[str, int]:
        """Per signal, the batch number up to which every account is done; all of it where there is no account."""
        if self.orphaned:
            return {}
        return {
            signal: min((account.seq for account in self.of(signal)), default=head.seq)
            for signal, head in self.heads.items()
        }

    def passed(self) -> int:
        """The batch number up to which every account of every signal is done."""
        if self.orphaned:
            return 0
        return min((seq for signal, seq in self.done().items() if seq < self.heads[signal].seq), default=self.last)

    # -- changes --------------------------------------------------------------------------------------------------

    def attach(self, exporter: str, signal: str) -> Account:
        """The exporter's account; a new exporter starts at the head and owes nothing of the past."""
        accounts = self.accounts.setdefault(exporter, {})
        if signal not in accounts:
            head = self.heads.setdefault(signal, Head())
            accounts[signal] = Account(seq=head.seq, items=head.items, start=head.items)
        elif accounts[signal].ended:
            accounts[signal].reopen(self.head(signal))
        return accounts[signal]

    def retire(self, keep: Iterable[str]) -> dict[str, int]:
        """End the accounts of all exporters but `keep`; answers the items that wait, by exporter newly ended."""
        ended: dict[str, int] = {}
        for exporter in self.accounts.keys() - set(keep):
            for signal, account in self.accounts[exporter].items():
                if not account.ended:
                    head = self.head(signal)
                    account.end_seq, account.end_items = head.seq, head.items
                    ended[exporter] = ended.get(exporter, 0) + head.items - account.items
        return ended

    def accept(self, signal: str, items: int, *, above: int = 0) -> Head:
        """Take `items` more of a signal as one batch; its number is above `above` and all others."""
        head = self.heads.setdefault(signal, Head())
        head.seq = max(self.last, above) + 1
        head.items += items
        return Head(head.seq, head.items)

    def settle(self, exporter: str, signal: str, seq: int, items: int, **verdicts: Any) -> int:
        """Move an exporter's cursor; answers how many items had no verdict. See `Account.move`."""
        account, head = self.account(exporter, signal), self.head(signal)
        if account is None:
            return 0
        missing = account.move(min(seq, head.seq), min(items, head.items), gaps=self.gaps.get(signal, ()), **verdicts)
        self._close_gaps(signal)
        return missing

    def give_up_to(self, signal: str, seq: int, items: int, reason: str) -> int:
        """Drop a signal up to a batch for every account that has not read it; answers the most items one lost."""
        most = 0
        for account in self.of(signal):
            lost = max(0, items - account.items)
            account.move(seq, items, gaps=self.gaps.get(signal, ()), reason=reason)
            most = max(most, lost)
        self._close_gaps(signal)
        return most

    def give_up_between(self, signal: str, start: int, stop: int, seq: int, reason: str) -> None:
        """Drop the items from `start` to `stop`, which may lie behind others that are still to be read."""
        gaps = self.gaps.setdefault(signal, [])
        if gaps and gaps[-1].stop == start and gaps[-1].reason == reason:
            start = gaps.pop().start
        gaps.append(Gap(start, stop, seq, reason))
        for account in self.of(signal):
            if account.items >= start:
                account.move(seq, stop, gaps=gaps)
        self._close_gaps(signal)

    def _close_gaps(self, signal: str) -> None:
        """Forget gaps that every account has passed."""
        reached = min((account.items for account in self.of(signal)), default=self.head(signal).items)
        left = [gap for gap in self.gaps.pop(signal, ()) if gap.stop > reached]
        if left:
            self.gaps[signal] = left

    # -- the ledger -----------------------------------------------------------------------------------------------

    def entry(self, exporter: str, signal: str) -> Entry:
        """One line of the ledger; raises KeyError for an account that is not there."""
        account = self.accounts[exporter][signal]
        end = account.end_items if account.ended else self.head(signal).items
        return Entry(
            exporter,
            signal,
            accepted=end - account.start,
            delivered=account.delivered,
            pending=end - account.items,
            dropped=dict(account.dropped),
            rejected=dict(account.rejected),
        )

    def entries(self) -> list[Entry]:
        """The ledger, one line an exporter and signal."""
        return [self.entry(exporter, signal) for exporter, signals in self.accounts.items() for signal in signals]
