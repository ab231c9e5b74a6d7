"""The spool: what was accepted stays until every exporter is done with it, or is counted as lost.

The public face is `Spool`; `store` is its file, `salvage` opens damaged ones, `writer` is the thread's side.
"""

from agent.spool.spool import Chunk, Spool, encode
from agent.spool.store import NewBatch, RejectedBatch, Row, Settlement

__all__ = ["Chunk", "NewBatch", "RejectedBatch", "Row", "Settlement", "Spool", "encode"]
