"""Where an invented panel varies: places, alleles, names, and how frequent each allele is in each population.

Frequencies are a Beta distribution with most of it near zero, and differ between populations by Balding and Nichols's
model. Places stand in clumps, and neighbours in a clump share most of their history.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from sluiceway.core.errors import PanelUnusable
from sluiceway.core.genetics.build import PSEUDOAUTOSOMAL, Build, X

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]
    Shares = NDArray[np.float64]

KnownBuild = Literal[Build.GRCH37, Build.GRCH38]

LENGTHS: Final[dict[Build, tuple[int, ...]]] = {
    Build.GRCH37: (
        249250621, 243199373, 198022430, 191154276, 180915260, 171115067, 159138663, 146364022, 141213431, 135534747,
        135006516, 133851895, 115169878, 107349540, 102531392, 90354753, 81195210, 78077248, 59128983, 63025520,
        48129895, 51304566, 155270560, 59373566, 16569,
    ),
    Build.GRCH38: (
        248956422, 242193529, 198295559, 190214555, 181538259, 170805979, 159345973, 145138636, 138394717, 133797422,
        135086622, 133275309, 114364328, 107043718, 101991189, 90338345, 83257441, 80373285, 58617616, 64444167,
        46709983, 50818468, 156040895, 57227415, 16569,
    ),
}  # fmt: skip
"""The lengths of chromosomes 1 to 22, X, Y and MT."""

CONTIGS: Final = (*(str(number) for number in range(1, 23)), "PAR1", "X", "PAR2", "Y", "MT")
"""The stretches of a panel in the order of its rows, as plink2 names them."""

TWO_COPIES, X_ONLY, Y_ONLY, MT_ONLY = range(4)
"""How a stretch is inherited: in two copies by everybody, or as X outside the PAR, Y and MT are."""

POPULATIONS: Final = ("North", "South", "East", "West", "Isles")

_FEWEST: Final = 400
_FST: Final = 0.1
_E4: Final = (0.22, 0.10, 0.09, 0.26, 0.14)
_E2: Final = (0.06, 0.08, 0.09, 0.10, 0.05)
APOE: Final = {Build.GRCH37: (45411941, 45412079), Build.GRCH38: (44908684, 44908822)}
_KIND_OF_CONTIG: Final = np.array([*[TWO_COPIES] * 23, X_ONLY, TWO_COPIES, Y_ONLY, MT_ONLY], np.uint8)
_BASES: Final = np.array(["A", "C", "G", "T"], object)
_TRANSITION: Final = np.array([2, 3, 0, 1])
_WHOLE: Final = float(2**32 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sites:
    """One entry per row of the panel; numbers below 2**32 stand for shares of one."""

    contig: Numbers
    position: Numbers
    name: NDArray[np.object_]
    ref: NDArray[np.object_]
    alt: NDArray[np.object_]
    several: NDArray[np.bool_]
    kind: NDArray[np.uint8]
    stretch: Numbers
    bounds: NDArray[np.uint32]
    """Row, population, and where the share of the first ALT begins, ends, and that of the second ends."""
    renewed: NDArray[np.uint32]
    """How often a chromosome's history ends between the row before and this one."""
    turned: NDArray[np.uint32]
    missing: NDArray[np.uint32]
    imputed: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Special:
    """Which rows are no plain single-base change."""

    apoe: int
    """The first of APOE's two rows."""
    long: NDArray[np.bool_]
    several: NDArray[np.bool_]
    split: Numbers
    """Rows that tell a further ALT of the row before them."""
    free: NDArray[np.bool_]

    @property
    def linked(self) -> Numbers:
        """Give the rows whose alleles are never on one chromosome with those of the row before."""
        return np.append(self.split, self.apoe + 1)


def draw(variants: int, build: KnownBuild, rng: np.random.Generator, *, where: Path) -> Sites:
    """Invent the rows of a panel."""
    if variants < _FEWEST:
        raise PanelUnusable(path=where, reason=f"an invented panel has {_FEWEST} variants or more, not {variants}")
    contig = np.repeat(np.arange(len(CONTIGS)), _rows_of_each(variants, build))
    kind = _KIND_OF_CONTIG[contig]
    begins = np.diff(contig, prepend=-1) != 0
    new_clump = begins | (rng.random(variants) < 0.04)
    position = _positions(contig, new_clump, build, rng)
    special = _special(kind, begins, _make_room_for_apoe(contig, position, build), rng)
    position[special.split] = position[special.split - 1]
    ref, alt = _alleles(special, rng)
    renewed, turned = _histories(begins, new_clump, special, rng)
    missing, imputed = _trust(kind, special, rng)
    return Sites(
        contig=contig, position=position, name=_names(special, rng), ref=ref, alt=alt, several=special.several,
        kind=kind, stretch=contig * 100 + position // 50_000_000, bounds=_bounds(special, rng), renewed=renewed,
        turned=turned, missing=missing, imputed=imputed,
    )  # fmt: skip


def _special(kind: NDArray[np.uint8], begins: NDArray[np.bool_], apoe: int, rng: np.random.Generator) -> _Special:
    free = np.ones(kind.size, bool)
    free[apoe - 1 : apoe + 3] = False
    long = free & (rng.random(kind.size) < 0.05)
    plain = free & ~long & (kind == TWO_COPIES)
    several = plain & (rng.random(kind.size) < 0.01)
    chosen = np.flatnonzero(plain & ~several & ~begins & (rng.random(kind.size) < 0.01))
    chosen = chosen[(plain & ~several)[chosen - 1]]
    split = chosen[np.diff(chosen, prepend=-2) > 2]
    return _Special(apoe=apoe, long=long, several=several, split=split, free=free)


def _histories(
    begins: NDArray[np.bool_], new_clump: NDArray[np.bool_], special: _Special, rng: np.random.Generator
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Give how often histories end before each row, and which rows count hidden numbers from the other end."""
    renewed = np.where(begins, 1.0, np.where(new_clump, 0.9, 0.03))
    turned = np.where(rng.random(begins.size) < 0.5, 0, 2**32 - 1).astype(np.uint32)
    renewed[special.linked] = 0.0
    turned[special.linked] = turned[special.linked - 1]
    return _fixed(renewed), turned


def _trust(
    kind: NDArray[np.uint8], special: _Special, rng: np.random.Generator
) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Give how often each row is not called, and which rows look imputed."""
    rows = kind.size
    often = (rng.random(rows) < 0.02) & special.free
    missing = np.where(often, rng.uniform(0.02, 0.15, rows), rng.exponential(0.0015, rows))
    imputed = special.free & (kind == TWO_COPIES) & ~special.several & ~often & (rng.random(rows) < 0.6)
    imputed[np.concatenate([special.split, special.split - 1])] = False
    return _fixed(missing), imputed


def _fixed(shares: Shares) -> NDArray[np.uint32]:
    return np.asarray(shares * _WHOLE).astype(np.uint32)


def _spans(build: KnownBuild) -> list[tuple[int, int]]:
    """Give first and last base of each of the contigs."""
    *autosomes, x, y, mt = LENGTHS[build]
    (start_1, end_1), (start_2, end_2) = PSEUDOAUTOSOMAL[build][X]
    y_ends = 2_800_000, min(y, 56_800_000)
    spans = [(10_001, length) for length in autosomes]
    return [*spans, (start_1, end_1), (end_1 + 1, start_2 - 1), (start_2, min(end_2, x)), y_ends, (10, mt)]


def _rows_of_each(variants: int, build: KnownBuild) -> Numbers:
    weights = np.array([end - start for start, end in _spans(build)], float)
    weights[25] /= 40  # little of Y is called
    counts: Numbers = np.floor(weights / weights.sum() * (variants - 280)).astype(np.int64)
    counts += np.array([*[10] * 22, 8, 12, 4, 6, 6])
    counts[0] += variants - counts.sum()
    return counts


def _positions(contig: Numbers, new_clump: NDArray[np.bool_], build: KnownBuild, rng: np.random.Generator) -> Numbers:
    """Give places in ascending order: gaps are random, and those between clumps long."""
    gaps = rng.exponential(1.0, contig.size) * np.where(new_clump, 60.0, 1.0)
    positions = np.zeros(contig.size, np.int64)
    for number, (start, end) in enumerate(_spans(build)):
        rows = np.flatnonzero(contig == number)
        along = np.cumsum(gaps[rows])
        room = end - start - rows.size
        positions[rows] = start + np.floor(along / (along[-1] * 1.01) * room).astype(np.int64) + np.arange(rows.size)
    return positions


def _make_room_for_apoe(contig: Numbers, position: Numbers, build: KnownBuild) -> int:
    """Put two neighbours at APOE's two sites, and nothing between them; give the row of the first."""
    first, second = APOE[build]
    start, end = np.searchsorted(contig, [18, 19])
    row = int(min(start + np.searchsorted(position[start:end], first), end - 2))
    later = position[row + 2 : end]
    np.maximum(later, second + 1 + np.arange(later.size), out=later)
    position[row : row + 2] = first, second
    return row


def _alleles(special: _Special, rng: np.random.Generator) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Give REF and ALT; seven of ten single-base changes are transitions, so three in twenty read alike both ways."""
    split, several = special.split, special.several
    ref = rng.integers(4, size=several.size)
    ref[split] = ref[split - 1]
    across = (_TRANSITION[ref] + rng.choice([1, 3], several.size)) % 4
    alt = np.where(rng.random(several.size) < 0.7, _TRANSITION[ref], across)
    further = np.where(_TRANSITION[ref] == alt, (ref + 1) % 4, _TRANSITION[ref])
    alt[split] = further[split - 1]
    refs, alts = _BASES[ref], _BASES[alt]
    alts[several] = alts[several] + "," + _BASES[further[several]]
    for row in np.flatnonzero(special.long):
        longer = refs[row] + _insertion(rng)
        refs[row], alts[row] = (refs[row], longer) if rng.random() < 0.45 else (longer, refs[row])
    apoe = slice(special.apoe, special.apoe + 2)
    refs[apoe], alts[apoe] = ["T", "C"], ["C", "T"]
    return refs, alts


def _insertion(rng: np.random.Generator) -> str:
    length = rng.integers(30, 80) if rng.random() < 0.03 else min(rng.geometric(0.35), 25)
    return "".join(_BASES[rng.integers(4, size=int(length))])


def _names(special: _Special, rng: np.random.Generator) -> NDArray[np.object_]:
    """Give rs numbers, ascending and above all real ones, and a few rows none; rows of one site share theirs."""
    rows = special.several.size
    numbers = 3_000_000_000 + np.cumsum(rng.integers(1, 900, rows))
    names = np.array([f"rs{number}" for number in numbers.tolist()], object)
    names[rng.random(rows) < 0.005] = "."
    names[special.split] = names[special.split - 1]
    names[special.apoe : special.apoe + 2] = ["rs429358", "rs7412"]
    return names


def _bounds(special: _Special, rng: np.random.Generator) -> NDArray[np.uint32]:
    """Give the share of each ALT in each population; alleles of one site never overlap."""
    rows, split = special.several.size, special.split
    everywhere = np.maximum(rng.beta(0.3, 1.3, rows), 2e-4)
    everywhere = np.where(rng.random(rows) < 0.08, 1 - everywhere, everywhere).clip(2e-4, 1 - 2e-4)
    spread = (1 - _FST) / _FST
    shape = (rows, len(POPULATIONS))
    first = rng.beta((everywhere * spread)[:, None], ((1 - everywhere) * spread)[:, None], shape)
    second = first + (1 - first) * rng.beta(1.0, 5.0, rows)[:, None]
    low, mid = np.zeros(shape), first.copy()
    high = np.where(special.several[:, None], second, first)
    low[split], mid[split], high[split] = first[split - 1], second[split - 1], second[split - 1]
    bounds = _fixed(np.stack([low, mid, high], axis=2))
    bounds[special.apoe : special.apoe + 2] = _apoe_bounds()
    return bounds


def _apoe_bounds() -> NDArray[np.uint32]:
    """Give APOE's shares: e4 has C at the first site, e2 T at the second, and nobody has both on one chromosome."""
    e4, e2 = np.array(_E4), np.array(_E2)
    return _fixed(np.stack([np.stack([0 * e4, e4, e4], axis=1), np.stack([e4, e4 + e2, e4 + e2], axis=1)]))
