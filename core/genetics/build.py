"""Genome builds, chromosomes and regions: every spelling in use, turned into one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from sluiceway.core.errors import RegionUnreadable

X: Final = 23
Y: Final = 24
MT: Final = 26
CHROMOSOMES: Final = {**{str(number): number for number in range(1, 23)}, "X": X, "Y": Y, "MT": MT}
"""The number of each chromosome; 0 is none of these."""

_NAMES: Final = {number: name for name, number in CHROMOSOMES.items()}
_ALIASES: Final = {"23": X, "24": Y, "25": X, "26": MT, "M": MT, "XY": X, "PAR": X, "PAR1": X, "PAR2": X}
_SIZES: Final = {"K": 1_000, "M": 1_000_000, "G": 1_000_000_000}
_REGION: Final = re.compile(
    r"(?P<chromosome>[^:]+)(?::(?P<start>[\d.,]+[KMG]?)-(?P<end>[\d.,]+[KMG]?))?", re.IGNORECASE
)


class Build(StrEnum):
    """An assembly of the human genome."""

    GRCH36 = "GRCh36"
    GRCH37 = "GRCh37"
    GRCH38 = "GRCh38"

    @classmethod
    def parse(cls, text: str | None) -> Build | None:
        """Read any spelling in use; none where nothing, NR, or a build older than these is said.

        >>> [Build.parse(each) for each in ("hg19", "GRCh38", "NCBI36", "NR")]
        [<Build.GRCH37: 'GRCh37'>, <Build.GRCH38: 'GRCh38'>, <Build.GRCH36: 'GRCh36'>, None]
        """
        return _SPELLINGS.get((text or "").strip().lower())

    @classmethod
    def in_name(cls, name: str) -> Build | None:
        """Read the build that a file's name has as a part of its own; none where it has two.

        >>> [Build.in_name(each) for each in ("GRCh38_HGDP+1kGP_ALL", "hg19.panel", "GRCh38ish", "hg19_to_hg38")]
        [<Build.GRCH38: 'GRCh38'>, <Build.GRCH37: 'GRCh37'>, None, None]
        """
        parts = {cls.parse(each) for each in re.split(r"[_.\-]", name) if not each.isdigit()} - {None}
        return parts.pop() if len(parts) == 1 else None


_SPELLINGS: Final = {
    "grch36": Build.GRCH36, "ncbi36": Build.GRCH36, "hg18": Build.GRCH36, "36": Build.GRCH36, "b36": Build.GRCH36,
    "grch37": Build.GRCH37, "hg19": Build.GRCH37, "37": Build.GRCH37, "b37": Build.GRCH37, "grch37/hg19": Build.GRCH37,
    "grch38": Build.GRCH38, "hg38": Build.GRCH38, "38": Build.GRCH38, "b38": Build.GRCH38, "grch38/hg38": Build.GRCH38,
    "ncbi36/hg18": Build.GRCH36,
}  # fmt: skip

PSEUDOAUTOSOMAL: Final = {
    Build.GRCH37: {
        X: ((60_001, 2_699_520), (154_931_044, 155_260_560)),
        Y: ((10_001, 2_649_520), (59_034_050, 59_373_566)),
    },
    Build.GRCH38: {
        X: ((10_001, 2_781_479), (155_701_383, 156_030_895)),
        Y: ((10_001, 2_781_479), (56_887_903, 57_217_415)),
    },
}
"""Where X and Y pair as autosomes do: first and last base of each such stretch."""


def chromosome_number(name: str) -> int:
    """Give a chromosome's number, however it is spelled; 0 for a name that is none.

    >>> [chromosome_number(each) for each in ("chr7", "07", "X", "chrM", "XY", "8_KI270821v1_alt")]
    [7, 7, 23, 26, 23, 0]
    """
    short = name.strip().upper().removeprefix("CHR").lstrip("0")
    return CHROMOSOMES.get(short) or _ALIASES.get(short, 0)


def chromosome_name(number: int) -> str:
    """Give the name of a chromosome by its number."""
    return _NAMES[number]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A stretch of a chromosome, first and last base included."""

    chromosome: int
    start: int = 1
    end: int = (1 << 28) - 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a region as people write it.

        >>> Region.parse("11:69M-70.5M")
        Region(chromosome=11, start=69000000, end=70500000)
        """
        found = _REGION.fullmatch(text.strip())
        chromosome = chromosome_number(found["chromosome"]) if found else 0
        if found is None or not chromosome:
            raise RegionUnreadable(text=text)
        if found["start"] is None:
            return cls(chromosome=chromosome)
        start, end = _bases(found["start"]), _bases(found["end"])
        if start > end:
            raise RegionUnreadable(text=text)
        return cls(chromosome=chromosome, start=start, end=end)


def _bases(text: str) -> int:
    size = _SIZES.get(text[-1].upper(), 1)
    return round(float(text.rstrip("KMGkmg").replace(",", "")) * size)
