"""The name of every file of the benchmark below its work folder, and how large the files are to be."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = {"AFR": 893, "AMR": 490, "EAS": 585, "EUR": 633, "SAS": 601}
"""People by super-population: as many as in the 1000 Genomes panel, 3,202."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much to generate: `scale` shrinks variants, people and rows alike; above one it gives more variants only."""

    scores: int = 200
    scale: float = 1.0
    seed: int = 20_260_101

    @property
    def variants(self) -> int:
        """How many variants the panel has."""
        return round(1_000_000 * self.scale)

    @property
    def share(self) -> float:
        """How much of everybody's rows a score has: all of them, save in a small copy."""
        return min(1.0, self.scale)

    @property
    def samples(self) -> dict[str, int]:
        """How many people of each super-population the panel has; never fewer than plink2 wants for frequencies."""
        return {name: max(20, round(count * min(1.0, self.scale * 10))) for name, count in SAMPLES.items()}


@dataclass(frozen=True, slots=True)
class Work:
    """The work folder: generated files at its top, a folder for each tool below it."""

    root: Path

    @property
    def panel(self) -> Path:
        """The prefix of the panel's files."""
        return self.root / "panel" / "panel"

    @property
    def bed(self) -> Path:
        """The prefix of the same panel as .bed, for whoever does not read .pgen."""
        return self.root / "panel" / "bed"

    @property
    def scores(self) -> Path:
        """The folder of all score files."""
        return self.root / "scores"

    @property
    def truth(self) -> Path:
        """What every row of every score was made from."""
        return self.root / "truth.parquet"

    def reference(self, scores: int) -> Path:
        """The sums that our own float64 loop gives."""
        return self.root / f"reference-{scores}.npz"

    def tool(self, name: str) -> Path:
        """The folder in which one tool keeps what it likes."""
        return self.root / "tools" / name

    def venv(self, name: str) -> Path:
        """The environment of a peer that is a Python package."""
        return self.root / "venvs" / name

    def is_complete(self, size: Size) -> bool:
        """Whether the files of this size are all there, with as many scores or more."""
        written = self.root / "size.json"
        if not written.is_file():
            return False
        there = Size(**json.loads(written.read_text()))
        return there.scores >= size.scores and replace(there, scores=size.scores) == size

    def seal(self, size: Size) -> None:
        """Say that the files of this size are all there."""
        (self.root / "size.json").write_text(json.dumps(asdict(size)))


def pgs_id(number: int) -> str:
    """The accession of a generated score; no real one begins with a nine.

    >>> pgs_id(1)
    'PGS900001'
    """
    return f"PGS9{number:05d}"


def file_name(number: int) -> str:
    """The name of a generated score's file, as the catalogue names harmonised ones."""
    return f"{pgs_id(number)}_hmPOS_GRCh38.txt.gz"
