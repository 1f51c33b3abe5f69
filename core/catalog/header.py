"""The lines above a scoring file's table, in either format of the catalogue, as one type."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from sluiceway.core.genetics.build import Build

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_OLD_KEYS: Final = {
    "PGS ID": "pgs_id",
    "PGS Name": "pgs_name",
    "Reported Trait": "trait_reported",
    "Mapped Trait": "trait_mapped",
    "Original Genome Build": "genome_build",
    "Number of Variants": "variants_number",
    "PGP ID": "pgp_id",
    "Citation": "citation",
    "LICENSE": "license",
    "License": "license",
}
_NAMES: Final = ("pgs_id", "omicspred_id", "score_id")
_NOTHING: Final = frozenset({"", "NR", "NA", "None"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchCounts:
    """How many rows the catalogue found where their author had put them, and how many elsewhere."""

    same: int | None
    different: int | None

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Read the small JSON of the catalogue, also where a spreadsheet has doubled its quotes.

        >>> MatchCounts.parse('{""True"": 30, ""False"": null}')
        MatchCounts(same=30, different=None)
        """
        try:
            counts = json.loads((text or "").replace('""', '"'))
        except ValueError:
            return None
        if not isinstance(counts, dict):
            return None
        return cls(same=_whole(counts.get("True")), different=_whole(counts.get("False")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a scoring file says of itself; `raw` has every line, by the name it has in the file."""

    format_version: str | None
    pgs_id: str | None
    pgs_name: str | None
    trait_reported: str | None
    trait_mapped: tuple[str, ...]
    trait_efo: tuple[str, ...]
    genome_build: Build | None
    harmonised_build: Build | None
    harmonised_date: str | None
    matched_chromosome: MatchCounts | None
    matched_position: MatchCounts | None
    variants_number: int | None
    weight_type: str | None
    pgp_id: str | None
    citation: str | None
    license: str | None
    raw: dict[str, str]

    @classmethod
    def parse(cls, lines: Iterable[str]) -> Self:
        r"""Read the lines that start with #, of format 1.0 or 2.0.

        >>> header = Header.parse(["## SOURCE", "# PGS ID = PGS000001", "#genome_build=hg19\t\t"])
        >>> header.pgs_id, header.genome_build
        ('PGS000001', <Build.GRCH37: 'GRCh37'>)
        """
        raw: dict[str, str] = {}
        for line in lines:
            key, equals, value = line.lstrip("#").partition("=")
            if equals and not line.startswith("##"):
                key, value = key.strip(), value.strip()
                raw[key] = f"{raw[key]}\n{value}" if key in raw else value
        return cls.from_raw(raw)

    @classmethod
    def from_raw(cls, raw: Mapping[str, str]) -> Self:
        """Give the header whose lines are these."""
        said = {_OLD_KEYS.get(key, key): value for key, value in raw.items() if value not in _NOTHING}
        old = any(key in _OLD_KEYS for key in raw)
        return cls(
            format_version=said.get("format_version", "1.0" if old else None),
            pgs_id=next((said[name] for name in _NAMES if name in said), None),
            pgs_name=said.get("pgs_name"),
            trait_reported=said.get("trait_reported"),
            trait_mapped=_several(said.get("trait_mapped")),
            trait_efo=_several(said.get("trait_efo")),
            genome_build=Build.parse(said.get("genome_build")),
            harmonised_build=Build.parse(said.get("HmPOS_build")),
            harmonised_date=said.get("HmPOS_date"),
            matched_chromosome=MatchCounts.parse(said.get("HmPOS_match_chr")),
            matched_position=MatchCounts.parse(said.get("HmPOS_match_pos")),
            variants_number=_whole(said.get("variants_number")),
            weight_type=said.get("weight_type"),
            pgp_id=said.get("pgp_id"),
            citation=said.get("citation"),
            license=said.get("license"),
            raw=dict(raw),
        )


def _several(text: str | None) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split("|")) if text else ()


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    digits = str(value).replace(",", "")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 16 else None
