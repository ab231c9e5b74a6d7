"""The agent's own log: structlog to standard error, for people on a terminal, as JSON lines elsewhere."""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal

import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(level: str, style: Literal["auto", "console", "json"], *, color: bool = True) -> None:
    """Set level and form; may be called again after a reload."""
    terminal = sys.stderr.isatty()
    console = style == "console" or (style == "auto" and terminal)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _one_line,
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=terminal and color, sort_keys=False)
            if console
            else structlog.processors.JSONRenderer(serializer=_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _one_line(logger: object, method: str, event: Any) -> Any:
    """Keep what servers and files say from breaking out of its line."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable() and key != "exception":
            event[key] = "".join(char if char.isprintable() else repr(char)[1:-1] for char in value)
    return event


def _json(value: Any, **options: Any) -> str:
    import orjson

    return orjson.dumps(value, default=str).decode()
