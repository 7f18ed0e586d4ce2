"""Who may talk to the server: the right Host, the token where one is asked for, no other page's script."""

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
MIN_TOKEN = 16
# NiiVue draws its letters from a picture in its own text, hence data: for images.
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
    """Where the server listens and what a visitor must bring. An empty token: nothing more than the right Host."""

    host: str
    port: int
    token: str = field(default="", repr=False)

    @classmethod
    def decide(cls, host: str, port: int, token: str = "") -> Access:
        """Loopback needs no token; any other address gets one, made here when none is given.

        Raises ConfigError for a token that can be guessed, and for an address that stands for all of them.
        """
        if host in ("0.0.0.0", "::", ""):
            raise ConfigError(f"--host {host!r} stands for every address; give the one that colleagues will type")
        if token and len(token) < MIN_TOKEN:
            raise ConfigError(f"--token has {len(token)} letters; at least {MIN_TOKEN} are needed")
        if not token and not is_loopback(host):
            token = secrets.token_urlsafe(24)
        return cls(host, port, token)

    @property
    def names(self) -> frozenset[str]:
        """The Host headers that are ours."""
        hosts = {self.host}
        if is_loopback(self.host):
            hosts |= {"localhost", "127.0.0.1"}
        written = {f"[{h}]" if ":" in h else h for h in hosts}
        return frozenset(f"{h.lower()}:{self.port}" for h in written)

    @property
    def url(self) -> str:
        """What to open."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/" + (f"?token={self.token}" if self.token else "")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Guard:
    """Middleware: turns away what may not come in, and puts our headers on all that goes out."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(k.encode(), v.encode()) for k, v in HEADERS.items()]
                message["headers"] = [(k, v) for k, v in message["headers"] if k.decode().lower() not in HEADERS] + own
            await send(message)

        answer = self._refusal(Request(scope))
        return await (answer or self.app)(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "").lower()
        if host not in self.access.names:
            return PlainTextResponse(f"This server is not {host[:100]!r}.", 421)
        origin = request.headers.get("origin")
        if request.method not in ("GET", "HEAD") and origin is not None and origin.lower() != f"http://{host}":
            return PlainTextResponse("This page may not write here.", 403)
        if not self.access.token:
            return None
        if self._is_token(request.query_params.get("token", "")) and request.url.path == "/":
            answer = RedirectResponse("/", 303)
            answer.set_cookie(COOKIE, self.access.token, httponly=True, samesite="strict")
            return answer
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._is_token(request.cookies.get(COOKIE, "")) or self._is_token(bearer):
            return None
        return PlainTextResponse("Open the address with its token, as the terminal shows it.", 401)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.access.token.encode())
