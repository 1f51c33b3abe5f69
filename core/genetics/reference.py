"""Every score of a batch against everybody of a panel: pack, stage, score range by range, add up."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sluiceway.core.genetics.complex import add_complex
from sluiceway.core.genetics.genotypes import GenotypeReader
from sluiceway.core.genetics.match import Entries
from sluiceway.core.genetics.ploidy import Ploidy
from sluiceway.core.genetics.ranges import Range, plan_ranges
from sluiceway.core.genetics.rows import Stage, pack
from sluiceway.core.genetics.score import Batch, Partial, count_reasons, mass_by_reason, score_range
from sluiceway.core.genetics.totals import ScoreResult, Totals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import polars as pl

    from sluiceway.core.catalog.complex_rows import ComplexRow
    from sluiceway.core.genetics.panel import Panel
    from sluiceway.core.genetics.policy import Policy
    from sluiceway.core.genetics.variants import VariantTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A panel, ready to be scored: its files, its table of variants, and how it is divided."""

    panel: Panel
    table: VariantTable
    ranges: tuple[Range, ...]

    @classmethod
    def of(cls, panel: Panel, table: VariantTable) -> Reference:
        """Divide a prepared panel."""
        return cls(panel=panel, table=table, ranges=plan_ranges(table.key, table.ploidy))

    def entries(self, part: Range) -> Entries:
        """Give the entries of a range."""
        columns = (getattr(self.table, name)[part.low : part.high] for name in Entries._fields)
        return Entries(*(np.asarray(column) for column in columns))

    @property
    def all_entries(self) -> Entries:
        """Give every entry; they stay on disk until they are looked at."""
        return Entries(*(np.asarray(getattr(self.table, name)) for name in Entries._fields))


class Table(Protocol):
    """A score: its rows, sorted by key, and those that need several variants at once."""

    @property
    def rows(self) -> pl.DataFrame:
        """The rows."""

    @property
    def complex(self) -> tuple[ComplexRow, ...]:
        """The others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a batch is worked through; results do not depend on it.

    Attributes:
        scratch: A folder for the batch's rows, which are removed afterwards.
        workers: How many ranges are scored at once.
        tell: Is told how many ranges are done, and of how many.
    """

    scratch: Path
    workers: int = 1
    tell: Callable[[int, int], None] | None = None


def score_batch(
    reference: Reference,
    scores: Sequence[Callable[[], Table]],
    policy: Policy,
    how: How,
) -> Iterator[ScoreResult]:
    """Score tables of rows, each sorted by key, against a panel, and give their results in order.

    Args:
        reference: The panel.
        scores: Reads each score; one is let go before the next is read.
        policy: How to match and score.
        how: What results do not depend on.
    """
    complex_rows: dict[int, tuple[ComplexRow, ...]] = {}
    batch = Batch(scores=len(scores), samples=reference.table.n_samples, policy=policy)
    totals = Totals(batch, reference.panel.samples.table["sex"].to_numpy())
    how.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=how.scratch, prefix="batch-") as folder:
        stage = _staged(Path(folder), reference.ranges, _noting(scores, complex_rows), totals, batch)
        for done, part in enumerate(_partials(reference, stage, batch, how.workers), start=1):
            totals.add(part)
            if how.tell is not None:
                how.tell(done, len(reference.ranges))
    for number in range(len(scores)):
        result = totals.result(number)
        yield _with_complex(reference, result, complex_rows[number], policy) if number in complex_rows else result


def _noting(
    scores: Iterable[Callable[[], Table]], complex_rows: dict[int, tuple[ComplexRow, ...]]
) -> Iterator[pl.DataFrame]:
    """Give each score's rows, and note those that need several variants at once."""
    for number, read in enumerate(scores):
        table = read()
        if table.complex:
            complex_rows[number] = table.complex
        yield table.rows


def _with_complex(
    reference: Reference, result: ScoreResult, rows: tuple[ComplexRow, ...], policy: Policy
) -> ScoreResult:
    entries = reference.all_entries
    unrelated = reference.panel.samples.table["unrelated"].to_numpy()
    with GenotypeReader(reference.panel, reference.table) as genotypes:
        return add_complex(result, rows, entries, genotypes, unrelated=unrelated, policy=policy)


def _staged(
    folder: Path, ranges: Sequence[Range], scores: Iterable[pl.DataFrame], totals: Totals, batch: Batch
) -> Stage:
    with closing(Stage(folder, ranges)) as stage:
        for number, rows in enumerate(scores):
            packed = pack(rows, number, batch.policy)
            totals.reasons += count_reasons(packed.left, packed.reason, batch.scores)
            totals.mass += mass_by_reason(packed.left, packed.reason, batch.scores)
            stage.add(packed.rows)
    return stage


def _partials(reference: Reference, stage: Stage, batch: Batch, workers: int) -> Iterator[Partial]:
    """Score every range; partial results come in the ranges' order, and few wait at once."""
    with ThreadPoolExecutor(max_workers=workers) as pool:
        waiting = []
        for part in reference.ranges:
            waiting.append(pool.submit(_score, reference, stage, batch, part))
            if len(waiting) > workers:
                yield waiting.pop(0).result()
        for each in waiting:
            yield each.result()


def _score(reference: Reference, stage: Stage, batch: Batch, part: Range) -> Partial:
    with GenotypeReader(reference.panel, reference.table) as genotypes:
        return score_range(
            stage.rows(part.number), reference.entries(part), genotypes, ploidy=Ploidy(part.ploidy), batch=batch
        )
