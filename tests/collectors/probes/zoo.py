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

    @property
    def roots(self) -> Path:
        """The authority, and one that has expired."""
        file = self.folder / "roots.pem"
        if not file.exists():
            self._dated("old", None, "TRUE", "20100101000000Z", "20210101000000Z")
            file.write_text((self.folder / "old.pem").read_text() + self.authority.read_text())
        return file

    def _cross(self, name: str, key: str, by: str) -> None:
        """Another certificate for a key that has one, under its name, by another authority."""
        at = f"{self.folder}/{name}"
        openssl(
            *("req", "-x509", "-key", f"{self.folder}/{key}.key", "-subj", f"/CN={key}", "-days", "30"),
            *("-out", f"{at}.pem"),
            *("-CA", f"{self.folder}/{by}.pem", "-CAkey", f"{self.folder}/{by}.key"),
            *("-addext", "basicConstraints=critical,CA:TRUE"),
        )

    def _sign(
        self,
        name: str,
        by: str | None,
        *extensions: str,
        key: str = "ec",
        digest: str = "-sha256",
        days: str = "30",
        subject: str = "",
    ) -> Path:
        at = self.folder / name
        made = ["-newkey", key] + (["-pkeyopt", "ec_paramgen_curve:P-256"] if key == "ec" else [])
        signed = [] if by is None else ["-CA", f"{self.folder / by}.pem", "-CAkey", f"{self.folder / by}.key"]
        more = [part for one in extensions for part in ("-addext", one)]
        openssl(
            *("req", "-x509", "-nodes", *made, digest, "-days", days, "-subj", f"/CN={subject or name}"),
            *(*signed, *more),
            *("-keyout", f"{at}.key", "-out", f"{at}.pem"),
        )
        return Path(f"{at}.pem")

    def _dated(
        self, name: str, by: str | None, ca: str, start: str, end: str, key: str = "", name_of: str = "localhost"
    ) -> None:
        """A certificate of any dates, which `openssl req` cannot make; of a key that there is, if wanted."""
        at = self.folder / name
        (self.folder / "index.txt").write_text("")
        (self.folder / "serial").write_text("01")
        (self.folder / "ca.cnf").write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={self.folder}/index.txt\nserial={self.folder}/serial\n"
            f"new_certs_dir={self.folder}\ndefault_md=sha256\npolicy=p\nunique_subject=no\nx509_extensions=x\n"
            f"[p]\ncommonName=supplied\n[x]\nsubjectAltName=DNS:{name_of}\nbasicConstraints=critical,CA:{ca}\n"
        )
        made = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", f"{at}.key")
        made = ("-key", f"{self.folder}/{key}.key") if key else made
        openssl("req", "-new", "-nodes", *made, "-subj", f"/CN={key or name}", "-out", f"{at}.csr")
        signer = self.folder / (by or name)
        signed = ["-selfsign"] if by is None else ["-cert", f"{signer}.pem"]
        openssl(
            *("ca", "-batch", "-notext", "-config", f"{self.folder}/ca.cnf", *signed, "-keyfile", f"{signer}.key"),
            *("-startdate", start, "-enddate", end, "-in", f"{at}.csr", "-out", f"{at}.pem"),
        )

    def by_name(self, **kinds: str) -> ssl.SSLContext:
        """A server's context whose certificate depends on the name that is asked for; `_` is for all others."""
        contexts = {name: self.leaf(kind) for name, kind in kinds.items()}

        def choose(secured: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            secured.context = contexts.get(name or "_", contexts["_"])

        contexts["_"].sni_callback = choose
        return contexts["_"]

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
            case "wrong host and expired":
                self._dated(
                    kind, "authority", "FALSE", "20200101000000Z", "20210101000000Z", name_of="elsewhere.example"
                )
            case "wrong host and unknown authority":
                self._sign("stranger", None, "basicConstraints=critical,CA:TRUE")
                self._sign(kind, "stranger", "subjectAltName=DNS:elsewhere.example", leaf)
            case "common name only":
                self._sign(kind, "authority", leaf, subject="localhost")
            case "two chains, root replaced":  # as with Let's Encrypt in 2021
                assert self.roots
                self._sign(kind, "between", local, leaf)
                self._dated("crossed", "old", "TRUE", "20150101000000Z", "20210101000000Z", "authority")
                chain += ["between", "crossed"]
            case "two chains, good one first" | "two chains, bad one first" | "two chains, only the bad one shown":
                assert self.roots
                self._sign(kind, "between", local, leaf)
                self._cross("between by old", "between", "old")
                ways = ["between", "between by old"]
                chain += {"g": ways, "b": ways[::-1], "o": ways[1:]}[kind[12]]
            case "must staple":
                self._sign(kind, "authority", local, leaf, "tlsfeature=status_request")
            case "responder":
                self._sign(kind, "authority", "extendedKeyUsage=OCSPSigning", leaf)
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
        if "TLS 1.2" in kind:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        if kind.startswith("client certificate demanded"):
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.authority)
        context.load_cert_chain(both, self.folder / f"{kind}.key")
        return context
