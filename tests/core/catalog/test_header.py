"""Headers of both formats, however they were mangled on the way."""

from __future__ import annotations

import pytest

from sluiceway.core.catalog.header import Header, MatchCounts
from sluiceway.core.genetics.build import Build

NEW = [
    "###PGS CATALOG SCORING FILE - see https://www.pgscatalog.org/downloads/#dl_ftp_scoring",
    "#format_version=2.0",
    "##POLYGENIC SCORE (PGS) INFORMATION",
    "#pgs_id=PGS000004",
    "#pgs_name=PRS313_BC",
    "#trait_reported=Breast cancer",
    "#trait_mapped=breast carcinoma|another trait",
    "#trait_efo=EFO_0000305|EFO_1",
    "#genome_build=GRCh37",
    "#variants_number=313",
    "#weight_type=NR",
    "#pgp_id=PGP000002",
    "#citation=a=b",
    "#license=CC BY",
    "#HmPOS_build=GRCh38",
    "#HmPOS_date=2022-07-29",
    '#HmPOS_match_chr={"True": 310, "False": 3}',
    '#HmPOS_match_pos={"True": null, "False": null}',
]
OLD = [
    "### PGS CATALOG SCORING FILE - see www.pgscatalog.org/downloads/#dl_ftp for additional information",
    "# PGS ID = PGS000001",
    "# PGS Name = PRS77_BC",
    "# Reported Trait = Breast Cancer",
    "# Original Genome Build = hg19",
    "# Number of Variants = 77",
    "# PGP ID = PGP000001",
    "# Citation = Mavaddat",
    "# LICENSE = one",
    "# LICENSE = two",
]


def test_a_header_of_format_2_is_read_into_types() -> None:
    header = Header.parse(NEW)
    assert (header.format_version, header.pgs_id, header.pgs_name) == ("2.0", "PGS000004", "PRS313_BC")
    assert (header.trait_mapped, header.trait_efo) == (
        ("breast carcinoma", "another trait"),
        ("EFO_0000305", "EFO_1"),
    )
    assert (header.genome_build, header.harmonised_build) == (Build.GRCH37, Build.GRCH38)
    assert (header.variants_number, header.weight_type, header.license) == (313, None, "CC BY")
    assert (header.citation, header.pgp_id, header.harmonised_date) == ("a=b", "PGP000002", "2022-07-29")
    assert header.matched_chromosome == MatchCounts(same=310, different=3)
    assert header.matched_position == MatchCounts(same=None, different=None)


def test_a_header_of_format_1_is_read_into_the_same_types() -> None:
    header = Header.parse(OLD)
    assert (header.format_version, header.pgs_id, header.pgs_name) == ("1.0", "PGS000001", "PRS77_BC")
    assert (header.trait_reported, header.genome_build) == ("Breast Cancer", Build.GRCH37)
    assert (header.variants_number, header.pgp_id, header.citation) == (77, "PGP000001", "Mavaddat")
    assert header.license == "one\ntwo"


def test_every_line_is_kept_by_the_name_it_has() -> None:
    assert Header.parse(OLD).raw["Original Genome Build"] == "hg19"
    assert Header.parse(["#sample=GTEx"]).raw == {"sample": "GTEx"}


@pytest.mark.parametrize("lines", [NEW, OLD])
def test_a_header_is_the_same_from_its_raw_lines(lines: list[str]) -> None:
    assert Header.from_raw(Header.parse(lines).raw) == Header.parse(lines)


@pytest.mark.parametrize("name", ["pgs_id", "omicspred_id", "score_id"])
def test_other_catalogues_names_of_the_id_are_known(name: str) -> None:
    assert Header.parse([f"#{name}=OPGS019828"]).pgs_id == "OPGS019828"


@pytest.mark.parametrize(
    ("written", "build"),
    [
        ("GRCh37", Build.GRCH37), ("hg19", Build.GRCH37), ("GRCh38", Build.GRCH38), ("hg38", Build.GRCH38),
        ("NCBI36", Build.GRCH36), ("hg18", Build.GRCH36), ("NCBI35", None), ("NR", None),
        ("GRCh37\t\t\t", Build.GRCH37),
    ],
)  # fmt: skip
def test_builds_are_read_in_every_spelling(written: str, build: Build | None) -> None:
    assert Header.parse([f"#genome_build={written}"]).genome_build == build


@pytest.mark.parametrize("text", [None, "", "[]", "{", '{"True": true}', '{"True": "x"}'])
def test_match_counts_that_are_none_are_none(text: str | None) -> None:
    counts = MatchCounts.parse(text)
    assert counts is None or (counts.same, counts.different) == (None, None)
