"""What a row's weight is multiplied by: one number for each way in which the catalogue lets a row count."""

from __future__ import annotations

from enum import IntEnum


class Model(IntEnum):
    """How the weight of one row becomes part of a score.

    >>> Model.DOMINANT.name, int(Model.DOMINANT)
    ('DOMINANT', 1)
    """

    ADDITIVE = 0
    """Weight times the copies of the effect allele."""

    DOMINANT = 1
    """Weight where there is at least one copy."""

    RECESSIVE = 2
    """Weight where both copies are the effect allele."""

    DOSAGE = 3
    """One weight each for no copy, one and two."""

    INTERACTION = 4
    """Weight times the copies at each of several variants."""

    HAPLOTYPE = 5
    """Weight times the chromosomes that carry all alleles of a haplotype together."""

    DIPLOTYPE = 6
    """Weight where the two chromosomes carry this pair of haplotypes."""

    UNSCORABLE = 7
    """Counts in denominators alone: HLA and CYP alleles, rows without weight, complex rows without place."""
