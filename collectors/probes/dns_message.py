"""DNS messages: the bytes of a query, and what an answer says (RFC 1035, 4.1).

dnspython knows names, types and the text of records, which only expectations need; the sections are walked here. Not
chosen: its own reader of messages. It is half as much again to import, leaves EDNS and TSIG out of the sections, keeps
every pair of class and type for ever after it looked for a module of that name, and 64 KiB of the right bytes hold it,
and with it the agent, for two seconds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from dns import exception, name, rcode, rdata, rdataclass, rdatatype, wire

SECTIONS: Final = ("answer", "authority", "additional")
SOA: Final = rdatatype.SOA
LOOKED_INTO: Final = 1024  # bytes of data that are shown in words; a few KiB of a bitmap are a second of work
_HEADER: Final = struct.Struct("!6H")
_FIXED: Final = struct.Struct("!HHIH")  # of a record: type, class, TTL, length of its data
_LENGTHS: Final = {rdatatype.A: (4, 4), rdatatype.AAAA: (16, 16), SOA: (22, 532)}
_RESPONSE, _OPCODE, _TRUNCATED, _RECURSION, _RCODE = 0x8000, 0x7800, 0x0200, 0x0100, 0x000F
_BARE: Final = {rcode.FORMERR, rcode.SERVFAIL, rcode.NOTIMP, rcode.REFUSED}  # may come without the question
_CLASSES: Final = {rdataclass.IN, rdataclass.CH, rdataclass.HS}  # whose records dnspython may look into
_TYPES: Final = frozenset(rdatatype.RdataType)


class NoAnswer(ValueError):
    """Bytes that are no DNS message."""


class Question(NamedTuple):
    """What is asked: the name in wire format, type and class."""

    name: bytes
    kind: int
    group: int

    def query(self, number: int, *, recursion: bool) -> bytes:
        """The bytes of a query of this number."""
        head = _HEADER.pack(number, _RECURSION if recursion else 0, 1, 0, 0, 0)
        return head + self.name + struct.pack("!HH", self.kind, self.group)

    def answered_by(self, number: int, message: bytes) -> bool:
        """Whether a message is an answer to the query of this number; its sections are not looked at."""
        if len(message) < _HEADER.size:
            return False
        theirs, flags, questions, *_ = _HEADER.unpack_from(message)
        if theirs != number or not flags & _RESPONSE or flags & _OPCODE:
            return False
        if questions == 0:
            return flags & _RCODE in _BARE
        end = _HEADER.size + len(self.name)
        same = message[_HEADER.size : end].lower() == self.name.lower()
        return same and questions == 1 and message[end : end + 4] == struct.pack("!HH", self.kind, self.group)


class Record(NamedTuple):
    """A resource record: where its owner's name begins in the message, and where its data begins and ends."""

    owner: int
    kind: int
    group: int
    ttl: int
    start: int
    end: int


class Answer(NamedTuple):
    """An answer: its bytes, its response code, and the records by section."""

    message: bytes
    code: int
    sections: dict[str, list[Record]]

    @property
    def serial(self) -> int:
        """The serial number of the zone in a SOA record of the answer; 0 without one."""
        found = [one for one in self.sections["answer"] if one.kind == SOA]
        return int.from_bytes(self.message[found[0].end - 20 : found[0].end - 16], "big") if found else 0

    def text(self, record: Record) -> str:
        """Name, TTL, class, type and data of a record, with tabs between them as blackbox_exporter's expressions
        expect it; raises `NoAnswer`.
        """
        try:
            parser = wire.Parser(self.message, record.owner)
            owner = parser.get_name(None, True)
            group, kind = rdataclass.RdataClass.make(record.group), rdatatype.RdataType.make(record.kind)
            parser.seek(record.start)
            with parser.restrict_to(record.end - record.start):
                data = _data(parser, kind, group)
            facts = (rdataclass.to_text(group), rdatatype.to_text(kind), data.to_text())
            return "\t".join((owner.to_text(), str(record.ttl), *facts))
        except (exception.DNSException, ValueError) as error:
            raise NoAnswer(str(error)) from None


def _data(parser: wire.Parser, kind: rdatatype.RdataType, group: rdataclass.RdataClass) -> rdata.Rdata:
    known = group in _CLASSES and kind in _TYPES
    if known and (parser.remaining() <= LOOKED_INTO or kind == rdatatype.TXT):
        return rdata.from_wire_parser(group, kind, parser)
    return rdata.GenericRdata(group, kind, parser.get_remaining())


def parse_question(text: str, kind: str, group: str) -> Question:
    """The question; raises ValueError with what is wrong."""
    try:
        wanted = name.from_text(text).to_wire()
    except (exception.DNSException, UnicodeError) as error:
        raise ValueError(f"query_name: {text!r} is no name of DNS: {error}") from None
    return Question(wanted or b"", parse_kind(kind), parse_group(group))


def parse_kind(text: str) -> int:
    """The number of a record type such as "MX", "TYPE65280" or "15"; raises ValueError."""
    return _number("query_type", rdatatype.from_text, text, '"MX" or "15"')


def parse_group(text: str) -> int:
    """The number of a class such as "IN"; raises ValueError."""
    return _number("query_class", rdataclass.from_text, text, '"IN" or "CH"')


def parse_code(text: str) -> int:
    """The number of a response code such as "NXDOMAIN"; raises ValueError."""
    return _number("expect_rcode", rcode.from_text, text, '"NOERROR" or "NXDOMAIN"')


def _number(option: str, parse: Callable[[str], int], text: str, such: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 65_536:
        return int(text)
    try:
        return int(parse(text))
    except (exception.DNSException, ValueError):
        raise ValueError(f"{option}: {text!r} is none: expected one such as {such}") from None


def is_truncated(message: bytes) -> bool:
    """Whether more was to be said than fits into a datagram."""
    return bool(_HEADER.unpack_from(message)[1] & _TRUNCATED)


def parse_answer(message: bytes) -> Answer:
    """The sections of an answer; raises `NoAnswer`. Bytes behind the last record are not minded, and data of records
    only where its length says that it is none.
    """
    try:
        return _parse(message)
    except (IndexError, struct.error):
        raise NoAnswer("the message ends before its end") from None


def _parse(message: bytes) -> Answer:
    _, flags, questions, *counts = _HEADER.unpack_from(message)
    at = _HEADER.size
    for _ in range(questions):
        at = _behind_name(message, at) + 4
    sections: dict[str, list[Record]] = {}
    for section, count in zip(SECTIONS, counts, strict=True):
        records = sections[section] = []
        for _ in range(count):
            records.append(_record(message, at))
            at = records[-1].end
    return Answer(message, flags & _RCODE, sections)


def _record(message: bytes, at: int) -> Record:
    fixed = _behind_name(message, at)
    kind, group, ttl, length = _FIXED.unpack_from(message, fixed)
    start = fixed + _FIXED.size
    if start + length > len(message):
        raise NoAnswer("a record beyond the end")
    least, most = _LENGTHS.get(kind, (0, 65_535))
    if group == rdataclass.IN and not least <= length <= most:
        raise NoAnswer("data of a length that its type cannot have")
    return Record(at, kind, group, ttl, start, start + length)


def _behind_name(message: bytes, at: int) -> int:
    """Where a name ends; a pointer ends it, wherever that points."""
    while length := message[at]:
        if length >= 0xC0:
            return at + 2
        if length > 63:
            raise NoAnswer("a label that is none")
        at += 1 + length
    return at + 1
