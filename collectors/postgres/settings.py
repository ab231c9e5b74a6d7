"""The server's settings as `pg_settings_<name>[_unit]`, in seconds and bytes; read anew when they were loaded anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from agent.model import Family, Sample, gauge
from collectors.postgres.frames import Row

MOST: Final = 3000  # settings; a bare server has 350
LONGEST: Final = 128  # characters of a name, or of a value
# What our own session has set is not the server's; what neither reload nor promotion changes needs no second look.
LOADED: Final = "SELECT pg_conf_load_time(), pg_is_in_recovery()"
SQL: Final = """SELECT name, CASE WHEN source = 'session' THEN reset_val ELSE setting END, coalesce(unit, ''), vartype
    FROM pg_settings WHERE vartype IN ('bool', 'integer', 'real') LIMIT 3000"""
_SCALE: Final = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: Final = re.compile(r"(\d{0,9})(B|kB|MB|GB|TB)")
_POWER: Final = {"B": 0, "kB": 10, "MB": 20, "GB": 30, "TB": 40}
_NO_NUMBER: Final = re.compile(r"[^0-9]*$")


class Settings:
    """Families by setting: they have to stay the same objects from round to round."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}

    def read(self, instance: str, row: Row) -> Iterator[Sample]:
        """The sample of a row of (name, setting, unit, type), unless it is no number; raises ValueError for others."""
        name, setting, unit, kind = row
        if name is None or len(name) > LONGEST:
            raise ValueError("is no setting")
        if (parsed := parse_setting(setting or "", unit or "", kind or "")) is not None:
            value, suffix = parsed
            yield Sample(self._family(name, suffix), (instance,), value)

    def _family(self, name: str, suffix: str) -> Family:
        full = re.sub(r"[^a-zA-Z0-9_]", "_", f"pg_settings_{name}{suffix and '_'}{suffix}")
        if (family := self._families.get(full)) is None:
            units = f" [Units converted to {suffix}.]" if suffix else ""
            if len(self._families) >= MOST:
                self._families.clear()
            family = self._families[full] = gauge(full, f"Server Parameter: {name}{units}", "instance")
        return family


def parse_setting(setting: str, unit: str, kind: str) -> tuple[float, str] | None:
    """Value and unit (`seconds`, `bytes` or none) of a setting; None for what is no number in a known unit."""
    if max(len(setting), len(unit)) > LONGEST:
        return None
    if kind == "bool":
        return float(setting == "on"), ""
    try:
        value = float(_NO_NUMBER.sub("", setting))  # some clouds write the unit behind the number
    except ValueError:
        return None
    if unit in _SCALE:
        return (value if value == -1 else value * _SCALE[unit]), "seconds"
    if found := _BYTES.fullmatch(unit):
        return (value if value == -1 else value * int(found[1] or 1) * 2.0 ** _POWER[found[2]]), "bytes"
    return None if unit else (value, "")
