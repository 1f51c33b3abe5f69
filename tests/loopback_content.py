"""What a loopback catalogue serves: an invented catalogue, or one of real metadata and real scoring files."""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path
from typing import Any

from sluiceway.core.catalog.sheets import SHEETS
from tests.loopback_catalog import LoopbackCatalog, Row, ServedScore

_BUILDS = ("GRCh37", "hg19", "GRCh38", "hg38", "NCBI36", "hg18", "NCBI35", "hg37", "NR")
_XML = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_WORKBOOK = {
    "Publications": "publications",
    "EFO Traits": "efo_traits",
    "Score Development Samples": "score_development_samples",
    "Performance Metrics": "performance_metrics",
    "Evaluation Sample Sets": "evaluation_sample_sets",
    "Cohorts": "cohorts",
}


def scoring_file(pgs_id: str, *, rows: int = 20, seed: int = 0, build: str = "GRCh38") -> bytes:
    """Give an invented harmonised scoring file."""
    chance = random.Random(f"{pgs_id} {seed}")
    lines = [
        "###PGS CATALOG SCORING FILE",
        "#format_version=2.0",
        f"#pgs_id={pgs_id}",
        "#genome_build=GRCh37",
        f"#variants_number={rows}",
        f"#HmPOS_build={build}",
        "rsID\tchr_name\tchr_position\teffect_allele\tother_allele\teffect_weight\thm_source\thm_rsID\thm_chr\thm_pos",
    ]
    for at in range(rows):
        place = 1_000 * (at + 1) + chance.randrange(900)
        effect, other = chance.sample("ACGT", 2)
        weight = f"{chance.gauss(0, 0.1):.5f}"
        lines.append(f"rs{place}\t1\t{place}\t{effect}\t{other}\t{weight}\tENSEMBL\trs{place}\t1\t{place + 7}")
    return gzip.compress("\n".join([*lines, ""]).encode(), mtime=0)


def score_row(pgs_id: str, **said: str) -> Row:
    """Give a row of the sheet of scores."""
    number = int(pgs_id.removeprefix("PGS"))
    return {
        "Polygenic Score (PGS) ID": pgs_id,
        "PGS Name": f"PRS_{number}",
        "Reported Trait": "Height" if number % 2 else "Breast cancer",
        "Mapped Trait(s) (EFO label)": "body height" if number % 2 else "breast carcinoma",
        "Mapped Trait(s) (EFO ID)": "EFO_0004339" if number % 2 else "EFO_0000305",
        "Original Genome Build": _BUILDS[number % len(_BUILDS)],
        "Number of Variants": "20",
        "Type of Variant Weight": "beta",
        "PGS Publication (PGP) ID": "PGP000001",
        "Publication (PMID)": "25855707",
        "FTP link": f"https://ftp.ebi.ac.uk/pub/databases/spot/pgs/scores/{pgs_id}/ScoringFiles/{pgs_id}.txt.gz",
        "Release Date": "2026-10-01",
        "License/Terms of Use": "See the terms, of use.",
        **said,
    }


def served_score(pgs_id: str, *, seed: int = 0, content: bytes | None = None) -> ServedScore:
    """Give a score with a harmonised file."""
    file = scoring_file(pgs_id, seed=seed) if content is None else content
    return ServedScore(row=score_row(pgs_id), files={f"{pgs_id}_hmPOS_GRCh38.txt.gz": file})


def invented(n: int = 6) -> LoopbackCatalog:
    """Give an invented catalogue of so many scores, whose files are all small."""
    ids = [f"PGS{number:06}" for number in range(1, n + 1)]
    return LoopbackCatalog(scores={each: served_score(each) for each in ids}, sheets=_sheets(ids), terms=_terms(ids))


def of_folder(folder: Path) -> LoopbackCatalog:
    """Give an invented catalogue whose scoring files are those of a folder, under the catalogue's names."""
    scores = {}
    for file in sorted(folder.glob("PGS*_hmPOS_*.txt.gz")):
        pgs_id = file.name.partition("_")[0]
        scores[pgs_id] = ServedScore(row=score_row(pgs_id), files={file.name: file.read_bytes()})
    return LoopbackCatalog(scores=scores, sheets=_sheets(list(scores)), terms=_terms(list(scores)))


def real(folder: Path) -> LoopbackCatalog:
    """Give real metadata, of the scores with a real harmonised file, and those files; the sheets are whole."""
    sheets = workbook(folder / "metadata" / "pgs_all_metadata_2021-07-29.xlsx")
    rows = {row["Polygenic Score (PGS) ID"]: row for row in read_rows(scores_sheet(folder))}
    scores = {}
    for file in sorted((folder / "scoring").rglob("PGS*_hmPOS_GRCh38.txt.gz")):
        pgs_id = file.name.partition("_")[0]
        row = rows.get(pgs_id) or score_row(pgs_id)
        scores[pgs_id] = ServedScore(row=row, files={file.name: file.read_bytes()})
    captured = json.loads((folder / "metadata" / "rest" / "PGS000335__score.json").read_text())
    told = {f"score/{captured['id']}": captured}
    return LoopbackCatalog(scores=scores, sheets=sheets, terms=_terms(list(scores)), told=told)


def scores_sheet(folder: Path) -> Path:
    return folder / "metadata" / "pgs_all_metadata_scores_2023-06.csv"


def read_rows(sheet: Path) -> list[Row]:
    with sheet.open(newline="", encoding="utf-8-sig") as lines:
        return list(csv.DictReader(lines))


def workbook(path: Path) -> dict[str, list[Row]]:
    """Read the sheets of a workbook that this project has no reader for: only its text."""
    with zipfile.ZipFile(path) as archive:
        texts = [
            "".join(each.text or "" for each in item.iter(f"{_XML}t"))
            for item in _parsed(archive, "xl/sharedStrings.xml")
        ]
        names = [each.get("name") or "" for each in _parsed(archive, "xl/workbook.xml").iter(f"{_XML}sheet")]
        return {
            _WORKBOOK[name]: _rows(archive, number, texts) for number, name in enumerate(names, 1) if name in _WORKBOOK
        }


def _parsed(archive: zipfile.ZipFile, name: str) -> ET.Element:
    return ET.fromstring(archive.read(name))  # noqa: S314 - a file of the test data


def _rows(archive: zipfile.ZipFile, number: int, texts: list[str]) -> list[Row]:
    rows: list[dict[str, str]] = []
    with archive.open(f"xl/worksheets/sheet{number}.xml") as sheet:
        for _, element in ET.iterparse(sheet):  # noqa: S314 - a file of the test data
            if element.tag == f"{_XML}row":
                rows.append(dict(_cells(element, texts)))
                element.clear()
    header, *others = [each for each in rows if each]
    return [{name: row.get(column, "") for column, name in header.items()} for row in others]


def _cells(row: ET.Element, texts: list[str]) -> list[tuple[str, str]]:
    cells = []
    for cell in row.iter(f"{_XML}c"):
        value = cell.find(f"{_XML}v")
        if value is None or not value.text:
            continue
        text = texts[int(value.text)] if cell.get("t") == "s" else value.text
        cells.append((re.sub(r"\d+", "", cell.get("r") or ""), text))
    return cells


def _sheets(ids: list[str]) -> dict[str, list[Row]]:
    """Give sheets that say a little of each score, and hold what is odd in the real ones."""
    sheets: dict[str, list[Row]] = {name: [] for name in SHEETS if name != "scores"}
    sheets["publications"] = [
        {"PGS Publication/Study (PGP) ID": "PGP000001", "First Author": "Ada L", "Title": 'Of "scores", and more'}
    ]
    sheets["efo_traits"] = [
        {"Ontology Trait ID": "EFO_0004339", "Ontology Trait Label": "body height"},
        {"Ontology Trait ID": "EFO_0000305", "Ontology Trait Label": "breast carcinoma"},
        {"Ontology Trait ID": "EFO_0000001", "Ontology Trait Label": "anything measured"},
    ]
    sheets["cohorts"] = [{"Cohort ID": "UKB", "Cohort Name": "UK Biobank"}]
    for number, pgs_id in enumerate(ids, 1):
        sheets["score_development_samples"] += [_sample(pgs_id, number, stage) for stage in ("GWAS", "training")]
        sheets["evaluation_sample_sets"].append(
            {"PGS Sample Set (PSS)": f"PSS{number:06}", **_people(100 * number, "European" if number % 3 else "NR")}
        )
        sheets["performance_metrics"].append(
            {
                "PGS Performance Metric (PPM) ID": f"PPM{number:06}",
                "Evaluated Score": pgs_id,
                "PGS Sample Set (PSS)": f"PSS{number:06}",
                "Odds Ratio (OR)": "1.55 [1.52,1.58]" if number % 4 else "see the text",
            }
        )
    return sheets


def _sample(pgs_id: str, number: int, stage: str) -> Row:
    named = {"GWAS": "Source of Variant Associations (GWAS)", "training": "Score Development/Training"}[stage]
    return {"Polygenic Score (PGS) ID": pgs_id, "Stage of PGS Development": named, **_people(1_000, "East Asian")}


def _people(n: int, ancestry: str) -> Row:
    return {"Number of Individuals": str(n), "Broad Ancestry Category": ancestry}


def _terms(ids: list[str]) -> list[dict[str, Any]]:
    height, cancer = [each for each in ids if int(each[3:]) % 2], [each for each in ids if not int(each[3:]) % 2]
    return [
        {"id": "EFO_0004339", "label": "body height", "associated_pgs_ids": height, "child_associated_pgs_ids": []},
        {
            "id": "EFO_0000305",
            "label": "breast carcinoma",
            "associated_pgs_ids": cancer,
            "child_associated_pgs_ids": [],
        },
        {
            "id": "EFO_0000001",
            "label": "anything measured",
            "trait_categories": ["Other measurement"],
            "associated_pgs_ids": [],
            "child_associated_pgs_ids": ids,
        },
    ]
