"""The agent's own log: a line an event to standard error, for people on a terminal, as JSON elsewhere.

`log.info("what happened", key=value)`: the event is a fixed text to search for, what varies are its facts. Lines of
libraries (asyncio, aiohttp) come out in the same form, from warnings up.

Built on the standard library's logging, which asyncio imports anyway. Not chosen: structlog, whose import brings rich
and pygments along: 6 MB of memory in an agent that needs 50.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, Literal

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_ROOT: Final = "nightjar"
_COLORS: Final = {"info": "\033[32m", "warning": "\033[33m", "error": "\033[31m", "critical": "\033[31m"}
_BOLD, _KEY, _VALUE, _RESET = "\033[1m", "\033[36m", "\033[35m", "\033[0m"


class Log:
    """Writes the events of one part of the agent. The fact `exc_info` is an exception to show, as in logging."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(f"{_ROOT}.{name}")

    def debug(self, event: str, **facts: Any) -> None:
        """Of interest to who looks for a fault."""
        self._write(logging.DEBUG, event, facts)

    def info(self, event: str, **facts: Any) -> None:
        """A change worth knowing."""
        self._write(logging.INFO, event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Something is amiss, and the agent deals with it."""
        self._write(logging.WARNING, event, facts)

    def error(self, event: str, **facts: Any) -> None:
        """Something is amiss that somebody has to mend."""
        self._write(logging.ERROR, event, facts)

    def exception(self, event: str, **facts: Any) -> None:
        """An error, with the traceback of the exception being handled."""
        self._write(logging.ERROR, event, {"exc_info": True, **facts})

    def _write(self, level: int, event: str, facts: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            exc_info = facts.pop("exc_info", None)
            self._logger.log(level, event, exc_info=exc_info, extra={"facts": facts})


def get_logger(name: str) -> Log:
    """The log of a part of the agent."""
    return Log(name)


def configure(level: str, style: Literal["auto", "console", "json"], *, color: bool = True) -> None:
    """Set level and form; may be called again after a reload."""
    terminal = sys.stderr.isatty()
    handler = logging.StreamHandler(sys.stderr)
    if style == "console" or (style == "auto" and terminal):
        handler.setFormatter(_Console(color=terminal and color))
    else:
        handler.setFormatter(_Json())
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger(_ROOT).setLevel(LEVELS[level])


class _Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; a lone surrogate leaves standard error as its own JSON escape."""
        return json.dumps(_document(record, self), ensure_ascii=False, default=str)


class _Console(logging.Formatter):
    """Time, level and event in columns, then the facts, then a traceback."""

    def __init__(self, *, color: bool) -> None:
        super().__init__()
        self._color = color

    def format(self, record: logging.LogRecord) -> str:
        """The line, or lines when there is a traceback."""
        document = _document(record, self)
        time, level, event = (document.pop(key) for key in ("timestamp", "level", "event"))
        traceback = document.pop("exception", "")
        facts = " ".join(f"{self._in(_KEY, key)}={self._in(_VALUE, _plain(value))}" for key, value in document.items())
        line = f"{time} [{self._in(_COLORS.get(level, ''), f'{level:8}')}] {self._in(_BOLD, f'{event:30}')} {facts}"
        return f"{line.rstrip()}\n{traceback}".rstrip()

    def _in(self, color: str, text: str) -> str:
        return f"{color}{text}{_RESET}" if self._color else text


def _document(record: logging.LogRecord, formatter: logging.Formatter) -> dict[str, Any]:
    """What a record says: time, level, event, its facts, and the traceback if there is one."""
    document = {
        "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "event": _one_line(record.getMessage()),
    }
    facts = getattr(record, "facts", None)
    for key, value in ({"logger": record.name} if facts is None else facts).items():
        document.setdefault(key, _one_line(value))
    if record.exc_info:
        document["exception"] = formatter.formatException(record.exc_info)
    return document


def _one_line(value: Any) -> Any:
    """Keep what servers and files say from breaking out of its line."""
    if isinstance(value, str) and not value.isprintable():
        return "".join([char if char.isprintable() else repr(char)[1:-1] for char in value])
    return value


def _plain(value: Any) -> str:
    """A fact's value as people read it: bare where that is clear."""
    text = str(value)
    return text if isinstance(value, str) and text and " " not in text and "=" not in text else repr(value)
