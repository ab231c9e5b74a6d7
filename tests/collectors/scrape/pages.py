"""Pages that Prometheus takes and pages that it refuses; tests/servers/test_scrape.py holds the claims against it."""

from __future__ import annotations

import random
from typing import Final, Literal, NamedTuple

TEXT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Case(NamedTuple):
    """A page, the format it is served as, and whether Prometheus takes it."""

    body: bytes
    format: Literal["text", "openmetrics"] = "text"
    good: bool = True

    @property
    def content_type(self) -> str:
        return TEXT_TYPE if self.format == "text" else OPENMETRICS_TYPE


PLAIN: Final = b"""\
# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027
http_requests_total{method="post",code="400"}    3

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\\\DIR\\\\FILE.TXT",error="Cannot find file:\\n\\"FILE.TXT\\""} 1.458255915e9

# Minimalistic line:
metric_without_timestamp_and_labels 12.47

# A weird metric from before the epoch:
something_weird{problem="division by zero"} +Inf

# A histogram, which has a pretty complex representation in the text format:
# HELP http_request_duration_seconds A histogram of the request duration.
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.05"} 24054
http_request_duration_seconds_bucket{le="0.1"} 33444
http_request_duration_seconds_bucket{le="1"} 133988
http_request_duration_seconds_bucket{le="1e+06"} 133988
http_request_duration_seconds_bucket{le="+Inf"} 144320
http_request_duration_seconds_sum 53423
http_request_duration_seconds_count 144320

# Finally a summary, which has a complex representation, too:
# HELP rpc_duration_seconds A summary of the RPC duration in seconds.
# TYPE rpc_duration_seconds summary
rpc_duration_seconds{quantile="0.01"} 3102
rpc_duration_seconds{quantile="0.5"} NaN
rpc_duration_seconds{quantile="1"} 76656
rpc_duration_seconds_sum 1.7560473e+07
rpc_duration_seconds_count 2693
"""

OPENMETRICS: Final = b"""\
# TYPE acme_http_router_request_seconds summary
# UNIT acme_http_router_request_seconds seconds
# HELP acme_http_router_request_seconds Latency though all of ACME's HTTP request router.
acme_http_router_request_seconds_sum{path="/api/v1",method="GET"} 9036.32
acme_http_router_request_seconds_count{path="/api/v1",method="GET"} 807283.0
acme_http_router_request_seconds_created{path="/api/v1",method="GET"} 1605281325.0
acme_http_router_request_seconds_sum{path="/api/v2",method="POST"} 479.3
acme_http_router_request_seconds_count{path="/api/v2",method="POST"} 34.0
acme_http_router_request_seconds_created{path="/api/v2",method="POST"} 1605281325.0
# TYPE go_goroutines gauge
# HELP go_goroutines Number of goroutines that currently exist.
go_goroutines 69
# TYPE process_cpu_seconds counter
# UNIT process_cpu_seconds seconds
# HELP process_cpu_seconds Total user and system CPU time spent in seconds.
process_cpu_seconds_total 4.20072246e+06
# TYPE foo counter
foo_total 17.0
foo_created 1520430000.123
# TYPE bar histogram
bar_bucket{le="0.01"} 0
bar_bucket{le="0.1"} 8 # {} 0.054
bar_bucket{le="1.0"} 11 # {trace_id="KOO5S4vxi0o"} 0.67
bar_bucket{le="10.0"} 17 # {trace_id="oHg5SJYRHA0"} 9.8 1520879607.789
bar_bucket{le="+Inf"} 17
bar_count 17
bar_sum 324789.3
bar_created 1520430000.123
# TYPE colors info
colors_info{name="red"} 1
# TYPE feature stateset
feature{feature="a"} 1
feature{feature="bb"} 0
# TYPE queue gaugehistogram
queue_bucket{le="0.1"} 4
queue_bucket{le="+Inf"} 8
queue_gcount 8
queue_gsum 324789.3
# TYPE spaced unknown
spaced{a="b, } c"} 1
# EOF
"""


def _text(*bodies: bytes, good: bool) -> list[Case]:
    return [Case(body, "text", good) for body in bodies]


def _openmetrics(*bodies: bytes, good: bool) -> list[Case]:
    return [Case(body, "openmetrics", good) for body in bodies]


ZOO: Final[list[Case]] = [
    *_text(
        PLAIN,
        b"",
        b"\n\n",
        b"a 1",
        b"a 1\n",
        b"a\t1\t\n",
        b"a  1  \n",
        b"a+1\n",
        b"a{}1\n",
        b'a {b="c"} 1\n',
        b'a{ b = "c" , d="e" , } 1\n',
        b'a{b="c" d="e"} 1\n',
        b'a{b="line\nfeed"} 1\nz 2\n',
        b'a{b="\xc3\xa9"} 1\n',
        b'a{b="\\x"} 1\n',
        b'a{b="}"} 1\na{b="{"} 2\na{b="# "} 3\n',
        b'{"my.metric"} 1\n',
        b'{"my.metric","la.bel"="v",x="y"} 1\n',
        b'{x="y","my.metric"} 1\n',
        b'a{"q"="v"} 1\n',
        b'# TYPE "my.metric" counter\n{"my.metric"} 1\n',
        b"# a comment\n#another\n#\n# \n# HELP\n# TYPE\n# TYPEx\na 1\n",
        b"# HELP a\na 1\n",
        b"# HELP a   \na 1\n",
        b"# HELP a one \\\\ two \\n three \\q\n# TYPE a untyped\na 1\n",
        b"# TYPE a gauge\n# TYPE a counter\na 1\n",
        b"a 1\n# TYPE a gauge\n",
        b"a inf\nb +inf\nc -INFINITY\nd nan\ne NaN\nf .5\ng 5.\nh 1E3\ni -0\nj +1\nk 1e-400\nl 0001\n",
        b'a{b=""} 1\n',
        b'a{b="1"} 1\na{b="1"} 1\n',
        b'a{b="1",c="2"} 1\na{c="2",b="1"} 1\n',
        b"a 1\nb 2\n\0garbage {{{",
        b'# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_count 3\nh_sum 4\n',
        b'# TYPE h histogram\nh_bucket{le="1"} 1\nh_sum 4\nh_count 1\n',
        b'# TYPE h histogram\nh_bucket{le="+Inf"} 1\nh_count 1\n',
        b'# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="1.0"} 1\nh_bucket{le="+Inf"} 1\nh_count 1\nh_sum 1\n',
        b'# TYPE h histogram\nh_bucket{le="x"} 1\nh_bucket{le="+Inf"} 1\nh_count 1\nh_sum 1\nh_bucket 1\nh 7\n',
        b'# TYPE h histogram\nh_bucket{le="5",a="1"} 1\nh_bucket{a="1",le="+Inf"} 1\nh_count{a="1"} 1\nh_sum{a="1"} 1\n'
        b'h_bucket{le="5",a="2"} 3\nh_bucket{le="+Inf",a="2"} 4\nh_sum{a="2"} NaN\nh_count{a="2"} 4\n',
        b'# TYPE h histogram\nother{le="1"} 1\n# TYPE g gauge\ng{le="1"} 1\ng{quantile="1"} 1\n',
        b'# TYPE s summary\ns{quantile="1"} 1\ns_count 1\n',
        b"# TYPE s summary\ns_count 1\ns_sum 2\ns_created 5\n",
        b'# TYPE s summary\ns{quantile="0.50"} 1\ns{quantile="nan"} 1\ns_count 1\ns_sum 5\n',
        b"# TYPE a_total counter\na_total 1\na_created 1.5e9\n",
        b"# TYPE x counter\nx_total 5\nx_created 1.5e9\nx 5\n",
        b"a 1 " + b"9" * 18 + b"\n",
        good=True,
    ),
    *_text(
        b"a\n",
        b"a \n",
        b"a b\n",
        b"1a 1\n",
        b"a-b 1\n",
        b"a 1 1.5\n",
        b"a 1 -5\n",
        b"a 1 5 5\n",
        b"a 1 " + b"9" * 20 + b"\n",
        b"a 1 # comment\n",
        b"a 1_000\n",
        b"a 0x10\n",
        b"a 0x1p3\n",
        b"a 1e999\n",
        b"a +nan\n",
        b"a 1e\n",
        b"a .\n",
        b"a 1\r\n",
        b"a \xd9\xa1\n",
        b"a{ 1\n",
        b"a} 1\n",
        b'a{b="c} 1\n',
        b'a{b="c"',
        b"a{b} 1\n",
        b"a{b=} 1\n",
        b"a{b=c} 1\n",
        b"a{b='c'} 1\n",
        b"a{,} 1\n",
        b'a{b="c",,} 1\n',
        b'a{1b="c"} 1\n',
        b'a{b:c="c"} 1\n',
        b'a{b="\xff"} 1\n',
        b'a{b="1",b="2"} 1\n',
        b'a{__name__="b"} 1\n',
        b'a{"b"} 1\n',
        b'{"a","b"} 1\n',
        b'{b="c"} 1\n',
        b"{} 1\n",
        b'{""} 1\n',
        b'a{""="x"} 1\n',
        b"# TYPE a\n",
        b"# TYPE a foo\n",
        b"# TYPE a gauge \na 1\n",
        b"# TYPE a  gauge\na 1\n",
        b"# TYPE a info\n",
        b"# TYPE 1a gauge\n",
        b"# HELP \na 1\n",
        b"# HELP a \xff\n",
        b"<html><body>404</body></html>",
        b"\xef\xbb\xbfa 1\n",
        b'a 1\nb{c="d"} x\n',
        good=False,
    ),
    *_openmetrics(
        OPENMETRICS,
        OPENMETRICS[:-1],
        b"# EOF\n",
        b"# EOF",
        b"a 1\n# EOF\n",
        b'a{b="c",} 1\n# EOF\n',
        b'a{b="c",d="e"} 1.5\n# EOF\n',
        b'{"my.metric",x="y"} 1\n# EOF\n',
        b"a{} 1\n# EOF\n",
        b"# HELP a \n# TYPE a gauge\na 1\n# EOF\n",
        b'# HELP a "x" \\" \\n\n# TYPE a gauge\n# UNIT a \na 1\n# EOF\n',
        b"# TYPE a_seconds gauge\n# UNIT a_seconds seconds\na_seconds 1\n# EOF\n",
        b'a_total 1 # {b="c"} 1\n# EOF\n',
        b'a_total 1 # {b="c",} 1 1.5\n# EOF\n',
        b'# TYPE a counter\na_total 1 # {b="' + b"x" * 200 + b'"} 1\n# EOF\n',
        b'# TYPE a counter\na_total{b="1"} 1\na_created{b="2"} 5\na 3\n# EOF\n',
        b"# TYPE a counter\na_total NaN\n# TYPE b gauge\nb -Inf\n# EOF\n",
        b'# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 1\nh_count 1\nh_sum 1\n# EOF\n',
        b'# TYPE h gaugehistogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 1\nh_gcount 1\nh_gsum 1\n# EOF\n',
        good=True,
    ),
    *_openmetrics(
        b"a 1\n",
        b"a 1\n# EO",
        b"a 1\n#EOF\n",
        b"a 1# EOF\n",
        b"a 1\n# EOF\n\n",
        b"a 1\n# EOF\na 2\n",
        b"a 1\n# EOF\n# EOF\n",
        b"a 1\n\n# EOF\n",
        b" a 1\n# EOF\n",
        b"a  1\n# EOF\n",
        b"a 1 \n# EOF\n",
        b"a\t1\n# EOF\n",
        b'a {b="c"} 1\n# EOF\n',
        b'a{b="c"}1\n# EOF\n',
        b'a{ b="c"} 1\n# EOF\n',
        b'a{b="c", d="e"} 1\n# EOF\n',
        b'a{b="c"d="e"} 1\n# EOF\n',
        b'a{b="c\nd"} 1\n# EOF\n',
        b"# a comment\n# EOF\n",
        b"#\n# EOF\n",
        b"# HELP a\n# EOF\n",
        b"# TYPE a untyped\n# EOF\n",
        b"# TYPE a gauge \n# EOF\n",
        b"# UNIT a seconds\n# EOF\n",
        b"# UNIT aseconds seconds\n# EOF\n",
        b"a 1 NaN\n# EOF\n",
        b"a 1 x\n# EOF\n",
        b"a 1 1 1\n# EOF\n",
        b"a 1 # {b=c} 1\n# EOF\n",
        b"a 1 # {\n# EOF\n",
        b"a 1 # {} \n# EOF\n",
        b"a 1 # {} x\n# EOF\n",
        b"a 1 # {} 1 NaN\n# EOF\n",
        b"a 1 # 1\n# EOF\n",
        b'a 1 # {"b"} 1\n# EOF\n',
        b"a 1\r\n# EOF\r\n",
        good=False,
    ),
]


def mutated(count: int, seed: int) -> list[Case]:
    """Pages that were good before bytes of them changed; whether they still are is for Prometheus to say."""
    dice = random.Random(seed)
    pieces = [
        b'"',
        b"\\",
        b"{",
        b"}",
        b",",
        b" ",
        b"\t",
        b"\n",
        b"=",
        b"#",
        b"1",
        b"e",
        b"a",
        b"_",
        b":",
        b"+",
        b"\xc3",
    ]
    cases = []
    for _ in range(count):
        whole = dice.choice([case for case in ZOO if case.good and len(case.body) > 2 and b"\0" not in case.body])
        body = bytearray(whole.body)
        if len(body) > 300:
            at = body.find(b"\n", dice.randrange(len(body) - 200)) + 1
            body = body[at : body.find(b"\n", at + 150) + 1] + (b"# EOF\n" if whole.format == "openmetrics" else b"")
        for _ in range(dice.choice([1, 1, 1, 2, 3])):
            at = dice.randrange(len(body) + 1)
            match dice.randrange(4):
                case 0:
                    del body[at : at + dice.choice([1, 1, 2, 5])]
                case 1:
                    body[at:at] = dice.choice(pieces)
                case 2:
                    body[at : at + 1] = dice.choice(pieces)
                case _:
                    start = dice.randrange(len(body) + 1)
                    body[at:at] = body[start : start + dice.choice([1, 3, 10])]
        if body:
            cases.append(Case(bytes(body), whole.format))
    return cases
