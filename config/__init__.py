"""Configuration: TOML files to typed values, with every fault and its place.

What plugins need is imported here; what only the loading of a file needs is imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from config import environment
from config.faults import ConfigError, Fault, Place
from config.options import (
    AgentOptions,
    ClientOptions,
    CollectorCommon,
    Config,
    ExporterCommon,
    HeaderText,
    LabelName,
    Labels,
    PositiveDuration,
    Section,
    SpoolOptions,
)
from config.secret import Referenced, Secret, reveal
from config.values import Duration, Share, Size

if TYPE_CHECKING:
    from config.example import default_faults, example_defaults
    from config.loading import find_file, load, loads
    from config.schema import json_schema
    from config.show import effective, settings, to_toml

__all__ = [
    "AgentOptions",
    "ClientOptions",
    "CollectorCommon",
    "Config",
    "ConfigError",
    "Duration",
    "ExporterCommon",
    "Fault",
    "HeaderText",
    "LabelName",
    "Labels",
    "Place",
    "PositiveDuration",
    "Referenced",
    "Secret",
    "Section",
    "Share",
    "Size",
    "SpoolOptions",
    "default_faults",
    "effective",
    "environment",
    "example_defaults",
    "find_file",
    "json_schema",
    "load",
    "loads",
    "reveal",
    "settings",
    "to_toml",
]

_LATER = {
    "default_faults": "config.example",
    "effective": "config.show",
    "example_defaults": "config.example",
    "find_file": "config.loading",
    "json_schema": "config.schema",
    "load": "config.loading",
    "loads": "config.loading",
    "settings": "config.show",
    "to_toml": "config.show",
}


def __getattr__(name: str) -> Any:
    if (module := _LATER.get(name)) is None:
        raise AttributeError(f"module 'config' has no attribute {name!r}")
    return getattr(import_module(module), name)
