"""The agent's HTTP endpoints: `/metrics`, `/livez`, `/readyz`, `/api/health/*`, `/api/status`.

Served on `agent.listen` (loopback unless told otherwise) and, for `nightjar status` and `nightjar spool`, on a
unix socket in the state directory that only the agent's own user can open. Answers come from the last round; nothing
is collected because somebody asks.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from agent import __version__, healthapi, logs, statusapi
from agent.core import Core
from agent.exposition import CONTENT_TYPES, Exposition, negotiate
from agent.spoolapi import answer, spool_routes
from agent.tls import tls_context
from config import AgentOptions, Secret

HANDED_OVER = 64 << 20  # bytes that `nightjar check --push` may hand over at once

log = logs.get_logger("endpoints")


class Endpoints:
    """The servers. `start` may be called again with other options; an address that did not change stays open."""

    def __init__(self, core: Core, reload: Callable[[], Awaitable[str]]) -> None:
        self._core, self._reload_now = core, reload
        self._exposition = Exposition()
        self._runner: web.AppRunner | None = None
        self._admin: web.AppRunner | None = None
        self._socket: Path | None = None
        self._served: AgentOptions | None = None

    async def start(self, options: AgentOptions, socket: Path) -> None:
        """Listen. Raises OSError when address or certificates cannot be used; the old ones are then served again."""
        if self._admin is None:
            await self._start_admin(socket)
        old = self._served
        if old is not None and _wish(old) == _wish(options):
            return
        context = _tls(options)
        try:
            await self._listen(options, context)
        except OSError:
            if old is not None:
                await self._listen(old, _tls(old))
            raise
        self._served = options

    async def _listen(self, options: AgentOptions, context: ssl.SSLContext | None) -> None:
        old, self._runner = self._runner, None
        if old is not None:
            await old.cleanup()
        if (address := options.address) is None:
            return
        runner = await _runner(self._application(options.token))
        site = web.TCPSite(runner, address[0] or None, address[1], ssl_context=context, backlog=64)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise OSError(f"cannot listen on {options.listen}: {_words(error)}") from error
        self._runner = runner

    async def _start_admin(self, socket: Path) -> None:
        self._admin = await _runner(self._application(None, admin=True))
        self._socket = socket
        try:
            _clear(socket)
            await web.UnixSite(self._admin, str(socket)).start()
        except OSError as error:
            log.warning("no socket for `nightjar status`", path=str(socket), error=str(error))

    async def keep_socket(self, socket: Path) -> None:
        """Bind the socket again when it was removed with its directory, and the directory is back."""
        if self._admin is None or _exists(socket) or not _exists(socket.parent):
            return
        with contextlib.suppress(OSError):
            await web.UnixSite(self._admin, str(socket)).start()

    @property
    def port(self) -> int | None:
        """The port in use, for those who asked for port 0."""
        addresses = self._runner.addresses if self._runner is not None else []
        return addresses[0][1] if addresses else None

    async def close(self) -> None:
        """Stop listening."""
        for runner in (self._runner, self._admin):
            if runner is not None:
                await runner.cleanup()
        self._runner = self._admin = None
        if self._socket is not None:
            with contextlib.suppress(OSError):
                _clear(self._socket)

    def _application(self, token: Secret | None, *, admin: bool = False) -> web.Application:
        middlewares = [_guard(token)] if token is not None else []
        application = web.Application(middlewares=middlewares, client_max_size=HANDED_OVER if admin else 1 << 16)
        application.router.add_get("/", self._index)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/api/status", self._status)
        application.router.add_get("/api/health/{subject}", self._health)
        if admin:
            application.router.add_routes(spool_routes(self._core.spool))
            application.router.add_post("/api/reload", self._reload)
        return application

    # -- answers --------------------------------------------------------------------------------------------------

    async def _index(self, request: web.Request) -> web.Response:
        paths = ("/metrics", "/livez", "/readyz", "/api/status", *map("/api/health/{}".format, healthapi.SUBJECTS))
        links = "".join(f'<li><a href="{path}">{path}</a></li>' for path in paths)
        return web.Response(
            text=f"<title>Nightjar</title><h1>Nightjar {__version__}</h1><ul>{links}</ul>", content_type="text/html"
        )

    async def _metrics(self, request: web.Request) -> web.Response:
        style = negotiate(request.headers.get("Accept", ""))
        body = self._exposition.render(list(self._core.pipeline.latest.values()), style)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPES[style]})

    async def _livez(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        reasons = self._core.troubles()
        return web.Response(text="\n".join(reasons or ["ok"]) + "\n", status=503 if reasons else 200)

    async def _health(self, request: web.Request) -> web.Response:
        subject = request.match_info["subject"]
        if subject not in healthapi.SUBJECTS:
            return answer({"error": f"no such subject; there are {', '.join(healthapi.SUBJECTS)}"}, status=404)
        return answer(healthapi.report(subject, self._core, time.time()))

    async def _status(self, request: web.Request) -> web.Response:
        return answer(await statusapi.status(self._core))

    async def _reload(self, request: web.Request) -> web.Response:
        faults = await self._reload_now()
        return answer({"ok": not faults, "faults": faults.splitlines()}, status=422 if faults else 200)


def _words(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "address already in use, perhaps by another agent; set `agent.listen` to another one"
    return error.strerror or str(error)


def _clear(socket: Path) -> None:
    """Remove the socket, be it what a killed agent left behind; the directory's mode keeps others from the new one."""
    with contextlib.suppress(FileNotFoundError):
        socket.unlink()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True  # it cannot be looked at: leave it alone


def _guard(token: Secret) -> Middleware:
    """Ask for the bearer token everywhere but on `/livez`, which says nothing."""
    expected = f"Bearer {token.reveal()}".encode()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode("utf-8", "replace")
        if request.path != "/livez" and not hmac.compare_digest(given, expected):
            return web.Response(status=401, text="a bearer token is needed\n", headers={"WWW-Authenticate": "Bearer"})
        return await handler(request)

    return guard


def _wish(options: AgentOptions) -> tuple[object, ...]:
    return options.listen, options.token, options.cert_file, options.key_file, options.client_ca_file


def _tls(options: AgentOptions) -> ssl.SSLContext | None:
    try:
        return tls_context(options)
    except ValueError as error:
        raise OSError("; ".join(map(str, error.args))) from error


async def _runner(application: web.Application) -> web.AppRunner:
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    return runner
