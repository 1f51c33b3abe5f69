"""Our block types, and an example of a block of some: what can be filled in, with no secret in it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from prefect.blocks.core import Block

from sluiceway import blocks
from sluiceway.blocks.runtime_environment import RuntimeEnvironment
from sluiceway.blocks.slurm import LocalJob, SlurmJob
from sluiceway.core.environments.environment import Kind


def examples() -> dict[str, Block]:
    """Give blocks by their names; each is one that loads, and none names anything real but this machine."""
    return {
        "this-machine": LocalJob(command=("hostname",)),
        "example-cluster": SlurmJob(host="login.cluster.example.org", user="you", command=("hostname",)),
        "example-modules": RuntimeEnvironment(kind=Kind.MODULES, modules=("python/3.11",)),
    }


def block_types() -> list[type[Block]]:
    """Give every block type of ours, in the order of their names."""
    modules = [
        importlib.import_module(f"{blocks.__name__}.{each.name}") for each in pkgutil.iter_modules(blocks.__path__)
    ]
    found = {
        each
        for module in modules
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, Block) and each.__module__ == module.__name__ and "_block_type_slug" in vars(each)
    }
    return sorted(found, key=lambda each: each.get_block_type_slug())
