"""Asking the running agent, over the unix socket in its state directory."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path
from typing import Any

import orjson

SOCKET = "nightjar.sock"


class NotRunning(Exception):
    """No agent answers."""


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket; `asyncio` and an HTTP library would cost more than the answer."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(state: Path, path: str, method: str = "GET", body: bytes | None = None, seconds: float = 30.0) -> Any:
    """The JSON answer of the agent that keeps its state there; raises `NotRunning`."""
    where = state / SOCKET
    connection = _Connection(where, seconds)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return orjson.loads(response.read())
    except PermissionError as error:
        raise NotRunning(f"{where} may not be opened by this user; try as the agent's user, or root") from error
    except (OSError, http.client.HTTPException, orjson.JSONDecodeError) as error:
        raise NotRunning(f"no agent answers on {where}{_words(error)}; start one with `nightjar run`") from error
    finally:
        connection.close()


def _words(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return ", which does not exist"
    if isinstance(error, ConnectionRefusedError):
        return ", which a killed agent left behind"
    return f": {getattr(error, 'strerror', None) or error}"
