"""Access control of the review server: Host header, token, and origin of requests."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from heartmend.errors import ConfigError

COOKIE = "heartmend_token"
MIN_TOKEN_LENGTH = 16
# NiiVue stores its font as an image in its source text, hence data: for images.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """Address of the server and the token that it requires.

    Attributes:
        host: address to listen on.
        port: port to listen on.
        token: text that a browser must send; empty if the right Host header is enough.
    """

    host: str
    port: int
    token: str = field(default="", repr=False)

    @classmethod
    def for_address(cls, host: str, port: int, token: str = "") -> Access:
        """Choose the token for an address. A loopback address needs none; for any other one is made if none is given.

        Args:
            host: address to listen on.
            port: port to listen on.
            token: token of the user; empty for none.

        Returns:
            The access rules.

        Raises:
            ConfigError: if the token is too short, or the host stands for all addresses of this machine.
        """
        if host in ("0.0.0.0", "::", ""):
            raise ConfigError(f"--host {host!r} stands for every address of this machine; give the one to be opened")
        if token and len(token) < MIN_TOKEN_LENGTH:
            raise ConfigError(f"--token has {len(token)} characters; give at least {MIN_TOKEN_LENGTH}")
        if not token and not is_loopback(host):
            token = secrets.token_urlsafe(24)
        return cls(host, port, token)

    @property
    def host_headers(self) -> frozenset[str]:
        """Host headers that the server accepts."""
        hosts = {self.host}
        if is_loopback(self.host):
            hosts |= {"localhost", "127.0.0.1"}
        formatted = {f"[{h}]" if ":" in h else h for h in hosts}
        return frozenset(f"{h.lower()}:{self.port}" for h in formatted)

    @property
    def url(self) -> str:
        """Address to open in a browser, with the token."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/" + (f"?token={self.token}" if self.token else "")


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only.

    Args:
        host: IP address or host name.

    Returns:
        True for a loopback address.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("192.0.2.7")
        (True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Guard:
    """Middleware that rejects requests without access and adds the security headers to every response."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        """Wrap an application.

        Args:
            app: the application.
            access: access rules.
        """
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process a request; one without access is answered with an error or a redirect.

        Args:
            scope: the request, as of ASGI.
            receive: receives its body.
            send: sends the response.
        """
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(k.encode(), v.encode()) for k, v in HEADERS.items()]
                message["headers"] = [(k, v) for k, v in message["headers"] if k.decode().lower() not in HEADERS] + own
            await send(message)

        response = self._response_without_access(Request(scope))
        return await (response or self.app)(scope, receive, send_with_headers)

    def _response_without_access(self, request: Request) -> Response | None:
        """Return an error or a redirect; None if the request has access."""
        host = request.headers.get("host", "").lower()
        if host not in self.access.host_headers:
            return PlainTextResponse(f"This server is not {host[:100]!r}.", 421)
        origin = request.headers.get("origin")
        if request.method not in ("GET", "HEAD") and origin is not None and origin.lower() != f"http://{host}":
            return PlainTextResponse("Requests from other pages cannot write here.", 403)
        if not self.access.token:
            return None
        if self._is_token(request.query_params.get("token", "")) and request.url.path == "/":
            response = RedirectResponse("/", 303)
            response.set_cookie(COOKIE, self.access.token, httponly=True, samesite="strict")
            return response
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._is_token(request.cookies.get(COOKIE, "")) or self._is_token(bearer):
            return None
        return PlainTextResponse("Open the address with its token, as printed in the terminal.", 401)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.access.token.encode())
