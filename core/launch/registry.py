"""Launchers by name: what `--launcher` and a flow's parameter may say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sluiceway.core.errors import RequestInvalid
from sluiceway.core.launch.dask import DaskLauncher
from sluiceway.core.launch.ray import RayLauncher
from sluiceway.core.launch.single import SingleLauncher
from sluiceway.core.launch.spark import SparkLauncher

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sluiceway.core.launch.launcher import Launcher
    from sluiceway.core.slurm.resources import Resources

LAUNCHERS: dict[str, type[Launcher]] = {
    each.name: each for each in (SingleLauncher, DaskLauncher, RayLauncher, SparkLauncher)
}


def launcher_named(
    name: str | None, options: Mapping[str, Any] | None = None, *, resources: Resources | None = None
) -> Launcher | None:
    """Give a launcher by its name, none where none is named; or raise RequestInvalid.

    Several tasks that are asked of Slurm are as many of a single payload, unless its options say otherwise.
    """
    if name is None:
        if options:
            raise RequestInvalid(what="the launcher's options", value=str(dict(options)), reason="name a launcher")
        return None
    kind = LAUNCHERS.get(name)
    if kind is None:
        raise RequestInvalid(what="the launcher", value=name, reason=f"there are {', '.join(sorted(LAUNCHERS))}")
    usual = {"tasks": resources.tasks} if kind is SingleLauncher and resources and resources.tasks else {}
    try:
        return kind.model_validate({**usual, **(options or {})})
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise RequestInvalid(what=f"an option of the launcher {name}", value=str(options), reason=told) from error
