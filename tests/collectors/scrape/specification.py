"""The examples of the OpenMetrics 1.0 specification for its types, units, labels, times and exemplars.

Source: https://prometheus.io/docs/specs/om/open_metrics_spec. Those for whole pages are in `pages`. Prometheus does not
mind families whose lines are mixed up, which the specification calls wrong; the histogram with exemplars has two spaces
before its start time there, and is refused.
"""

from __future__ import annotations

from typing import Final

from tests.collectors.scrape.pages import Case

GOOD: Final = [
    "# TYPE foo counter\n",
    "# TYPE foo_seconds counter\n# UNIT foo_seconds seconds\n",
    '# TYPE foo_seconds counter\n# UNIT foo_seconds seconds\n# HELP foo_seconds Some text and \\n some \\" escaping\n',
    "bar_seconds_count 0\n",
    "bar_seconds_count{} 0\n",
    'bar_seconds_count{a="x",b="escaping\\" example \\n "} 0\n',
    '# TYPE foo_seconds summary\n# UNIT foo_seconds seconds\nfoo_seconds_count{a="bb"} 0 123\n'
    'foo_seconds_sum{a="bb"} 0 123\nfoo_seconds_count{a="bb"} 0 456\nfoo_seconds_sum{a="bb"} 0 456\n'
    'foo_seconds_count{a="ccc"} 0 123\nfoo_seconds_sum{a="ccc"} 0 123\nfoo_seconds_count{a="ccc"} 0 456\n'
    'foo_seconds_sum{a="ccc"} 0 456\n',
    '# TYPE foo_seconds summary\n# UNIT foo_seconds seconds\nfoo_seconds_count{a="bb"} 0 123\n'
    'foo_seconds_count{a="ccc"} 0 123\nfoo_seconds_count{a="bb"} 0 456\nfoo_seconds_count{a="ccc"} 0 456\n',
    '# TYPE foo_seconds summary\n# UNIT foo_seconds seconds\nfoo_seconds_count{a="bb"} 0 123\n'
    'foo_seconds_count{a="bb"} 0 456\nfoo_seconds_sum{a="bb"} 0 123\nfoo_seconds_sum{a="bb"} 0 456\n',
    "# TYPE foo gauge\nfoo 17.0\n",
    '# TYPE foo gauge\nfoo{a="bb"} 17.0\nfoo{a="ccc"} 17.0\n',
    "# TYPE foo gauge\n",
    '# TYPE foo gauge\nfoo{a="b"} 17.0 1520879607.789\n',
    "# TYPE foo gauge\nfoo 17.0 1520879607.789\n",
    "# TYPE foo gauge\nfoo 17.0 123\nfoo 18.0 456\n",
    "# TYPE foo counter\nfoo_total 17.0\n",
    "# TYPE foo counter\nfoo_total 17.0 1520879607.789\n",
    "# TYPE foo counter\nfoo_total 17.0\nfoo_created 1520430000.123\n",
    "# TYPE foo counter\nfoo_total 17.0 1520879607.789\nfoo_created 1520430000.123 1520879607.789\n",
    '# TYPE foo stateset\nfoo{foo="a"} 0\nfoo{foo="bb"} 1\nfoo{foo="ccc"} 0\n',
    '# TYPE foo stateset\nfoo{entity="controller",foo="a"} 1.0\nfoo{entity="controller",foo="bb"} 0.0\n'
    'foo{entity="controller",foo="ccc"} 0.0\nfoo{entity="replica",foo="a"} 1.0\nfoo{entity="replica",foo="bb"} 0.0\n'
    'foo{entity="replica",foo="ccc"} 1.0\n',
    '# TYPE foo info\nfoo_info{name="pretty name",version="8.2.7"} 1\n',
    '# TYPE foo info\nfoo_info{entity="controller",name="pretty name",version="8.2.7"} 1.0\n'
    'foo_info{entity="replica",name="prettier name",version="8.1.9"} 1.0\n',
    "# TYPE foo summary\nfoo_count 17.0\nfoo_sum 324789.3\nfoo_created 1520430000.123\n",
    '# TYPE foo summary\nfoo{quantile="0.95"} 123.7\nfoo{quantile="0.99"} 150.0\n',
    '# TYPE foo histogram\nfoo_bucket{le="0.0"} 0\nfoo_bucket{le="1e-05"} 0\nfoo_bucket{le="0.0001"} 5\n'
    'foo_bucket{le="0.1"} 8\nfoo_bucket{le="1.0"} 10\nfoo_bucket{le="10.0"} 11\nfoo_bucket{le="100000.0"} 11\n'
    'foo_bucket{le="1e+06"} 15\nfoo_bucket{le="1e+23"} 16\nfoo_bucket{le="1.1e+23"} 17\nfoo_bucket{le="+Inf"} 17\n'
    "foo_count 17\nfoo_sum 324789.3\nfoo_created 1520430000.123\n",
    '# TYPE foo gaugehistogram\nfoo_bucket{le="0.01"} 20.0\nfoo_bucket{le="0.1"} 25.0\nfoo_bucket{le="1"} 34.0\n'
    'foo_bucket{le="10"} 34.0\nfoo_bucket{le="+Inf"} 42.0\nfoo_gcount 42.0\nfoo_gsum 3289.3\n',
    "# TYPE foo unknown\nfoo 42.23\n",
]
BAD: Final = [
    "# TYPE foo counter\n# UNIT foo seconds\n",
    '# TYPE foo histogram\nfoo_bucket{le="0.01"} 0\nfoo_bucket{le="0.1"} 8 # {} 0.054\n'
    'foo_bucket{le="1"} 11 # {trace_id="KOO5S4vxi0o"} 0.67\n'
    'foo_bucket{le="10"} 17 # {trace_id="oHg5SJYRHA0"} 9.8 1520879607.789\nfoo_bucket{le="+Inf"} 17\nfoo_count 17\n'
    "foo_sum 324789.3\nfoo_created  1520430000.123\n",
]
SPECIFICATION: Final = [
    Case(f"{body}# EOF\n".encode(), "openmetrics", good)
    for good, bodies in ((True, GOOD), (False, BAD))
    for body in bodies
]
