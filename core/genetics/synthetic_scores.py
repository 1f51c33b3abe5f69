"""Invented scoring files that between them hold every kind of row there is; each file says that it is invented.

RULES tells what each file is for. Variants come from an invented panel; weights are random numbers.
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Final

from sluiceway.core.genetics import synthetic_rows as rows_of
from sluiceway.core.genetics.build import Build
from sluiceway.core.genetics.synthetic_rows import Panel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import polars as pl

_Rows = dict[str, tuple[str, "Callable[[Panel], pl.DataFrame]"]]

_KINDS: Final[_Rows] = {
    "PGS900001": ("ten additive rows", lambda panel: panel.rows(10)),
    "PGS900002": ("a hundred additive rows", lambda panel: panel.rows(100)),
    "PGS900003": ("a thousand additive rows", lambda panel: panel.rows(1_000)),
    "PGS900004": ("several thousand additive rows", lambda panel: panel.rows(6_000)),
    "PGS900005": ("the effect allele is REF in every row", rows_of.effect_is_ref),
    "PGS900006": ("alleles of the other strand", rows_of.other_strand),
    "PGS900007": ("other_allele is empty in every third row, and nothing is inferred", rows_of.other_allele_empty),
    "PGS900008": ("no column other_allele", lambda panel: panel.rows(80).drop("other_allele", "hm_inferOtherAllele")),
    "PGS900009": ("hm_inferOtherAllele instead of other_allele; some name several", rows_of.other_allele_inferred),
    "PGS900010": ("palindromic rows without frequency", lambda panel: panel.rows(60, "palindromic")),
    "PGS900011": (
        "palindromic rows with allelefrequency_effect: clear, near one half, other strand",
        rows_of.frequencies,
    ),
    "PGS900012": ("sites with several ALTs, in one row of the panel or in two", rows_of.multiallelic),
    "PGS900013": ("several other alleles: A/C and A,C", rows_of.several_other_alleles),
    "PGS900014": ("rows repeated, and again with effect and other allele exchanged", rows_of.repeated),
    "PGS900015": ("indels, some of 30 bases and more", lambda panel: panel.rows(80, "indel")),
    "PGS900016": ("dominant rows among additive ones", lambda panel: rows_of.flagged(panel, "is_dominant")),
    "PGS900017": ("recessive rows among additive ones", lambda panel: rows_of.flagged(panel, "is_recessive")),
    "PGS900018": ("weights by dosage alone", lambda panel: rows_of.dosage_weights(panel).drop("effect_weight")),
    "PGS900019": ("weights by dosage, and effect_weight in half of the rows", rows_of.dosage_weights),
    "PGS900020": ("interactions: variants joined by _x_", rows_of.interactions),
    "PGS900021": ("APOE's haplotypes and diplotypes", rows_of.apoe),
    "PGS900022": ("HLA alleles present or absent, without a place", rows_of.hla),
    "PGS900023": ("rows that could not be placed: hm_pos is empty, chr_position is not", rows_of.unplaced),
    "PGS900024": ("chromosomes that are none: patches and alternates", rows_of.unknown_contigs),
    "PGS900025": ("X outside and inside the PAR, Y, and MT", rows_of.sex_chromosomes),
    "PGS900026": ("odds ratios alone", rows_of.odds_ratios),
    "PGS900027": ("no variance: each of its variants is the same in everybody", rows_of.monomorphic),
    "PGS900028": ("no row is in the panel", rows_of.absent),
    "PGS900029": ("fewer than half of the rows are in the panel: low_match", rows_of.mostly_absent),
    "PGS900030": ("effect and other allele are the same in some rows", rows_of.same_alleles),
    "PGS900031": ("alleles in lower case", rows_of.lower_case),
    "PGS900032": ("alleles that are no bases: -, N, D, I, <DEL>", rows_of.symbolic),
    "PGS900033": ("chromosomes as chr7, 07, 23, XY, chrM", rows_of.chromosome_spellings),
    "PGS900034": ("weights that are zero, tiny, huge, negative, and in exponents", rows_of.extreme_weights),
    "PGS900035": (
        "format 1.0, not harmonised",
        lambda panel: panel.rows(50).with_columns(chr_position="hm_pos").select(rows_of.AUTHORS),
    ),
    "PGS900036": ("rsIDs alone, no places", lambda panel: panel.rows(50).select(rows_of.NAMED_ONLY)),
    "PGS900037": ("omicspred_id instead of pgs_id", lambda panel: panel.rows(40)),
    "PGS900038": ("hazard ratios beside weights, and columns that nobody knows", rows_of.unknown_columns),
    "PGS900050": ("on another build than the panel's", rows_of.moved),
    "custom_weights": ("a custom file: no header, two columns of weights", rows_of.custom),
    "PGS900090": ("broken: the file ends in the middle", lambda panel: panel.rows(2_000)),
    "PGS900091": ("broken: a weight that is no number", rows_of.no_number),
    "PGS900092": ("broken: a row both dominant and recessive", rows_of.dominant_and_recessive),
    "PGS900093": ("broken: two of the three weights by dosage", rows_of.two_dosage_weights),
}

RULES: Final = {accession: what for accession, (what, _) in _KINDS.items()}
"""What each file exercises, by its accession."""

BROKEN: Final = ("PGS900090", "PGS900091", "PGS900092", "PGS900093")
"""Those that no program should read."""

OTHER_BUILD: Final = "PGS900050"
TRUNCATED: Final = "PGS900090"
NOT_HARMONISED: Final = ("PGS900035", "PGS900036", "custom_weights")

_HEADER: Final = """\
###PGS CATALOG SCORING FILE - synthetic, made by sluiceway; not from the PGS Catalog
#format_version={version}
##POLYGENIC SCORE (PGS) INFORMATION
#{key}={accession}
#pgs_name=synthetic_{number}
#trait_reported=Synthetic trait {number} ({what})
#trait_mapped=NR
#trait_efo=NR
#genome_build={authors_build}
#variants_number={rows}
#weight_type={weight_type}
##SOURCE INFORMATION
#pgp_id=PGP900001
#citation=Synthetic: random numbers, no publication
#license=CC0; invented, of no meaning for health
"""
_HARMONISED: Final = """\
##HARMONIZATION DETAILS
#HmPOS_build={build}
#HmPOS_date=2026-01-01
#HmPOS_match_chr={{"True": {rows}, "False": 0}}
#HmPOS_match_pos={{"True": {rows}, "False": 0}}
"""


def make_scores(folder: Path, panel_prefix: Path, *, seed: int = 1) -> list[Path]:
    """Write every file of RULES for a panel of make_panel; give their paths in that order."""
    folder.mkdir(parents=True, exist_ok=True)
    panel = Panel.read(panel_prefix, seed=seed)
    return [_write(folder, accession, each) for accession, each in zip(RULES, panel.each(len(RULES)), strict=True)]


def _write(folder: Path, accession: str, panel: Panel) -> Path:
    rows = _KINDS[accession][1](panel)
    rows = rows.drop("frequency", strict=False)
    build = other_build(panel.build) if accession == OTHER_BUILD else panel.build
    suffix = "" if accession in NOT_HARMONISED else f"_hmPOS_{build}"
    text = _header(accession, rows.height, build) + rows.write_csv(separator="\t", quote_style="never")
    packed = gzip.compress(text.encode(), mtime=0)
    path = folder / f"{accession}{suffix}.txt.gz"
    path.write_bytes(packed[: len(packed) // 2] if accession == TRUNCATED else packed)
    return path


def other_build(build: Build) -> Build:
    """Give the other one of the two builds that scores come on."""
    return Build.GRCH38 if build is Build.GRCH37 else Build.GRCH37


def _header(accession: str, rows: int, build: Build) -> str:
    if accession == "custom_weights":
        return ""
    header = _HEADER.format(
        version="1.0" if accession == "PGS900035" else "2.0",
        key="omicspred_id" if accession == "PGS900037" else "pgs_id",
        accession=accession,
        number=accession.removeprefix("PGS"),
        what=RULES[accession],
        authors_build=build if accession in NOT_HARMONISED else other_build(build),
        rows=rows,
        weight_type={"PGS900026": "OR", "PGS900002": "beta", "PGS900003": "log(OR)"}.get(accession, "NR"),
    )
    return header if accession in NOT_HARMONISED else header + _HARMONISED.format(build=build, rows=rows)
