"""Which rules count: the defaults of the configured collectors, what the configuration changes of them, and its own.

A default that several collectors bring along counts once, as no series says who made it. A rule with the name of a
default replaces that. Where several defaults of a collector share the name, one that says its severity
replaces that of this severity if there is one, any other all of them. A rule without an expression whose collector is
not configured counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from config import Config, Duration, Place
from config.rules import Recording, Rule

Defaults = Mapping[str, tuple[Rule, ...]]  # by the kind of collector


class InForce(Struct, frozen=True, kw_only=True):
    """A rule with nothing left to fill in: `expr` and `hold` are set.

    `origin` is where it stands, or "default of <kind>"; `kind` that of the collector whose default it is, or replaces,
    and `also` are the other configured kinds with the same default.
    """

    rule: Rule | Recording
    origin: str
    kind: str = ""
    also: tuple[str, ...] = ()
    enabled: bool = True


def rules_in_force(config: Config, defaults: Defaults) -> list[InForce]:
    """The defaults in the order of their collectors, each as it is overridden, then the configuration's own rules.

    Those that are switched off are among them, with `enabled` false.
    """
    written = [(rule, _origin(config, number)) for number, rule in enumerate(config.rules)]
    names = {rule.alert for rules in defaults.values() for rule in rules}
    overriding = [(rule, origin) for rule, origin in written if isinstance(rule, Rule) and rule.alert in names]
    own = [(rule, origin) for rule, origin in written if isinstance(rule, Recording) or rule.alert not in names]
    return [
        *(found for rule, kinds in _brought(defaults) for found in _overridden(rule, kinds, defaults, overriding)),
        *(
            InForce(rule=_filled(rule), origin=origin, enabled=_is_enabled(rule))
            for rule, origin in own
            if rule.expr is not None
        ),
    ]


def _brought(defaults: Defaults) -> list[tuple[Rule, list[str]]]:
    """Every default with the kinds that bring it along."""
    found: list[tuple[Rule, list[str]]] = []
    for kind, rules in defaults.items():
        for rule in rules:
            kinds = next((kinds for one, kinds in found if one == rule), None)
            if kinds is None:
                found.append((rule, [kind]))
            else:
                kinds.append(kind)
    return found


def _overridden(
    default: Rule, kinds: Sequence[str], defaults: Defaults, overriding: Sequence[tuple[Rule, str]]
) -> Iterator[InForce]:
    """A default as it is, or what the configuration puts in its place."""
    alike = [one for one in defaults[kinds[0]] if one.alert == default.alert]
    found = [(rule, origin) for rule, origin in overriding if default in _meant(rule, alike)]
    for rule, origin in found or [(default, f"default of {', '.join(kinds)}")]:
        complete = _filled(_merged(default, rule))
        yield InForce(rule=complete, origin=origin, kind=kinds[0], also=tuple(kinds[1:]), enabled=rule.enabled)


def _meant(rule: Rule, defaults: Sequence[Rule]) -> Sequence[Rule]:
    """Those of the defaults of its name that a rule replaces."""
    if rule.alert != defaults[0].alert:
        return ()
    severity = rule.labels.get("severity")
    return [one for one in defaults if one.labels.get("severity") == severity] or defaults


def _merged(default: Rule, rule: Rule) -> Rule:
    """What a rule sets, over what the default sets."""
    return replace(
        rule,
        expr=default.expr if rule.expr is None else rule.expr,
        hold=default.hold if rule.hold is None else rule.hold,
        keep_firing_for=default.keep_firing_for if rule.keep_firing_for is None else rule.keep_firing_for,
        labels={**default.labels, **rule.labels},
        annotations={**default.annotations, **rule.annotations},
    )


def _filled(rule: Rule | Recording) -> Rule | Recording:
    return replace(rule, hold=Duration("0s")) if isinstance(rule, Rule) and rule.hold is None else rule


def _is_enabled(rule: Rule | Recording) -> bool:
    return isinstance(rule, Recording) or rule.enabled


def _origin(config: Config, number: int) -> str:
    place = config.places.get(("rules", str(number)), Place())
    return f"{Place(place.file)}:{place.line}"
