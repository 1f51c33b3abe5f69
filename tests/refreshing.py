"""A catalogue, a panel and a home that a test refreshes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sluiceway.core.catalog.refresh import CatalogPlace
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.reference import Scorer
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import BROKEN, make_scores
from sluiceway.core.publish.hub import HubPlace
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.refresh import CatalogRefresh
from sluiceway.core.runs.refresh_options import RefreshOptions
from sluiceway.core.runs.refresh_plan import Seen
from sluiceway.core.runs.refresh_scores import Means
from sluiceway.core.runs.refresh_summary import RefreshSummary
from tests.loopback_catalog import SWIFT, LoopbackCatalog, ServedScore
from tests.loopback_content import of_folder, score_row

GOOD = ("PGS900001", "PGS900002", "PGS900005", "PGS900006", "PGS900010", "PGS900014")


@dataclass(frozen=True, kw_only=True)
class Invented:
    """A panel, and a folder of scoring files for it."""

    panel: Path
    scores: Path

    @classmethod
    def made(cls, folder: Path, *, variants: int = 3_000, people: int = 40) -> Invented:
        make_panel(folder / "panel", variants=variants, people=people)
        make_scores(folder / "scores", folder / "panel")
        return cls(panel=folder / "panel", scores=folder / "scores")

    def catalogue(self, *ids: str) -> LoopbackCatalog:
        """A catalogue of some of these scores."""
        upstream = of_folder(self.scores)
        for pgs_id in sorted(upstream.scores.keys() - set(ids or GOOD)):
            del upstream.scores[pgs_id]
        return upstream

    def served(self, pgs_id: str, *, of: str | None = None) -> ServedScore:
        """A score of the catalogue, perhaps with the file of another."""
        return ServedScore(row=score_row(pgs_id), files={file_name(pgs_id): self.content(of or pgs_id)})

    def content(self, pgs_id: str) -> bytes:
        return (self.scores / file_name(pgs_id)).read_bytes()


@dataclass(kw_only=True)
class Site:
    """A home that refreshes from a catalogue; options are those of every refresh, as is the hub to publish to."""

    upstream: LoopbackCatalog
    home: Path
    cache: Path
    out: Path
    panel: Path
    options: dict[str, Any] = field(default_factory=dict)
    hub: HubPlace | None = None

    def refresh(self, *, scorer: Scorer | None = None, **changes: Any) -> CatalogRefresh:
        options = {"panel": str(self.panel), "out": self.out, "publish": False, **self.options, **changes}
        place = CatalogPlace(
            home=self.home,
            cache=self.cache,
            source=self.upstream.source,
            clock=SystemClock(),
            build=Build.GRCH38,
            manners=SWIFT,
        )
        means = Means(clock=SystemClock(), scorer=scorer, keep_every=timedelta(0))
        return CatalogRefresh(RefreshOptions(**options), place=place, means=means, hub=self.hub)

    def run(self, **changes: Any) -> RefreshSummary:
        return self.refresh(**changes).run()

    def plan(self, **changes: Any) -> Seen:
        """What a refresh would do now."""
        refresh = self.refresh(**changes)
        looked = refresh.look()
        refresh.prepare()
        return refresh.plan(looked)

    def states(self, **changes: Any) -> dict[str, str]:
        return {each.pgs_id: each.state.value for each in self.plan(**changes).backlog.items}

    def why(self, pgs_id: str, **changes: Any) -> str:
        return next(each.why for each in self.plan(**changes).backlog.items if each.pgs_id == pgs_id)


def file_name(pgs_id: str) -> str:
    return f"{pgs_id}_hmPOS_GRCh38.txt.gz"


__all__ = ["BROKEN", "GOOD", "Invented", "Site", "file_name"]
