"""Who may ask: pages of this very server, by its own name. Everybody else is told so and learns nothing.

A page from elsewhere can make a browser send requests here, and can give its own name this machine's address (DNS
rebinding): so the Host must be ours, and whatever a browser marks as coming from another page is refused.
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
"""What our own pages may do: nothing from outside, nothing written into them."""

REPORT_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""Reports bring their style along and run nothing."""

_ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), browsing-topics=()",
    "Cache-Control": "no-store",
}
_SAFE: Final = frozenset({"GET", "HEAD"})


class Guard:
    """Refuses strangers, and puts the same headers on every answer.

    Args:
        app: What is guarded.
        hosts: The names by which the server may be called, with the port: `127.0.0.1:8420`.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", POLICY)
            await send(message)

        refusal = refused(Headers(scope=scope), scope["method"], scope["path"], self._hosts)
        if refusal is None:
            await self._app(scope, receive, sending)
            return
        status, text = refusal
        # What a stranger still sends is not read.
        await PlainTextResponse(text, status, {"Connection": "close"})(scope, receive, sending)


def refused(headers: Headers, method: str, path: str, hosts: frozenset[str]) -> tuple[int, str] | None:
    """Why a request is refused, with its HTTP status; None where it may pass."""
    names = headers.getlist("host")
    if len(names) != 1 or names[0].lower() not in hosts:
        return 421, f"This server answers to {' and '.join(sorted(hosts))} only."
    if method in _SAFE and not path.startswith("/api/"):
        return None  # a page may be opened from a link
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"http://{names[0].lower()}":
        return 403, "This request comes from another page."
    # `same-site` is another port of this machine: another program.
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return 403, "This request comes from another page."
    return None
