"""Where a part of an engine is reached, and whether it answers there."""

import contextlib
import socket
import urllib.request

_ASK_SECONDS = 5


def bracketed(address: str) -> str:
    """Write an address as it stands before a port: one of version 6 in brackets."""
    return "[%s]" % address if ":" in address else address


def page(url: str) -> bytes:
    """Ask for a page; OSError where nobody answers."""
    # No proxy of the environment's knows the nodes.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=_ASK_SECONDS) as answer:
        return bytes(answer.read())


def listens(host: str, port: int) -> bool:
    """Whether somebody takes connections there."""
    with contextlib.suppress(OSError):
        socket.create_connection((host, port), timeout=_ASK_SECONDS).close()
        return True
    return False
