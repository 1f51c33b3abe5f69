"""A panel of the size and texture of 1000 Genomes, from a seed, in bounded memory.

Common variants come in runs that share haplotypes: every haplotype draws one number for the whole run and carries the
ALT allele where that number lies below the variant's frequency in its population; a few calls are then flipped. So
neighbours differ in few people, and a .pgen takes some 174 bytes for a variant, as real ones of this breadth do. Rare
variants draw anew each. About one call in a thousand is missing.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pgenlib
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.scoring.layout import Size, Work

CHROMOSOME_BASES = (
    248_956_422, 242_193_529, 198_295_559, 190_214_555, 181_538_259, 170_805_979, 159_345_973, 145_138_636,
    138_394_717, 133_797_422, 135_086_622, 133_275_309, 114_364_328, 107_043_718, 101_991_189, 90_338_345,
    83_257_441, 80_373_285, 58_617_616, 64_444_167, 46_709_983, 50_818_468,
)  # fmt: skip
"""Lengths of chromosomes 1 to 22 in GRCh38."""

COMMON_SHARE, RUN_LENGTH, FLIPPED, MISSING = 0.46, 5, 0.0147, 0.001
SPLIT_SITES, INDELS = 0.005, 0.04
BLOCK = 2_048
PAIRS = ("AC", "AG", "AG", "AG", "CT", "CT", "CT", "GT", "AT", "CG")
"""Transitions are the commoner; two pairs of ten read the same on both strands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variants:
    """What is drawn for each variant before any genotype: which run it is of, and how common it is."""

    run: NDArray[np.int64]
    logit: NDArray[np.float32]
    is_common: NDArray[np.bool_]


def write_panel(work: Work, size: Size) -> None:
    """Write the panel as .pgen, .pvar.zst and .psam."""
    work.panel.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([size.seed, 1])
    variants = _variants(rng, size.variants)
    table = _sites(rng, variants)
    table.write_parquet(work.panel.with_suffix(".parquet"))
    _write_pvar(table, work)
    _write_psam(rng, size, work)
    _write_pgen(rng, variants, size, work)


def _variants(rng: np.random.Generator, count: int) -> Variants:
    # Runs of common variants are RUN_LENGTH long on average, rare ones stand alone: so many runs are common.
    odds = COMMON_SHARE / (RUN_LENGTH * (1 - COMMON_SHARE))
    common_run = rng.random(count) < odds / (1 + odds)
    lengths = np.where(common_run, rng.geometric(1 / RUN_LENGTH, count), 1)
    run = np.repeat(np.arange(count), lengths)[:count]
    is_common = common_run[run]
    common = np.exp(rng.uniform(np.log(0.012), np.log(0.5), count))
    rare = np.exp(rng.uniform(np.log(0.0002), np.log(0.009), count))
    chance = np.where(is_common, common[run], rare)
    swapped = is_common & (rng.random(count) < 0.25)[run]
    chance = np.where(swapped, 1 - chance, chance)
    wobble = np.where(is_common, rng.normal(0, 0.06, count), 0)
    logit = np.log(chance / (1 - chance)) + wobble
    return Variants(run=run, logit=logit.astype(np.float32), is_common=is_common)


def _sites(rng: np.random.Generator, variants: Variants) -> pl.DataFrame:
    count = variants.run.size
    share = np.cumsum(CHROMOSOME_BASES) / np.sum(CHROMOSOME_BASES)
    chromosome = np.searchsorted(share, (np.arange(count) + 0.5) / count).astype(np.uint8) + 1
    position = np.zeros(count, np.uint32)
    for number, bases in enumerate(CHROMOSOME_BASES, start=1):
        here = np.flatnonzero(chromosome == number)
        steps = np.cumsum(rng.exponential(1, here.size) + 1e-3)
        if here.size:
            free = bases - 20_000 - 2 * here.size
            position[here] = 10_000 + steps / steps[-1] * free + 2 * np.arange(here.size)
    pair = np.array(PAIRS)[rng.integers(len(PAIRS), size=count)]
    letters = pair.astype("S2").view("S1").reshape(-1, 2).astype("U1")
    turned = rng.random(count) < 0.5
    ref = np.where(turned, letters[:, 1], letters[:, 0]).astype("U4")
    alt = np.where(turned, letters[:, 0], letters[:, 1]).astype("U4")
    indel = rng.random(count) < INDELS
    alt[indel] = np.char.add(np.char.add(ref[indel], alt[indel]), "T")
    _split(rng, chromosome, position, ref, alt)
    ambiguous = np.isin(np.char.add(ref, alt), ("AT", "TA", "CG", "GC"))
    table = pl.DataFrame({"chrom": chromosome, "pos": position, "ref": ref, "alt": alt, "ambiguous": ambiguous})
    name = pl.concat_str("chrom", "pos", "ref", "alt", separator=":").alias("id")
    return table.with_columns(name, common=variants.is_common)


def _split(
    rng: np.random.Generator, chromosome: np.ndarray, position: np.ndarray, ref: np.ndarray, alt: np.ndarray
) -> None:
    """Make a few neighbours one site with two ALT alleles, a row for each."""
    second = 1 + np.flatnonzero(rng.random(position.size - 1) < SPLIT_SITES)
    second = second[np.diff(second, prepend=-9) > 1]
    second = second[chromosome[second] == chromosome[second - 1]]
    position[second], ref[second] = position[second - 1], ref[second - 1]
    for base in "ACGT":
        alt[second] = np.where((base != ref[second]) & (base != alt[second - 1]), base, alt[second])


def _write_pvar(table: pl.DataFrame, work: Work) -> None:
    plain = work.panel.with_suffix(".pvar")
    with plain.open("wb") as file:
        file.write(b"##fileformat=VCFv4.2\n")
        for number, bases in enumerate(CHROMOSOME_BASES, start=1):
            file.write(f"##contig=<ID={number},length={bases},assembly=GRCh38>\n".encode())
        columns = table.select(pl.col("chrom").alias("#CHROM"), POS="pos", ID="id", REF="ref", ALT="alt")
        columns.write_csv(file, separator="\t")
    _plink2("--pvar", str(plain), "--make-just-pvar", "zs", "--out", str(work.panel))
    plain.unlink()


def _write_psam(rng: np.random.Generator, size: Size, work: Work) -> None:
    lines = ["#IID\tSEX\tSuperPop\tPopulation"]
    for name, count in size.samples.items():
        sexes = rng.integers(1, 3, count)
        lines += [f"{name}{row:04d}\t{sexes[row]}\t{name}\t{name}{row % 5}" for row in range(count)]
    work.panel.with_suffix(".psam").write_text("\n".join(lines) + "\n")


def _write_pgen(rng: np.random.Generator, variants: Variants, size: Size, work: Work) -> None:
    people = sum(size.samples.values())
    path = str(work.panel.with_suffix(".pgen")).encode()
    carry = np.zeros(0, np.uint16)
    with pgenlib.PgenWriter(path, people, variant_ct=variants.run.size, nonref_flags=False) as writer:
        for start in range(0, variants.run.size, BLOCK):
            these = slice(start, min(start + BLOCK, variants.run.size))
            calls, carry = _calls(rng, variants, these, size, carry)
            writer.append_biallelic_batch(calls)


def _calls(
    rng: np.random.Generator, variants: Variants, these: slice, size: Size, carry: NDArray[np.uint16]
) -> tuple[NDArray[np.int8], NDArray[np.uint16]]:
    """Draw the genotypes of a block; `carry` continues a run that the block before began."""
    counts = np.array([*size.samples.values()])
    first = variants.run[these.start]
    run = variants.run[these] - first
    rank = rng.integers(0, 1 << 16, (run[-1] + 1, 2 * counts.sum()), np.uint16)
    if these.start and variants.run[these.start - 1] == first:
        rank[0] = carry
    shift = rng.normal(0, 0.4, (run[-1] + 1, counts.size)).astype(np.float32)
    chance = 1 / (1 + np.exp(-(variants.logit[these, None] + shift[run])))
    limit = np.minimum(chance * 65_536, 65_535).astype(np.uint16)
    alleles = rank[run] < np.repeat(limit, 2 * counts, axis=1)
    common = np.flatnonzero(variants.is_common[these])
    flips = rng.integers(0, max(common.size, 1) * alleles.shape[1], round(common.size * alleles.shape[1] * FLIPPED))
    where = common[flips // alleles.shape[1]] if common.size else flips
    alleles[where, flips % alleles.shape[1]] ^= True
    calls = alleles[:, ::2].view(np.int8) + alleles[:, 1::2].view(np.int8)
    calls.reshape(-1)[rng.integers(0, calls.size, round(calls.size * MISSING))] = -9
    return calls, rank[-1]


def _plink2(*arguments: str) -> None:
    subprocess.run(("plink2", "--threads", "1", "--memory", "1500", *arguments), check=True, capture_output=True)
