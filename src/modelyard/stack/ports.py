"""A port for MLflow on this machine."""

import socket
from collections.abc import Iterable

from modelyard.errors import ServiceFailed

_NB_TRIES = 50


def find_free_port(wanted: Iterable[int]) -> int:
    """The first of the ``wanted`` ports that nobody uses, else one of the 50 that follow the first of them.

    Raises:
        ServiceFailed: all of them are taken.
    """
    candidates = list(dict.fromkeys(wanted))
    first = candidates[0]
    candidates += [port for port in range(first + 1, min(first + _NB_TRIES, 65535) + 1) if port not in candidates]
    for port in candidates:
        if not is_taken(port):
            return port
    raise ServiceFailed(f"ports {first} to {candidates[-1]} are all taken; name a free one with MODELYARD_MLFLOW_PORT")


def check_port(port: int) -> None:
    """Refuse a port that this user may not use.

    Raises:
        ServiceFailed: it is reserved for root.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        try:
            server.bind(("127.0.0.1", port))
        except PermissionError:
            text = f"port {port} is reserved for root; name another one with MODELYARD_MLFLOW_PORT"
            raise ServiceFailed(text) from None
        except OSError:
            return  # taken, and another one is found


def is_taken(port: int) -> bool:
    """Whether a program answers on this port of localhost, or holds it."""
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as client:
                client.settimeout(1)
                if client.connect_ex((host, port)) == 0:
                    return True
        except OSError:
            continue  # no IPv6 here
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
