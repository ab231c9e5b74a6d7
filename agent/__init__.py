"""The core: model, scheduler, pipeline, spool, delivery, endpoints, daemon and command line."""

__version__ = "0.1.0"
