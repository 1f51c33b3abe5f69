"""The catalogue for Python: what it has, what is known of a score, and where a value stands.

What is here is used; what is not is asked for once and kept. Offline, it is an error that says what is missing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from sluiceway.core import settings
from sluiceway.core.catalog import refresh as work
from sluiceway.core.catalog.history import History, SeenRelease
from sluiceway.core.catalog.kept import KeptTables
from sluiceway.core.catalog.metadata import LARGEST, BestBy, best_performance
from sluiceway.core.catalog.refresh import CatalogPlace, Hub, Refreshed, waited
from sluiceway.core.catalog.release import Change, changes
from sluiceway.core.catalog.source import CatalogSource
from sluiceway.core.catalog.standing import EVERYBODY, Among, Standing, reference_status, standing
from sluiceway.core.errors import CatalogOffline, ScoreUnknown
from sluiceway.core.genetics.build import Build
from sluiceway.core.publish.hub import MetadataOnHub
from sluiceway.core.remote.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sluiceway.core.catalog.fetch import Fetched, NotFetched
    from sluiceway.core.catalog.metadata_folder import Metadata

_SEARCHED = ("pgs_id", "name", "trait_reported", "trait_efo", "trait_efo_id")


class Catalog:
    """A catalogue, as it is kept on this machine."""

    def __init__(self, place: CatalogPlace) -> None:
        """Use what is kept at this place."""
        self.place = place

    @classmethod
    def here(cls, *, build: Build | None = Build.GRCH38, offline: bool = False, hub: Hub | None = None) -> Self:
        """Give the catalogue that the settings name, for one build of scoring files.

        Args:
            build: The build; none are files as they were submitted.
            offline: Whether nobody may be asked.
            hub: Who has cleaned metadata, instead of whom the settings name.
        """
        chosen = settings.load()
        place = CatalogPlace(
            home=chosen.home,
            cache=chosen.cache_dir,
            source=CatalogSource.configured(),
            clock=SystemClock(),
            build=build,
            offline=offline or chosen.offline,
            hub=hub or MetadataOnHub.configured(),
        )
        return cls(place)

    def refresh(self, *, progress: Callable[[str, int, int], None] = lambda *_: None) -> Refreshed:
        """Ask the catalogue what it has now."""
        return waited(work.refresh(self.place, progress=progress))

    def pull(
        self,
        scores: Sequence[str] | None = None,
        *,
        again: bool = False,
        progress: Callable[[str, int, int], None] = lambda *_: None,
    ) -> list[Fetched | NotFetched]:
        """Bring scores here: those of these ids, or, once the catalogue was asked, all of them."""
        if scores is None and self.latest() is None:
            self.refresh(progress=progress)
        return waited(work.pull(self.place, scores, again=again, progress=progress))

    def metadata(self, *, again: bool = False) -> Metadata:
        """Give the cleaned metadata: those that are here, unless they are to be brought again; else the hub's."""
        return waited(work.metadata_here(self.place, again=again))

    def search(self, term: str | None = None, *, trait: str | None = None) -> pl.DataFrame:
        """Find scores.

        Args:
            term: A part of an id, a name or a trait, in any case.
            trait: The id of a trait in an ontology, such as EFO_0000305; the scores of its child terms count, too.
        """
        metadata = self.metadata()
        found = metadata.table("scores")
        if term is not None:
            said = (
                pl.col(name).str.to_lowercase().str.contains(term.lower(), literal=True).fill_null(value=False)
                for name in _SEARCHED
            )
            found = found.filter(pl.any_horizontal(said))
        if trait is not None:
            found = found.filter(pl.col("pgs_id").is_in(_of_trait(metadata, trait)))
        return found

    def score(self, pgs_id: str) -> dict[str, Any]:
        """Give everything that the metadata say of a score, and whether it is here."""
        metadata = self.metadata()
        rows = metadata.table("scores").filter(pgs_id=pgs_id)
        if rows.is_empty():
            raise ScoreUnknown(scores=(pgs_id,), release=metadata.release or metadata.origin)
        kept = KeptTables(self.place.home).find(pgs_id, self.place.build)
        return {
            **rows.row(0, named=True),
            "publication": _first(metadata, "publications", pgp_id=rows["pgp_id"][0]),
            "development": _first(metadata, "score_development_ancestry", pgs_id=pgs_id),
            "best_performance": _first(metadata, "best_performance", pgs_id=pgs_id),
            "is_here": kept is not None,
            "md5": None if kept is None else kept.md5,
        }

    def best_performance(self, pgs_id: str, *, by: BestBy = LARGEST) -> dict[str, Any] | None:
        """Give the best evaluation of a score: the largest one, unless another order is asked for."""
        evaluations = self.metadata().table("performance").filter(pgs_id=pgs_id)
        best = best_performance(evaluations, by)
        return None if best.is_empty() else best.row(0, named=True)

    def percentile(self, pgs_id: str, value: float, *, results: Path, among: Among = EVERYBODY) -> Standing | None:
        """Say where somebody's sum stands among the people of a folder of results."""
        return standing(results, pgs_id, value, among=among)

    def reference_status(self, results: Path | None = None) -> pl.DataFrame:
        """Tell of each score whether it is here, and whether a folder of results has it."""
        kept = KeptTables(self.place.home)
        here = frozenset(each.name.partition("_")[0].partition(".")[0] for each in kept.notes())
        return reference_status(self.metadata().table("scores"), here, results)

    def latest(self) -> SeenRelease | None:
        """Give the release that was seen last, where it was of this build."""
        return History(self.place.home, self.place.build).latest()

    def diff(
        self, old: int | None = None, new: int | None = None
    ) -> tuple[SeenRelease | None, SeenRelease, list[Change]]:
        """Tell what has changed between two releases that were seen here; the last two, unless others are named."""
        history = History(self.place.home, self.place.build)
        numbers = history.numbers()
        later = history.read(new) if new is not None else history.latest()
        if later is None:
            raise CatalogOffline(what="a release that was seen", folder=history.folder)
        earlier = [each for each in numbers if each < later.number]
        number = old if old is not None else max(earlier, default=None)
        before = None if number is None else history.read(number)
        if old is not None and before is None:
            raise CatalogOffline(what=f"the release {old}", folder=history.folder)
        return before, later, changes(None if before is None else before.release, later.release)

    def offline(self) -> Catalog:
        """Give the same catalogue, which asks nobody."""
        return Catalog(replace(self.place, offline=True))


def _of_trait(metadata: Metadata, trait: str) -> list[str]:
    """Give the scores of a trait and of its child terms; where somebody's metadata have no traits, of it alone."""
    if "traits" not in metadata.digests:
        own = pl.col("trait_efo_id").str.extract_all(r"\w+").list.contains(trait)
        return metadata.table("scores").filter(own)["pgs_id"].to_list()
    rows = metadata.table("traits").filter(pl.col("trait_efo_id") == trait)
    lists = (rows[name][0] for name in ("pgs_ids", "child_pgs_ids") if name in rows.columns and rows.height)
    return sorted({pgs_id for each in lists if each is not None for pgs_id in each})


def _first(metadata: Metadata, table: str, **wanted: str | None) -> dict[str, Any] | None:
    if table not in metadata.digests or None in wanted.values():
        return None
    rows = metadata.table(table).filter(**wanted)
    return None if rows.is_empty() else rows.row(0, named=True)
