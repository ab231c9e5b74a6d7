"""Handshakes over a link's streams by hand, to see what `start_tls` hides: the chain of one that was broken off, and
what libraries other than `ssl` can ask for.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

from collectors.probes.link import PIECE, Link, Peer, failure, peer_of

MOST = 1 << 20  # bytes that a handshake may take


class Cut(ConnectionError):
    """The connection ended within the handshake."""


async def shake(
    link: Link, step: Callable[[], bool], take: Callable[[], bytes], give: Callable[[bytes], object]
) -> None:
    """Run a handshake: `step` goes as far as it can and says whether that was the end, `take` has what is to be sent,
    `give` gets what came. Raises what `step` raises, and `OSError` where the connection broke.
    """
    received = 0
    done = False
    while not done:
        try:
            done = step()
        finally:
            if pending := take():
                link.writer.write(pending)
        if not done:
            await link.writer.drain()
            if not (piece := await link.reader.read(PIECE)) or (received := received + len(piece)) > MOST:
                raise Cut
            give(piece)


async def look(link: Link, context: ssl.SSLContext, name: str) -> Peer | None:
    """The other end of a handshake, even of one that it breaks off after it showed its certificate; None where it did
    so before. Raises `Failed` for a certificate that does not verify.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        secured = context.wrap_bio(incoming, outgoing, server_hostname=name or None)
        await shake(link, lambda: _step(secured), outgoing.read, incoming.write)
    except ssl.SSLCertVerificationError as error:
        raise failure(error) from None
    except OSError:  # an alert, or the end of the connection; ssl.SSLError is one as well
        pass
    except ValueError as error:
        raise failure(error) from None
    peer = peer_of(secured, name)
    return peer if peer.presented else None


def _step(secured: ssl.SSLObject) -> bool:
    try:
        secured.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
