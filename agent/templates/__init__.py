"""Go's text templates as Prometheus' rules use them in labels and annotations, with Prometheus' functions."""

from __future__ import annotations

from agent.templates.template import Template, compile_template

__all__ = ["Template", "compile_template"]
