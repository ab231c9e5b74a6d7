"""The options every agent has, and the pieces plugins build theirs from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Final, Literal

from msgspec import Meta, Struct, field

from config import environment
from config.faults import Place
from config.secret import Secret
from config.values import Duration, Share, Size

if TYPE_CHECKING:
    from config.rules import Recording, Rule  # which need this module's Labels

LabelName = Annotated[
    str,
    Meta(
        pattern=r"^(?!__)[a-zA-Z_][a-zA-Z0-9_]{0,127}$",
        description="a label name: letters, digits and _, not a digit first, nor __: those names are Prometheus's own",
    ),
]
Labels = dict[LabelName, str]
PositiveDuration = Annotated[Duration, Meta(gt=0)]
HeaderName = Annotated[
    str,
    Meta(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", description="a header's name: letters, digits and -"),  # RFC 9110
]
_TEXT: Final = Meta(
    pattern=r"^[^\x00-\x1f\x7f]*$", description="a string without line breaks and other control characters"
)
HeaderText = Annotated[str, _TEXT]
HeaderSecret = Annotated[str | Secret, _TEXT]

NAME_PATTERN: Final = r"[A-Za-z0-9_.-]{1,64}"


class AgentOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[agent]`: who we are, how often we look, and the endpoint we serve."""

    instance: Annotated[str, Meta(min_length=1)] = field(default_factory=environment.host_name)
    interval: PositiveDuration = Duration("15s")
    timeout: PositiveDuration = Duration("10s")
    state_dir: Annotated[str, Meta(min_length=1)] = field(default_factory=environment.state_directory)
    listen: str = "127.0.0.1:9464"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json"] = "auto"
    labels: Labels = {}
    insecure: bool = False
    token: Secret | None = None
    cert_file: str | None = None
    key_file: str | None = None
    client_ca_file: str | None = None

    def __post_init__(self) -> None:
        faults = [*_listen_faults(self), *_tls_faults(self), *_label_faults(self.labels)]
        if self.token is not None and not self.token:
            faults.append("token: is empty, which would let everybody in")
        if faults:
            raise ValueError(*faults)

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port to listen on (host "" means every interface), or None when the endpoint is off."""
        return parse_listen(self.listen)


class SpoolOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[spool]`: how much may wait on disk, for how long, and what stays free."""

    max_size: Annotated[Size, Meta(ge=4 << 20)] = Size("512MiB")
    max_age: PositiveDuration = Duration("72h")
    min_free: Share = Share("5%")


class CollectorCommon(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every collector takes beside its own options; None means the agent's."""

    interval: PositiveDuration | None = None
    timeout: PositiveDuration | None = None
    labels: Labels = {}


class ExporterCommon(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every exporter takes beside its own options."""

    timeout: PositiveDuration = Duration("30s")


class ClientOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every network client takes: TLS, proxy, headers, authentication. Plugins' Options inherit from it.

    A subclass adds to `faults`, or calls `super().__post_init__()` first in one of its own.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    insecure_skip_verify: bool = False
    server_name: str | None = None
    proxy: str | None = None
    headers: dict[HeaderName, HeaderSecret] = {}
    bearer_token: Annotated[Secret, _TEXT] | None = None
    username: str | None = None
    password: Secret | None = None

    def __post_init__(self) -> None:
        if faults := self.faults():
            raise ValueError(*faults)

    def faults(self) -> list[str]:
        """What is wrong with these options together, as `option: what is wrong with it`."""
        certificates = _certificate_faults(self.cert_file, self.key_file)
        return [*certificates, *_authentication_faults(self), *_proxy_faults(self.proxy)]


class Section(Struct, frozen=True, kw_only=True):
    """One configured collector or exporter. Two sections are equal when nothing about them changed."""

    kind: str
    name: str
    common: CollectorCommon | ExporterCommon
    options: Struct

    def __repr__(self) -> str:
        return f"Section(kind={self.kind!r}, name={self.name!r})"


class Config(Struct, frozen=True, kw_only=True):
    """A whole configuration, checked; `places` says where each option that is not a default was written.

    The keys of `places` are paths such as `("agent", "interval")` and `("collectors", name, "url")`, of a rule
    `("rules", number, "expr")`. First come the rules of `files`, which are TOML, then those of `rule_files`.
    """

    agent: AgentOptions = field(default_factory=AgentOptions)
    spool: SpoolOptions = SpoolOptions()
    collectors: tuple[Section, ...] = ()
    exporters: tuple[Section, ...] = ()
    rules: tuple[Rule | Recording, ...] = ()
    files: tuple[str, ...] = ()
    rule_files: tuple[str, ...] = ()
    places: Mapping[tuple[str, ...], Place] = {}

    def __repr__(self) -> str:
        return f"Config(collectors={self.collectors!r}, exporters={self.exporters!r}, files={self.files!r})"


def parse_listen(text: str) -> tuple[str, int] | None:
    """`host:port`, `[v6]:port` or `:port` (every interface); None for "" (off). Raises ValueError."""
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isascii() or not port.isdigit() or (":" in host and not bracketed):
        raise ValueError('expected host:port such as "127.0.0.1:9464", or "" to turn the endpoint off')
    if len(port) > 5 or int(port) > 65535:
        raise ValueError("the port is beyond 65535")
    return host[1:-1] if bracketed else host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    import ipaddress  # only asked when the listen address is not the default

    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen_faults(options: AgentOptions) -> list[str]:
    try:
        address = options.address
    except ValueError as fault:
        return [f"listen: {fault}"]
    if address is None or address[0] == "127.0.0.1" or options.insecure or is_loopback(address[0]):
        return []
    if options.token is not None or options.client_ca_file is not None:
        return []
    return [
        "listen: others than this machine could read it: set `token` or `client_ca_file`, listen on 127.0.0.1, "
        "or write `insecure = true`"
    ]


def _tls_faults(options: AgentOptions) -> list[str]:
    faults = _certificate_faults(options.cert_file, options.key_file)
    if options.client_ca_file is not None and options.cert_file is None and not faults:
        faults.append("client_ca_file: client certificates need TLS: set `cert_file` and `key_file` too")
    return faults


def _label_faults(labels: Labels) -> list[str]:
    """Those that would say the same of every collector, or contradict what says it."""
    cures = {
        "instance": "is what `agent.instance` says: set that",
        "job": "tells collectors apart: set it in a collector's own `labels`",
    }
    return [f"labels.{name}: {cure}" for name, cure in cures.items() if name in labels]


def _proxy_faults(proxy: str | None) -> list[str]:
    if proxy is None:
        return []
    from urllib.parse import urlsplit

    try:
        parsed = urlsplit(proxy)
        usable = parsed.scheme in ("http", "https") and parsed.hostname and parsed.port != 0
    except ValueError:  # the port, or the brackets of an address
        usable = False
    return [] if usable else ['proxy: expected a URL such as "http://proxy.example.com:3128"']


def _certificate_faults(cert_file: str | None, key_file: str | None) -> list[str]:
    if cert_file is None and key_file is not None:
        return ["key_file: needs `cert_file` too"]
    return []


def _authentication_faults(options: ClientOptions) -> list[str]:
    faults = []
    if options.bearer_token is not None and options.username is not None:
        faults.append("bearer_token: is one way to log in and `username` another: set only one")
    if options.password is not None and options.username is None:
        faults.append("password: needs `username` too")
    return faults
