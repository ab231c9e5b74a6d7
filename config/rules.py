"""`[[rules]]`: Prometheus' alerting rules, as a configuration, a rule file or a collector's defaults write them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Final, Literal, get_args

from msgspec import Meta, Struct

from config.options import Labels
from config.values import Duration

Severity = Literal["info", "warning", "critical", "emergency"]
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)

AnnotationName = Annotated[
    str, Meta(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]{0,127}$", description="letters, digits and _, not a digit first")
]


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"hold": "for"}):
    """An alerting rule. One with the name of a collector's default replaces that, field by field that it sets.

    `expr` is PromQL; the rule fires for each series of its answer, once that has been there for the time `for`
    (`hold` in code). The label `severity` says how grave that is.
    """

    alert: Annotated[str, Meta(min_length=1, max_length=128)]
    expr: Annotated[str, Meta(min_length=1)] | None = None  # None: that of the default rule of this name
    hold: Duration | None = None
    keep_firing_for: Duration | None = None
    labels: Labels = {}
    annotations: dict[AnnotationName, str] = {}
    enabled: bool = True


class Recording(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A recording rule of a rule file: what `expr` answers becomes series named `record`, for the rules after it."""

    record: Annotated[str, Meta(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$", description="a metric name")]
    expr: Annotated[str, Meta(min_length=1)]
    labels: Labels = {}


def rule(alert: str, expr: str, *, severity: Severity, summary: str, hold: str = "0s", runbook: str = "") -> Rule:
    """Declare a default rule of a collector; `summary` may use `{{ $labels.… }}` and `{{ $value }}`."""
    annotations = {"summary": summary} | ({"runbook": f"{runbook}#{alert.lower()}"} if runbook else {})
    return Rule(alert=alert, expr=expr, hold=Duration(hold), labels={"severity": severity}, annotations=annotations)


def rules_with(runbook: str) -> Callable[..., Rule]:
    """The same for rules that one file explains, with a heading for each."""
    return partial(rule, runbook=runbook)
