"""The sheets of the catalogue's bulk metadata: every column of them, under short names of ours.

Whoever reads these tables elsewhere relies on the first columns of each; what is not named here keeps a name made of
its own, so that a column which the catalogue adds is not lost.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from sluiceway.core.errors import MetadataBroken
from sluiceway.core.store import frames

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """The columns of one sheet, in our order: the catalogue's name for each, and ours."""

    columns: dict[str, str]
    whole_numbers: tuple[str, ...] = ()
    needed: str


_SAMPLE: Final = {
    "Number of Individuals": "n_individuals",
    "Number of Cases": "n_cases",
    "Number of Controls": "n_controls",
    "Percent of Participants Who are Male": "percent_male",
    "Sample Age": "sample_age",
    "Broad Ancestry Category": "ancestry_broad",
    "Ancestry (e.g. French, Chinese)": "ancestry",
    "Country of Recruitment": "country",
    "Additional Ancestry Description": "ancestry_additional",
    "Phenotype Definitions and Methods": "phenotype",
    "Followup Time": "followup_time",
    "GWAS Catalog Study ID (GCST...)": "gwas_catalog_id",
    "Source PubMed ID (PMID)": "source_pmid",
    "Source DOI": "source_doi",
    "Cohort(s)": "cohorts",
    "Additional Sample/Cohort Information": "cohorts_additional",
}
_COUNTS: Final = ("n_individuals", "n_cases", "n_controls")

SHEETS: Final = {
    "scores": Sheet(
        columns={
            "Polygenic Score (PGS) ID": "pgs_id",
            "PGS Name": "name",
            "Reported Trait": "trait_reported",
            "Mapped Trait(s) (EFO label)": "trait_efo",
            "Mapped Trait(s) (EFO ID)": "trait_efo_id",
            "Original Genome Build": "genome_build",
            "Number of Variants": "n_variants",
            "Type of Variant Weight": "weight_type",
            "PGS Publication (PGP) ID": "pgp_id",
            "Publication (PMID)": "pmid",
            "FTP link": "ftp_link",
            "Release Date": "release_date",
            "PGS Development Method": "method",
            "PGS Development Details/Relevant Parameters": "method_parameters",
            "Number of Interaction Terms": "n_interactions",
            "Publication (doi)": "doi",
            "Score and results match the original publication": "matches_publication",
            "Ancestry Distribution (%) - Source of Variant Associations (GWAS)": "ancestry_gwas",
            "Ancestry Distribution (%) - Score Development/Training": "ancestry_development",
            "Ancestry Distribution (%) - PGS Evaluation": "ancestry_evaluation",
            "License/Terms of Use": "license",
        },
        whole_numbers=("n_variants", "n_interactions", "pmid"),
        needed="pgs_id",
    ),
    "publications": Sheet(
        columns={
            "PGS Publication/Study (PGP) ID": "pgp_id",
            "First Author": "first_author",
            "PubMed ID (PMID)": "pmid",
            "digital object identifier (doi)": "doi",
            "Title": "title",
            "Authors": "authors",
            "Journal Name": "journal",
            "Publication Date": "date_publication",
            "Release Date": "release_date",
        },
        whole_numbers=("pmid",),
        needed="pgp_id",
    ),
    "efo_traits": Sheet(
        columns={
            "Ontology Trait ID": "trait_efo_id",
            "Ontology Trait Label": "trait_efo",
            "Ontology Trait Description": "description",
            "Ontology URL": "url",
        },
        needed="trait_efo_id",
    ),
    "score_development_samples": Sheet(
        columns={"Polygenic Score (PGS) ID": "pgs_id", "Stage of PGS Development": "stage", **_SAMPLE},
        whole_numbers=_COUNTS,
        needed="pgs_id",
    ),
    "performance_metrics": Sheet(
        columns={
            "PGS Performance Metric (PPM) ID": "ppm_id",
            "Evaluated Score": "pgs_id",
            "PGS Sample Set (PSS)": "pss_id",
            "PGS Publication (PGP) ID": "pgp_id",
            "Reported Trait": "trait_reported",
            "Covariates Included in the Model": "covariates",
            "Publication (PMID)": "pmid",
            "Publication (doi)": "doi",
            "PGS Performance: Other Relevant Information": "performance_comments",
            "Hazard Ratio (HR)": "hr_raw",
            "Odds Ratio (OR)": "or_raw",
            "Beta": "beta_raw",
            "Area Under the Receiver-Operating Characteristic Curve (AUROC)": "auroc_raw",
            "Concordance Statistic (C-index)": "cindex_raw",
            "Other Metric(s)": "other_raw",
        },
        whole_numbers=("pmid",),
        needed="ppm_id",
    ),
    "evaluation_sample_sets": Sheet(
        columns={"PGS Sample Set (PSS)": "pss_id", "Polygenic Score (PGS) ID": "pgs_id", **_SAMPLE},
        whole_numbers=_COUNTS,
        needed="pss_id",
    ),
    "cohorts": Sheet(
        columns={
            "Cohort ID": "cohort_id",
            "Cohort Name": "name",
            "Previous/other/additional names": "other_names",
        },
        needed="cohort_id",
    ),
}  # fmt: skip

# What the catalogue once wrote.
_OLD_NAMES: Final = {
    "Corcordance Statistic (C-index)": "Concordance Statistic (C-index)",
    "PGS Publication (PGP) ID": "PGS Publication/Study (PGP) ID",
    "Digital Object Identifier (DOI)": "digital object identifier (doi)",
    "Author(s)": "Authors",
    "Journal": "Journal Name",
}


def read_sheet(path: Path, name: str) -> pl.DataFrame:
    """Read a sheet of this name, with our names for its columns; MetadataBroken says why that cannot be done."""
    sheet = SHEETS[name]
    try:
        frame = frames.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise MetadataBroken(path=path, reason=str(error).splitlines()[0]) from error
    known = sheet.columns.keys()
    frame = frame.rename(
        {old: new for old, new in _OLD_NAMES.items() if old in frame.columns and old not in known and new in known}
    )
    ours = {theirs: mine for theirs, mine in sheet.columns.items() if theirs in frame.columns}
    if sheet.needed not in ours.values():
        raise MetadataBroken(path=path, reason=f"it has no column for {sheet.needed}; it begins {frame.columns[:3]}")
    return _complete(frame.rename(ours), sheet)


def _complete(frame: pl.DataFrame, sheet: Sheet) -> pl.DataFrame:
    """Put our columns first, with nothing in those that are not there, and the others behind."""
    frame = frame.with_columns(pl.all().str.strip_chars().replace("", None))
    absent = [name for name in sheet.columns.values() if name not in frame.columns]
    frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)
    others = [name for name in frame.columns if name not in sheet.columns.values()]
    frame = frame.select(*sheet.columns.values(), *others).rename(_own_names(others))
    frame = frame.filter(pl.any_horizontal(pl.all().is_not_null()))
    numbers = frame.select(_whole_number(name) for name in sheet.whole_numbers)
    lost = [name for name in numbers.columns if numbers[name].null_count() > frame[name].null_count()]
    return frame.with_columns(frame[name].alias(f"{name}_raw") for name in lost).with_columns(numbers)


def _whole_number(name: str) -> pl.Expr:
    # A spreadsheet may have written 1234.0 or 1,234.
    return pl.col(name).str.replace_all(",", "").str.strip_suffix(".0").cast(pl.Int64, strict=False)


def _own_names(names: list[str]) -> dict[str, str]:
    """Make names of words in lower case.

    >>> _own_names(["Broad Ancestry (v2)"])
    {'Broad Ancestry (v2)': 'broad_ancestry_v2'}
    """
    return {name: re.sub(r"\W+", "_", name.lower()).strip("_") or f"column_{at}" for at, name in enumerate(names)}
