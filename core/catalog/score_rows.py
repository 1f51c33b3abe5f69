"""The rows of one score: where each is, what it counts, and how, as numbers; the rest of the file beside them as text.

Work that few files need is done only for the rows that need it: most files have one allele and one weight in every row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import polars as pl

from sluiceway.core.catalog.row_models import read_complex, read_weights
from sluiceway.core.catalog.score_table import TYPED
from sluiceway.core.catalog.text_table import DOSAGE_WEIGHTS, FREQUENCY, is_weight
from sluiceway.core.genetics.alleles import INVALID, NONE, allele_codes, packed_keys
from sluiceway.core.genetics.build import chromosome_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from sluiceway.core.catalog.complex_rows import ComplexRow
    from sluiceway.core.catalog.row_models import Complexes, Weights
    from sluiceway.core.catalog.text_table import TextTable
    from sluiceway.core.genetics.build import Build

_NUMBERED: Final = np.array([chromosome_number(str(number)) for number in range(256)], np.uint8)
# More than this share of rows out of their place is no small repair.
_FEW: Final = 1 / 8
_OWN_TEXT: Final = ("effect_allele", "other_allele", "rsid", "hm_source")
_CONSUMED: Final = frozenset(
    {*_OWN_TEXT, *DOSAGE_WEIGHTS, FREQUENCY, "rsID", "hm_rsID", "hm_chr", "hm_pos", "hm_inferOtherAllele"}
)
_FLAGS: Final = ("is_interaction", "is_haplotype", "is_diplotype", "is_dominant", "is_recessive")
_KNOWN: Final = frozenset(
    {
        *_CONSUMED, *_FLAGS, "chr_name", "chr_position", "OR", "HR", "locus_name", "variant_description",
        "inclusion_criteria", "imputation_method", "variant_type", "hm_match_chr", "hm_match_pos",
        "effect_type", "is_duplicated", "accession", "row_nr",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which columns of a file say what for one of its scores."""

    weight: str | None
    chromosome: str | None
    position: str | None
    build: Build | None

    @classmethod
    def of(cls, columns: Sequence[str], *, weight: str | None, harmonised: bool, build: Build | None) -> Self:
        """Choose the columns: harmonised ones always where there are any, even for rows in which they are empty."""
        chromosome, position = ("hm_chr", "hm_pos") if harmonised else ("chr_name", "chr_position")
        placed = chromosome in columns and position in columns
        return cls(
            weight=weight,
            chromosome=chromosome if placed else None,
            position=position if placed else None,
            build=build,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRows:
    """The rows of one score, sorted by key, and what is worth knowing about them."""

    rows: pl.DataFrame
    complex: tuple[ComplexRow, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alleles:
    effect: NDArray[np.uint64]
    other: NDArray[np.uint64]
    other_text: pl.Series
    rsid: pl.Series


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    chromosomes: NDArray[np.uint8]
    positions: NDArray[np.uint32]
    unreadable: int


def read_rows(table: TextTable, layout: Layout) -> ScoreRows:
    """Give the rows of one score of a file."""
    alleles, places = _alleles(table.frame), _places(table.frame, layout)
    key = packed_keys(places.chromosomes, places.positions, alleles.effect, alleles.other)
    weights = read_weights(table, layout.weight)
    complexes = read_complex(table, layout, weights, suspicious=alleles.effect == INVALID)
    _refuse_nameless(table, alleles.rsid, key, complexes)
    key[complexes.placed] = 0
    rows = _sorted(_frame(table, layout, alleles, key, weights), key)
    notes = (*weights.notes, *complexes.notes, *_notes(table, rows, places))
    return ScoreRows(rows=rows, complex=complexes.rows, notes=notes)


def _sorted(rows: pl.DataFrame, key: NDArray[np.uint64]) -> pl.DataFrame:
    """Sort rows by key; most files are sorted but for a few, and then only these are moved."""
    order = np.argsort(key, kind="stable")
    moved = np.flatnonzero(order != np.arange(order.size))
    if moved.size > _FEW * order.size:
        return rows[order]
    if moved.size:
        rows = pl.DataFrame([column.clone().scatter(moved, column.gather(order[moved])) for column in rows])
    return rows


def _alleles(frame: pl.DataFrame) -> _Alleles:
    effect = allele_codes(frame["effect_allele"])
    if frame["effect_allele"].null_count():
        effect = np.where(effect == NONE, INVALID, effect)
    other_text = _first(frame, "other_allele", "hm_inferOtherAllele").alias("other_allele")
    return _Alleles(
        effect=effect,
        other=allele_codes(_without_several(other_text)),
        other_text=other_text,
        rsid=_first(frame, "hm_rsID", "rsID").alias("rsid"),
    )


def _first(frame: pl.DataFrame, column: str, fallback: str) -> pl.Series:
    """Give a column, and where it is empty the other one."""
    nothing = pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)
    chosen = frame[column] if column in frame.columns else nothing
    if fallback not in frame.columns or not chosen.null_count():
        return chosen
    return chosen.zip_with(chosen.is_not_null(), frame[fallback])


def _without_several(other: pl.Series) -> pl.Series:
    """Give no other allele where a row gives several: which of them it means is not known."""
    if (other.str.len_bytes().max() or 0) == 1:
        return other
    several = [each for each in other.unique() if each is not None and is_several(each)]
    return other.set(other.is_in(several).fill_null(value=False), None) if several else other


def is_several(other: str) -> bool:
    """Whether what a row gives as its other allele are several."""
    return "/" in other or "," in other or "|" in other


def _places(frame: pl.DataFrame, layout: Layout) -> _Places:
    if layout.chromosome is None or layout.position is None:
        nowhere = np.zeros(frame.height, np.uint32)
        return _Places(chromosomes=nowhere.astype(np.uint8), positions=nowhere, unreadable=0)
    written = frame[layout.position]
    positions = written
    if written.dtype == pl.String:
        positions = written.str.strip_chars().str.strip_suffix(".0").cast(pl.UInt32, strict=False)
    return _Places(
        chromosomes=chromosomes_of(frame[layout.chromosome]),
        positions=positions.fill_null(0).to_numpy(),
        unreadable=positions.null_count() - written.null_count(),
    )


def chromosomes_of(names: pl.Series) -> NDArray[np.uint8]:
    """Give the number of each chromosome, 0 where it is none."""
    numbers = names.cast(pl.UInt8, strict=False)
    found: NDArray[np.uint8] = _NUMBERED[numbers.fill_null(0).to_numpy()]
    if numbers.null_count():
        spelled = numbers.is_null().arg_true()
        rest = names.gather(spelled).fill_null("")
        different = rest.unique()
        given = pl.Series([chromosome_number(each) for each in different], dtype=pl.UInt8)
        found[spelled.to_numpy()] = rest.replace_strict(different, given, return_dtype=pl.UInt8).to_numpy()
    return found


def _refuse_nameless(table: TextTable, rsid: pl.Series, key: NDArray[np.uint64], complexes: Complexes) -> None:
    plain = np.ones(key.size, np.bool_)
    plain[complexes.indices] = False
    if plain.any() and not key.any() and rsid.filter(plain).null_count() == plain.sum():
        table.broken("no row says which variant it is about: rsID and position are empty in all of them")


def _frame(
    table: TextTable, layout: Layout, alleles: _Alleles, key: NDArray[np.uint64], weights: Weights
) -> pl.DataFrame:
    frame = table.frame
    columns = [
        pl.Series("row_nr", table.row_nr),
        pl.Series("key", key),
        pl.Series("effect", alleles.effect),
        pl.Series("other", alleles.other),
        pl.Series("weight", weights.weight),
        pl.Series("model", weights.model),
        *weights.extra,
    ]
    if FREQUENCY in frame.columns:
        columns.insert(6 + sum(each.name != "ratio" for each in weights.extra), _frequency(frame[FREQUENCY]))
    columns += [frame["effect_allele"], alleles.other_text, alleles.rsid]
    if "hm_source" in frame.columns:
        columns.append(frame["hm_source"])
    return pl.DataFrame([*columns, *_kept(frame, layout, key)])


def _frequency(column: pl.Series) -> pl.Series:
    return column.cast(pl.Float32).fill_null(float("nan")).alias("frequency")


def _kept(frame: pl.DataFrame, layout: Layout, key: NDArray[np.uint64]) -> Iterator[pl.Series]:
    """Give the columns that say something the numbers do not."""
    # Where every row has a key, it says all that these two do.
    told = {layout.chromosome, layout.position} if key.all() else set()
    for name in frame.columns:
        if name in _CONSUMED or name in told or is_weight(name) or frame[name].null_count() == frame.height:
            continue
        own_name = name in TYPED or name in _OWN_TEXT
        yield frame[name].alias(f"{name}_in_file" if own_name else name)


def _notes(table: TextTable, rows: pl.DataFrame, places: _Places) -> Iterator[str]:
    unknown = [name for name in table.frame.columns if name not in _KNOWN and not is_weight(name)]
    if unknown:
        yield f"columns that the format does not know are kept: {', '.join(unknown)}"
    if places.unreadable:
        yield f"{places.unreadable} rows have a position that is no number"
    empty = table.frame["effect_allele"].null_count()
    if empty:
        yield f"{empty} rows have no effect allele"
    yield from row_notes(rows)


def row_notes(rows: pl.DataFrame) -> Iterator[str]:
    """Tell what is odd about the rows of a score, which are sorted by key."""
    key, effect, other = (rows[name].to_numpy() for name in ("key", "effect", "other"))
    nowhere = int(np.searchsorted(key, 1))
    if nowhere:
        yield f"{nowhere} rows have no place"
    equal = int(((effect == other) & (effect != INVALID)).sum())
    if equal:
        yield f"{equal} rows have the same effect and other allele"
    repeated = _repeated(key, effect, other)
    if repeated:
        yield f"{repeated} rows repeat the variant and the effect allele of another row"


def _repeated(key: NDArray[np.uint64], effect: NDArray[np.uint64], other: NDArray[np.uint64]) -> int:
    same = (key[1:] == key[:-1]) & (key[1:] != 0)
    if not same.any():
        return 0
    tied = np.zeros(key.size, np.bool_)
    tied[1:] |= same
    tied[:-1] |= same
    triples = np.stack([key[tied], effect[tied], other[tied]], axis=1)
    return int(tied.sum()) - len(np.unique(triples, axis=0))
