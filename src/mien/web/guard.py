"""Refuse requests from other machines and other pages.

A page from elsewhere can make a browser send requests here, and can give its own host name the address of this machine
(DNS rebinding). Therefore the Host header must be one of ours, and requests that the browser marks as coming from
another page are refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Content security policy of our pages: files of this server only, no inline scripts or styles."""

REPORT_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""Content security policy of reports: inline styles and pictures, no scripts."""

ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), browsing-topics=()",
    "Cache-Control": "no-store",
}
"""Headers of every response."""

_SAFE: Final = frozenset({"GET", "HEAD"})


class Guard:
    """Middleware that refuses foreign requests, and adds the security headers to every response.

    Args:
        app: The application.
        hosts: Allowed values of the Host header, with the port: `127.0.0.1:8420`.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in ALWAYS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", POLICY)
            await send(message)

        refusal = refused(Headers(scope=scope), scope["method"], scope["path"], self._hosts)
        if refusal is None:
            try:
                await self._app(scope, receive, sending)
            except Exception:
                if not begun:
                    answer = PlainTextResponse("This server made a mistake.", 500, {"Connection": "close"})
                    await answer(scope, receive, sending)
                raise  # so that it is written to the log
            return
        status, text = refusal
        # The body of a refused request is not read.
        await PlainTextResponse(text, status, {"Connection": "close"})(scope, receive, sending)


def refused(headers: Headers, method: str, path: str, hosts: frozenset[str]) -> tuple[int, str] | None:
    """Return the HTTP status and the reason for refusing a request; None if it is allowed.

    Args:
        headers: Headers of the request.
        method: Method of the request.
        path: Path of the request.
        hosts: Allowed values of the Host header.

    Example:
        >>> refused(Headers({"host": "evil.example"}), "GET", "/", frozenset({"127.0.0.1:8420"}))
        (421, 'This server answers to 127.0.0.1:8420 only.')
    """
    names = headers.getlist("host")
    if len(names) != 1 or names[0].lower() not in hosts:
        return 421, f"This server answers to {' and '.join(sorted(hosts))} only."
    if method in _SAFE and not path.startswith("/api/"):
        return None  # pages may be opened from a link elsewhere
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"http://{names[0].lower()}":
        return 403, "This request comes from another page."
    # `same-site` means another port of this machine, that is, another program.
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return 403, "This request comes from another page."
    return None
