"""How sluiceway is run here, and where its sums are; the one place to change when its command line does."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.scoring.layout import file_name, pgs_id
from benchmarks.scoring.watch import MANY, Command

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.scoring.layout import Work

POLICIES = ("catalogue", "just-prs")
MODES = ("panel", "cold", "warm", "warm with one thread", "warm with match log", "warm and first ever")


def sluiceway(work: Work, scores: int, policy: str) -> list[Command]:
    """Give our runs: the panel's table alone, scores with that table made, and with every table made, in four ways."""
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
    warm, compiled = ("home", "out"), {"NUMBA_CACHE_DIR": str(home / "compiled")}
    everything = "match, score, distributions, write"
    runs: tuple[tuple[str, tuple[str, ...], tuple[str, ...], str, dict[str, str]], ...] = (
        ("panel", prepare, ("home", "cache", "out"), "the panel's table, once for a panel", {}),
        ("cold", score, ("home", "cache/scores", "out"), f"parse, {everything}", {}),
        ("warm", score, warm, everything, {}),
        ("warm with one thread", (*score, "--workers", "1"), warm, everything, {}),
        ("warm with match log", (*score, "--match-log"), warm, f"{everything}, what became of each row", {}),
        ("warm and first ever", score, (*warm, "compiled"), f"compile, once for a version; {everything}", compiled),
    )
    return [
        Command(
            tool="sluiceway", mode=mode, argv=argv, environment={**environment, **more},
            ready=partial(_remove, home, old), results=home / "out", inside=inside,
            rounds=1 if more else MANY,
        )
        for mode, argv, old, inside, more in runs
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
