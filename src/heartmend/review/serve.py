"""The server on its address, until it is stopped."""

from __future__ import annotations

import socket

import uvicorn

from heartmend.errors import ConfigError
from heartmend.review.access import Access
from heartmend.review.app import Review, create_app


def bound(host: str, port: int, token: str = "") -> tuple[socket.socket, Access]:
    """A socket that listens on an address, and what visitors must bring. ConfigError when the address cannot be had."""
    asked = Access.decide(host, port, token)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # Who comes before the server is up waits and is not turned away.
        listener.listen()
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"{host}:{port}: cannot listen there ({error.strerror}); give another --host or --port"
        ) from error
    return listener, Access(host, listener.getsockname()[1], asked.token)


def serve(review: Review, access: Access, listener: socket.socket) -> None:
    """Serve until Ctrl-C. No line for each request: addresses can hold the token."""
    config = uvicorn.Config(
        create_app(review, access), log_level="warning", access_log=False, server_header=False, proxy_headers=False,
        timeout_graceful_shutdown=3,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listener])
