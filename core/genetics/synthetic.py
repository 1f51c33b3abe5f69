"""Invented reference panels, for the demo, for tests and for benchmarks; nobody's genotypes are in them.

A panel has five invented populations, rare variants in plenty, neighbours that are correlated, missing calls, sites
with several ALTs, indels, X with and without the PAR, Y, MT, APOE's two sites, and children among the people. The same
seed gives the same bytes. Genotypes are drawn in blocks of rows, so a panel may be larger than memory.

Each chromosome copy of each person carries a hidden number, and has an allele where the number falls within the
allele's share. The copy keeps its number from one variant to the next until its history ends and a new one is drawn:
that is what correlates neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import pgenlib
import polars as pl

from sluiceway.core.genetics import synthetic_sites as sites_of
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.compiled import compiled
from sluiceway.core.genetics.synthetic_sites import MT_ONLY, TWO_COPIES, Y_ONLY

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sluiceway.core.genetics.synthetic_sites import KnownBuild, Sites

    Calls = NDArray[np.int8]
    Hidden = NDArray[np.uint32]
    Numbers = NDArray[np.int64]

PROVINCES: Final = {name: (f"{name}hill", f"{name}mere") for name in sites_of.POPULATIONS}
"""The populations, and the two that each is made of."""

_SHARES: Final = (0.28, 0.22, 0.20, 0.18, 0.12)
_BLOCK_BYTES: Final = 32_000_000
_PATERNAL, _MATERNAL = 0, 1
_MALE: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """One entry per person; father and mother are places in the same lists, or -1."""

    population: NDArray[np.uint8]
    province: NDArray[np.uint8]
    sex: NDArray[np.uint8]
    father: Numbers
    mother: Numbers
    missing: Hidden

    @property
    def names(self) -> list[str]:
        """Give each person's IID."""
        return [f"SYN{number:05d}" for number in range(1, self.sex.size + 1)]


def make_panel(  # noqa: PLR0913 - each is one choice about the panel
    prefix: Path,
    *,
    variants: int = 20_000,
    people: int = 500,
    seed: int = 1,
    build: KnownBuild = Build.GRCH38,
    dosages: bool = False,
    compress: bool = False,
) -> None:
    """Write an invented panel: .pgen, .psam, and .pvar, or .pvar.zst where it is to be compressed."""
    rng = np.random.default_rng([seed, variants, people])
    everybody = draw_people(people, rng)
    sites = sites_of.draw(variants, build, rng, where=prefix)
    prefix.parent.mkdir(parents=True, exist_ok=True)
    _write_people(prefix, everybody)
    _write_sites(prefix, sites, build, compress=compress)
    _write_genotypes(prefix, sites, everybody, seed=int(rng.integers(2**62)), dosages=dosages)


def draw_people(people: int, rng: np.random.Generator) -> People:
    """Invent people, one in twenty-five of them a child of two others, or of one, in the same population."""
    population = rng.choice(len(_SHARES), size=people, p=_SHARES).astype(np.uint8)
    sex = rng.integers(1, 3, size=people).astype(np.uint8)
    father, mother = np.full(people, -1), np.full(people, -1)
    for each in range(len(_SHARES)):
        members = np.flatnonzero(population == each)
        children = rng.choice(members, size=members.size // 25, replace=False)
        adults = np.setdiff1d(members, children)
        men, women = adults[sex[adults] == _MALE], adults[sex[adults] != _MALE]
        if men.size and women.size:
            father[children], mother[children] = rng.choice(men, children.size), rng.choice(women, children.size)
            father[children[::3]] = -1
    missing = np.where(rng.random(people) < 0.006, 0.02, 0.0)
    return People(
        population=population, province=rng.integers(2, size=people).astype(np.uint8), sex=sex,
        father=father, mother=mother, missing=(missing * 2**32).astype(np.uint32),
    )  # fmt: skip


def _write_people(prefix: Path, people: People) -> None:
    names = people.names
    table = pl.DataFrame({
        "#IID": names,
        "PAT": ["0" if each < 0 else names[each] for each in people.father],
        "MAT": ["0" if each < 0 else names[each] for each in people.mother],
        "SEX": people.sex,
        "SuperPop": [sites_of.POPULATIONS[each] for each in people.population],
        "Population": [
            PROVINCES[sites_of.POPULATIONS[each]][province]
            for each, province in zip(people.population, people.province, strict=True)
        ],
    })  # fmt: skip
    table.write_csv(prefix.with_name(prefix.name + ".psam"), separator="\t")


def _write_sites(prefix: Path, sites: Sites, build: KnownBuild, *, compress: bool) -> None:
    header = ["##fileformat=VCFv4.2", f"##source=sluiceway, invented; reference={build}"]
    named = zip((*range(1, 23), "X", "Y", "MT"), sites_of.LENGTHS[build], strict=True)
    header += [f"##contig=<ID={name},length={length}>" for name, length in named]
    rows = pl.DataFrame({
        "chromosome": np.array(sites_of.CONTIGS)[sites.contig], "position": sites.position,
        "name": pl.Series(sites.name, dtype=pl.String), "ref": pl.Series(sites.ref, dtype=pl.String),
        "alt": pl.Series(sites.alt, dtype=pl.String),
    })  # fmt: skip
    lines = pl.concat([
        pl.Series([*header, "#CHROM\tPOS\tID\tREF\tALT"]),
        rows.select(pl.concat_str(pl.all(), separator="\t")).to_series(),
    ])  # fmt: skip
    lines.to_frame().write_csv(
        prefix.with_name(prefix.name + (".pvar.zst" if compress else ".pvar")),
        include_header=False, quote_style="never", separator="\x01", compression="zstd" if compress else "uncompressed",
    )  # fmt: skip


def _write_genotypes(prefix: Path, sites: Sites, people: People, *, seed: int, dosages: bool) -> None:
    copies = Copies(people, seed)
    size, rows = people.sex.size, sites.position.size
    block = max(16, _BLOCK_BYTES // (2 * size))
    path = str(prefix.with_name(prefix.name + ".pgen")).encode()
    # nonref_flags=False: REF is the reference's base in every row, so plink2 marks none of them as provisional.
    with pgenlib.PgenWriter(
        path, size, variant_ct=rows, nonref_flags=False, allele_ct_limit=3, dosage_present=dosages
    ) as writer:
        for start in range(0, rows, block):
            part = slice(start, min(start + block, rows))
            _append(writer, copies.draw(sites, part), sites, part, seed=seed if dosages else None)


def _append(writer: pgenlib.PgenWriter, alleles: Calls, sites: Sites, part: slice, *, seed: int | None) -> None:
    """Append rows in runs of one kind, for each kind has its own call."""
    calls = np.where(alleles[:, ::2] < 0, np.int8(-9), alleles[:, ::2] + alleles[:, 1::2])
    kind = 2 * sites.several[part] + (sites.imputed[part] if seed is not None else 0)
    edges = [0, *(np.flatnonzero(np.diff(kind)) + 1).tolist(), kind.size]
    for start, end in pairwise(edges):
        if kind[start] == 2:
            codes = np.where(alleles[start:end] < 0, -9, alleles[start:end]).astype(np.int32)
            writer.append_alleles_batch(codes, allele_cts=np.full(end - start, 3))
        elif kind[start] == 1:
            writer.append_dosages_batch(_dosages(calls[start:end], np.uint64(seed or 0), np.uint64(part.start + start)))
        else:
            writer.append_biallelic_batch(np.ascontiguousarray(calls[start:end]))


class Copies:
    """Everybody's two copies of each chromosome, father's before mother's, drawn row after row."""

    def __init__(self, people: People, seed: int) -> None:
        """Begin with the first row."""
        self._people = people
        self._seed = np.uint64(seed)
        self._populations = np.repeat(people.population, 2)
        self._hidden: Hidden = np.zeros(2 * people.sex.size, np.uint32)
        inherited = [(people.father, _PATERNAL), (people.mother, _MATERNAL)]
        children = [np.flatnonzero(parent >= 0) for parent, _ in inherited]
        self._child_copies = np.concatenate(
            [2 * child + side for child, (_, side) in zip(children, inherited, strict=True)]
        )
        self._parents = np.concatenate([parent[child] for child, (parent, _) in zip(children, inherited, strict=True)])

    def draw(self, sites: Sites, part: slice) -> Calls:
        """Give the next rows: the number of the allele on each copy, or less than 0 where it is not called."""
        first = np.uint64(part.start)
        alleles = _carried(
            self._hidden,
            self._populations,
            sites.bounds[part],
            sites.renewed[part],
            sites.turned[part],
            self._seed,
            first,
        )
        _inherit(alleles, sites.kind[part], sites.stretch[part], self._child_copies, self._parents, self._seed)
        _halve(alleles, sites.kind[part], self._people.sex)
        _lose(alleles, sites.missing[part], self._people.missing, self._seed, first)
        return alleles


@compiled
def _random(seed: np.uint64, number: np.uint64) -> np.uint64:
    """Give 64 random bits that depend on the seed and a number alone, so the size of blocks changes nothing."""
    bits = seed + number * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


@compiled
def _carried(  # noqa: PLR0913, PLR0917
    hidden: Hidden,
    populations: NDArray[np.uint8],
    bounds: Hidden,
    renewed: Hidden,
    turned: Hidden,
    seed: np.uint64,
    first: np.uint64,
) -> Calls:
    rows, copies = bounds.shape[0], hidden.size
    alleles = np.zeros((rows, copies), np.int8)
    for row in range(rows):
        before = (first + np.uint64(row)) * np.uint64(copies)
        for copy in range(copies):
            bits = _random(seed, before + np.uint64(copy))
            if np.uint32(bits) < renewed[row] or renewed[row] == np.uint32(0xFFFFFFFF):
                hidden[copy] = np.uint32(bits >> np.uint64(32))
            number = hidden[copy] ^ turned[row]
            low, mid, high = bounds[row, populations[copy]]
            if low <= number < high:
                alleles[row, copy] = 1 if number < mid else 2
    return alleles


@compiled
def _inherit(
    alleles: Calls, kinds: NDArray[np.uint8], stretches: Numbers, copies: Numbers, parents: Numbers, seed: np.uint64
) -> None:
    """Give each child one of its parent's two copies; along a stretch of chromosome it is the same one."""
    for row in range(kinds.size):
        for each in range(copies.size):
            number = np.uint64(stretches[row]) * np.uint64(copies.size) + np.uint64(each)
            side = np.int64(_random(seed ^ np.uint64(0x5555), number) & np.uint64(1))
            if kinds[row] != TWO_COPIES:
                side = np.int64(0 if kinds[row] == Y_ONLY else 1)
            alleles[row, copies[each]] = alleles[row, 2 * parents[each] + side]


@compiled
def _halve(alleles: Calls, kinds: NDArray[np.uint8], sexes: NDArray[np.uint8]) -> None:
    """Write one copy as two alike, as plink does: X of men, Y, and MT; women have no Y."""
    for row in range(kinds.size):
        if kinds[row] == TWO_COPIES:
            continue
        for person in range(sexes.size):
            father, mother = 2 * person, 2 * person + 1
            if kinds[row] == Y_ONLY:
                alleles[row, mother] = alleles[row, father] if sexes[person] == _MALE else -9
                alleles[row, father] = alleles[row, mother]
            elif kinds[row] == MT_ONLY or sexes[person] == _MALE:
                alleles[row, father] = alleles[row, mother]


@compiled
def _lose(alleles: Calls, of_sites: Hidden, of_people: Hidden, seed: np.uint64, first: np.uint64) -> None:
    """Take calls away at random."""
    people = of_people.size
    for row in range(of_sites.size):
        for person in range(people):
            number = (first + np.uint64(row)) * np.uint64(people) + np.uint64(person)
            drawn = np.uint64(_random(seed ^ np.uint64(0xAAAA), number) >> np.uint64(32))
            if drawn < np.uint64(of_sites[row]) + np.uint64(of_people[person]):
                alleles[row, 2 * person : 2 * person + 2] = -9


@compiled
def _dosages(calls: Calls, seed: np.uint64, first: np.uint64) -> NDArray[np.float32]:
    """Blur a third of the calls, as imputation does."""
    blurred = calls.astype(np.float32)
    rows, people = calls.shape
    for row in range(rows):
        for person in range(people):
            number = (first + np.uint64(row)) * np.uint64(people) + np.uint64(person)
            bits = _random(seed ^ np.uint64(0xCCCC), number)
            if calls[row, person] < 0 or bits % np.uint64(3) != np.uint64(0):
                continue
            amount = np.float32((bits >> np.uint64(32)) / 2.0**32) ** 3 * np.float32(0.45)
            down = calls[row, person] == 2 or (calls[row, person] == 1 and bits & np.uint64(8))
            blurred[row, person] += -amount if down else amount
    return blurred
