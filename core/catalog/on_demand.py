"""Brings the scores that a run asks for by their ids and that are not here, unless nobody may be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluiceway.core import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sluiceway.core.genetics.build import Build
    from sluiceway.core.remote.clock import Clock


def bring(
    scores: Sequence[str], *, build: Build | None, clock: Clock, progress: Callable[[str, int, int], None]
) -> None:
    """Bring scores harmonised to a build, from the catalogue that the settings name; offline, bring none.

    What cannot be had is told, and is not here afterwards; whoever asked for it says so.
    """
    chosen = settings.load()
    if not scores or chosen.offline:
        return
    # Most runs bring nothing, and need none of this.
    from sluiceway.core.catalog.refresh import CatalogPlace, pull, waited  # noqa: PLC0415
    from sluiceway.core.catalog.source import CatalogSource  # noqa: PLC0415

    place = CatalogPlace(
        home=chosen.home, cache=chosen.cache_dir, source=CatalogSource.configured(), clock=clock, build=build
    )
    waited(pull(place, scores, progress=progress))
