"""The example configuration, held against the code.

In it `##` begins prose, a single `#` shows an option at its default (or the header of a section that is left out),
and what a person must set is bare. An option whose default is "not set" has no value to show: it stands in prose.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import NODEFAULT

from config.loading import loads
from config.sections import OptionsTable
from config.show import Setting, plain, settings
from config.types import toml_text

_SHOWN: Final = re.compile(r"^[ \t]*#(?![#!]) ?(?=[ \t]*[^ \t])")
_HERE: Final = {("agent", "instance"), ("agent", "state_dir")}  # their defaults depend on the machine


def example_defaults(text: str) -> tuple[str, frozenset[int]]:
    """The text with every single-`#` line uncommented, and the numbers of those lines, counted from 1."""
    lines = text.splitlines()
    shown = frozenset(number for number, line in enumerate(lines, start=1) if _SHOWN.match(line))
    return "\n".join(_SHOWN.sub("", line, count=1) for line in lines) + "\n", shown


def default_faults(text: str, *, collectors: OptionsTable, exporters: OptionsTable) -> list[str]:
    """A sentence for each option that the example shows at another value than its default.

    Options that are required, or not set by default, have none and are shown with a value of the example's. Raises
    ConfigError when the text does not load.
    """
    uncommented, shown = example_defaults(text)
    config = loads(uncommented, collectors=collectors, exporters=exporters, file="agent.toml.example")
    return [
        f"{setting.origin}: {'.'.join(setting.path)} is shown as {_told(setting.value)}, the default is "
        f"{_told(setting.default)}"
        for setting in settings(config)
        if setting.place is not None and setting.place.line in shown and _differs(setting)
    ]


def _differs(setting: Setting) -> bool:
    if setting.default in (NODEFAULT, None) or setting.path in _HERE:
        return False
    return bool(plain(setting.value) != plain(setting.default))


def _told(value: object) -> str:
    return "not set" if value is None else toml_text(plain(value))
