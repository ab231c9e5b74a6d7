"""What the agent logged, as dictionaries."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any


class _Collecting(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.entries: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        facts = getattr(record, "facts", {})
        self.entries.append({"event": record.getMessage(), "log_level": record.levelname.lower(), **facts})


@contextlib.contextmanager
def capture_logs() -> Iterator[list[dict[str, Any]]]:
    """The entries logged inside the block, of every level."""
    logger = logging.getLogger("nightjar")
    handler, level = _Collecting(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield handler.entries
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
