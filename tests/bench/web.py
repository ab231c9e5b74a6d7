"""`python -m tests.bench.web PORT [CERTIFICATE KEY]`: a web server to be probed, which costs as little as it can.

`/count` answers how many other requests there were.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import Any

import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%s\r\n%s"
CLOSE = b"Connection: close\r\n"


class Web(asyncio.Protocol):
    """Says ok to every request; keeps the connection unless it is told not to."""

    count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._heard = b""

    def data_received(self, data: bytes) -> None:
        self._heard += data
        while b"\r\n\r\n" in self._heard:
            head, _, self._heard = self._heard.partition(b"\r\n\r\n")
            self._answer(head.lower())

    def _answer(self, head: bytes) -> None:
        counting, closing = head.startswith(b"get /count "), b"connection: close" in head
        Web.count += not counting
        body = b"%d" % Web.count if counting else b"ok\n"
        self._transport.write(ANSWER % (len(body), CLOSE if closing else b"", body))
        if closing:
            self._transport.close()


async def serve(port: int, *files: str) -> None:
    """Serve; does not end."""
    context = None
    if files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
    server = await asyncio.get_running_loop().create_server(Web, "127.0.0.1", port, backlog=4096, ssl=context)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), *sys.argv[2:]))
