"""Enters an environment outside of a run: the steps of a session, and a look at what somebody has there, are put in it.

A run brings `enter.py` in its own folder, and is told there what it was asked for. Here the same program lies in a
folder of its own, and is put before any command.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sluiceway.core.environments import contained, enter, provision
from sluiceway.core.environments.container import runs_without
from sluiceway.core.environments.environment import Container
from sluiceway.core.errors import EnvironmentUnusable
from sluiceway.core.remote.shell import Command

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from sluiceway.core.environments.activation import Activation
    from sluiceway.core.environments.runtime import Runtime
    from sluiceway.core.remote.shell import Shell
    from sluiceway.core.runs.access import Access

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
    return await words_into(activation, access.shell, folder=folder, python=access.settings.python)


def require_enterable(runtime: Runtime, *, where: str) -> None:
    """Raise EnvironmentUnusable where it is a container: such a one is given the folder of a run, and sees no other."""
    kind = None if runtime.recipe is None else runtime.recipe.environment.kind
    if isinstance(kind, Container) and not runs_without(kind):
        reason = "only a run has the folder that a container sees: steps of sessions and scores take another kind"
        raise EnvironmentUnusable(name=runtime.name, where=where, reason=reason)


async def words_into(activation: Activation, shell: Shell, *, folder: PurePosixPath, python: str) -> tuple[str, ...]:
    """Write what enters an environment into a folder there, and give the words that put a command in it."""
    (await shell.run(Command.of("mkdir", "-p", "--", str(folder)))).require_success()
    programs = {each.name: each.read_bytes() for each in (Path(enter.__file__), Path(contained.__file__))}
    files = {**programs, "activation.json": activation.document(), "request.json": _ASKED}
    for name, content in files.items():
        await shell.write(folder / name, content)
    return (python, "-I", str(folder / "enter.py"), str(folder / "activation.json"), str(folder))
