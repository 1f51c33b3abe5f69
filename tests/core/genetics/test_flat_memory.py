"""Preparing a panel takes as much memory for many variants as for few."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pytest

from tests.panels import beside

PEOPLE = 4
FEW, MANY = 60_000, 480_000
PREPARED = """\
import resource, sys
from pathlib import Path
from sluiceway.core.genetics.panel import open_panel
from sluiceway.core.genetics.variants import prepare
prepare(open_panel(Path(sys.argv[1])), Path(sys.argv[2]), rows_at_once=30_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write_panel(prefix: Path, variants: int, suffix: str) -> None:
    """Write a panel of four people and many variants, whose genotypes, of a fixed width, have no index."""
    is_bed = suffix == ".bim"
    people = "".join(f"0\tp{each}\t0\t0\t1\t-9\n" for each in range(PEOPLE))
    beside(prefix, ".fam" if is_bed else ".psam").write_text(people)
    counts = np.array([variants, PEOPLE], "<u4").tobytes()
    head = b"\x6c\x1b\x01" if is_bed else b"\x6c\x1b\x02" + counts + b"\x40"
    calls = np.random.default_rng(1).integers(0, 256, variants, np.uint8)
    beside(prefix, ".bed" if is_bed else ".pgen").write_bytes(head + calls.tobytes())
    number = pl.int_range(variants, eager=True)
    rows = pl.DataFrame({
        "#CHROM": (number // 40_000 + 1).cast(pl.String), "ID": pl.select(pl.format("rs{}", number)).to_series(),
        "CM": pl.repeat(0, variants, eager=True), "POS": number % 40_000 * 11 + 1, "ALT": ["A", "C"] * (variants // 2),
        "REF": ["G", "T"] * (variants // 2),
    })  # fmt: skip
    compression: Literal["zstd", "uncompressed"] = "zstd" if suffix.endswith(".zst") else "uncompressed"
    columns = rows.columns if is_bed else ["#CHROM", "POS", "ID", "REF", "ALT"]
    rows.select(columns).write_csv(
        beside(prefix, suffix), separator="\t", include_header=not is_bed, compression=compression
    )


def peak(folder: Path, variants: int, suffix: str) -> int:
    """How much memory a process takes at most that prepares a panel of so many variants."""
    write_panel(folder / f"of-{variants}", variants, suffix)
    command = [sys.executable, "-c", PREPARED, str(folder / f"of-{variants}"), str(folder / "tables")]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize(
    "suffix",
    [".pvar.zst", pytest.param(".pvar", marks=pytest.mark.nightly), pytest.param(".bim", marks=pytest.mark.nightly)],
)
def test_eight_times_the_variants_take_no_more_memory(tmp_path: Path, suffix: str) -> None:
    assert peak(tmp_path, MANY, suffix) < 1.2 * peak(tmp_path, FEW, suffix)
