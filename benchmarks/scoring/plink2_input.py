"""Writes plink2's tables from the truth: what it would take somebody to parse and match the files is not counted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.scoring.layout import Work, pgs_id

SLICE = 50_000


def write_tables(work: Work, scores: int) -> None:
    """Write a table for each score, one matrix of all, and the panel's frequencies.

    The matrix has one allele for a variant, so a weight of REF is written as minus that of ALT; what is missing from
    every person's sum by that is twice the weight, and is kept as `shift.npy`.
    """
    home = work.tool(f"plink2-{scores}")
    home.mkdir(parents=True, exist_ok=True)
    table = pl.read_parquet(work.panel.with_suffix(".parquet"), columns=["id", "ref", "alt"])
    truth = pl.read_parquet(work.truth).filter(pl.col("score") <= scores)
    shift = np.zeros(scores)
    for number in range(1, scores + 1):
        rows = truth.filter(pl.col("score") == number)
        of_variants = table[rows["variant"]]
        effect = pl.when("is_alt").then("alt").otherwise("ref").alias("effect")
        written = of_variants.hstack(rows.select("weight", "is_alt")).select("id", effect, "weight")
        written.write_csv(home / f"{pgs_id(number)}.tsv", separator="\t")
        shift[number - 1] = 2 * rows.filter(~pl.col("is_alt"))["weight"].sum()
    np.save(home / "shift.npy", shift)
    _write_matrix(home / "matrix.tsv", table, truth, scores)
    subprocess.run(
        ("plink2", "--threads", "1", "--pfile", str(work.panel), "vzs", "--freq", "--out", str(home / "panel")),
        check=True, capture_output=True,
    )  # fmt: skip
    (home / "complete").touch()


def _write_matrix(path: Path, table: pl.DataFrame, truth: pl.DataFrame, scores: int) -> None:
    signed = truth.sort("variant").with_columns(weight=pl.when("is_alt").then("weight").otherwise(-pl.col("weight")))
    names = [pgs_id(number) for number in range(1, scores + 1)]
    variants = signed["variant"].to_numpy()
    with path.open("wb") as file:
        file.write(("\t".join(["id", "alt", *names]) + "\n").encode())
        for start in range(0, table.height, SLICE):
            here = signed[slice(*np.searchsorted(variants, (start, start + SLICE)))]
            if here.is_empty():
                continue
            used, row = np.unique(here["variant"].to_numpy(), return_inverse=True)
            weights = np.zeros((used.size, scores))
            weights[row, here["score"].to_numpy() - 1] = here["weight"].to_numpy()
            numbers = pl.DataFrame(weights, schema=names)
            table[used].select("id", "alt").hstack(numbers).write_csv(file, separator="\t", include_header=False)


if __name__ == "__main__":
    write_tables(Work(Path(sys.argv[1])), int(sys.argv[2]))
