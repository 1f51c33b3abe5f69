"""The open way to a cluster: one connection, one submitter and one watcher in a process, whoever asks how often.

It opens with the first question and closes with the event loop that it was opened in: runs that follow each other, or
go on at once, share it, and somebody who logs in with a code from a telephone does so once.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, LiteralString

from sluiceway.core.errors import SluicewayError, Unreachable
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.remote.shell import Command
from sluiceway.core.remote.ssh import SshShell
from sluiceway.core.slurm.cluster import Cluster
from sluiceway.core.slurm.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Hashable

    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.remote.login import Answer, Login
    from sluiceway.core.remote.shell import Shell
    from sluiceway.core.runs.clusters import ClusterSettings

# Somebody may have to look for their telephone.
_SOON = timedelta(minutes=10)
# The name as people there spell it, not as the file server does: nodes may have it mounted under that name alone.
_BASE: LiteralString = 'cd && umask 077 && mkdir -p -- "$1" && cd -- "$1" && printf "\\n@base %s\\n@end\\n" "$PWD"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One cluster, reached."""

    settings: ClusterSettings
    shell: Shell
    clock: Clock
    cluster: Cluster
    watcher: Watcher
    base: PurePosixPath


# Who answers what a login asks, where anybody does.
answering: ContextVar[Answer | None] = ContextVar("answering", default=None)
_opened: dict[asyncio.AbstractEventLoop, dict[Hashable, asyncio.Task[Access]]] = {}
_closing: set[asyncio.Task[None]] = set()


async def access_to(settings: ClusterSettings, clock: Clock) -> Access:
    """Give this loop's one access to a cluster, opened now unless it is open; or raise why it cannot be."""
    for loop in [each for each in _opened if each.is_closed()]:
        del _opened[loop]
    known = _opened.setdefault(asyncio.get_running_loop(), {})
    key = settings.way, settings.base, settings.slurm_cluster, settings.pace
    if key not in known:
        known[key] = asyncio.create_task(_open(settings, clock))
    try:
        # Whoever stops waiting leaves it to the others.
        access = await asyncio.shield(known[key])
    except SluicewayError:
        known.pop(key, None)
        raise
    return replace(access, settings=settings)


async def _open(settings: ClusterSettings, clock: Clock) -> Access:
    way = settings.way
    if way is None:
        return await _accessed(settings, clock, LocalShell())
    answer = answering.get() if settings.questions else None
    shell = SshShell(_answered(way, answer), clock=clock)
    async with contextlib.AsyncExitStack() as undo:
        undo.push_async_callback(shell.close)
        access = await _accessed(settings, clock, shell)
        closing = asyncio.create_task(_close_in_the_end(shell))
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)
        undo.pop_all()
    return access


def _answered(way: Login, answer: Answer | None) -> Login:
    """Let somebody answer what any machine on the way asks."""
    return replace(way, answer=answer, via=None if way.via is None else _answered(way.via, answer))


async def _close_in_the_end(shell: SshShell) -> None:
    """Wait until the loop ends, which cancels all that still waits, and close the connection then."""
    try:
        await asyncio.Event().wait()
    finally:
        await shell.close()


async def _accessed(settings: ClusterSettings, clock: Clock, shell: Shell) -> Access:
    done = (await shell.run(Command.script(_BASE, str(settings.base)), timeout=_SOON)).require_success()
    found = re.search(r"^@base (/[^\n]*)\n@end$", done.text, re.MULTILINE)
    if found is None:
        raise Unreachable(machine=shell.machine, reason=f"it does not tell where {str(settings.base)!r} is")
    return Access(
        settings=settings,
        shell=shell,
        clock=clock,
        cluster=Cluster(shell, clock, name=settings.slurm_cluster, was_reached=True),
        watcher=Watcher(shell, clock, name=settings.slurm_cluster, pace=settings.pace),
        base=PurePosixPath(found[1]),
    )
