"""PromQL over the latest round of every collector, and over a bounded window of earlier ones.

`parse_query` reads an expression, or refuses it; a `Query` answers for a `Moment`. What is answered is what Prometheus
answers for the same data; it is the judge in the tests.
Not here: subqueries, `@`, native histograms, and the functions that Prometheus calls experimental.
"""

from __future__ import annotations

from agent.promql.parse import Unsupported
from agent.promql.points import Labels, Moment, Point, QueryError, Vector
from agent.promql.query import Limit, Query, parse_query, window_of
from agent.promql.selectors import names_of
from agent.promql.window import Window

__all__ = [
    "Labels",
    "Limit",
    "Moment",
    "Point",
    "Query",
    "QueryError",
    "Unsupported",
    "Vector",
    "Window",
    "names_of",
    "parse_query",
    "window_of",
]
