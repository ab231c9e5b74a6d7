"""What became of the items of one chunk, as its parts are answered."""

from __future__ import annotations

from msgspec import Struct, field

from agent.model import Batch, Delivered, Rejected
from agent.spool import RejectedBatch, encode


class Verdict(Struct):
    """Items delivered, items that the server counted as left out, by reason, and batches that it refused."""

    delivered: int = 0
    partial: dict[str, int] = field(default_factory=dict)
    rejected: list[RejectedBatch] = field(default_factory=list)

    def take(self, items: int, answer: Delivered) -> None:
        """So many items were answered; a server counts samples, of which a histogram is many, the ledger items."""
        self.delivered += items
        for reason, count in answer.rejected.items():
            refused = min(count, self.delivered, items)
            self.delivered -= refused
            self.partial[reason] = self.partial.get(reason, 0) + refused

    def refuse(self, exporter: str, batch: Batch, error: Rejected) -> None:
        """A batch goes to the dead letters."""
        stored = encode(batch)
        self.rejected.append(
            RejectedBatch(
                exporter,
                stored.signal,
                batch.time_ms,
                len(batch),
                error.reason,
                str(error),
                stored.series,
                stored.payload,
            )
        )

    @property
    def refusal(self) -> str:
        """The destination's words when it took nothing at all; empty when it took something."""
        if self.delivered:
            return ""
        if self.rejected:
            return self.rejected[-1].message
        return "it counts nothing of it as written" if self.partial else ""
