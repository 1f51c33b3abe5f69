"""Places on one build of the genome found on another, by a chain file as UCSC and Ensembl give them.

A chain is a run of blocks without gaps that lie in the same order on both builds, on the same strand or on the other
one. Where a place is in several chains, the best one decides. The lengths that the file gives of the chromosomes tell
which builds it leads from and to. https://genome.ucsc.edu/goldenPath/help/chain.html
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sluiceway.core.errors import ChainUnusable
from sluiceway.core.genetics.build import MT, Build, chromosome_number
from sluiceway.core.genetics.sites import build_of_contig

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Positions = NDArray[np.int64]

_HEADER: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifted:
    """Where places are on the other build: chromosome and position, 0 where nowhere, and whether strands differ."""

    chromosomes: NDArray[np.uint8]
    positions: NDArray[np.uint32]
    is_flipped: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chain:
    """Blocks of one chain: where each begins on one build and on the other, counted from 0, and how long it is.

    On the other strand positions go down from the last one; `size` is the length of the other chromosome.
    """

    score: int
    begin: Positions
    length: Positions
    other_begin: Positions
    other: int
    size: int
    is_flipped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Chains:
    """A chain file: the chains of each chromosome, the best first."""

    path: Path
    source: Build
    target: Build
    by_chromosome: dict[int, list[_Chain]]

    def lift(self, chromosomes: NDArray[np.uint8], positions: NDArray[np.uint32]) -> Lifted:
        """Find places, counted from 1; the mitochondrion's sequence is the same on both builds."""
        is_same = chromosomes == MT
        found = Lifted(
            chromosomes=np.where(is_same, chromosomes, 0).astype(np.uint8),
            positions=np.where(is_same, positions, 0).astype(np.uint32),
            is_flipped=np.zeros(positions.size, np.bool_),
        )
        for number in np.unique(chromosomes[~is_same]).tolist():
            left = np.flatnonzero((chromosomes == number) & (positions > 0))
            for chain in self.by_chromosome.get(number, []):
                left = left[~_lift_by(chain, positions, left, found)]
        return found


def read_chains(path: Path) -> Chains:
    """Read a chain file, packed or not; every way in which this fails is a ChainUnusable."""
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ChainUnusable(path=path, reason=f"it cannot be read: {error}") from error
    by_chromosome: dict[int, list[_Chain]] = {}
    builds: tuple[set[Build], set[Build]] = (set(), set())
    try:
        for lines in _paragraphs(text):
            number, chain = _chain(lines, builds)
            if number:
                by_chromosome.setdefault(number, []).append(chain)
    except (ValueError, IndexError) as error:
        raise ChainUnusable(path=path, reason=f"it is not written as chains are: {error}") from error
    if {len(each) for each in builds} != {1}:
        raise ChainUnusable(path=path, reason="its chromosomes have not the lengths of one known build, and of another")
    for chains in by_chromosome.values():
        chains.sort(key=lambda chain: -chain.score)
    return Chains(path=path, source=builds[0].pop(), target=builds[1].pop(), by_chromosome=by_chromosome)


def _paragraphs(text: str) -> list[list[str]]:
    lines = "\n".join(line for line in text.split("\n") if not line.startswith("#"))
    return [found for each in lines.split("\n\n") if (found := each.strip().split("\n")) != [""]]


def _chain(lines: list[str], builds: tuple[set[Build], set[Build]]) -> tuple[int, _Chain]:
    """Read one chain, and note which builds the lengths of its chromosomes are of."""
    head = lines[0].split()
    if head[0] != "chain" or len(head) < _HEADER or head[4] != "+":
        raise ValueError(lines[0][:60])
    for names, (name, size) in zip(builds, ((head[2], head[3]), (head[7], head[8])), strict=True):
        if (build := build_of_contig(name, int(size))) is not None:
            names.add(build)
    steps = np.zeros((len(lines) - 1, 3), np.int64)
    for row, line in zip(steps, lines[1:], strict=True):
        numbers = [int(each) for each in line.split()]
        row[: len(numbers)] = numbers
    length, gap, other_gap = steps.T
    before = np.concatenate([[0], np.cumsum(length + gap)[:-1]])
    other_before = np.concatenate([[0], np.cumsum(length + other_gap)[:-1]])
    return chromosome_number(head[2]), _Chain(
        score=int(head[1]),
        begin=int(head[5]) + before,
        length=length,
        other_begin=int(head[10]) + other_before,
        other=chromosome_number(head[7]),
        size=int(head[8]),
        is_flipped=head[9] == "-",
    )


def _lift_by(chain: _Chain, positions: NDArray[np.uint32], which: NDArray[np.intp], found: Lifted) -> NDArray[np.bool_]:
    """Find those of these places that are in a chain's blocks, and tell which are."""
    place = positions[which].astype(np.int64) - 1
    block = np.searchsorted(chain.begin, place, "right") - 1
    within = place - chain.begin[block]
    is_inside = (block >= 0) & (within < chain.length[block])
    other = (chain.other_begin[block] + within)[is_inside]
    rows = which[is_inside]
    # What lies on a contig that is no chromosome has no place, whatever a lesser chain says.
    if chain.other:
        found.chromosomes[rows] = chain.other
        found.positions[rows] = chain.size - other if chain.is_flipped else other + 1
        found.is_flipped[rows] = chain.is_flipped
    return is_inside
