"""A scoring file of one build rewritten for another, as the catalogue harmonises its own.

Each row keeps what its author wrote and gets hm_chr and hm_pos, empty where it has no place on the other build. Where
the builds' strands differ, bases are those of the other strand; longer alleles there have no place, since the base
before them is another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from sluiceway.core.catalog import text_table
from sluiceway.core.errors import ScoringFileBroken
from sluiceway.core.genetics.alleles import complement
from sluiceway.core.genetics.build import CHROMOSOMES, Build, chromosome_number
from sluiceway.core.store.durable import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from sluiceway.core.catalog.text_table import TextTable
    from sluiceway.core.genetics.chain import Chains, Lifted

LEAST: Final = 0.95
"""The share of placed rows that must be found, or the file is refused."""

_BUILDS: Final = (Build.GRCH37, Build.GRCH38)
_ALLELES: Final = ("effect_allele", "other_allele", "hm_inferOtherAllele")
_NAMES: Final = {number: name for name, number in CHROMOSOMES.items()}
_BASE: Final = r"^[ACGTacgt]$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How many rows there are, how many have a place, on how many the other build has it, and on its other strand."""

    rows: int
    placed: int
    lifted: int
    flipped: int


def lift_scoring_file(path: Path, chains: Chains, out: Path) -> Outcome:
    """Write a scoring file for the build that the chains lead to."""
    table = text_table.read(text_table.lines_of(path))
    _refuse_other_builds(table, chains)
    number, position = _places(table)
    found = chains.lift(number, position)
    is_flipped = found.is_flipped & (found.positions > 0)
    lost = is_flipped & ~_are_bases(table.frame)
    is_lifted = (found.positions > 0) & ~lost
    outcome = Outcome(
        rows=number.size,
        placed=int(((number > 0) & (position > 0)).sum()),
        lifted=int(is_lifted.sum()),
        flipped=int((is_lifted & is_flipped).sum()),
    )
    if outcome.lifted < LEAST * outcome.placed or not outcome.placed:
        reason = f"{outcome.lifted} of its {outcome.placed} places are on {chains.target}; it takes {LEAST:.0%}"
        raise ScoringFileBroken(path=path, reason=reason)
    write_whole(out, _written(table, chains, found, is_lifted).encode())
    return outcome


def _refuse_other_builds(table: TextTable, chains: Chains) -> None:
    build = table.header.genome_build
    if {chains.source, chains.target} != {*_BUILDS}:
        table.broken(f"{chains.path.name} leads from {chains.source} to {chains.target}, not between {_BUILDS[0]} and "
                     f"{_BUILDS[1]}")  # fmt: skip
    if build is not chains.source:
        table.broken(f"its header says {build or 'no build'}, but {chains.path.name} leads from {chains.source}")
    if not {"chr_name", "chr_position"} <= {*table.frame.columns}:
        table.broken("it has no places of its author: the columns chr_name and chr_position")


def _places(table: TextTable) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    names = table.frame["chr_name"].fill_null("")
    different = names.unique()
    numbers = pl.Series([chromosome_number(each) for each in different], dtype=pl.UInt8)
    position = table.frame["chr_position"].cast(pl.UInt32, strict=False).fill_null(0)
    return names.replace_strict(different, numbers, return_dtype=pl.UInt8).to_numpy(), position.to_numpy()


def _are_bases(frame: pl.DataFrame) -> NDArray[np.bool_]:
    """Tell the rows whose alleles, as far as they are given, are single bases."""
    given = [pl.col(name).str.contains(_BASE).fill_null(value=True) for name in _ALLELES if name in frame.columns]
    return frame.select(pl.all_horizontal(given)).to_series().to_numpy()


def _written(table: TextTable, chains: Chains, found: Lifted, is_lifted: NDArray[np.bool_]) -> str:
    raw = {key: value for key, value in table.header.raw.items() if not key.startswith("HmPOS_")}
    told = [f"#{key}={line}" for key, value in raw.items() for line in value.split("\n")]
    told += [f"#HmPOS_build={chains.target}", f"#HmPOS_chain={chains.path.name}"]
    flipped = pl.Series(is_lifted & found.is_flipped)
    bases = {base: complement(base) for base in "ACGTacgt"}
    alleles = [name for name in _ALLELES if name in table.frame.columns]
    others = [name for name in table.frame.columns if name not in ("hm_source", "hm_chr", "hm_pos")]
    chromosome = pl.Series(
        [_NAMES.get(each) for each in np.where(is_lifted, found.chromosomes, 0).tolist()], dtype=pl.String
    )
    frame = table.frame.select(others).with_columns(
        *(pl.when(flipped).then(each.replace(bases)).otherwise(each) for each in map(pl.col, alleles)),
        hm_source=pl.when(pl.Series(is_lifted)).then(pl.lit("liftover")).otherwise(pl.lit("Unknown")),
        hm_chr=chromosome,
        hm_pos=pl.when(pl.Series(is_lifted)).then(pl.Series(found.positions)),
    )  # fmt: skip
    return "\n".join([*told, frame.write_csv(separator="\t", quote_style="never")])
