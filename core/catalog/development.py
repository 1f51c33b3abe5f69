"""In whom each score was developed: one row per score, of all the samples that the catalogue lists for it."""

from __future__ import annotations

import json
from typing import Final

import polars as pl

GWAS: Final = "Source of Variant Associations (GWAS)"
TRAINING: Final = "Score Development/Training"
_UNKNOWN: Final = ("NR", "Not reported", "Not Reported")

SCHEMA: Final = pl.Schema(
    {
        "pgs_id": pl.String(),
        "dev_ancestry_broad": pl.String(),
        "dev_ancestries": pl.List(pl.String()),
        "dev_n_ancestries": pl.Int64(),
        "dev_is_multi_ancestry": pl.Boolean(),
        "dev_ancestry_distribution": pl.String(),
        "dev_sample_size": pl.Int64(),
        "dev_gwas_sample_size": pl.Int64(),
        "dev_training_sample_size": pl.Int64(),
        "gwas_ancestry_broad": pl.String(),
        "training_ancestry_broad": pl.String(),
    }
)

_Samples = list[tuple[str | None, str | None, int]]


def development_ancestry(samples: pl.DataFrame) -> pl.DataFrame:
    """Tell of each score of which ancestries its samples are, by the number of people, and how large they are."""
    people = samples.select("pgs_id", "stage", "ancestry_broad", pl.col("n_individuals").fill_null(0))
    together = people.group_by("pgs_id", maintain_order=True).agg(pl.struct("stage", "ancestry_broad", "n_individuals"))
    rows = []
    for pgs_id, listed in together.iter_rows():
        rows.append(_row(pgs_id, [(each["stage"], each["ancestry_broad"], each["n_individuals"]) for each in listed]))
    return pl.DataFrame(rows, schema=SCHEMA).sort("pgs_id")


def _row(pgs_id: str, samples: _Samples) -> dict[str, object]:
    shares = _shares(samples)
    gwas = [each for each in samples if each[0] == GWAS]
    training = [each for each in samples if each[0] == TRAINING]
    sizes = sum(each[2] for each in gwas), sum(each[2] for each in training)
    return {
        "pgs_id": pgs_id,
        "dev_ancestry_broad": _most(shares),
        "dev_ancestries": sorted(shares),
        "dev_n_ancestries": len(shares),
        "dev_is_multi_ancestry": len(shares) > 1,
        "dev_ancestry_distribution": json.dumps(shares, ensure_ascii=False) if shares else None,
        "dev_sample_size": max(sizes),
        "dev_gwas_sample_size": sizes[0],
        "dev_training_sample_size": sizes[1],
        "gwas_ancestry_broad": _most(_shares(gwas)),
        "training_ancestry_broad": _most(_shares(training)),
    }


def _shares(samples: _Samples) -> dict[str, float]:
    """Give each ancestry its share of the people, the largest first; each sample counts as one where none is counted.

    >>> _shares([(GWAS, "European", 300), (GWAS, "East Asian", 100), (GWAS, "NR", 7)])
    {'European': 0.75, 'East Asian': 0.25}
    """
    told = [(label, n) for _, label, n in samples if label is not None and label not in _UNKNOWN]
    counts: dict[str, int] = {}
    for label, n in told:
        counts[label] = counts.get(label, 0) + n
    if not sum(counts.values()):
        counts = {label: sum(each == label for each, _ in told) for label in counts}
    everybody = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {label: round(n / everybody, 4) for label, n in ordered}


def _most(shares: dict[str, float]) -> str | None:
    return next(iter(shares), None)
