"""Rows about more than one variant: interactions, haplotypes, diplotypes, and the alleles of APOE.

The catalogue joins the variants of an interaction with ``_x_``, those of a haplotype with ``;``, and the two haplotypes
of a diplotype with ``/``. The alleles e2, e3 and e4 of APOE are haplotypes of two variants, whichever way a file writes
them. HLA and CYP alleles are not, so their rows are not scored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sluiceway.core.genetics.build import Build, chromosome_number
from sluiceway.core.genetics.model import Model

if TYPE_CHECKING:
    from collections.abc import Sequence

JOINED: Final = "_x_"
NOT_SCORED: Final = frozenset({"HLA_allele", "HLA_AA", "HLA_serotype", "CYP_allele"})

_APOE: Final = re.compile(r"(?:APOE)?[\s*:_-]*[eEεƐ]([234])")
_APOE_PLACES: Final = {Build.GRCH37: (45_411_941, 45_412_079), Build.GRCH38: (44_908_684, 44_908_822)}
_APOE_ALLELES: Final = {"2": "TT", "3": "TC", "4": "CC"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One allele at one place."""

    chromosome: int
    position: int
    effect: str
    other: str | None
    rsid: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplexRow:
    """A row about several variants.

    An INTERACTION has parts of one component each. A HAPLOTYPE has one part, a DIPLOTYPE two: the components that are
    on one copy of the chromosome together.
    """

    row_nr: int
    model: Model
    weight: float
    parts: tuple[tuple[Component, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowText:
    """What a file says in one row of this kind."""

    chromosome: str
    position: str
    effect: str
    other: str
    rsid: str
    variant_type: str


Parts = tuple[tuple[Component, ...], ...]


def read_parts(text: RowText, model: Model, build: Build | None) -> tuple[Model, Parts]:
    """Give a row's parts, and its model as they tell it; UNSCORABLE and none where it cannot be placed."""
    if text.variant_type in NOT_SCORED:
        return Model.UNSCORABLE, ()
    if is_apoe(text):
        parts = _apoe(text.effect, build)
        model = Model.DIPLOTYPE if len(parts) == 2 else Model.HAPLOTYPE
    elif model is Model.INTERACTION:
        parts = tuple((each,) for each in _components(text, JOINED))
    elif model is Model.HAPLOTYPE:
        parts = tuple(filter(None, (_components(text, ";"),)))
    else:
        parts = _diplotype(text)
    smallest = 1 if model is Model.HAPLOTYPE else 2
    return (model, parts) if len(parts) >= smallest else (Model.UNSCORABLE, ())


def is_apoe(text: RowText) -> bool:
    """Whether a row is about an allele of APOE."""
    return text.variant_type == "APOE_allele" or text.effect.upper().startswith("APOE")


def _apoe(effect: str, build: Build | None) -> Parts:
    """Give one or two haplotypes of the two variants that make APOE's alleles.

    >>> [[each.effect for each in part] for part in _apoe("e3/e4", Build.GRCH38)]
    [['T', 'C'], ['C', 'C']]
    """
    places = _APOE_PLACES.get(build) if build else None
    numbers = _APOE.findall(effect)
    if places is None or len(numbers) > 2 or _APOE.sub("", effect).strip(" /|;,+"):
        return ()
    return tuple(_apoe_haplotype(_APOE_ALLELES[number], places) for number in numbers)


def _apoe_haplotype(alleles: str, places: tuple[int, int]) -> tuple[Component, ...]:
    return tuple(
        Component(chromosome=19, position=place, effect=allele, other="C" if allele == "T" else "T", rsid=rsid)
        for allele, place, rsid in zip(alleles, places, ("rs429358", "rs7412"), strict=True)
    )


def _diplotype(text: RowText) -> Parts:
    haplotypes = text.effect.split("/")
    if len(haplotypes) != 2:
        return ()
    return tuple(filter(None, (_components(text, ";", effect=each) for each in haplotypes)))


def _components(text: RowText, separator: str, *, effect: str | None = None) -> tuple[Component, ...]:
    """Give one component for each position; none where the fields do not agree on how many there are."""
    effects = _fields(text.effect if effect is None else effect, separator)
    count = len(effects)
    positions = _fields(text.position, separator)
    chromosomes = [chromosome_number(each) for each in _spread(_fields(text.chromosome, separator), count)]
    others = _optional(text.other, separator, count)
    rsids = _optional(text.rsid, separator, count)
    placed = len(positions) == count == len(chromosomes) and all(chromosomes) and all(map(_is_position, positions))
    if not placed or any(not each or each.strip("ACGT") for each in effects):
        return ()
    return tuple(
        Component(chromosome=number, position=int(position), effect=allele, other=other, rsid=rsid)
        for number, position, allele, other, rsid in zip(chromosomes, positions, effects, others, rsids, strict=True)
    )


def _is_position(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) < 1 << 28


def _fields(text: str, separator: str) -> list[str]:
    return [each.strip().upper() for each in text.split(separator)]


def _spread(fields: Sequence[str], count: int) -> list[str]:
    """Let a field that is said once hold for every component."""
    return [*fields] * count if len(fields) == 1 else [*fields]


def _optional(text: str, separator: str, count: int) -> list[str | None]:
    fields = [each.strip() or None for each in text.split(separator)]
    return fields if len(fields) == count else [None] * count
