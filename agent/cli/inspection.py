"""A spool looked at without being opened: nothing is written, locked or mended, whatever its state."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from agent import spoolapi
from agent.cli import admin
from agent.ledger import State
from agent.spool.carve import LOGS, Carving
from agent.spool.look import Listed, entries, listed
from agent.spool.writer import SpoolStat

MAGIC = b"SQLite format 3\0"
EVERYTHING = 1 << 62  # batches


def stat(state_dir: Path) -> dict[str, Any]:
    """What `nightjar spool stat` would say: asked of the running agent, else carved from the bytes. Raises OSError."""
    with contextlib.suppress(admin.NotRunning):
        found: dict[str, Any] = admin.ask(state_dir, "/api/spool/stat")
        return found
    file = state_dir / "spool.db"
    with Carving(file) as carving:
        state = carving.state() or State()
        rows = listed((row for row, _ in carving.batches()), state, EVERYTHING)
    waiting = [row for row in rows if row.waiting]
    wrong = fault(file) or ("is damaged: part of what waits cannot be read" if _lacks(state, waiting) else "")
    trouble = f"{file} {wrong}; starting the agent saves what is sound" if wrong else ""
    oldest = min((row.stored_ms for row in waiting), default=0)
    size = sum(one.stat().st_size for one in state_dir.glob("spool.*") if ".corrupt-" not in one.name)
    return spoolapi.stat(SpoolStat(str(state_dir), size, len(waiting), oldest, 0, trouble), entries(state))


def fault(file: Path) -> str:
    """Why a file is no sound spool, to follow its name; empty when it is one. Raises OSError."""
    with file.open("rb") as opened:
        head = opened.read(len(MAGIC))
    if not head:
        return "is empty"
    with Carving(file) as carving:
        if carving.state() is None and not any(True for _ in carving.batches()) and not carving.rejected():
            return "is damaged beyond use, or no spool" if head == MAGIC else "is no spool"
    words = _integrity(file)
    return f"is damaged: {words}" if words else ""


def _integrity(file: Path) -> str:
    """SQLite's own first complaint; beside a log that is not merged yet it cannot judge without writing."""
    if any(Path(f"{file}{suffix}").exists() for suffix in LOGS):
        return ""
    try:
        with contextlib.closing(sqlite3.connect(f"{file.resolve().as_uri()}?immutable=1", uri=True)) as opened:
            words = str(opened.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        words = str(error)
    return "" if words == "ok" else " ".join(words.split())


def _lacks(state: State, waiting: list[Listed]) -> bool:
    """Whether an account has more pending than is found."""
    return any(
        one.pending > sum(row.items for row in waiting if row.signal == one.signal and one.exporter in row.waiting)
        for one in entries(state)
    )
