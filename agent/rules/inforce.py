"""Which rules count: the defaults of the configured collectors, what the configuration changes of them, and its own.

A default that several collectors bring along counts once, as no series says who made it. A rule of `[[rules]]` with the
name of a default replaces that; one of a rule file stands beside it. Where several defaults of a collector share the
name, one that says its severity replaces that of this severity if there is one, any other all of them. A rule without
an expression changes, or switches off, the rules of its name in rule files as well; where there is none of its name it
counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

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


class Written(NamedTuple):
    """A rule of the configuration, where it stands, and whether that is a rule file."""

    rule: Rule | Recording
    origin: str
    from_file: bool


def rules_in_force(config: Config, defaults: Defaults) -> list[InForce]:
    """The defaults in the order of their collectors, each as it is overridden, then the configuration's own rules,
    those of rule files last.

    Those that are switched off are among them, with `enabled` false.
    """
    written = [_written(config, number) for number in range(len(config.rules))]
    names = {rule.alert for rules in defaults.values() for rule in rules}
    own = [(one.rule, one.origin) for one in written if isinstance(one.rule, Rule) and not one.from_file]
    overriding = [(rule, origin) for rule, origin in own if rule.alert in names]
    beside = [(rule, origin) for rule, origin in own if rule.alert not in names and rule.expr is not None]
    changing = [(rule, origin) for rule, origin in own if rule.expr is None]
    return [
        *(found for rule, kinds in _brought(defaults) for found in _overridden(rule, kinds, defaults, overriding)),
        *(InForce(rule=_filled(rule), origin=origin, enabled=rule.enabled) for rule, origin in beside),
        *(
            found
            for one in written
            if one.from_file or isinstance(one.rule, Recording)
            for found in _changed(one, changing)
        ),
    ]


def _written(config: Config, number: int) -> Written:
    place = config.places.get(("rules", str(number)), Place())
    return Written(config.rules[number], f"{Place(place.file)}:{place.line}", place.file in config.rule_files)


def _changed(one: Written, changing: Sequence[tuple[Rule, str]]) -> Iterator[InForce]:
    """A rule of a file as it is, or with what the configuration sets of it without an expression of its own."""
    rule = one.rule
    if not isinstance(rule, Rule):
        yield InForce(rule=rule, origin=one.origin)
        return
    for change, origin in [found for found in changing if found[0].alert == rule.alert] or [(rule, one.origin)]:
        yield InForce(rule=_filled(_merged(rule, change)), origin=origin, enabled=change.enabled)


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
