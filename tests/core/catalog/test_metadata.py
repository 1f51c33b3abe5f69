"""Cleaned metadata: the tables others read, nothing of the catalogue's lost, and what could not be read is counted."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from sluiceway.core.catalog.development import GWAS, SCHEMA, TRAINING, development_ancestry
from sluiceway.core.catalog.metadata import (
    BUILDS,
    JUST_PRS,
    TRAITS_FILE,
    best_performance,
    clean,
    with_builds,
    with_people,
)
from sluiceway.core.catalog.metadata_audit import Finding, audit, has_errors
from sluiceway.core.catalog.metrics import METRICS, NUMBERS, parsed, unparsed
from sluiceway.core.catalog.release import sheet_path
from sluiceway.core.catalog.sheets import SHEETS, read_sheet
from sluiceway.core.errors import MetadataBroken
from tests.loopback_catalog import LoopbackCatalog, Row
from tests.loopback_content import invented, read_rows, real, scores_sheet, workbook

SPEC = {
    "scores": "pgs_id name trait_reported trait_efo trait_efo_id genome_build n_variants weight_type pgp_id pmid "
    "ftp_link release_date",
    "performance": "ppm_id pgs_id pss_id pgp_id trait_reported covariates pmid doi",
    "publications": "pgp_id first_author pmid doi title authors journal date_publication",
    "score_development_ancestry": "pgs_id dev_ancestry_broad dev_ancestries dev_n_ancestries dev_is_multi_ancestry "
    "dev_ancestry_distribution dev_sample_size dev_gwas_sample_size dev_training_sample_size gwas_ancestry_broad "
    "training_ancestry_broad",
}
PEOPLE = ["n_individuals", "n_cases", "n_controls", "ancestry_broad"]

Tables = dict[str, pl.DataFrame]


def laid_out(catalog: LoopbackCatalog, folder: Path) -> Path:
    """Write what a catalogue serves as metadata to a folder."""
    for name in SHEETS:
        content = catalog.content(f"/files/metadata/pgs_all_metadata_{name}.csv", {})
        assert content is not None
        sheet_path(folder, name).write_bytes(content)
    (folder / TRAITS_FILE).write_text(json.dumps(catalog.terms))
    return folder


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return clean(laid_out(invented(9), tmp_path))


@pytest.mark.parametrize("table", SPEC)
def test_a_table_begins_with_the_columns_that_others_read(tables: Tables, table: str) -> None:
    wanted = SPEC[table].split()
    assert tables[table].columns[: len(wanted)] == wanted


@pytest.mark.parametrize("table", ["performance", "best_performance"])
def test_performance_has_its_numbers_and_people_in_their_order(tables: Tables, table: str) -> None:
    columns = tables[table].columns
    assert columns[columns.index("or_estimate") :] == [*NUMBERS, *PEOPLE, "metrics_unparsed"]
    assert NUMBERS[:4] == ("or_estimate", "or_ci_lower", "or_ci_upper", "or_se")
    assert METRICS == ("or", "hr", "beta", "auroc", "cindex")


def test_the_nine_spellings_of_a_build_become_four_and_stay_beside_them() -> None:
    written = ["GRCh37", "hg19", "hg37", "GRCh38", "hg38", "NCBI36", "hg18", "NCBI35", "NR", None, "T2T"]
    scores = with_builds(pl.DataFrame({"genome_build": written}))
    wanted = ["GRCh37"] * 3 + ["GRCh38"] * 2 + ["GRCh36"] * 3 + ["NR"] * 3
    assert scores["genome_build"].to_list() == wanted
    assert scores["genome_build_upstream"].to_list() == written
    assert len(BUILDS) == 9


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1.55 [1.52,1.58]", (1.55, 1.52, 1.58, None)),
        ("1.41", (1.41, None, None, None)),
        ("-0.7 (0.15)", (-0.7, None, None, 0.15)),
        ("0.5 [0.4 - 0.6] (0.05)", (0.5, 0.4, 0.6, 0.05)),
        ("-0.22 [-0.39,-0.05]", (-0.22, -0.39, -0.05, None)),
        ("\N{MINUS SIGN}1 [-2\N{EN DASH}-0.5]", (-1, -2, -0.5, None)),
        ("1.2 (1.1, 1.3)", (1.2, 1.1, 1.3, None)),
        ("1e-3", (0.001, None, None, None)),
        (" .5 ", (0.5, None, None, None)),
        ("<0.05", None),
        ("1.5 [1.4,1.6], 1.7 [1.6,1.8]", None),
        ("12%", None),
        ("1.5 [1.4,]", None),
        ("not significant", None),
    ],
)
def test_an_effect_size_is_read_whole_or_kept_as_it_is(text: str, numbers: tuple[float | None, ...] | None) -> None:
    texts = {f"{metric}_raw": text if metric == "beta" else None for metric in METRICS}
    found = parsed(pl.DataFrame(texts, schema=dict.fromkeys(texts, pl.String)))
    assert found["beta_raw"][0] == text
    assert found.select("beta_estimate", "beta_ci_lower", "beta_ci_upper", "beta_se").row(0) == (numbers or (None,) * 4)
    assert found["metrics_unparsed"].to_list() == [[] if numbers else ["beta"]]
    assert unparsed(found)["beta"] == (0 if numbers else 1)


def evaluations(*rows: tuple[str, int | None, str | None, float | None]) -> pl.DataFrame:
    columns = {f"{metric}_estimate": None for metric in METRICS}
    named = [
        {
            "ppm_id": name,
            "pgs_id": "PGS000001",
            "n_individuals": n,
            "ancestry_broad": who,
            **columns,
            "or_estimate": odds,
        }
        for name, n, who, odds in rows
    ]
    return pl.DataFrame(named, schema_overrides=dict.fromkeys(columns, pl.Float64) | {"n_individuals": pl.Int64})


def test_the_best_evaluation_is_the_largest_whoever_is_in_it() -> None:
    both = evaluations(("PPM000001", 500, "European", 1.2), ("PPM000002", 900, "East Asian", 1.1))
    assert best_performance(both)["ppm_id"].to_list() == ["PPM000002"]
    assert best_performance(both, JUST_PRS)["ppm_id"].to_list() == ["PPM000001"]


def test_an_evaluation_that_says_nothing_is_not_the_best_one() -> None:
    both = evaluations(("PPM000001", 900, None, None), ("PPM000002", None, None, 1.1))
    assert best_performance(both)["ppm_id"].to_list() == ["PPM000002"]


def test_the_people_of_an_evaluation_are_those_of_all_its_samples() -> None:
    samples = pl.DataFrame(
        {
            "pss_id": ["PSS1", "PSS1", "PSS2"],
            "n_individuals": [100, 50, None],
            "n_cases": [10, None, None],
            "n_controls": pl.Series([None] * 3, dtype=pl.Int64),
            "ancestry_broad": ["European", "East Asian", None],
        }
    )
    evaluated = pl.DataFrame({"pss_id": ["PSS1", "PSS2", "PSS3"], "metrics_unparsed": [[], [], []]})
    assert with_people(evaluated, samples).select(*PEOPLE).rows() == [
        (150, 10, None, "European, East Asian"),
        (None, None, None, None),
        (None, None, None, None),
    ]


def test_a_scores_development_is_told_by_the_people_in_it() -> None:
    samples = pl.DataFrame(
        [
            ("PGS000001", GWAS, "European", 300),
            ("PGS000001", GWAS, "East Asian", 100),
            ("PGS000001", TRAINING, "East Asian", 600),
            ("PGS000001", TRAINING, "NR", 9),
            ("PGS000002", TRAINING, None, None),
        ],
        schema=["pgs_id", "stage", "ancestry_broad", "n_individuals"],
        orient="row",
    )
    found = development_ancestry(samples)
    assert found.schema == SCHEMA
    first, second = found.rows(named=True)
    assert (first["dev_ancestry_broad"], first["dev_ancestries"]) == ("East Asian", ["East Asian", "European"])
    assert json.loads(first["dev_ancestry_distribution"]) == {"East Asian": 0.7, "European": 0.3}
    sizes = [first[f"dev_{each}sample_size"] for each in ("", "gwas_", "training_")]
    assert (sizes, first["dev_is_multi_ancestry"]) == ([609, 400, 609], True)
    assert (first["gwas_ancestry_broad"], first["training_ancestry_broad"]) == ("European", "East Asian")
    assert (second["dev_ancestry_broad"], second["dev_n_ancestries"], second["dev_sample_size"]) == (None, 0, 0)


def test_a_trait_has_the_scores_of_its_child_terms(tables: Tables) -> None:
    traits = {row["trait_efo_id"]: row for row in tables["traits"].rows(named=True)}
    assert traits["EFO_0000001"]["child_pgs_ids"] == [f"PGS{number:06}" for number in range(1, 10)]
    assert traits["EFO_0000001"]["categories"] == ["Other measurement"]
    assert traits["EFO_0004339"]["pgs_ids"] == [f"PGS{number:06}" for number in range(1, 10, 2)]


def test_without_the_rest_interface_traits_still_have_their_own_scores(tmp_path: Path) -> None:
    folder = laid_out(invented(9), tmp_path)
    (folder / TRAITS_FILE).unlink()
    traits = {row["trait_efo_id"]: row for row in clean(folder)["traits"].rows(named=True)}
    assert traits["EFO_0004339"]["pgs_ids"] == [f"PGS{number:06}" for number in range(1, 10, 2)]


def test_a_column_that_the_catalogue_adds_is_kept(tmp_path: Path) -> None:
    catalog = invented(2)
    for score in catalog.scores.values():
        score.row["Brand New (v2)"] = "x, y"
    scores = clean(laid_out(catalog, tmp_path))["scores"]
    assert scores["brand_new_v2"].to_list() == ["x, y", "x, y"]


def test_a_number_that_is_none_keeps_its_text(tmp_path: Path) -> None:
    catalog = invented(3)
    catalog.scores["PGS000002"].row["Number of Variants"] = "about 20"
    scores = clean(laid_out(catalog, tmp_path))["scores"]
    assert (scores["n_variants"].to_list(), scores["n_variants_raw"][1]) == ([20, None, 20], "about 20")
    assert scores["pmid"].to_list() == [25855707] * 3
    assert "pmid_raw" not in scores.columns


def test_names_that_the_catalogue_once_used_are_known(tmp_path: Path) -> None:
    catalog = invented(1)
    catalog.sheets["publications"] = [
        {
            "PGS Publication (PGP) ID": "PGP000001",
            "Author(s)": "Ada L",
            "Journal": "J",
            "Digital Object Identifier (DOI)": "d",
        }
    ]
    publication = clean(laid_out(catalog, tmp_path))["publications"].row(0, named=True)
    assert {name: value for name, value in publication.items() if value is not None} == {
        "pgp_id": "PGP000001",
        "authors": "Ada L",
        "journal": "J",
        "doi": "d",
    }


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "empty"), (b"a,b\n1,2\n", "no column for pgs_id"), (b'pgs,"x\n1', "no column|pgs_id")]
)
def test_a_sheet_that_is_none_says_so(tmp_path: Path, content: bytes, said: str) -> None:
    sheet = tmp_path / "s.csv"
    sheet.write_bytes(content)
    with pytest.raises(MetadataBroken, match=said):
        read_sheet(sheet, "scores")


def codes(findings: list[Finding]) -> set[tuple[str, str, str]]:
    return {(each.severity, each.table, each.code) for each in findings}


def test_what_is_odd_is_found_and_counted(tables: Tables) -> None:
    findings = audit(tables)
    assert codes(findings) == {("WARN", "scores", "build_approximated"), ("WARN", "performance", "or_unparsed")}
    assert {each.code: (each.n, each.examples) for each in findings}["or_unparsed"] == (2, ("see the text",) * 2)
    assert not has_errors(findings)


@pytest.mark.parametrize(
    ("table", "change", "code"),
    [
        ("scores", lambda frame: frame.clear(), "empty"),
        ("scores", lambda frame: pl.concat([frame, frame.head(1)]), "id_repeated"),
        ("performance", lambda frame: frame.with_columns(ppm_id=pl.lit(None, pl.String)), "id_missing"),
        ("publications", lambda frame: frame.clear(), "empty"),
    ],
)
def test_tables_that_cannot_be_relied_on_are_errors(tables: Tables, table: str, change: object, code: str) -> None:
    assert callable(change)
    findings = audit({**tables, table: change(tables[table])})
    assert ("ERROR", table, code) in codes(findings)
    assert has_errors(findings)


def test_an_unknown_build_and_an_odd_id_are_warnings(tables: Tables) -> None:
    scores = tables["scores"].with_columns(genome_build_upstream=pl.lit("T2T"), pgs_id=pl.lit("X1"))
    found = codes(audit({**tables, "scores": scores.head(1)}))
    assert {("WARN", "scores", "build_unknown"), ("WARN", "scores", "id_odd")} <= found


# On real metadata.


def test_every_real_score_keeps_every_column(real_data: Path) -> None:
    sheet = scores_sheet(real_data)
    scores = with_builds(read_sheet(sheet, "scores"))
    written = read_rows(sheet)
    assert scores.height == 3678
    assert len(scores.columns) == len(written[0]) + 1
    assert set(scores["genome_build"]) == {"GRCh37", "GRCh38", "GRCh36", "NR"}
    assert scores["genome_build_upstream"].to_list() == [row["Original Genome Build"] or None for row in written]
    assert scores["n_variants"].to_list() == [int(row["Number of Variants"]) for row in written]
    assert [each or "" for each in scores["license"]] == [row["License/Terms of Use"].strip() for row in written]


def test_every_real_effect_size_is_read(real_data: Path, tmp_path: Path) -> None:
    tables = clean(laid_out(real(real_data), tmp_path))
    performance = tables["performance"]
    assert performance.height == 2160
    assert set(unparsed(performance).values()) == {0}
    counts = {metric: performance[f"{metric}_estimate"].count() for metric in METRICS}
    assert counts == {"hr": 297, "or": 707, "beta": 434, "auroc": 728, "cindex": 195}
    assert performance["beta_se"].count() == 375
    assert performance["n_individuals"].null_count() < 20
    assert not [each for each in audit(tables) if each.severity == "ERROR"]


def test_the_catalogues_own_export_is_read_into_its_own_numbers(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "metadata" / "pgs_metadata_exports"
    for name in SHEETS:
        sheet_path(tmp_path, name).write_bytes(sheet_path(folder, name).read_bytes())
    performance = clean(tmp_path)["performance"]
    told = {each["id"]: each for each in json.loads((folder / "performance.json").read_text())}
    for row in performance.rows(named=True):
        sample = told[row["ppm_id"]]["sampleset"]["samples"][0]
        assert (row["n_individuals"], row["n_cases"]) == (sample["sample_number"], sample["sample_cases"])
        metrics = told[row["ppm_id"]]["performance_metrics"]
        for each in metrics["effect_sizes"] + metrics["class_acc"]:
            metric = {"OR": "or", "HR": "hr", "Beta": "beta", "AUROC": "auroc", "C-index": "cindex"}[each["name_short"]]
            wanted = [each["estimate"], each.get("ci_lower"), each.get("ci_upper")]
            assert [row[f"{metric}_{part}"] for part in ("estimate", "ci_lower", "ci_upper")] == wanted


def test_the_real_workbook_is_whole(real_data: Path) -> None:
    sheets: dict[str, list[Row]] = workbook(real_data / "metadata" / "pgs_all_metadata_2021-07-29.xlsx")
    assert {name: len(rows) for name, rows in sheets.items()} == {
        "publications": 207,
        "efo_traits": 214,
        "score_development_samples": 3002,
        "performance_metrics": 2160,
        "evaluation_sample_sets": 1089,
        "cohorts": 1109,
    }
