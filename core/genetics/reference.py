"""Every score of a batch against everybody of a panel: stage its rows, score range by range, add up, finish.

`stage`, `score_part`, `Totals.add` in the ranges' order and `finished` are the batch step by step, for whoever scores
ranges elsewhere; `score_batch` is all of them.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sluiceway.core.genetics.complex import add_complex
from sluiceway.core.genetics.genotypes import GenotypeReader
from sluiceway.core.genetics.ids import packer
from sluiceway.core.genetics.match import Entries
from sluiceway.core.genetics.ploidy import Ploidy
from sluiceway.core.genetics.ranges import Range, plan_ranges
from sluiceway.core.genetics.rows import Stage, rows_of
from sluiceway.core.genetics.score import REASONS, Batch, Partial, count_reasons, mass_by_reason, score_range
from sluiceway.core.genetics.totals import ScoreResult, Totals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import polars as pl
    from numpy.typing import NDArray

    from sluiceway.core.catalog.complex_rows import ComplexRow
    from sluiceway.core.genetics.panel import Panel
    from sluiceway.core.genetics.policy import Policy
    from sluiceway.core.genetics.rows import Rows
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
class Staged:
    """A batch whose ranges can be scored, here or elsewhere.

    Attributes:
        folder: Where its rows are, by range.
        batch: What every range is told.
        unread: The numbers of those scores that could not be read; they have no result.
        reasons: How many rows of each score cannot match whatever the panel has, by reason.
        mass: The same as a sum of what one more effect allele can change.
        complex: Rows that need several variants at once, by the score's number.
        held: Rows that are in memory and not in the folder, by range.
    """

    folder: Path
    batch: Batch
    unread: frozenset[int]
    reasons: NDArray[np.int64]
    mass: NDArray[np.float64]
    complex: Mapping[int, tuple[ComplexRow, ...]]
    held: Mapping[int, Sequence[Rows]] = field(default_factory=dict)


class Scorer(Protocol):
    """Scores ranges of a batch: with threads, or on other machines."""

    def __call__(self, reference: Reference, staged: Staged, parts: Sequence[Range]) -> Iterator[Partial]:
        """Give what each range adds, in the order of `parts`."""


class Kept(Protocol):
    """Keeps the running totals of a batch, so that another run can go on with them."""

    def restore(self, totals: Totals, staged: Staged) -> int:
        """Put back what was kept, and tell how many ranges are in it."""

    def keep(self, totals: Totals, staged: Staged, done: int) -> None:
        """Keep these totals of so many ranges, if it is time."""

    def forget(self) -> None:
        """Remove what was kept: every result is safe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threads:
    """Scores ranges on this machine, so many at once; few partial results wait."""

    workers: int = 1

    def __call__(self, reference: Reference, staged: Staged, parts: Sequence[Range]) -> Iterator[Partial]:
        """Give what each range adds, in order."""
        with ThreadPoolExecutor(max_workers=self.workers) as pool:
            waiting = []
            for part in parts:
                waiting.append(pool.submit(score_part, reference, staged, part))
                if len(waiting) > self.workers:
                    yield waiting.pop(0).result()
            for each in waiting:
                yield each.result()


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a batch is worked through; results do not depend on it.

    Attributes:
        scratch: A folder for the batch's rows, which are removed afterwards.
        scorer: Scores the ranges.
        tell: Is told how many ranges are done, and of how many.
        kept: Keeps the running totals for another run, where that is wanted.
        room: How many bytes of rows may be held in memory; none where ranges are scored elsewhere.
    """

    scratch: Path
    scorer: Scorer = field(default_factory=Threads)
    tell: Callable[[int, int], None] | None = None
    kept: Kept | None = None
    room: int = 0


def score_batch(
    reference: Reference,
    scores: Sequence[Callable[[], Table | None]],
    policy: Policy,
    how: How,
) -> Iterator[ScoreResult]:
    """Score tables of rows, each sorted by key, against a panel, and give their results in order.

    Args:
        reference: The panel.
        scores: Reads each score; one is let go before the next is read. One that gives none is passed over.
        policy: How to match and score.
        how: What results do not depend on.
    """
    how.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=how.scratch, prefix="batch-") as folder:
        staged = stage(reference, scores, policy, Path(folder), room=how.room)
        totals = totals_of(reference, staged)
        begun = how.kept.restore(totals, staged) if how.kept is not None else 0
        parts = reference.ranges[begun:]
        for done, partial in enumerate(how.scorer(reference, staged, parts), start=begun + 1):
            totals.add(partial)
            if how.kept is not None:
                how.kept.keep(totals, staged, done)
            if how.tell is not None:
                how.tell(done, len(reference.ranges))
    yield from finished(reference, staged, totals)
    if how.kept is not None:
        how.kept.forget()


def stage(
    reference: Reference, scores: Sequence[Callable[[], Table | None]], policy: Policy, folder: Path, *, room: int = 0
) -> Staged:
    """Lay out the rows of a batch by range, and note what the ranges are not asked about.

    Args:
        reference: The panel.
        scores: Reads each score.
        policy: How to match and score.
        folder: An empty folder for what is not held.
        room: How many bytes of rows are held at most.
    """
    batch = Batch(scores=len(scores), samples=reference.table.n_samples, policy=policy)
    reasons, mass = np.zeros((batch.scores, REASONS), np.int64), np.zeros((batch.scores, REASONS))
    unread: set[int] = set()
    complex_rows: dict[int, tuple[ComplexRow, ...]] = {}
    packed_from = packer(reference.table, reference.all_entries, policy)
    with closing(Stage(folder, reference.ranges, room=room)) as rows:
        for number, read in enumerate(scores):
            table = read()
            if table is None:
                unread.add(number)
                continue
            # Their parts have positions, which may be another build's where rows are matched by id.
            if table.complex and policy.counts_complex_rows:
                complex_rows[number] = table.complex
            packed = packed_from(table.rows, number)
            reasons += count_reasons(packed.left, packed.reason, batch.scores)
            mass += mass_by_reason(packed.left, packed.reason, batch.scores)
            rows.add(packed.rows)
    return Staged(
        folder=folder,
        batch=batch,
        unread=frozenset(unread),
        reasons=reasons,
        mass=mass,
        complex=complex_rows,
        held=rows.held,
    )


def score_part(reference: Reference, staged: Staged, part: Range) -> Partial:
    """Give what one range adds to every score of a batch."""
    rows = rows_of(part.number, staged.folder, staged.held.get(part.number, ()))
    with GenotypeReader(reference.panel, reference.table) as genotypes:
        return score_range(rows, reference.entries(part), genotypes, ploidy=Ploidy(part.ploidy), batch=staged.batch)


def totals_of(reference: Reference, staged: Staged) -> Totals:
    """Give totals to which the ranges of a batch are added, in their order."""
    totals = Totals(staged.batch, reference.panel.samples.table["sex"].to_numpy())
    totals.reasons += staged.reasons
    totals.mass += staged.mass
    return totals


def finished(reference: Reference, staged: Staged, totals: Totals) -> Iterator[ScoreResult]:
    """Give the result of each score that could be read, with its complex rows, once all ranges are added."""
    unrelated = reference.panel.samples.table["unrelated"].to_numpy()
    for number in range(staged.batch.scores):
        if number in staged.unread:
            continue
        result = totals.result(number)
        if number in staged.complex:
            with GenotypeReader(reference.panel, reference.table) as genotypes:
                result = add_complex(
                    result,
                    staged.complex[number],
                    reference.all_entries,
                    genotypes,
                    unrelated=unrelated,
                    policy=staged.batch.policy,
                )
        yield result
