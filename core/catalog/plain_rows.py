"""The rows of a plain scoring file, which is what nearly every one is: one weight and two alleles a row, no more.

What this gives is what score_rows gives, in a third of the time; a test compares the two. Columns of words are kept as
the numbers of their words, and ids as the number after their rs: a table of score_table's is read with its text.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import polars as pl

from sluiceway.core.catalog.plain_fields import NOTHING, Fields, Kind, read_fields
from sluiceway.core.catalog.score_rows import ScoreRows, chromosomes_of, is_several, row_notes
from sluiceway.core.catalog.text_table import FREQUENCY, MISSING, WEIGHT
from sluiceway.core.genetics.alleles import INVALID, NONE, allele_code, packed_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from sluiceway.core.catalog.score_rows import Layout
    from sluiceway.core.catalog.text_table import Lines

    Codes = NDArray[np.uint64]
    Order = NDArray[np.intp] | slice

_KINDS: Final = {
    "rsID": Kind.RSID, "hm_rsID": Kind.RSID, "chr_position": Kind.POSITION, "hm_pos": Kind.POSITION,
    WEIGHT: Kind.NUMBER, FREQUENCY: Kind.NUMBER, "chr_name": Kind.WORD, "hm_chr": Kind.WORD,
    "effect_allele": Kind.WORD, "other_allele": Kind.WORD, "hm_inferOtherAllele": Kind.WORD,
    "hm_source": Kind.WORD, "hm_match_chr": Kind.WORD, "hm_match_pos": Kind.WORD, "imputation_method": Kind.WORD,
}  # fmt: skip
_NEEDED: Final = frozenset({"effect_allele", WEIGHT})
_KEPT: Final = ("chr_name", "chr_position", "hm_match_chr", "hm_match_pos", "imputation_method")
# What is no allele by itself, and divides several.
_UNCLEAR: Final = frozenset("/,|")
_NOWHERE: Final = np.uint32(0)


class _Words(NamedTuple):
    """A column of words: the number of each row's word, and the words; none for one that says nothing."""

    numbers: NDArray[np.uint16]
    words: tuple[str | None, ...]

    def coded(self, codes: Sequence[int | np.uint64]) -> Codes:
        """Give a number for each row by its word's."""
        found: Codes = np.array(codes, np.uint64)[self.numbers]
        return found

    def series(self, name: str, order: Order) -> pl.Series:
        """Give the column as text that is kept as numbers."""
        words = sorted({word for word in self.words if word is not None})
        numbers = {word: number for number, word in enumerate(words)}
        own = np.array([0 if word is None else numbers[word] for word in self.words], np.uint16)
        given = pl.Series(name, own[self.numbers[order]])
        lacking = np.array([word is None for word in self.words])
        if lacking.any():
            given = given.set(pl.Series(lacking[self.numbers[order]]), None)
        return given.cat.to(pl.Enum(words))


class _Columns:
    """The columns of a plain file by their names."""

    def __init__(self, lines: Lines, fields: Fields) -> None:
        self.names = lines.columns
        self.rows = fields.words.shape[1]
        self._lines = lines
        self._fields = fields
        kinds = [_KINDS[name] for name in lines.columns]
        self._place = {name: kinds[:at].count(kinds[at]) for at, name in enumerate(lines.columns)}

    def __contains__(self, name: str) -> bool:
        return name in self._place

    def words(self, name: str) -> _Words:
        """Give a column of words; of nothing, where there is none."""
        if name not in self:
            return _Words(np.zeros(self.rows, np.uint16), (None,))
        own, text = self._place[name], self._lines.text
        places = zip(self._fields.first[own], self._fields.length[own], strict=True)
        found = [text[first : first + length].decode() for first, length in islice(places, self._fields.different[own])]
        return _Words(self._fields.words[own], tuple(None if not each or each in MISSING else each for each in found))

    def positions(self, name: str) -> NDArray[np.uint32]:
        """Give a column of positions."""
        positions: NDArray[np.uint32] = self._fields.positions[self._place[name]]
        return positions

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Give a column of weights or frequencies."""
        numbers: NDArray[np.float64] = self._fields.numbers[self._place[name]]
        return numbers

    def rsids(self) -> Codes:
        """Give the numbers of the harmonised ids, or where there is none those of the file; 0 for none."""
        columns: list[Codes] = [self._fields.rsids[self._place[name]] for name in ("hm_rsID", "rsID") if name in self]
        if not columns:
            return np.zeros(self.rows, np.uint64)
        harmonised, own = columns[0], columns[-1]
        return harmonised if harmonised.all() else np.where(harmonised == 0, own, harmonised)


class _Variants(NamedTuple):
    """Which variant and which allele each row is about, and the order in which the rows are sorted by key."""

    key: Codes
    effect: _Words
    other: _Words
    codes: tuple[Codes, Codes]
    order: Order


def read_plain(lines: Lines, layout: Layout) -> ScoreRows | None:
    """Give the rows of a file that is plain; none for another one."""
    if not _NEEDED <= {*lines.columns} <= _KINDS.keys() or layout.chromosome is None:
        return None
    fields = read_fields(lines.text, lines.start, [_KINDS[name] for name in lines.columns])
    if fields is None or fields.is_odd.any():
        return None
    columns = _Columns(lines, fields)
    variants = _variants(columns, layout)
    if variants is None or not np.isfinite(columns.numbers(WEIGHT)).all():
        return None
    rows = pl.DataFrame([*_numbers(columns, variants), *_texts(columns, layout, variants)])
    return ScoreRows(rows=rows, complex=(), notes=tuple(row_notes(rows)))


def _variants(columns: _Columns, layout: Layout) -> _Variants | None:
    """Give the variants; none where an effect allele is none, or no row has a place."""
    effect, other = columns.words("effect_allele"), _other(columns)
    effects = [INVALID if word is None else allele_code(word) for word in effect.words]
    if INVALID in effects or not _UNCLEAR.isdisjoint(other.words):
        return None
    others = [NONE if word is None or is_several(word) else allele_code(word) for word in other.words]
    codes = effect.coded(effects), other.coded(others)
    chromosome, position = columns.words(layout.chromosome or ""), columns.positions(layout.position or "")
    chromosomes = chromosomes_of(pl.Series(chromosome.words, dtype=pl.String))[chromosome.numbers]
    key = packed_keys(chromosomes, np.where(position == NOTHING, _NOWHERE, position), *codes)
    if not key.any():
        return None
    order: Order = slice(None) if (key[1:] >= key[:-1]).all() else np.argsort(key, kind="stable")
    return _Variants(key[order], effect, other, codes, order)


def _other(columns: _Columns) -> _Words:
    """Give the other alleles, and where there is none the one that was inferred."""
    given = columns.words("other_allele")
    if None not in given.words or "hm_inferOtherAllele" not in columns:
        return given
    inferred = columns.words("hm_inferOtherAllele")
    lacking = np.array([word is None for word in given.words])[given.numbers]
    numbers = np.where(lacking, inferred.numbers + np.uint16(len(given.words)), given.numbers)
    return _Words(numbers, (*given.words, *inferred.words))


def _numbers(columns: _Columns, variants: _Variants) -> Iterator[pl.Series]:
    order = variants.order
    yield pl.Series("row_nr", np.arange(columns.rows, dtype=np.uint32)[order])
    yield pl.Series("key", variants.key)
    yield pl.Series("effect", variants.codes[0][order])
    yield pl.Series("other", variants.codes[1][order])
    yield pl.Series("weight", columns.numbers(WEIGHT)[order])
    yield pl.Series("model", np.zeros(columns.rows, np.uint8))
    if FREQUENCY in columns:
        yield pl.Series("frequency", columns.numbers(FREQUENCY)[order].astype(np.float32))


def _texts(columns: _Columns, layout: Layout, variants: _Variants) -> Iterator[pl.Series]:
    order = variants.order
    yield variants.effect.series("effect_allele", order)
    yield variants.other.series("other_allele", order)
    yield pl.Series("rsid", columns.rsids()[order])
    if "hm_source" in columns:
        yield columns.words("hm_source").series("hm_source", order)
    told = {layout.chromosome, layout.position} if variants.key.all() else set()
    for name in columns.names:
        if name in _KEPT and name not in told:
            yield from _kept(columns, name, order)


def _kept(columns: _Columns, name: str, order: Order) -> Iterator[pl.Series]:
    """Give a column of the file unless it says nothing."""
    if _KINDS[name] is Kind.WORD:
        words = columns.words(name)
        given = words.series(name, order)
    else:
        positions = pl.Series(name, columns.positions(name)[order])
        given = positions.set(positions == NOTHING, None) if (columns.positions(name) == NOTHING).any() else positions
    if given.null_count() < columns.rows:
        yield given
