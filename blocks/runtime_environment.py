"""The Prefect block of what a payload runs in, under a name that runs, flows and tasks can be given."""

from __future__ import annotations

from typing import TYPE_CHECKING

# The module, not the class: what is a block by a name of this file is registered as one of ours.
from prefect.blocks import core
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from pydantic import HttpUrl

from sluiceway.core.environments.environment import EnvironmentFields, environment_with
from sluiceway.core.environments.runtime import environment_named, runtime_of

if TYPE_CHECKING:
    from sluiceway.core.environments.environment import Environment
    from sluiceway.core.environments.runtime import Runtime


class RuntimeEnvironment(core.Block, EnvironmentFields):
    """What a payload runs in: uv's packages, an archive, environment modules, a container, or a folder there.

    Example:
        Run a command in an environment:
        ```python
        from sluiceway.blocks.runtime_environment import RuntimeEnvironment
        from sluiceway.core.runs.request import RunRequest

        environment = RuntimeEnvironment.load("BLOCK_NAME")
        request = RunRequest(command=("python3", "--version"), runtime=await environment.look())
        ```
    """

    _block_type_name = "Runtime environment"
    _block_type_slug = "runtime-environment"
    _documentation_url = HttpUrl("https://docs.astral.sh/uv/")

    @property
    def environment(self) -> Environment:
        """The environment, or EnvironmentInvalid naming all that is wrong with it."""
        name = self._block_document_name or "unsaved"
        return environment_with(name, self, where="the block")

    async def look(self) -> Runtime:
        """Look at it, and at the user's code in it, as they are now: what a request is given."""
        return await runtime_of(self.environment)


async def environment_of_block(name: str) -> Environment:
    """Give an environment by the name of its block where Prefect has an API and knows it, else from clusters.toml."""
    # Without a URL, loading a block would start a server just for that.
    if get_current_settings().api.url is None:
        return environment_named(name)
    try:
        block: RuntimeEnvironment = await RuntimeEnvironment.aload(name)
    except ValueError as error:
        # Any other has no such cause: the block is there, and cannot be used.
        if not isinstance(error.__cause__, ObjectNotFound):
            raise
        return environment_named(name)
    return block.environment


async def runtime_named(name: str | None) -> Runtime | None:
    """Look at an environment of that name as it is now; none where none is named."""
    return None if not name else await runtime_of(await environment_of_block(name))
