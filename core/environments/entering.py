"""Enters an environment outside of a run: the steps of a session, and a look at what somebody has there, are put in it.

A run brings `enter.py` in its own folder, and is told there what it was asked for. Here the same program lies in a
folder of its own, and is put before any command.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from sluiceway.core import settings
from sluiceway.core.environments import contained, enter, provision, watched
from sluiceway.core.environments.container import runs_without
from sluiceway.core.environments.environment import Container
from sluiceway.core.errors import EnvironmentUnusable
from sluiceway.core.remote.shell import Command
from sluiceway.core.store.lock import exclusive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sluiceway.core.environments.activation import Activation
    from sluiceway.core.environments.runtime import Runtime
    from sluiceway.core.remote.clock import Clock
    from sluiceway.core.remote.shell import Shell
    from sluiceway.core.runs.access import Access

SESSIONS: Final = "sessions"
ENGINES: Final = "engines"
ENTERED: Final = "entered"
"""Folders below the base in which who enters an environment without a run has a folder each; `uses.py` reads them."""
INSIDE: Final = "environment"
"""What such a folder calls the folder of what enters it."""

# Of what is not a run nobody has asked for variables that the environment must leave alone.
_ASKED = b'{"environment": {}}'


async def words_at(
    runtime: Runtime, access: Access, *, folder: PurePosixPath, partition: str | None
) -> tuple[str, ...]:
    """Let an environment lie on a cluster, and give the words that put a command there in it.

    Args:
        runtime: What is entered.
        access: The cluster.
        folder: A folder there for what enters it, which the nodes see.
        partition: The partition whose nodes it is for; none for the default one.
    """
    require_enterable(runtime, where=access.shell.machine)
    activation = await provision.at_cluster(runtime, access, partition)
    words = await words_into(activation, access.shell, folder=folder, python=access.settings.python)
    # Now that it is written down there, nobody removes it; somebody may have, just before.
    await provision.at_cluster(runtime, access, partition)
    return words


@contextlib.asynccontextmanager
async def words_here(runtime: Runtime, shell: Shell, clock: Clock) -> AsyncIterator[tuple[str, ...]]:
    """Let an environment lie on this machine for as long as the block lasts, and give the words that enter it."""
    require_enterable(runtime, where=shell.machine)
    folder = settings.load().cache_dir.absolute() / ENTERED / secrets.token_hex(8)
    try:
        with exclusive(folder, purpose="enter"):
            activation = await provision.here(runtime, shell, clock)
            words = await words_into(activation, shell, folder=PurePosixPath(folder), python=sys.executable)
            await provision.here(runtime, shell, clock)
            yield words
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def require_enterable(runtime: Runtime, *, where: str) -> None:
    """Raise EnvironmentUnusable where it is a container: such a one is given the folder of a run, and sees no other."""
    kind = None if runtime.recipe is None else runtime.recipe.environment.kind
    if isinstance(kind, Container) and not runs_without(kind):
        reason = "only a run has the folder that a container sees: steps of sessions and scores take another kind"
        raise EnvironmentUnusable(name=runtime.name, where=where, reason=reason)


async def words_into(activation: Activation, shell: Shell, *, folder: PurePosixPath, python: str) -> tuple[str, ...]:
    """Write what enters an environment into a folder there, and give the words that put a command in it."""
    (await shell.run(Command.of("mkdir", "-p", "--", str(folder)))).require_success()
    programs = {
        each.name: each.read_bytes() for each in (Path(str(one.__file__)) for one in (enter, contained, watched))
    }
    files = {**programs, "activation.json": activation.document(), "request.json": _ASKED}
    for name, content in files.items():
        await shell.write(folder / name, content)
    return (python, "-I", str(folder / "enter.py"), str(folder / "activation.json"), str(folder))
