"""Scores a panel with the engine, and holds its sums beside those that plink2 printed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from sluiceway.core.catalog.score_table import ParsedScore
from sluiceway.core.catalog.scoring_file import read_scoring_file
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.match import MATCH_TYPES, Entries, match
from sluiceway.core.genetics.panel import open_panel
from sluiceway.core.genetics.policy import Policy
from sluiceway.core.genetics.reference import How, Reference, score_batch
from sluiceway.core.genetics.rows import pack
from sluiceway.core.genetics.totals import ScoreResult
from sluiceway.core.genetics.variants import GenotypesCounted, prepare

_DIGITS = 6


def opened(
    prefix: Path, folder: Path, build: Build | None = None, *, genotypes: GenotypesCounted = "hardcalls"
) -> Reference:
    """Open a panel and prepare its table below a folder."""
    panel = open_panel(prefix, build=build)
    return Reference.of(panel, prepare(panel, folder / "tables", genotypes=genotypes))


def scored(reference: Reference, files: list[Path], policy: Policy, folder: Path) -> list[ScoreResult]:
    """Score every score of some files, in one batch."""
    scores = [score for file in files for score in read_scoring_file(file)]
    return list(score_batch(reference, [partial(_same, each) for each in scores], policy, How(scratch=folder)))


def used_alleles(reference: Reference, file: Path, policy: Policy) -> set[tuple[str, str]]:
    """Give each matched variant as CHROM:POS:REF:ALT, and its effect allele."""
    (score,) = read_scoring_file(file)
    entries = Entries(*(np.asarray(getattr(reference.table, name)) for name in Entries._fields))
    found = match(pack(score.rows, 0, policy).rows, entries, policy)
    names = reference.table.names(found.entry[found.is_matched])
    is_ref = [MATCH_TYPES[each].startswith(("refalt", "no_oa_ref")) for each in found.type[found.is_matched]]
    places = names["chromosome"].str.strip_prefix("chr"), names["position"], names["ref"], names["alt"]
    return {
        (f"{chromosome}:{position}:{ref}:{alt}", ref if effect_is_ref else alt)
        for chromosome, position, ref, alt, effect_is_ref in zip(*places, is_ref, strict=True)
    }


def sscore(path: Path) -> pl.DataFrame:
    """Read what plink2 --score wrote, packed or not."""
    return pl.read_csv(path, separator="\t", infer_schema_length=None).rename(lambda name: name.removeprefix("#"))


def counted(result: ScoreResult, *, coding: int = 2, skip: bool) -> list[int]:
    """Give the alleles that an average is over: with missing calls, or without them."""
    alleles, missed = (result.people[f"{name}_{coding}"].to_list() for name in ("alleles", "missing_alleles"))
    return [each - gone for each, gone in zip(alleles, missed, strict=True)] if skip else alleles


def assert_printed_as(ours: ArrayLike, *printed: pl.Series) -> None:
    """Assert that our numbers are those printed to six digits, or the sum of several such columns."""
    numbers = [column.to_numpy().astype(np.float64) for column in printed]
    allowed = sum(_half_unit(each) for each in numbers)
    off = np.abs(np.asarray(ours) - sum(numbers))
    worst = int(np.argmax(off - allowed))
    assert (off <= allowed).all(), f"person {worst}: {np.asarray(ours)[worst]!r} is not {[c[worst] for c in numbers]}"


def _same(score: ParsedScore) -> ParsedScore:
    return score


def _half_unit(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give half of what the last printed digit counts, and a little for float64's own rounding."""
    with np.errstate(divide="ignore"):
        place = np.floor(np.log10(np.abs(numbers))) - (_DIGITS - 1)
    return np.where(numbers == 0, 1e-12, 0.5 * 10.0 ** np.where(numbers == 0, 0, place)) * (1 + 1e-6)
