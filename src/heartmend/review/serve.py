"""Web server process of the review page."""

from __future__ import annotations

import socket

from heartmend.errors import ConfigError
from heartmend.review.access import Access
from heartmend.review.app import create_app
from heartmend.review.connections import ConnectionLimits, Server
from heartmend.review.session import Review


def listen(host: str, port: int, token: str = "") -> tuple[socket.socket, Access]:
    """Open a socket that listens on an address.

    Args:
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        token: token that browsers must send; made if it is needed and empty.

    Returns:
        The socket, and the access rules with the port in use.

    Raises:
        ConfigError: if the address cannot be used.
    """
    requested = Access.for_address(host, port, token)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # A request that arrives before the server has started waits and gets no error.
        listener.listen()
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"{host}:{port}: cannot listen there ({error.strerror}); give another --host or --port"
        ) from error
    return listener, Access(host, listener.getsockname()[1], requested.token)


def serve(review: Review, access: Access, listener: socket.socket, limits: ConnectionLimits | None = None) -> None:
    """Serve the page until Ctrl-C or SIGTERM. Requests are not logged, because their addresses can contain the token.

    Args:
        review: cases and decisions.
        access: access rules.
        listener: socket of `listen`.
        limits: limits of the connections.
    """
    Server(create_app(review, access), limits).run(sockets=[listener])
