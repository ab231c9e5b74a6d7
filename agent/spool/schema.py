"""The spool's tables, how SQLite is to keep them, and what is read of them."""

from __future__ import annotations

from agent.spool.records import PAGE

# The order decides the page of each table's root; it stays as it is.
SCHEMA = """
CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY, body BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS sets (id INTEGER PRIMARY KEY, digest BLOB NOT NULL, payload BLOB NOT NULL,
    crc INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS batches (seq INTEGER PRIMARY KEY, signal TEXT NOT NULL, time_ms INTEGER NOT NULL,
    stored_ms INTEGER NOT NULL, items INTEGER NOT NULL, total INTEGER NOT NULL, set_id INTEGER NOT NULL,
    crc INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS checkpoints (id INTEGER PRIMARY KEY, source TEXT NOT NULL, key BLOB NOT NULL,
    value BLOB NOT NULL, crc INTEGER NOT NULL, written INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS rejected (id INTEGER PRIMARY KEY, exporter TEXT NOT NULL, signal TEXT NOT NULL,
    time_ms INTEGER NOT NULL, stored_ms INTEGER NOT NULL, items INTEGER NOT NULL, reason TEXT NOT NULL,
    message TEXT NOT NULL, series BLOB NOT NULL, payload BLOB NOT NULL, crc INTEGER NOT NULL);
"""

PRAGMAS = (
    f"page_size={PAGE}",
    "auto_vacuum=INCREMENTAL",
    "journal_mode=WAL",
    "synchronous=FULL",
    "cache_size=-1024",
    "temp_store=MEMORY",
    "cell_size_check=ON",
    "trusted_schema=OFF",
)

BATCH = "SELECT seq, signal, time_ms, stored_ms, items, total, set_id, crc, payload FROM batches"
REJECTED = "SELECT exporter, signal, time_ms, items, reason, message, series, payload, id, stored_ms, crc FROM rejected"
CHECKPOINT = "SELECT key, value, crc, written FROM checkpoints"
