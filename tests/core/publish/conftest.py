"""Results of an invented panel by both policies, and an invented catalogue: made once, and never changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sluiceway.core.catalog.metadata_folder import read_metadata
from sluiceway.core.catalog.refresh import CatalogPlace, pull, refresh, waited
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.panel import Panel, open_panel
from sluiceway.core.genetics.policy import NAMED
from sluiceway.core.genetics.synthetic import make_panel
from sluiceway.core.genetics.synthetic_scores import make_scores
from sluiceway.core.publish.distributions import Facts
from sluiceway.core.publish.publication import Publication
from sluiceway.core.publish.scored import People, Results, Scored
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring
from tests.loopback_catalog import SWIFT
from tests.loopback_content import invented


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenery:
    """A panel with folders of results by both policies, and a home with metadata and scoring files."""

    panel: Panel
    results: Path
    own: Path
    home: Path

    def read(self) -> Results:
        return Results(
            compatible=Scored.read(self.results, self.panel),
            own=Scored.read(self.own, self.panel),
            people=People.of(self.panel),
        )

    def facts(self) -> Facts:
        metadata = read_metadata(self.home / "catalog" / "metadata")
        assert metadata is not None
        return Facts(scores=metadata.table("scores"), best=metadata.table("best_performance"), md5={})


@pytest.fixture(scope="session")
def scenery(tmp_path_factory: pytest.TempPathFactory) -> Scenery:
    folder = tmp_path_factory.mktemp("scenery")
    make_panel(folder / "panel", variants=3_000, people=120)
    make_scores(folder / "scores", folder / "panel")
    scored = {"just-prs": folder / "results", "catalogue": folder / "own"}
    for name, out in scored.items():
        asked = Asked(panel=folder / "panel", scores=(folder / "scores",), out=out, policy=NAMED[name])
        ReferenceScoring(asked, clock=SystemClock()).run()
    with invented(6).served() as upstream:
        place = CatalogPlace(
            home=folder / "home", cache=folder / "cache", source=upstream.source, clock=SystemClock(),
            build=Build.GRCH38, manners=SWIFT,
        )  # fmt: skip
        waited(refresh(place))
        waited(pull(place, None))
    return Scenery(
        panel=open_panel(folder / "panel"), results=folder / "results", own=folder / "own", home=folder / "home"
    )


@pytest.fixture
def wish(scenery: Scenery, tmp_path: Path) -> Callable[..., Publication]:
    """Says what is to be published; every test has a folder of its own."""

    def made(**changes: object) -> Publication:
        told = {
            "name": "demo", "panel": scenery.panel, "results": scenery.results, "own": scenery.own,
            "home": scenery.home, "folder": tmp_path / "published",
        }  # fmt: skip
        return Publication(**{**told, **changes})  # type: ignore[arg-type]

    return made
