"""Ports on a node for one part of an engine, which no other part there is given meanwhile, whosever that is.

A block of ports belongs to whoever has the lock of that block, an abstract socket (unix(7)). The kernel knows that name
wherever it knows the ports, in one network namespace, whatever each job sees of the node's files or calls its own
folder for temporary ones; and it forgets it when the holder is gone, however that ended.
"""

import contextlib
import errno
import os
import socket
from typing import Optional, Tuple

_FIRST_PORT, _LAST_PORT, _BLOCK = 20000, 32000, 50


class NoPorts(Exception):
    """Every block of ports on this node is taken."""


def take_ports(count: int) -> Tuple[int, Optional[socket.socket]]:
    """Take so many ports in a row that nobody here listens on; they are ours until the lock is closed."""
    if not count:
        return 0, None
    blocks = list(range(_FIRST_PORT, _LAST_PORT, _BLOCK))
    begin = os.getpid() % len(blocks)
    for first in blocks[begin:] + blocks[:begin]:
        lock = _locked(first)
        if lock is None:
            continue
        if all(_is_free(first + number) for number in range(count)):
            return first, lock
        lock.close()
    raise NoPorts("no block of %d ports is free" % count)


def _locked(first: int) -> Optional[socket.socket]:
    """Lock a block for all users of this node; none where somebody has it."""
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind("\0sluiceway-ports-%d" % first)
    except OSError as error:
        lock.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return lock


def _is_free(port: int) -> bool:
    with contextlib.closing(socket.socket()) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("", port))
        except OSError:
            return False
        return True
