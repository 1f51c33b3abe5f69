"""Places on the other build: by blocks counted by hand, by the best chain, on either strand."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from sluiceway.core.errors import ChainUnusable
from sluiceway.core.genetics.build import MT, Build, X
from sluiceway.core.genetics.chain import read_chains

CHR1, CHR2, CHRX = 249250621, 243199373, 155270560
NEW1, NEW2, NEWX = 248956422, 242193529, 156040895
# Two blocks of 100 and 50 with gaps of 10 and 20 between them; one on the other strand; a lesser one over the first;
# one to a contig that is no chromosome, with a lesser one below it.
CHAIN = f"""\
## made by hand
chain 900 chr1 {CHR1} + 1000 1160 chr1 {NEW1} + 2000 2170 1
100\t10\t20
50

chain 100 chr1 {CHR1} + 1050 1150 chr2 {NEW2} + 0 100 2
100

chain 500 chr2 {CHR2} + 0 100 chr2 {NEW2} - 1000 1100 3
100

chain 400 chrX {CHRX} + 0 100 chrX_alt 5000 + 0 100 4
100

chain 300 chrX {CHRX} + 50 150 chrX {NEWX} + 50 150 5
100
"""


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    path = tmp_path / "toy.chain"
    path.write_text(CHAIN)
    return path


@pytest.mark.parametrize(
    ("chromosome", "position", "found"),
    [
        (1, 1001, (1, 2001, False)),
        (1, 1100, (1, 2100, False)),
        (1, 1111, (1, 2121, False)),
        (1, 1160, (1, 2170, False)),
        (1, 1105, (2, 55, False)),
        (1, 1161, (0, 0, False)),
        (1, 1000, (0, 0, False)),
        (2, 1, (2, NEW2 - 1000, True)),
        (2, 100, (2, NEW2 - 1099, True)),
        (X, 51, (0, 0, False)),
        (X, 101, (X, 101, False)),
        (MT, 3243, (MT, 3243, False)),
        (3, 7, (0, 0, False)),
        (0, 7, (0, 0, False)),
        (1, 0, (0, 0, False)),
    ],
)
def test_a_place_is_where_its_best_block_has_it(
    chain: Path, chromosome: int, position: int, found: tuple[int, int, bool]
) -> None:
    lifted = read_chains(chain).lift(np.array([chromosome], np.uint8), np.array([position], np.uint32))
    assert (int(lifted.chromosomes[0]), int(lifted.positions[0]), bool(lifted.is_flipped[0])) == found


def test_many_places_are_found_at_once_and_in_their_order(chain: Path) -> None:
    lifted = read_chains(chain).lift(np.array([2, 1, MT, 1], np.uint8), np.array([1, 1111, 5, 9], np.uint32))
    assert lifted.chromosomes.tolist() == [2, 1, MT, 0]
    assert lifted.positions.tolist() == [NEW2 - 1000, 2121, 5, 0]


def test_the_lengths_tell_the_builds_however_the_file_is_packed(tmp_path: Path, chain: Path) -> None:
    packed = tmp_path / "toy.chain.gz"
    packed.write_bytes(gzip.compress(chain.read_bytes()))
    found = read_chains(packed)
    assert (found.source, found.target) == (Build.GRCH37, Build.GRCH38)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not the lengths of one known build"),
        (CHAIN.replace(str(CHR1), "77").replace(str(CHR2), "78").replace(str(CHRX), "79").encode(), "not the lengths"),
        (CHAIN.replace(str(CHR2), str(NEW2)).encode(), "not the lengths"),
        (CHAIN.replace("100\t10\t20", "hundred").encode(), "not written as chains are"),
        (CHAIN.replace("chain 900", "shackle 900").encode(), "not written as chains are"),
        (gzip.compress(CHAIN.encode())[:-9], "cannot be read"),
    ],
)
def test_what_is_no_chain_file_says_why(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "odd.chain"
    path.write_bytes(content)
    with pytest.raises(ChainUnusable, match=reason):
        read_chains(path)
