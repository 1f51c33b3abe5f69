"""The same sums by plink2: what another program makes of the same genotypes, rows and weights, beside what we do.

Rows are matched by us; the copies, the missing calls, the frequencies and the sums are plink2's own. It prints six
digits, so half of the last one is as close as two programs that agree can be seen to be.
"""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from sluiceway.core.errors import OthersDisagree, PackagesMissing
from sluiceway.core.genetics import sites
from sluiceway.core.remote.local import LocalShell
from sluiceway.core.remote.shell import Command
from sluiceway.core.runs import plink2_files as files
from sluiceway.core.store import frames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from sluiceway.core.catalog.score_table import ParsedScore
    from sluiceway.core.genetics.policy import Policy
    from sluiceway.core.genetics.reference import Reference
    from sluiceway.core.genetics.totals import ScoreResult
    from sluiceway.core.runs.plink2_files import Counted

    Values = NDArray[np.float64]

TABLE: Final = "compare_plink2.parquet"
SCHEMA: Final = pl.Schema(
    {
        "pgs_id": pl.String(),
        "compared": pl.Boolean(),
        "reason": pl.String(),
        "rows": pl.UInt32(),
        "people": pl.UInt32(),
        "largest_difference": pl.Float64(),
        "in_units": pl.Float64(),
        "in_sd": pl.Float64(),
        "denom_difference": pl.UInt32(),
        "agrees": pl.Boolean(),
    }
)
"""The columns of a comparison: units are those of plink2's last printed digit, SD is that of our sums."""

_PROGRAM: Final = "plink2"
_WORDS: Final = {"plain": [], "centred": ["center"], "standardised": ["variance-standardize"]}
_DIGITS: Final = 6
_ROUNDING: Final = 1e-12
"""Of the sum of absolute weights: what float64 may leave of a sum that cancels counts as a unit."""
_TOLERANCE: Final = 0.5 * (1 + 1e-6)
"""In units: plink2 rounds to the nearest, and where it wavers it may go either way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A score that was scored by us: its rows and its result, each read when it is needed."""

    name: str
    n_rows: int
    read: Callable[[], ParsedScore]
    result: Callable[[], ScoreResult | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    score: Scored
    counted: Counted


def require_plink2() -> None:
    """Raise PackagesMissing where there is no plink2."""
    if shutil.which(_PROGRAM) is None:
        raise PackagesMissing(packages=(_PROGRAM,))


def require_agreement(table: pl.DataFrame, folder: Path) -> None:
    """Raise OthersDisagree where a score's sums are not those that plink2 prints."""
    other = table.filter(~pl.col("agrees"))
    if other.height:
        raise OthersDisagree(program=_PROGRAM, scores=tuple(other["pgs_id"]), folder=folder)


class Comparison:
    """Compares scores with plink2's, in a folder of its own."""

    def __init__(
        self, reference: Reference, policy: Policy, folder: Path, *, workers: int, tell: Callable[[int, int], None]
    ) -> None:
        """Compare on this panel by this policy; `tell` is told how many scores are done, and of how many."""
        self._reference = reference
        self._policy = policy
        self._folder = folder
        self._tell = tell
        self._threads = ("--threads", str(workers))
        self._written = sites.read_sites(reference.panel.variants)

    def of(self, scores: Sequence[Scored], *, most: int) -> pl.DataFrame:
        """Compare up to so many scores, from the smallest to the largest; those that plink2 cannot count say why."""
        chosen, lines = self._choose(scores, most)
        if chosen:
            # A flow may run in an event loop's thread, where no other loop can.
            with ThreadPoolExecutor(max_workers=1) as aside:
                lines += aside.submit(asyncio.run, self._compare(chosen)).result()
        return pl.DataFrame(lines, schema=SCHEMA).sort("pgs_id")

    def _choose(self, scores: Sequence[Scored], most: int) -> tuple[list[_Chosen], list[dict[str, Any]]]:
        chosen: list[_Chosen] = []
        lines = []
        for each in _spread(sorted(scores, key=lambda score: (score.n_rows, score.name)), most):
            counted = files.counted(self._reference, self._written, each.read(), self._policy)
            reason = counted.why_not(self._policy)
            if reason is None:
                chosen.append(_Chosen(score=each, counted=counted))
            else:
                lines.append({"pgs_id": each.name, "compared": False, "reason": f"plink2 cannot count {reason}"})
            if len(chosen) == most:
                break
        return chosen, lines

    async def _compare(self, chosen: Sequence[_Chosen]) -> list[dict[str, Any]]:
        wanted = np.unique(np.concatenate([each.counted.table["variant"].to_numpy() for each in chosen]))
        if not files.write_panel(self._reference, self._written, wanted, self._folder):
            reason = "plink2 wants each chromosome in one piece"
            return [{"pgs_id": each.score.name, "compared": False, "reason": reason} for each in chosen]
        panel = await self._take_out()
        lines = []
        for number, each in enumerate(chosen, start=1):
            lines.append(await self._compare_one(each, panel))
            self._tell(number, len(chosen))
        return lines

    async def _take_out(self) -> tuple[str, ...]:
        """Give the options that name the panel; where whole genotypes are scored, it is one without dosages."""
        twin = self._folder / "twin"
        options = ("--pgen", str(self._reference.panel.genotypes), "--pvar", f"{twin}.pvar", "--psam", f"{twin}.psam",
                   "--extract", str(self._folder / "wanted.txt"))  # fmt: skip
        if self._policy.genotypes == "dosages":
            # It writes no panel that has both dosages and variants with several ALT alleles.
            return options
        await self._plink2(*options, "--make-pgen", "erase-dosage", out="panel")
        return ("--pfile", str(self._folder / "panel"))

    async def _compare_one(self, chosen: _Chosen, panel: Sequence[str]) -> dict[str, Any]:
        rows, result = chosen.counted.table, chosen.score.result()
        if result is None:
            return {"pgs_id": chosen.score.name, "compared": False, "reason": "its result is not there any more"}
        printed = [await self._sums(chosen.counted, model, panel) for model in rows["model"].unique().sort()]
        coding = self._policy.male_x
        ours = result.people[f"sum_{coding}"].to_numpy()
        difference = np.abs(ours - sum(each["W_SUM"].to_numpy() for each in printed))
        unit = np.sum([_unit(each["W_SUM"].to_numpy().astype(np.float64)) for each in printed], axis=0)
        in_units = difference / np.maximum(unit, _ROUNDING * float(rows["weight"].abs().sum()) or 1.0)
        denom = self._denom_difference(chosen.counted, result, printed)
        spread = float(np.std(ours, ddof=1)) if ours.size > 1 else 0.0
        return {
            "pgs_id": chosen.score.name,
            "compared": True,
            "rows": rows.height,
            "people": ours.size,
            "largest_difference": float(difference.max()),
            "in_units": float(in_units.max()),
            "in_sd": float(difference.max()) / spread if spread else None,
            "denom_difference": denom,
            "agrees": bool(in_units.max() <= _TOLERANCE) and not denom,
        }

    def _denom_difference(self, counted: Counted, result: ScoreResult, printed: Sequence[pl.DataFrame]) -> int | None:
        """Compare what averages are over; rows alike count once each with us, and are added up for plink2."""
        if not counted.is_distinct:
            return None
        coding, people = self._policy.male_x, result.people
        ours = people[f"alleles_{coding}"].cast(pl.Int64)
        if self._policy.missing == "skip":
            ours -= people[f"missing_alleles_{coding}"].cast(pl.Int64)
        return int(np.abs(ours.to_numpy() - sum(each["DENOM"].to_numpy() for each in printed)).max())

    async def _sums(self, counted: Counted, model: int, panel: Sequence[str]) -> pl.DataFrame:
        """Let plink2 work out the rows of one model."""
        rows = self._folder / "rows.txt"
        files.write_score(counted.table.filter(pl.col("model") == model), rows)
        options = [*filter(None, [files.MODELS[model]])]
        options += ["no-mean-imputation"] if self._policy.missing == "skip" else []
        options += _WORDS[self._policy.copies]
        frequencies: list[str] = []
        if self._policy.missing == "zero" and counted.never is not None:
            files.write_frequencies(counted.never, self._folder / "never.afreq")
            frequencies = ["--read-freq", str(self._folder / "never.afreq")]
        await self._plink2(
            *panel, "--xchr-model", str(self._policy.male_x), "--bad-freqs", *frequencies,
            "--score", str(rows), "1", "2", "3", "header-read", "cols=+scoresums,+denom", *options, out="sums",
        )  # fmt: skip
        return frames.read_csv(self._folder / "sums.sscore", separator="\t", infer_schema_length=None)

    async def _plink2(self, *arguments: str, out: str) -> None:
        command = Command.of(_PROGRAM, *arguments, *self._threads, "--out", str(self._folder / out))
        (await LocalShell().run(command)).require_success()


def _spread(scores: Sequence[Scored], most: int) -> list[Scored]:
    """Give all scores, those first that stand evenly between the first and the last.

    >>> _spread("abcdefg", 3)
    ['a', 'd', 'g', 'b', 'c', 'e', 'f']
    """
    first = [round(at) for at in np.linspace(0, len(scores) - 1, min(most, len(scores)))]
    rest = [at for at in range(len(scores)) if at not in set(first)]
    return [scores[at] for at in [*dict.fromkeys(first), *rest]]


def _unit(printed: Values) -> Values:
    """Give what the last printed digit counts; nothing for what is printed as 0."""
    with np.errstate(divide="ignore"):
        place = np.floor(np.log10(np.abs(printed))) - (_DIGITS - 1)
    return np.where(printed == 0, 0.0, 10.0 ** np.where(printed == 0, 0, place))
