"""Servers that misbehave, and certificates that are not what they should be."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(talk: Talk, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on a free port that talks as it is told; answers the port."""
    tasks: set[asyncio.Task[None]] = set()

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]  # inside one
        with contextlib.suppress(OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            await talk(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(met, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def says(*pieces: bytes) -> Talk:
    """Reads a request's head, then says these pieces and ends."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
        await writer.drain()
        writer.write_eof() if writer.can_write_eof() else None
        await reader.read()

    return talk


def openssl(*arguments: str) -> None:
    """Run openssl."""
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Certificates:
    """An authority, one in between, and leaves made on demand; files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = self._sign("authority", None, "basicConstraints=critical,CA:TRUE")
        self._sign("between", "authority", "basicConstraints=critical,CA:TRUE")

    def _sign(
        self, name: str, by: str | None, *extensions: str, key: str = "ec", digest: str = "-sha256", days: str = "30"
    ) -> Path:
        at = self.folder / name
        made = ["-newkey", key] + (["-pkeyopt", "ec_paramgen_curve:P-256"] if key == "ec" else [])
        signed = [] if by is None else ["-CA", f"{self.folder / by}.pem", "-CAkey", f"{self.folder / by}.key"]
        more = [part for one in extensions for part in ("-addext", one)]
        openssl(
            *("req", "-x509", "-nodes", *made, digest, "-days", days, "-subj", f"/CN={name}", *signed, *more),
            *("-keyout", f"{at}.key", "-out", f"{at}.pem"),
        )
        return Path(f"{at}.pem")

    def _dated(self, name: str, by: str, ca: str, start: str, end: str) -> None:
        """A certificate of any dates, which `openssl req` cannot make."""
        at, authority = self.folder / name, self.folder / by
        (self.folder / "index.txt").write_text("")
        (self.folder / "serial").write_text("01")
        (self.folder / "ca.cnf").write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={self.folder}/index.txt\nserial={self.folder}/serial\n"
            f"new_certs_dir={self.folder}\ndefault_md=sha256\npolicy=p\nunique_subject=no\nx509_extensions=x\n"
            f"[p]\ncommonName=supplied\n[x]\nsubjectAltName=DNS:localhost\nbasicConstraints=critical,CA:{ca}\n"
        )
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
        openssl("req", "-new", "-nodes", *key, "-subj", f"/CN={name}", "-keyout", f"{at}.key", "-out", f"{at}.csr")
        openssl(
            *("ca", "-batch", "-notext", "-config", f"{self.folder}/ca.cnf", "-cert", f"{authority}.pem"),
            *("-keyfile", f"{authority}.key", "-startdate", start, "-enddate", end, "-in", f"{at}.csr"),
            *("-out", f"{at}.pem"),
        )

    def leaf(self, kind: str) -> ssl.SSLContext:
        """A server's context with a certificate of some kind."""
        local, leaf = "subjectAltName=DNS:localhost", "basicConstraints=critical,CA:FALSE"
        chain = [kind]
        match kind:
            case "expired":
                self._dated(kind, "authority", "FALSE", "20200101000000Z", "20210101000000Z")
            case "not yet valid":
                self._dated(kind, "authority", "FALSE", "20990101000000Z", "20991231000000Z")
            case "self-signed":
                self._sign(kind, None, local, leaf)
            case "wrong host":
                self._sign(kind, "authority", "subjectAltName=DNS:elsewhere.example", leaf)
            case "unknown authority":
                self._sign("stranger", None, "basicConstraints=critical,CA:TRUE")
                self._sign(kind, "stranger", local, leaf)
            case "missing intermediate":
                self._sign(kind, "between", local, leaf)
            case "with intermediate":
                self._sign(kind, "between", local, leaf)
                chain.append("between")
            case "expired intermediate":
                self._dated("past", "authority", "TRUE", "20200101000000Z", "20210101000000Z")
                self._sign(kind, "past", local, leaf)
                chain.append("past")
            case "RSA 1024":
                self._sign(kind, "authority", local, leaf, key="rsa:1024")
            case "SHA-1":
                self._sign(kind, "authority", local, leaf, key="rsa:2048", digest="-sha1")
            case _:
                self._sign(kind, "authority", local, leaf)
        both = self.folder / f"{kind}.chain"
        both.write_text("".join((self.folder / f"{one}.pem").read_text() for one in chain))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.set_ciphers("ALL:@SECLEVEL=0")
        if kind == "TLS 1.0 only":
            context.maximum_version = ssl.TLSVersion.TLSv1
        if kind == "client certificate demanded":
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.authority)
        context.load_cert_chain(both, self.folder / f"{kind}.key")
        return context
