"""The account of every item: accepted = delivered + pending + dropped{reason} + rejected{reason}.

Each signal counts the items it ever took (`Head.items`); each exporter has a cursor on that count. What lies behind
the cursor was delivered, dropped or rejected, what lies before it is pending, so the account balances by
construction: moving a cursor over n items without a verdict for all of them books the rest as `dropped{corrupt}`.

Every way to lose data has its reason here.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

Verdict = Literal["delivered", "dropped", "rejected"]

DROPPED: dict[str, str] = {
    "age": "older than spool.max_age when the destination had not taken it",
    "size": "pushed out by newer data at spool.max_size",
    "space": "given up to keep spool.min_free of the disk free",
    "memory": "pushed out of memory while the disk could not be written",
    "corrupt": "damaged on disk",
    "purged": "removed by `nightjar spool purge`",
    "encode": "could not be encoded for the destination",
}


class Head(Struct):
    """How far a signal has come: the last batch's number, and the items of all batches so far."""

    seq: int = 0
    items: int = 0


class Account(Struct):
    """One exporter's view of one signal. `seq` and `items` are its cursor; `start` is where it joined."""

    seq: int = 0
    items: int = 0
    start: int = 0
    delivered: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)

    def move(
        self,
        seq: int,
        items: int,
        *,
        delivered: int = 0,
        dropped: dict[str, int] | None = None,
        rejected: dict[str, int] | None = None,
        reason: str = "corrupt",
    ) -> int:
        """Move the cursor to (`seq`, `items`), book the verdicts, and what has none as dropped for `reason`.

        Answers how many had none. Fewer items than verdicts means that the spool gave up part of what was on its
        way; that part is booked as dropped already and is taken off the verdicts.
        """
        passed = items - self.items
        self.seq, self.items = seq, items
        for name, book in (("dropped", dropped or {}), ("rejected", rejected or {})):
            passed -= _add(getattr(self, name), book)
        self.delivered += delivered
        missing = passed - delivered
        if missing < 0:
            self._take_back(-missing)
        elif missing:
            _add(self.dropped, {reason: missing})
        return max(missing, 0)

    def _take_back(self, surplus: int) -> None:
        taken = min(surplus, self.delivered)
        self.delivered -= taken
        surplus -= taken
        for name in self.rejected:
            taken = min(surplus, self.rejected[name])
            self.rejected[name] -= taken
            surplus -= taken


def _add(book: dict[str, int], more: dict[str, int]) -> int:
    """Add counts by reason; answers their sum."""
    for name, count in more.items():
        if count:
            book[name] = book.get(name, 0) + count
    return sum(more.values())


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
    """All heads and accounts: what a commit makes durable beside the batches."""

    commit: int = 0
    heads: dict[str, Head] = field(default_factory=dict)
    accounts: dict[str, dict[str, Account]] = field(default_factory=dict)  # exporter -> signal

    def head(self, signal: str) -> Head:
        """The head of a signal, made when first asked for."""
        return self.heads.setdefault(signal, Head())

    def attach(self, exporter: str, signal: str) -> Account:
        """The exporter's account; a new exporter starts at the head and owes nothing of the past."""
        accounts = self.accounts.setdefault(exporter, {})
        if signal not in accounts:
            head = self.head(signal)
            accounts[signal] = Account(seq=head.seq, items=head.items, start=head.items)
        return accounts[signal]

    def done(self) -> dict[str, int]:
        """Per signal, the batch number up to which every account is done."""
        return {signal: min(account.seq for account in self.of(signal)) for signal in self.heads if self.of(signal)}

    @property
    def last(self) -> int:
        """The number of the newest batch of any signal."""
        return max((head.seq for head in self.heads.values()), default=0)

    def of(self, signal: str) -> list[Account]:
        """The accounts that follow a signal."""
        return [accounts[signal] for accounts in self.accounts.values() if signal in accounts]

    def entries(self) -> list[Entry]:
        """The ledger, one line an exporter and signal."""
        return [
            Entry(
                exporter,
                signal,
                accepted=self.head(signal).items - account.start,
                delivered=account.delivered,
                pending=self.head(signal).items - account.items,
                dropped=dict(account.dropped),
                rejected=dict(account.rejected),
            )
            for exporter, signals in self.accounts.items()
            for signal, account in signals.items()
        ]
