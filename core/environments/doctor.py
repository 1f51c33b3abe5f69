"""Looks whether environments can be made here and kept at a place, and whether those that lie there are whole."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from sluiceway.core.environments.container import BUILDERS, runs_without
from sluiceway.core.environments.environment import Archive, Container, Uv
from sluiceway.core.environments.inventory import HALF_MADE
from sluiceway.core.environments.runtime import runtime_of
from sluiceway.core.errors import SluicewayError
from sluiceway.core.runs.doctor import Check, Health

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sluiceway.core.environments.cache import EnvironmentCache
    from sluiceway.core.environments.environment import Environment


async def examine(environment: Environment | None, cache: EnvironmentCache) -> AsyncIterator[Check]:
    """Give one finding after the other: of one environment, where one is named, and of what lies at the place."""
    if environment is not None:
        for each in _tools(environment):
            yield each
        try:
            runtime = await runtime_of(environment)
        except SluicewayError as error:
            yield Check(what=environment.name, health=Health.FAILED, said=str(error), advice="")
        else:
            said = ", ".join(f"{name} {value}" for name, value in runtime.identity.items())
            yield Check(what=environment.name, health=Health.OK, said=said, advice="")
            for warning in runtime.warnings:
                yield Check(what=environment.name, health=Health.DOUBTFUL, said=warning, advice="")
    try:
        entries = await cache.entries(check=True)
    except SluicewayError as error:
        yield Check(what="the cache", health=Health.FAILED, said=str(error), advice="")
        return
    yield Check(what="the cache", health=Health.OK, said=f"{len(entries)} environments", advice="")
    for entry in entries:
        health, advice = _weighed(entry["standing"])
        said = f"{entry['name'] or '?'}: {entry['standing']}, {entry['bytes']} bytes"
        yield Check(what=entry["key"], health=health, said=said, advice=advice)


def _weighed(standing: str) -> tuple[Health, str]:
    if standing.startswith("damaged"):
        return Health.FAILED, "the next run in it ships it anew"
    if standing == HALF_MADE:
        return Health.DOUBTFUL, "the next run in it makes it anew, else `sluiceway env gc` removes it after a day"
    return Health.OK, ""


def _tools(environment: Environment) -> Iterator[Check]:
    kind = environment.kind
    wanted: list[tuple[str, ...]] = []
    if isinstance(kind, Uv):
        wanted = [("uv",), ("tar",), ("zstd", "gzip"), (kind.python,)]
        wanted += [("pip3", "pip")] if kind.ship == "wheels" else []
    elif isinstance(kind, Archive):
        wanted = [("pixi-pack",)] if kind.pixi else [("conda-pack",)] if kind.conda else []
    elif isinstance(kind, Container) and not runs_without(kind):
        wanted = [BUILDERS]
    for names in wanted:
        found = next((each for each in names if shutil.which(each)), None)
        health = Health.FAILED if found is None else Health.OK
        advice = "" if found else "install it on this machine, where environments are built"
        yield Check(what=" or ".join(names), health=health, said=str(found and shutil.which(found)), advice=advice)
