"""Certificates in files: PEM, and PKCS#12 by the names `.p12` and `.pfx`."""

from __future__ import annotations

import glob
import re
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

from agent.logs import get_logger
from collectors.extras import need
from collectors.probes.certificates import Certificate, NoCertificate, WrongPassphrase, parse_certificate
from collectors.probes.link import Reason
from config import Secret
from config.files import Unreadable, read_regular

if TYPE_CHECKING:
    from collectors.probes.pkcs12 import Stores

BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
KEY: Final = re.compile(rb"^-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----", re.MULTILINE)
LARGEST: Final = 4 << 20  # bytes of a file
MOST_FILES: Final = 1_000
MOST_CERTIFICATES: Final = 1_000  # of a file that are told; system bundles have 150

log = get_logger("probes")


class Files:
    """Finds and reads them, in threads. A library is loaded when the first file is met that needs it."""

    def __init__(self, passphrase: Secret | None) -> None:
        self._passphrase = passphrase
        self._stores: Stores | None = None
        self._told = False

    def prepare(self, targets: Sequence[str]) -> None:
        """Load what these need; raises ValueError."""
        if any(map(is_pkcs12, targets)):
            need("tls")
            self._opener()

    def named(self, pattern: str) -> list[str]:
        """The files that a pattern names; itself where there is none, so that its lack is seen."""
        return sorted(glob.glob(pattern))[:MOST_FILES] or [pattern]

    def read(self, path: str) -> tuple[Certificate, ...] | Reason | Literal["key"]:
        """The certificates of a file, or why there are none: "key" where a private key is all there is."""
        try:
            data = read_regular(path, LARGEST)
            found = self._opened(data) if is_pkcs12(path) else parse_pem(data.decode("ascii", "replace"))
            if not found and KEY.search(data):
                return "key"
        except ImportError:
            self._tell(path)
            return "config"
        except WrongPassphrase:
            return "passphrase"
        except (Unreadable, NoCertificate):
            return "config"
        return found[:MOST_CERTIFICATES] or "config"

    def judge(self, found: Sequence[Certificate], now: float) -> Reason | None:
        """Whether they are all valid by date."""
        return None if all(one.not_before <= now <= one.not_after for one in found) else "certificate"

    def _opened(self, data: bytes) -> tuple[Certificate, ...]:
        passphrase = "" if self._passphrase is None else self._passphrase.reveal()
        return self._opener().certificates(data, passphrase)

    def _opener(self) -> Stores:
        if self._stores is None:
            from collectors.probes.pkcs12 import Stores

            self._stores = Stores()
        return self._stores

    def _tell(self, path: str) -> None:
        if not self._told:
            self._told = True
            log.warning("PKCS#12 files need the extra `tls`: pip install 'nightjar-agent[tls]'", file=path)  # as `need`


def is_path(target: str) -> bool:
    """Whether a target is a file, or a pattern of files."""
    return target.startswith(("/", "./", "../"))


def is_pkcs12(path: str) -> bool:
    """Whether a file is PKCS#12, by its name."""
    return is_path(path) and path.lower().endswith((".p12", ".pfx"))


def parse_pem(text: str) -> tuple[Certificate, ...]:
    """The certificates of a PEM file; raises `NoCertificate` for one that is none."""
    found = []
    for piece in text.split(BEGIN)[1:]:
        try:
            der = ssl.PEM_cert_to_DER_cert(f"{BEGIN}{piece.partition(END)[0]}{END}\n")
        except ValueError as error:
            raise NoCertificate(str(error)) from None
        found.append(parse_certificate(der))
    return tuple(found)
