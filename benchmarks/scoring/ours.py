"""How sluiceway is run here, and where its sums are; the one place to change when its command line does."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.scoring.layout import file_name, pgs_id
from benchmarks.scoring.watch import Command

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.scoring.layout import Work

POLICIES = ("catalogue", "just-prs")


def sluiceway(work: Work, scores: int, policy: str) -> list[Command]:
    """Give our three runs: the panel's table alone, scores with that table made, scores with every table made."""
    home = work.tool(f"sluiceway-{scores}")
    folder = home / "scores"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, scores + 1):
        name = folder / file_name(number)
        name.unlink(missing_ok=True)
        name.hardlink_to(work.scores / file_name(number))
    program = str(Path(sys.executable).with_name("sluiceway"))
    environment = {"SLUICEWAY_HOME": str(home / "home"), "SLUICEWAY_CACHE_DIR": str(home / "cache")}
    prepare = (program, "panel", "prepare", str(work.panel))
    named = () if policy == POLICIES[0] else ("--policy", policy)
    score = (program, "score", "--panel", str(work.panel), "--scores", str(folder), "--out", str(home / "out"), *named)
    runs = (
        ("panel", prepare, ("home", "cache", "out"), "the panel's table, once for a panel"),
        ("cold", score, ("home", "cache/scores", "out"), "parse, match, score, distributions, write"),
        ("warm", score, ("home", "out"), "match, score, distributions, write"),
    )
    return [
        Command(
            tool="sluiceway", mode=mode, argv=argv, environment=environment, ready=partial(_remove, home, old),
            results=home / "out", inside=inside,
        )
        for mode, argv, old, inside in runs
    ]  # fmt: skip


def sums(work: Work, scores: int) -> NDArray[np.float64]:
    """Read our sums, people down in the panel's order, scores across."""
    import polars as pl  # noqa: PLC0415 -- run.py imports this file and must stay small

    stored = work.tool(f"sluiceway-{scores}") / "out" / "scores.parquet"
    people = pl.read_csv(work.panel.with_suffix(".psam"), separator="\t").select(pl.col("#IID").alias("sample"))
    wide = pl.read_parquet(stored, columns=["sample", "pgs_id", "sum"]).pivot("pgs_id", index="sample", values="sum")
    ordered = people.join(wide, on="sample", how="left", maintain_order="left")
    return ordered.select([pgs_id(number) for number in range(1, scores + 1)]).to_numpy()


def _remove(home: Path, names: tuple[str, ...]) -> None:
    for name in names:
        shutil.rmtree(home / name, ignore_errors=True)
