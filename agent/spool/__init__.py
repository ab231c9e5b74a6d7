"""The spool: what was accepted stays until every exporter is done with it, or is counted as lost.

`spool` is its face to the event loop, `writer` the thread's side of it. Below: `switch` (disk or memory), `house` (the
limits), `store` (the SQLite file), `ring` (memory), `early` (a disk that comes late), `unwritten` (what never came onto
it), `place` (the directory), `salvage` and `carve` (damaged files), `witness` (the account's second copy), `lock`,
`private` (who may read), `reserve` (room on a full disk). `offline` is for the command line.
"""

from agent.spool.house import Limits
from agent.spool.lock import AlreadyRunning
from agent.spool.place import Event
from agent.spool.records import NewBatch, RejectedBatch, Row, Settlement
from agent.spool.spool import Chunk, Spool, encode
from agent.spool.writer import SpoolStat

__all__ = [
    "AlreadyRunning",
    "Chunk",
    "Event",
    "Limits",
    "NewBatch",
    "RejectedBatch",
    "Row",
    "Settlement",
    "Spool",
    "SpoolStat",
    "encode",
]
