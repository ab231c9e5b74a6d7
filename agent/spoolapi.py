"""The running agent's spool, for `nightjar spool`: routes on its own socket."""

from __future__ import annotations

from aiohttp import web

from agent.spool import Spool


def spool_routes(spool: Spool) -> list[web.RouteDef]:
    """The routes."""
    return []
