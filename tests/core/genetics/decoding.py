"""A program that scores range by range and notes what each decodes; it kills itself before the range it is told."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sluiceway.core.genetics import reference as engine
from sluiceway.core.genetics.genotypes import GenotypeReader
from sluiceway.core.genetics.ranges import Range
from sluiceway.core.genetics.reference import Reference, Staged, score_part
from sluiceway.core.genetics.score import Partial
from sluiceway.core.remote.clock import SystemClock
from sluiceway.core.runs.reference_scoring import Asked, ReferenceScoring

READER = "GenotypeReader"


class NotingReader(GenotypeReader):
    """Writes, when it is closed, how many variants it decoded."""

    noted: Path

    def __exit__(self, *raised: object) -> None:
        with self.noted.open("a") as file:
            file.write(f"{self.decoded}\n")
        super().__exit__(*raised)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noting:
    """Scores ranges one by one; what each decoded is a line of a file, after its number."""

    noted: Path
    last: int | None = None

    def __call__(self, reference: Reference, staged: Staged, parts: Sequence[Range]) -> Iterator[Partial]:
        for part in parts:
            if part.number == self.last:
                os.kill(os.getpid(), signal.SIGKILL)
            with self.noted.open("a") as file:
                file.write(f"{part.number} ")
            yield score_part(reference, staged, part)


def decoded(noted: Path) -> list[tuple[int, int]]:
    """Each range that was scored, in order, and how many variants were decoded for it."""
    return [(int(number), int(n)) for number, n in (line.split() for line in noted.read_text().splitlines())]


def score(panel: Path, scores: Path, out: Path, noting: Noting, *, use_cache: bool = True) -> None:
    """Score, and write the totals after each range."""
    NotingReader.noted = noting.noted
    setattr(engine, READER, NotingReader)
    try:
        asked = Asked(panel=panel, scores=(scores,), out=out, use_cache=use_cache)
        ReferenceScoring(asked, clock=SystemClock(), scorer=noting, keep_every=timedelta(0)).run()
    finally:
        setattr(engine, READER, GenotypeReader)


if __name__ == "__main__":
    panel, scores, out, noted = map(Path, sys.argv[1:5])
    score(panel, scores, out, Noting(noted=noted, last=int(sys.argv[5])))
