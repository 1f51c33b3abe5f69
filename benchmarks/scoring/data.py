"""Writes the panel and the score files, once for each size: `python -m benchmarks.scoring.data --work DIR`.

Two hundred scores have some 14 million rows, the first fifty 5.2 million of them: most have a few thousand rows, every
eighth some hundred thousand, all drawn from one set of well-known variants as real ones are from HapMap 3. One row in
twenty is of no variant of the panel. Every fifth file is not sorted. Beyond two hundred, the same sizes come again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import shutil
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from benchmarks.scoring.genotypes import CHROMOSOME_BASES, write_panel
from benchmarks.scoring.layout import Size, Work, file_name, pgs_id

if TYPE_CHECKING:
    from numpy.typing import NDArray

FULL, EARLY = 200, 50
GENOME_WIDE, GENOME_WIDE_EARLY = 24, 10
PREFERRED, ABSENT = 0.577, 0.05
COLUMNS = (
    "rsID", "chr_name", "chr_position", "effect_allele", "other_allele", "effect_weight", "hm_source", "hm_rsID",
    "hm_chr", "hm_pos", "hm_inferOtherAllele",
)  # fmt: skip
HEADER = """###PGS CATALOG SCORING FILE - see https://www.pgscatalog.org/downloads/#dl_ftp_scoring
#format_version=2.0
##POLYGENIC SCORE (PGS) INFORMATION
#pgs_id={id}
#pgs_name=made_{id}
#trait_reported=Trait {id}
#trait_mapped=trait {id}
#trait_efo=EFO_0000000
#genome_build=GRCh37
#variants_number={rows}
#weight_type=beta
##SOURCE INFORMATION
#pgp_id=PGP999999
#citation=Generated; not a real score
##HARMONIZATION DETAILS
#HmPOS_build=GRCh38
#HmPOS_date=2026-01-01
#HmPOS_match_chr={{"True": {rows}, "False": 0}}
#HmPOS_match_pos={{"True": {rows}, "False": 0}}
"""


def row_counts(size: Size) -> list[int]:
    """How many rows each score has.

    >>> counts = row_counts(Size())
    >>> sum(counts) // 100_000, sum(counts[:50]) // 100_000, max(counts)
    (138, 51, 542000)
    """
    rng = np.random.default_rng([size.seed, 2])
    ordinary = FULL - GENOME_WIDE
    spread = [NormalDist().inv_cdf((rank + 0.5) / ordinary) for rank in range(ordinary)]
    small = rng.permutation([round(min(200_000, 3_500 * math.exp(1.9 * each))) for each in spread])
    large = rng.permutation(np.linspace(380_000, 542_000, GENOME_WIDE))
    cut = EARLY - GENOME_WIDE_EARLY
    early = rng.permutation(np.concatenate([small[:cut], large[:GENOME_WIDE_EARLY]]))
    late = rng.permutation(np.concatenate([small[cut:], large[GENOME_WIDE_EARLY:]]))
    counts = [max(10, round(each * size.share)) for each in (*early, *late)]
    return [counts[number % FULL] for number in range(size.scores)]


def write_scores(work: Work, size: Size) -> None:
    """Write the score files, and the truth they were made from."""
    shutil.rmtree(work.scores, ignore_errors=True)
    work.scores.mkdir(parents=True)
    table = pl.read_parquet(work.panel.with_suffix(".parquet"))
    preferred = _preferred(table, size)
    truths = []
    for number, rows in enumerate(row_counts(size), start=1):
        rng = np.random.default_rng([size.seed, 3, number])
        score, truth = _score(rng, table, preferred, rows)
        _write(work, number, score if number % 5 else score.sample(fraction=1, shuffle=True, seed=number))
        truths.append(truth.select(pl.lit(number).cast(pl.UInt16).alias("score"), pl.all()))
    pl.concat(truths).write_parquet(work.truth)


def _preferred(table: pl.DataFrame, size: Size) -> NDArray[np.int64]:
    """Choose the variants that scores are made of: common, and hardly any that reads the same on both strands."""
    rng = np.random.default_rng([size.seed, 4])
    rank = rng.random(table.height) - 0.8 * table["common"].to_numpy() + 0.9 * table["ambiguous"].to_numpy()
    return np.sort(np.argsort(rank)[: round(PREFERRED * table.height)])


def _score(
    rng: np.random.Generator, table: pl.DataFrame, preferred: NDArray[np.int64], rows: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Draw one score: its rows as they are to be written, and the variant, weight and side of each that is found."""
    found = min(round(rows * (1 - ABSENT)), preferred.size)
    variant = np.sort(rng.choice(preferred, found, replace=False, shuffle=False))
    weight = np.round(rng.normal(0, 10 ** rng.uniform(-4, -2), rows), 9)
    is_alt = rng.random(rows) < 0.5
    present = table.select("chrom", "pos", "ref", "alt")[variant]
    sites = pl.concat([present, _absent(rng, table, rows - found)])
    drawn = sites.with_columns(weight=weight, is_alt=is_alt)
    truth = drawn[:found].select(pl.Series("variant", variant, pl.UInt32), "weight", "is_alt")
    return drawn.sort("chrom", "pos", "alt"), truth


def _absent(rng: np.random.Generator, table: pl.DataFrame, rows: int) -> pl.DataFrame:
    """Draw sites at which the panel has nothing."""
    chromosome = rng.integers(1, 23, 2 * rows + 50)
    position = rng.integers(10_000, np.array(CHROMOSOME_BASES)[chromosome - 1] - 10_000)
    sites = pl.DataFrame({"chrom": chromosome, "pos": position}, schema={"chrom": pl.UInt8, "pos": pl.UInt32})
    free = sites.unique(maintain_order=True).join(table, on=["chrom", "pos"], how="anti", maintain_order="left")
    return free.head(rows).with_columns(ref=pl.lit("A"), alt=pl.lit("G"))


def _write(work: Work, number: int, score: pl.DataFrame) -> None:
    name = pl.concat_str(pl.lit("rs"), pl.col("pos").cast(pl.UInt64) + pl.col("chrom").cast(pl.UInt64) * 300_000_000)
    effect, other = pl.col("alt"), pl.col("ref")
    rows = score.select(
        rsID=name, chr_name="chrom", chr_position=pl.col("pos") - 1_000,
        effect_allele=pl.when("is_alt").then(effect).otherwise(other),
        other_allele=pl.when("is_alt").then(other).otherwise(effect),
        effect_weight="weight", hm_source=pl.lit("ENSEMBL"), hm_rsID=name, hm_chr="chrom", hm_pos="pos",
        hm_inferOtherAllele=pl.lit(None, pl.String),
    )  # fmt: skip
    text = HEADER.format(id=pgs_id(number), rows=rows.height) + rows.select(COLUMNS).write_csv(separator="\t")
    (work.scores / file_name(number)).write_bytes(gzip.compress(text.encode(), 6, mtime=0))


def ensure(work: Work, size: Size) -> None:
    """Write what is not there yet."""
    if work.is_complete(size):
        return
    (work.root / "size.json").unlink(missing_ok=True)
    write_panel(work, size)
    write_scores(work, size)
    work.seal(size)


def extent(work: Work, scores: int) -> dict[str, int]:
    """Count what the first so many scores ask for; a pair is a row that is found, so a weight on everybody's genotype.

    `certain_pairs` are those that do not read the same on both strands.
    """
    size = Size(**json.loads((work.root / "size.json").read_text()))
    ambiguous = pl.read_parquet(work.panel.with_suffix(".parquet"), columns=["ambiguous"])["ambiguous"]
    variants = pl.read_parquet(work.truth, columns=["score", "variant"]).filter(pl.col("score") <= scores)["variant"]
    return {
        "rows": sum(row_counts(size)[:scores]),
        "pairs": variants.len(),
        "certain_pairs": variants.len() - int(ambiguous.gather(variants).sum()),
        "needed_variants": variants.n_unique(),
        "panel_variants": ambiguous.len(),
        "people": sum(size.samples.values()),
    }


def main() -> None:
    """Write the files of one size, and tell what so many of its scores ask for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring.data", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="the folder to write to")
    parser.add_argument("--scale", type=float, default=1.0, help="shrink everything by this factor")
    parser.add_argument("--scores", type=int, default=FULL, help="how many scores are wanted")
    given = parser.parse_args()
    ensure(Work(given.work), Size(scale=given.scale, scores=max(FULL, given.scores)))
    print(json.dumps(extent(Work(given.work), given.scores)))


if __name__ == "__main__":
    main()
