"""How far each tool's sums are from a plain float64 loop over what was generated; in standard deviations of the score.

The loop knows nothing of matching: it takes variant, weight and side of every row from the truth, reads genotypes with
pgenlib, and multiplies in float64. A missing call counts nothing of the effect allele (`zero`) or what the panel's
frequency expects (`mean`); `catalogue` is `mean` without variants that read the same on both strands, which sluiceway's
default policy leaves out. Each tool is compared with the sums it means to compute.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pgenlib
import polars as pl

from benchmarks.scoring.layout import Work, pgs_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Sums = NDArray[np.float64]
    """People down, scores across."""

BLOCK: Final = 2_048
MEANT: Final = {"gnomon": "zero", "just-prs": "zero", "plink2, single": "zero", "plink2, multi": "mean"}


def reference(work: Work, scores: int) -> dict[str, Sums]:
    """Give the loop's sums, computed once and kept."""
    kept = work.reference(scores)
    if not kept.is_file():
        named: dict[str, Any] = dict(_compute(work, scores))
        np.savez(kept, **named)
    with np.load(kept) as stored:
        return dict(stored)


def _compute(work: Work, scores: int) -> dict[str, Sums]:
    truth = pl.read_parquet(work.truth).filter(pl.col("score") <= scores).sort("variant")
    ambiguous = pl.read_parquet(work.panel.with_suffix(".parquet"), columns=["ambiguous"])["ambiguous"].to_numpy()
    needed = truth["variant"].unique().sort().to_numpy()
    variants = truth["variant"].to_numpy()
    with pgenlib.PgenReader(str(work.panel.with_suffix(".pgen")).encode()) as reader:
        people = reader.get_raw_sample_ct()
        sums = {name: np.zeros((people, scores)) for name in ("zero", "mean", "catalogue")}
        for start in range(0, needed.size, BLOCK):
            block = needed[start : start + BLOCK]
            first, last = np.searchsorted(variants, (block[0], block[-1] + 1))
            _add(sums, reader, block, truth[int(first) : int(last)], ambiguous[block])
    return sums


def _add(
    sums: dict[str, Sums],
    reader: pgenlib.PgenReader,
    block: NDArray[np.uint32],
    rows: pl.DataFrame,
    ambiguous: NDArray[np.bool_],
) -> None:
    calls = np.empty((block.size, reader.get_raw_sample_ct()), np.int8)
    reader.read_list(block, calls)
    is_missing = calls == -9
    alt = np.where(is_missing, 0, calls).astype(np.float64)
    expected = alt.sum(axis=1) / (~is_missing).sum(axis=1)
    where = np.searchsorted(block, rows["variant"].to_numpy()), rows["score"].to_numpy() - 1
    of_alt, of_ref = (np.zeros((block.size, sums["zero"].shape[1])) for _ in range(2))
    weight, is_alt = rows["weight"].to_numpy(), rows["is_alt"].to_numpy()
    of_alt[where], of_ref[where] = weight * is_alt, weight * ~is_alt
    variant, person = np.nonzero(is_missing)
    unseen = 2 * of_ref
    filled = of_alt * expected[:, None] + of_ref * (2 - expected)[:, None]
    for keep, zero, mean in ((np.ones(block.size), "zero", "mean"), (~ambiguous * 1.0, None, "catalogue")):
        seen = alt.T @ ((of_alt - of_ref) * keep[:, None]) + (2 * of_ref * keep[:, None]).sum(axis=0)
        np.subtract.at(seen, person, (unseen * keep[:, None])[variant])
        if zero:
            sums[zero] += seen
        np.add.at(seen, person, (filled * keep[:, None])[variant])
        sums[mean] += seen


def distances(found: Sums, meant: Sums) -> NDArray[np.float64]:
    """Give, for each score, the largest difference of any person in standard deviations of the score."""
    spread = meant.std(axis=0)
    far: NDArray[np.float64] = np.abs(found - meant).max(axis=0) / np.where(spread > 0, spread, 1)
    return far


def of_gnomon(work: Work, scores: int) -> Sums:
    """Read gnomon's averages and make them sums: AVG x matched variants x (1 - MISSING_PCT / 100)."""
    table = pl.read_csv(work.tool(f"gnomon-{scores}") / "panel_scores.sscore", separator="\t", comment_prefix="##")
    matched = _matched(work, scores)
    columns = [
        table[f"{pgs_id(number)}_AVG"] * matched[number - 1] * (1 - table[f"{pgs_id(number)}_MISSING_PCT"] / 100)
        for number in range(1, scores + 1)
    ]
    return np.column_stack([each.to_numpy() for each in columns])


def of_plink2_single(work: Work, scores: int) -> Sums:
    """Read plink2's sums, a file for each score."""
    folder = work.tool(f"plink2-{scores}") / "single"
    files = [folder / f"{pgs_id(number)}.sscore" for number in range(1, scores + 1)]
    tables = [pl.read_csv(file, separator="\t") for file in files]
    return np.column_stack([table[table.columns[-1]].to_numpy().astype(np.float64) for table in tables])


def of_plink2_multi(work: Work, scores: int) -> Sums:
    """Read plink2's sums of signed weights, and add what the sign took away."""
    home = work.tool(f"plink2-{scores}")
    table = pl.read_csv(home / "multi" / "all.sscore", separator="\t")
    sums: Sums = table.select(pl.col("^PGS.*_SUM$")).to_numpy() + np.load(home / "shift.npy")
    return sums


def of_just_prs(work: Work, scores: int) -> Sums:
    """Read just-prs's sums; its people come in the panel's order."""
    home = work.tool(f"just-prs-{scores}") / "cache" / "reference_scores"
    files = [next(home.glob(f"*/{pgs_id(number)}/scores.parquet")) for number in range(1, scores + 1)]
    sums: Sums = np.column_stack([pl.read_parquet(file)["score"].to_numpy() for file in files])
    return sums


READERS: Final[dict[str, Callable[[Work, int], Sums]]] = {
    "gnomon": of_gnomon,
    "plink2, single": of_plink2_single,
    "plink2, multi": of_plink2_multi,
    "just-prs": of_just_prs,
}


def _matched(work: Work, scores: int) -> list[int]:
    counts = pl.read_parquet(work.truth, columns=["score"]).group_by("score").len().sort("score")
    return counts["len"].to_list()[:scores]


def main() -> None:
    """Compare the last results of these tools, and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring.agreement", description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--scores", type=int, required=True)
    parser.add_argument("--compared", type=int, help="how many of them the loop computes")
    parser.add_argument("--policy", default="catalogue")
    parser.add_argument("tools", nargs="*")
    given = parser.parse_args()
    work, compared = Work(given.work), given.compared or given.scores
    meant = reference(work, compared)
    from benchmarks.scoring.ours import sums as of_ours  # noqa: PLC0415 -- it may be that only peers were run

    readers = {**READERS, "sluiceway": of_ours}
    ours = {"sluiceway": "zero" if given.policy == "just-prs" else "catalogue"}
    answers = {}
    for tool in given.tools:
        found = readers[tool](work, given.scores)[:, :compared]
        far = distances(found, meant[(MEANT | ours)[tool]])
        worst = int(np.argmax(far))
        answers[tool] = {"median": float(np.median(far)), "worst": float(far[worst]), "score": pgs_id(worst + 1)}
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
