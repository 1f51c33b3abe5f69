"""The page of a data set, which says what is in each file, and on which scale; a hub shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_TABLES: Final = {
    "distributions": "per score and population: mean, SD, quantiles of everybody's sums, as readers of just-prs expect",
    "distributions_by_sex": "the same by sex, with men's X counted once (copies) or twice (dosage_compensation)",
    "distributions_v2": "by our own policy: everybody and unrelated people, both codings, 101 percentiles",
    "quality": "per score: whether it can be relied on, how many of its rows matched, or why it failed",
    "distribution_quality_issues": "what is wrong with a score; one with an ERROR is in no other table",
    "scoring_flags": "scores that people with known sums do not fit",
    "changes": "which scores moved since the last release, by how much, and why",
}


def distributions_card(facts: Mapping[str, Any]) -> str:
    """Give the page of the distributions of all panels."""
    panels = {name: told for name, told in sorted(facts.items()) if "published_pgs_ids" in told}
    files = [f"{panel}_{table}" for panel, told in panels.items() for table in _TABLES if table in told["tables"]]
    lines = [*_head("PRS reference distributions", files), "# PRS reference distributions", ""]
    lines += [
        "How polygenic scores of the PGS Catalog are spread over the people of reference panels. Values are **sums**",
        "of effect weight times copies of the effect allele, never averages: compare a sum that was computed by the",
        "same policy. z = (sum - mean) / std, and the percentile of a normal curve is 100 Φ(z).", "",
        "| panel | scores | populations | build | catalogue of | coverage |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    lines += [_panel(name, told) for name, told in panels.items()]
    lines += ["", "| file | what is in it |", "|---|---|"]
    lines += [f"| `data/PANEL_{name}.parquet` | {said} |" for name, said in _TABLES.items()]
    lines += [
        "| `data/PANEL_distribution_audit_summary.json` | how many rows and scores were left out, and what was found |",
        "| `release.json` | the digest of every file of this release |", "",
        "Scores are their authors', under the licences that the catalogue gives. These numbers are no medical advice.",
    ]  # fmt: skip
    return "\n".join([*lines, ""])


def catalogue_card(facts: Mapping[str, Any]) -> str:
    """Give the page of the catalogue's data set."""
    told = facts["catalogue"]
    build = told["build"] or "as submitted"
    lines = [*_head("PGS Catalog metadata and scoring files", []), "# PGS Catalog metadata and scoring files", ""]
    lines += [
        f"The catalogue's metadata of {told['release'] or 'an unknown day'}, cleaned: {told['scores']} scores in",
        "`data/metadata/`, with every column of the catalogue; and",
        f"{told['scoring_files']} scoring files of build {build} as parquet in `data/scores/`, their header in the",
        "footer under `pgs_catalog_header`.", "",
        "`ftp_link` leads to the parquet where there is one, `ftp_link_ebi` to the catalogue's own file.", "",
        "Scores are their authors', under the licences that the catalogue gives (column `license`).",
    ]  # fmt: skip
    return "\n".join([*lines, ""])


def _panel(name: str, told: Mapping[str, Any]) -> str:
    partial = " (partial)" if told["partial"] else ""
    populations = ", ".join(told["populations"])
    cells = (
        name, f"{told['published_pgs_ids']}", populations, told["build"] or "unknown", told["release"] or "unknown",
        f"{told['coverage']:.1%}{partial}",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _head(title: str, files: list[str]) -> list[str]:
    configs = [f"- config_name: {name}\n  data_files: data/{name}.parquet" for name in files]
    told = ["configs:", *configs] if configs else []
    return ["---", f"pretty_name: {title}", "tags:", "- biology", "- genomics", *told, "---", ""]
