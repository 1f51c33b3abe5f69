"""What each row's weight is and what it is multiplied by: its weights, its flags, and its kind of variant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from sluiceway.core.catalog.complex_rows import JOINED, NOT_SCORED, ComplexRow, Parts, RowText, is_apoe, read_parts
from sluiceway.core.catalog.text_table import DOSAGE_WEIGHTS
from sluiceway.core.genetics.model import Model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from sluiceway.core.catalog.score_rows import Layout
    from sluiceway.core.catalog.text_table import TextTable

    Floats = NDArray[np.float64]
    Where = NDArray[np.bool_]

_TRUE: Final = frozenset({"true", "1", "t", "yes"})
_FALSE: Final = frozenset({"false", "0", "f", "no"})
_EFFECT_TYPES: Final = {"additive": Model.ADDITIVE, "dominant": Model.DOMINANT, "recessive": Model.RECESSIVE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Each row's weight and model, and the columns that only some files need: dosage weights and ratios."""

    weight: Floats
    model: NDArray[np.uint8]
    extra: tuple[pl.Series, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Complexes:
    """The rows about several variants, or about none that can be read from genotypes.

    `indices` are all of them in the table, `placed` those that have parts.
    """

    rows: tuple[ComplexRow, ...]
    indices: NDArray[np.intp]
    placed: NDArray[np.intp]
    notes: tuple[str, ...]


def read_weights(table: TextTable, column: str | None) -> Weights:
    """Give the weight of each row; a row without effect weight may have dosage weights, or a ratio, or nothing."""
    weight = _numbers(table, column)
    model = _flagged(table)
    lacking = np.isnan(weight)
    by_dosage = _dosage_weights(table) if DOSAGE_WEIGHTS[0] in table.frame.columns else None
    notes: list[str] = []
    if by_dosage is not None:
        whole = ~np.isnan(by_dosage).any(axis=0)
        notes += _both_note(int((whole & ~lacking).sum()))
        model[whole & lacking] = Model.DOSAGE
    extra = []
    if by_dosage is not None and (model == Model.DOSAGE).any():
        extra += [pl.Series(f"weight_{copies}", by_dosage[copies]) for copies in range(3)]
        lacking &= model != Model.DOSAGE
    if lacking.any():
        ratio = _ratios(table.frame)
        if ratio is not None and (lacking & ~np.isnan(ratio)).any():
            extra.append(pl.Series("ratio", ratio))
            notes.append(f"{int((lacking & ~np.isnan(ratio)).sum())} rows have an odds or hazard ratio alone")
            lacking &= np.isnan(ratio)
        model[lacking] = Model.UNSCORABLE
        notes += [f"{int(lacking.sum())} rows have no weight"] if lacking.any() else []
    return Weights(weight=weight, model=model, extra=tuple(extra), notes=tuple(notes))


def _both_note(both: int) -> list[str]:
    return [f"{both} rows have an effect weight and dosage weights: the effect weight counts"] if both else []


def _numbers(table: TextTable, column: str | None) -> Floats:
    if column is None:
        return np.full(table.frame.height, np.nan)
    numbers = table.frame[column].fill_null(float("nan")).to_numpy()
    endless = np.isinf(numbers)
    if endless.any():
        table.broken(f"{column} is infinite", row=int(endless.argmax()))
    return numbers


def _dosage_weights(table: TextTable) -> Floats:
    return np.stack([_numbers(table, name) for name in DOSAGE_WEIGHTS])


def _ratios(frame: pl.DataFrame) -> Floats | None:
    columns = [frame[name].cast(pl.Float64, strict=False) for name in ("OR", "HR") if name in frame.columns]
    if not columns:
        return None
    ratio = columns[0].fill_null(columns[-1]).fill_null(float("nan")).to_numpy()
    return np.where((ratio > 0) & np.isfinite(ratio), ratio, np.nan)


def _flagged(table: TextTable) -> NDArray[np.uint8]:
    """Give the model that the flags tell."""
    model = np.zeros(table.frame.height, np.uint8)
    if "effect_type" in table.frame.columns:
        for name in ("dominant", "recessive"):
            written = table.frame["effect_type"].str.to_lowercase() == name
            model[written.fill_null(value=False).to_numpy()] = _EFFECT_TYPES[name]
    dominant, recessive = flag(table, "is_dominant"), flag(table, "is_recessive")
    both = dominant & recessive
    if both.any():
        table.broken("a row is both dominant and recessive", row=int(both.argmax()))
    model[dominant] = Model.DOMINANT
    model[recessive] = Model.RECESSIVE
    return model


def flag(table: TextTable, name: str) -> Where:
    """Give where a flag is true; an empty one is not."""
    nowhere = np.zeros(table.frame.height, np.bool_)
    if name not in table.frame.columns:
        return nowhere
    column = table.frame[name]
    different = [each for each in column.unique() if each is not None]
    strange = next((each for each in different if each.strip().lower() not in _TRUE | _FALSE), None)
    if strange is not None:
        where = (column == strange).arg_true()[0]
        table.broken(f"{name} is {strange!r}, which is neither true nor false", row=where)
    true = [each for each in different if each.strip().lower() in _TRUE]
    return column.is_in(true).fill_null(value=False).to_numpy() if true else nowhere


def read_complex(table: TextTable, layout: Layout, weights: Weights, *, suspicious: Where) -> Complexes:
    """Read the rows about several variants, and set the model of each; suspicious ones have no plain effect allele."""
    claimed = _claimed(table, suspicious)
    indices = np.flatnonzero(claimed)
    rows: list[ComplexRow] = []
    placed: list[int] = []
    for index in map(int, indices):
        text = _text(table.frame, layout, index)
        model, parts = read_parts(text, Model(int(claimed[index])), layout.build)
        if _is_plain(model, parts) and not is_apoe(text):
            continue
        weight = float(weights.weight[index])
        if model is Model.UNSCORABLE or np.isnan(weight):
            weights.model[index] = Model.UNSCORABLE
            continue
        weights.model[index] = model
        rows.append(ComplexRow(row_nr=int(table.row_nr[index]), model=model, weight=weight, parts=parts))
        placed.append(index)
    left = int((weights.model[indices] == Model.UNSCORABLE).sum())
    notes = (f"{left} rows are about alleles or combinations that cannot be scored",) if left else ()
    return Complexes(rows=tuple(rows), indices=indices, placed=np.array(placed, np.intp), notes=notes)


def _is_plain(model: Model, parts: Parts) -> bool:
    """Whether a haplotype is of one variant, and so its copies are those of an allele."""
    return model is Model.HAPLOTYPE and len(parts[0]) == 1


def _claimed(table: TextTable, suspicious: Where) -> NDArray[np.uint8]:
    """Give the model that each complex row claims to have, and 0 for plain rows."""
    claimed = np.zeros(table.frame.height, np.uint8)
    for model, where in _claims(table, suspicious):
        claimed[where] = model
    return claimed


def _claims(table: TextTable, suspicious: Where) -> Iterator[tuple[Model, Where]]:
    if "variant_type" in table.frame.columns:
        named = table.frame["variant_type"].is_in([*NOT_SCORED, "APOE_allele"])
        yield Model.HAPLOTYPE, named.fill_null(value=False).to_numpy()
    if suspicious.any():
        effect = table.frame["effect_allele"]
        yield Model.HAPLOTYPE, effect.str.starts_with("APOE").fill_null(value=False).to_numpy()
        yield Model.INTERACTION, effect.str.contains(JOINED, literal=True).fill_null(value=False).to_numpy()
    yield Model.HAPLOTYPE, flag(table, "is_haplotype")
    yield Model.DIPLOTYPE, flag(table, "is_diplotype")
    yield Model.INTERACTION, flag(table, "is_interaction")


def _text(frame: pl.DataFrame, layout: Layout, index: int) -> RowText:
    def said(*columns: str | None) -> str:
        given = (frame[name][index] for name in columns if name in frame.columns)
        return str(next((each for each in given if each is not None), ""))

    return RowText(
        chromosome=said(layout.chromosome),
        position=said(layout.position),
        effect=said("effect_allele"),
        other=said("other_allele", "hm_inferOtherAllele"),
        rsid=said("hm_rsID", "rsID"),
        variant_type=said("variant_type"),
    )
