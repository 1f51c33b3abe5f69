"""Where the PGS Catalog is, what its files are called there, and how politely it is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self

from sluiceway.core import settings
from sluiceway.core.remote.patience import Patience

if TYPE_CHECKING:
    from sluiceway.core.genetics.build import Build

SHEETS: Final = (
    "scores",
    "publications",
    "efo_traits",
    "score_development_samples",
    "performance_metrics",
    "evaluation_sample_sets",
    "cohorts",
)
"""The sheets of the bulk metadata, as their files are called."""

PANELS: Final = {"1000g": "pgsc_1000G_v1.tar.zst", "hgdp_1kg": "pgsc_HGDP+1kGP_v1.tar.zst"}
"""The reference panels that the catalogue offers, by the names that readers of our tables know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSource:
    """The addresses of one catalogue: the real one, a mirror, or one that a test made.

    >>> CatalogSource(files="https://mirror.org/pgs/").score_list
    'https://mirror.org/pgs/pgs_scores_list.txt'
    """

    api: str = "https://www.pgscatalog.org/rest"
    files: str = "https://ftp.ebi.ac.uk/pub/databases/spot/pgs"

    @classmethod
    def configured(cls) -> Self:
        """Give the catalogue that the settings name."""
        chosen = settings.load()
        return cls(api=chosen.catalog_api, files=chosen.catalog_files)

    @property
    def score_list(self) -> str:
        """The file that has the id of every score."""
        return self._file("pgs_scores_list.txt")

    def sheet(self, name: str) -> str:
        """Give the address of a sheet of the bulk metadata."""
        return self._file(f"metadata/pgs_all_metadata_{name}.csv")

    def scoring_file(self, pgs_id: str, build: Build | None) -> str:
        """Give the address of a score's file: harmonised to a build, or as it was submitted."""
        name = scoring_file_name(pgs_id, build)
        folder = f"scores/{pgs_id}/ScoringFiles"
        return self._file(f"{folder}/{name}" if build is None else f"{folder}/Harmonized/{name}")

    def panel(self, name: str) -> str:
        """Give the address of a reference panel's archive."""
        return self._file(f"resources/{PANELS[name]}")

    def endpoint(self, path: str) -> str:
        """Give the address of a part of the REST interface."""
        return f"{self.api.rstrip('/')}/{path}"

    def _file(self, path: str) -> str:
        return f"{self.files.rstrip('/')}/{path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How a public server is asked: how often, how many times at once, and for how long it is waited for."""

    at_once: int = 8
    # The catalogue allows a hundred questions a minute to its REST interface.
    api_pause: timedelta = timedelta(seconds=0.6)
    file_pause: timedelta = timedelta(seconds=0.02)
    patience: Patience = field(
        default_factory=lambda: Patience(
            first=timedelta(seconds=1), longest=timedelta(seconds=30), total=timedelta(seconds=90)
        )
    )
    longest_wait: timedelta = timedelta(minutes=5)
    connect: timedelta = timedelta(seconds=15)
    silence: timedelta = timedelta(seconds=60)


def scoring_file_name(pgs_id: str, build: Build | None) -> str:
    """Give the name that the catalogue gives a scoring file.

    >>> scoring_file_name("PGS000001", None)
    'PGS000001.txt.gz'
    """
    return f"{pgs_id}.txt.gz" if build is None else f"{pgs_id}_hmPOS_{build}.txt.gz"
