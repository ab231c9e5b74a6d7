"""Prometheus remote write, versions 2.0 and 1.0.

With `protocol = "auto"` the first request is 2.0, and the destination's answer decides. Many receivers of 1.0 take a
2.0 body for an empty 1.0 one and answer 200, so a success without the counts of what was written is no success: it
means 1.0. A refusal (400) from a destination that never showed to know 2.0 is tried as 1.0 too before it is believed.
From 1.0 the way back is a 415.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, NoReturn, cast

import cramjam
from msgspec import Meta, Struct

from agent.model import Batch, Delivered, MetricBatch, Reencode, Rejected, Request, Retry, Series, Signal, TooLarge
from config import ClientOptions, HeaderText
from exporters.http_client import Answer, HttpClient, header_faults, retry_after, url_faults, words
from exporters.wire.remote_write_1 import Encoded, RemoteWrite1, families
from exporters.wire.remote_write_2 import RemoteWrite2

Protocol = Literal["2.0", "1.0"]

HEADERS: Final[Mapping[Protocol, Mapping[str, str]]] = {
    "1.0": {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    },
    "2.0": {
        "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "2.0.0",
    },
}
OTHER: Final[Mapping[Protocol, Protocol]] = {"1.0": "2.0", "2.0": "1.0"}
VERSION_HEADER: Final = "X-Prometheus-Remote-Write-Version"
WRITTEN: Final = (
    "X-Prometheus-Remote-Write-Samples-Written",
    "X-Prometheus-Remote-Write-Histograms-Written",
    "X-Prometheus-Remote-Write-Exemplars-Written",
)
REJECTED: Final = {400: "bad_request", 409: "conflict", 422: "unprocessable"}

_RESERVED: Final = frozenset(name.lower() for name in HEADERS["2.0"])
_METADATA_SECONDS: Final = 60.0
_MISCONFIGURED_SECONDS: Final = 60.0  # nobody mends a wrong URL in seconds; asking more often only makes noise


class Speech(Struct, frozen=True):
    """How a request was spoken: the version, whether the other one may be tried instead, and whether the
    destination has shown that it knows this one.
    """

    protocol: Protocol
    may_change: bool = False
    proven: bool = False


def verdict(answer: Answer, request: Request, speech: Speech, where: str = "the server") -> Delivered:
    """What an answer means for the request; raises `Retry`, `Rejected`, `TooLarge` or `Reencode`.

    Specification: 2xx is taken, 5xx and 429 are to be retried, other 4xx not. Ours: what the configuration is to
    blame for (404, 405, redirects …) keeps the data, since a typing error must not destroy a backlog.
    """
    said = f"{where} answered {answer.status}{words(answer.body)}"
    written = written_counts(answer.headers) if speech.protocol == "2.0" else None
    if 200 <= answer.status < 300:
        return _taken(request, speech, written, said)
    if answer.status == 413:
        raise TooLarge(said)
    if answer.status == 415 or (answer.status == 400 and _maybe_unknown(speech, written)):
        _not_understood(speech, said)
    if answer.status in REJECTED:
        nothing = written is not None and sum(written[:2]) == 0  # it keeps what is good, and found nothing
        if written is not None and not nothing:  # what is good is stored: sent again, it would be out of order
            missing = request.samples + request.histograms - sum(written[:2])
            return Delivered({REJECTED[answer.status]: missing} if missing > 0 else {}, said)
        raise Rejected(said, reason=REJECTED[answer.status], whole=nothing)
    raise _later(answer, said)


def written_counts(headers: Mapping[str, str]) -> tuple[int, int, int] | None:
    """Samples, histograms and exemplars that a 2.0 receiver says it wrote; None when it says nothing of the kind."""
    texts = [headers.get(name, "").strip() for name in WRITTEN]
    counts = [int(text[:18]) if text.isascii() and text.isdigit() else None for text in texts]
    if all(count is None for count in counts):
        return None
    samples, histograms, exemplars = [count or 0 for count in counts]
    return samples, histograms, exemplars


def _taken(request: Request, speech: Speech, written: tuple[int, int, int] | None, said: str) -> Delivered:
    if speech.protocol == "1.0":
        return Delivered()
    if written is None and speech.proven:  # something stands between us and the destination, and answers for it
        raise Retry(f"{said}, without saying what it wrote", kind="protocol", after=_MISCONFIGURED_SECONDS)
    if written is None:
        _not_understood(speech, f"{said}, without saying what it wrote")
    missing = request.samples + request.histograms - sum(written[:2])
    return Delivered({"partial_write": missing}) if missing > 0 else Delivered()


def _maybe_unknown(speech: Speech, written: tuple[int, int, int] | None) -> bool:
    return speech.protocol == "2.0" and speech.may_change and not speech.proven and written is None


def _not_understood(speech: Speech, said: str) -> NoReturn:
    if speech.may_change:
        raise Reencode(f"{said}; it seems to know remote write {OTHER[speech.protocol]} only")
    message = f"{said}; it does not take remote write {speech.protocol}: see the option `protocol`"
    raise Retry(message, kind="protocol", after=_MISCONFIGURED_SECONDS)


def _later(answer: Answer, said: str) -> Retry:
    """The `Retry` for every status that is neither success nor refusal."""
    after = retry_after(answer.headers, datetime.now(UTC))
    if answer.status in (401, 403):
        return Retry(said, kind="auth", auth=True)
    if answer.status == 429 or answer.status >= 500:
        return Retry(said, kind="429" if answer.status == 429 else "5xx", after=after)
    if answer.status in (408, 425):  # request timeout, too early
        return Retry(said, kind="4xx", after=after)
    if 300 <= answer.status < 400:
        said = f"{said}; redirects are not followed, since they could carry credentials away: mend the option `url`"
    return Retry(said, kind=f"{answer.status // 100}xx", after=_MISCONFIGURED_SECONDS)


class RemoteWrite:
    """The exporter."""

    class Options(ClientOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """`[exporters.remote_write]`."""

        url: str
        protocol: Literal["auto", "2.0", "1.0"] = "auto"
        tenant: HeaderText | None = None
        max_samples: Annotated[int, Meta(ge=1, le=100_000)] = 50_000

        def faults(self) -> list[str]:
            """Those of every network client, and of the URL."""
            return [*super().faults(), *url_faults(self.url), *header_faults(self.headers, _RESERVED)]

    signals = frozenset({Signal.METRICS})

    def __init__(
        self, options: RemoteWrite.Options, timeout: float = 30.0, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.max_items = options.max_samples
        self._http = HttpClient(options.url, options, timeout)
        self._tenant = {} if options.tenant is None else {"X-Scope-OrgID": options.tenant}
        self._may_change = options.protocol == "auto"
        self._protocol: Protocol = "1.0" if options.protocol == "1.0" else "2.0"
        self._proven = False
        self._encoder_1 = RemoteWrite1()
        self._encoder_2 = RemoteWrite2()
        self._metadata = _Metadata(clock)

    @property
    def protocol(self) -> Protocol:
        """The version spoken now."""
        return self._protocol

    def encode(self, batches: Sequence[Batch]) -> Request:
        """A compressed request in the version spoken now."""
        if self._protocol == "2.0":
            return self._request(self._encoder_2.encode(batches))
        families = self._metadata.due(batches)
        return self._request(self._encoder_1.encode(batches, families), [family.name for family in families])

    def _request(self, encoded: Encoded, families: Sequence[str] = ()) -> Request:
        return Request(
            bytes(cramjam.snappy.compress_raw(encoded.body)),
            {**self._tenant, **HEADERS[self._protocol]},
            samples=encoded.samples,
            histograms=encoded.histograms,
            exemplars=encoded.exemplars,
            note=families,
        )

    def probe(self) -> Request:
        """A request without samples, which every receiver takes."""
        return self.encode(())

    async def send(self, request: Request) -> Delivered:
        """Try once; raises `Retry`, `Rejected`, `TooLarge` or `Reencode`."""
        try:
            answer = await self._http.post(request.body, request.headers)
            return self._judge(answer, request)
        except Retry as later:
            if later.auth and self._http.renew():
                raise Retry(f"{later}; the secret has changed since", kind=later.kind) from later
            raise

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    def _judge(self, answer: Answer, request: Request) -> Delivered:
        spoken: Protocol = "1.0" if request.headers[VERSION_HEADER] == "0.1.0" else "2.0"
        if spoken == "2.0" and written_counts(answer.headers) is not None:
            self._proven = True
        try:
            delivered = verdict(answer, request, Speech(spoken, self._may_change, self._proven), where=self._http.where)
        except Reencode:
            self._protocol = OTHER[spoken]
            raise
        self._metadata.told(request.note)
        return delivered


class _Metadata:
    """Which families a 1.0 receiver is to be told about: each at first, and all again once a minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told: set[str] = set()
        self._since = clock()

    def due(self, batches: Iterable[MetricBatch]) -> list[Series]:
        """The families of the batches that were not told lately."""
        if self._clock() - self._since >= _METADATA_SECONDS:
            self._told.clear()
            self._since = self._clock()
        found: dict[str, Series] = {}
        for series in dict.fromkeys(batch.series for batch in batches):
            found.update(families(series))
        return [family for name, family in found.items() if name not in self._told]

    def told(self, names: object) -> None:
        """A request arrived, and what it told with it."""
        self._told.update(cast("Sequence[str]", names))
