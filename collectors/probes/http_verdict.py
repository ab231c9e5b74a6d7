"""Whether an answer is as expected: status, version, TLS, headers, body."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from agent.patterns import compile_pattern
from collectors.probes.exchange import Answer, readable
from collectors.probes.http_json import Expressions
from collectors.probes.http_options import HttpOptions, Patterns, patterns
from collectors.probes.link import Failed, Reason

REGEX: Final = "regex"
JSON: Final = "json"


class Unlike(Failed):
    """The content is not as expected; `by` says which kind of check found it."""

    def __init__(self, reason: Reason, words: str, by: str = REGEX) -> None:
        super().__init__(reason, words)
        self.by = by


class Verdict:
    """The checks of a section."""

    def __init__(self, options: HttpOptions) -> None:
        self._statuses = frozenset(_statuses(options.expect_status))
        self._versions = options.expect_version
        self._tls = options.expect_tls
        self._headers = _compiled(options.expect_headers)
        self._not_headers = _compiled(options.reject_headers)
        self._body, self._not_body = _expressions(options.expect_body), _expressions(options.reject_body)
        self.json = Expressions(options.expect_json) if options.expect_json else None

    async def judge(self, answer: Answer, body: bytes, *, secured: bool) -> None:
        """Raises `Failed` for the first check that fails; `secured` says that the answer came over TLS."""
        if answer.status not in self._statuses:
            raise Failed("status", f"status {answer.status}")
        if self._versions and f"HTTP/{answer.version}" not in self._versions:
            raise Failed("version", f"HTTP/{answer.version}")
        if self._tls is not None and self._tls != secured:
            raise Failed("tls", "the answer came over TLS" if secured else "the answer did not come over TLS")
        self._judge_headers(answer)
        self._judge_text(body)
        if self.json is not None and (fault := await self.json.fault(body)):
            raise Unlike("body", fault, JSON)

    def _judge_headers(self, answer: Answer) -> None:
        for name, pattern in self._headers.items():
            if not any(map(pattern.search, map(readable, answer.all(name)))):
                raise Unlike("header", f"the header {name} does not match")
        for name, pattern in self._not_headers.items():
            if any(map(pattern.search, map(readable, answer.all(name)))):
                raise Unlike("header", f"the header {name} matches")

    def _judge_text(self, body: bytes) -> None:
        if not self._body and not self._not_body:
            return
        text = body.decode("utf-8", "replace")
        if not all(pattern.search(text) for pattern in self._body):
            raise Unlike("body", "the body does not match expect_body")
        if any(pattern.search(text) for pattern in self._not_body):
            raise Unlike("body", "the body matches reject_body")


def _statuses(expected: tuple[int | str, ...]) -> Iterator[int]:
    for one in map(str, expected):
        yield from range(int(one[0]) * 100, int(one[0]) * 100 + 100) if one.endswith("xx") else (int(one),)


def _compiled(given: Mapping[str, str]) -> dict[str, Any]:
    return {name: compile_pattern(text) for name, text in given.items()}


def _expressions(given: Patterns) -> list[Any]:
    return [compile_pattern(one) for one in patterns(given)]
